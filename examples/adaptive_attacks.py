"""Defences that hide their gradients, and the attacks adapted to them, on digits.

    python examples/adaptive_attacks.py

A small network is trained against PGD, dressed in each defence, and attacked twice: as it is, and
in one of the ways of Athalye et al. (2018). It prints the table of docs/trust.md, in seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robnet_zoo import evaluate
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.data import load_split, to_float
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.tables import markdown_table

N = 100  # images
ATTACK = "pgd20"
DRAWS, EOT = 10, 20


def train(against_attacks: bool = True) -> nn.Module:
    """Return a small network, trained for four epochs, against two steps of PGD or without."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )
    _, split = load_split("digits", "train")
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    adversary = Adversary(epsilon=0.15, step_size=0.1, steps=2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        for batch in torch.randperm(len(split), generator=generator).split(64):
            images, labels = to_float(split.images(batch)), split.labels[batch]
            if against_attacks:
                images = adversary(net, images, labels, generator=generator)
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()
    return net.eval()


class Rounded(nn.Module):
    """Pixels of eight levels: flat nearly everywhere."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the rounded images."""
        return (images * 7).round() / 7


class Noisy(nn.Module):
    """Gaussian noise, drawn anew in each pass."""

    def forward(self, images: Tensor) -> Tensor:
        """Return noisy images."""
        return images + 0.3 * torch.randn_like(images)


class Rippled(nn.Module):
    """A ripple of random sign over each pixel, far too small to see, but steep."""

    def forward(self, images: Tensor) -> Tensor:
        """Return images changed by 0.02 at most, whose gradient is changed threefold."""
        return images + 0.02 * torch.randn_like(images).sign() * torch.sin(160 * images)


class Projected(nn.Module):
    """The nearest image of a linear model of the data, by a loop of optimisation.

    As in defences that search a generator's latent space, no gradient leads through the loop.
    """

    def __init__(self, basis: Tensor) -> None:
        super().__init__()
        self.register_buffer("basis", basis)

    def forward(self, images: Tensor) -> Tensor:
        """Return the projected images."""
        flat = images.flatten(1)
        with torch.no_grad():
            codes = torch.zeros(len(flat), len(self.basis), device=flat.device)
            for _ in range(20):
                codes -= 0.5 * (codes @ self.basis - flat) @ self.basis.T
            return (codes @ self.basis).view_as(images)


class ClosedForm(Projected):
    """What that loop converges to, written so that gradients flow."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the projected images."""
        return (images.flatten(1) @ self.basis.T @ self.basis).view_as(images)


class Overconfident(nn.Module):
    """Logits of such size that the softmax is exactly 0 or 1 in float32, and its gradient 0."""

    def forward(self, logits: Tensor) -> Tensor:
        """Return a thousand times the logits."""
        return 1000 * logits


def entropy_of_small(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy (N,) of the logits without their factor of 1000."""
    return F.cross_entropy(logits / 1000, labels, reduction="none")


@dataclass(frozen=True)
class Case:
    """A defence, and what is changed about the evaluation to attack it."""

    defence: str
    way: str
    model: nn.Module
    adapted: dict[str, Any]
    always: dict[str, Any] = field(default_factory=dict)


def cases(net: nn.Module) -> list[Case]:
    """Return the defences, each around the network."""
    _, split = load_split("digits", "train")
    data = to_float(split.images(torch.arange(len(split)))).flatten(1)
    basis = torch.linalg.svd(data, full_matrices=False)[2][:24]
    judged = {"draws": DRAWS}
    return [
        Case(
            "pixels rounded to 8 levels",
            "BPDA: `surrogate=net`",
            nn.Sequential(Rounded(), net),
            {"surrogate": net},
        ),
        Case(
            "projection by optimisation",
            "reparametrisation: `surrogate=` its closed form",
            nn.Sequential(Projected(basis), net),
            {"surrogate": nn.Sequential(ClosedForm(basis), net)},
        ),
        Case(
            "Gaussian noise of 0.3",
            f"EOT: `eot={EOT}`",
            nn.Sequential(Noisy(), net),
            {"eot": EOT},
            judged,
        ),
        Case(
            "random ripples of 0.02",
            f"EOT: `eot={EOT}`",
            nn.Sequential(Rippled(), net),
            {"eot": EOT},
            judged,
        ),
        Case(
            "logits times 1000",
            "`loss=` the entropy of logits / 1000",
            nn.Sequential(net, Overconfident()),
            {"loss": entropy_of_small},
        ),
    ]


def measure(case: Case, n: int = N) -> tuple[float, float | None, float]:
    """Return accuracy without an attack, under the plain one (None: refused), and the adapted."""
    _, split = load_split("digits", "test")

    def judge(**how: Any) -> tuple[float, float]:
        record = evaluate(case.model, split, [ATTACK], "digits", n=n, **case.always, **how)
        return record.clean.accuracy.accuracy, record.totals.robust.accuracy

    try:
        plain = judge()[1]
    except ZooError:  # no gradient flows
        plain = None
    clean, adapted = judge(**case.adapted)
    return clean, plain, adapted


def table(measured: dict[str, tuple[float, float | None, float]], ways: dict[str, str]) -> str:
    """Return the table of docs/trust.md."""

    def percent(rate: float | None) -> str:
        return "refused" if rate is None else f"{100 * rate:.0f} %"

    rows = [[name, *map(percent, rates), ways[name]] for name, rates in measured.items()]
    return markdown_table(["defence", "clean", "plain", "adapted", "by"], rows)


def main(show: Callable[[str], None] = print) -> None:
    """Print the table."""
    net = train()
    bare = Case("none", "", net, {})
    every = [bare, *cases(net)]
    measured = {case.defence: measure(case) for case in every}
    show(table(measured, {case.defence: case.way for case in every}))


if __name__ == "__main__":
    main()
