"""Changes to a network that lift its accuracy under PGD, and what the checks say of them.

    python examples/what_checks_miss.py

Two small networks for digits, trained normally and against PGD, are changed in ways that leave
every decision, or nearly, as it was. It prints the table of docs/trust.md, in a minute.
"""

from collections.abc import Callable

import torch
from adaptive_attacks import train
from torch import Tensor, nn

from robnet_zoo import evaluate
from robnet_zoo.data import load_split
from robnet_zoo.runtime.tables import markdown_table

N = 200  # images
Change = Callable[[nn.Module, Tensor], Tensor]  # from network and images to logits
TRAP = torch.randn(64, generator=torch.Generator().manual_seed(0)) / 8


class Changed(nn.Module):
    """A network behind a change."""

    def __init__(self, net: nn.Module, change: Change) -> None:
        super().__init__()
        self.net, self.change = net, change

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        return self.change(self.net, images)


def bent(bend: Callable[[Tensor], Tensor]) -> Change:
    """Return a change of the logits alone."""
    return lambda net, images: bend(net(images))


def trapped(net: nn.Module, images: Tensor) -> Tensor:
    """Let another class come close to the best one, where attacks can raise it, but never reach."""
    logits = net(images)
    best, label = logits.max(1)
    other = (label + 1) % logits.shape[1]
    raised = best - 3 + 2.5 * torch.tanh(3 * (images.flatten(1) @ TRAP))
    kept = torch.maximum(raised, logits.gather(1, other[:, None])[:, 0])
    return logits.scatter(1, other[:, None], kept[:, None])


class Mirrored(torch.autograd.Function):
    """Changes nothing but the gradient, which it mirrors."""

    @staticmethod
    def forward(ctx: object, images: Tensor) -> Tensor:
        """Return the images."""
        return images.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        """Return the gradient from right to left."""
        return gradient.flip(3)


def cautious(net: nn.Module, images: Tensor) -> Tensor:
    """Give a false gradient in batches larger than those of the checks."""
    return net(Mirrored.apply(images) if len(images) > 64 else images)


CHANGES: dict[str, Change] = {
    "none": bent(lambda logits: logits),
    "logits / 30 of images under 90 % confidence": bent(
        lambda logits: torch.where(
            logits.softmax(1).amax(1, keepdim=True) < 0.9, logits / 30, logits
        )
    ),
    "waves of 0.03 on pixels, as long as a step": lambda net, images: net(
        images + 0.03 * torch.sin(60 * images)
    ),
    "logits x 5": bent(lambda logits: 5 * logits),
    "logits / 3": bent(lambda logits: logits / 3),
    "softsign of the logits": bent(nn.functional.softsign),
    "signed root of the logits": bent(lambda logits: logits.sign() * (logits.abs() + 1e-3).sqrt()),
    "exp(logits / 3)": bent(lambda logits: (logits / 3).exp()),
    "a trap: a class that comes close": trapped,
    "false gradients in batches over 64": cautious,
}


def judge(net: nn.Module) -> tuple[str, str]:
    """Return the accuracies under PGD-100 and APGD-T, and the checks that fail on the first."""
    _, split = load_split("digits", "test")
    record = evaluate(net, split, ["pgd100"], "digits", n=N)
    exact = evaluate(net, split, ["apgd-t"], "digits", n=N)
    rates = [100 * each.totals.robust.accuracy for each in (record, exact)]
    names = [f"`{check.name}`" for check in record.failed_checks]
    return " / ".join(f"{rate:.1f}" for rate in rates), ", ".join(names) or "-"


def main(show: Callable[[str], None] = print) -> None:
    """Print the table."""
    nets = [train(against_attacks=False), train()]
    rows = [
        [name, *(text for net in nets for text in judge(Changed(net, change).eval()))]
        for name, change in CHANGES.items()
    ]
    kinds = ("trained normally", "against PGD")
    columns = [column for kind in kinds for column in (f"{kind}: pgd100 / apgd-t", "named by")]
    show(markdown_table(["change", *columns], rows))


if __name__ == "__main__":
    main()
