"""The model as attacks meet it: in pieces that fit into memory, counted, and left as it was."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from robnet_zoo.attacks.adaptive import Adaptive
from robnet_zoo.attacks.calling import logits_of
from robnet_zoo.attacks.pass_log import PassLog
from robnet_zoo.attacks.verdicts import classes
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.randomness import seeded

OnPass = Callable[[int, bool], None]  # is told of images passed, and whether a log answered
CPU = torch.device("cpu")
BATCH_MULTIPLE = 16  # images
DRAW_BATCH = 64  # images of a randomised model, whatever the batch size: its draws depend on it


def validate_precision(model: nn.Module, what: str = "model") -> None:
    """Raise ZooError unless parameters and buffers are float32 or float64, and have values."""
    for name, tensor in model.state_dict().items():
        if tensor.is_meta:
            raise ZooError(
                f"The {what}'s '{name}' is on the meta device, without values; load its weights."
            )
        if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ZooError(
                f"The {what}'s '{name}' is {kind}; verdicts need float32: {what}.float()."
            )


def state_sha256(model: nn.Module) -> str:
    """Return the hash of a model's parameters and buffers.

    Raises:
        ZooError: one is of a lower precision than float32.
    """
    validate_precision(model)
    sha = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        sha.update(f"{name} {list(tensor.shape)}".encode())
        sha.update(tensor.cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def device_of(model: nn.Module, default: torch.device = CPU) -> torch.device:
    """Return the device of a model's first tensor, the default one if it has none."""
    return next((tensor.device for tensor in model.state_dict().values()), default)


def round_up_batch(batch_size: int) -> int:
    """Return the batch size rounded up to a multiple of BATCH_MULTIPLE."""
    return -(-batch_size // BATCH_MULTIPLE) * BATCH_MULTIPLE


class AttackedModel(nn.Module):
    """Passes images through a model in chunks, and counts them.

    An attack hands over as many images as it likes; they go through the model in chunks of
    `batch_size`. Every chunk is a multiple of BATCH_MULTIPLE images, the last one filled up with
    copies: CPU kernels give an image the same bits in any such batch (they do not in a batch of
    7), so that verdicts do not depend on the batch size. Gradients through more than one chunk
    recompute the forward pass, so that memory is bounded by a chunk, not by what the attack hands
    over.

    A randomised model is judged by several passes under seeds of their own, the same whenever
    `seed` is, which attacks do not see.

    Attributes:
        model: gives the verdicts.
        attack_model: computes what attacks see: the model, a faster form of it, or the view of it
            that an adaptive attack has.
        compiled: whether that form is compiled, for one batch size: chunks are then filled up.
        adaptive: the surrogate of its gradients, and the draws of a randomised model.
        seed: of the draws that give verdicts.
        on_pass: is told of each forward and backward pass: the images, and whether the log answers.
        log: keeps what the passes return, and answers in the model's place.
        chunk: images in one forward pass at most.
        forwards, backwards: images passed so far, without the copies.
    """

    def __init__(
        self,
        model: nn.Module,
        batch_size: int,
        on_pass: OnPass | None = None,
        *,
        attack_model: nn.Module | None = None,
        compiled: bool = False,
        adaptive: Adaptive | None = None,
        seed: int = 0,
        log: PassLog | None = None,
    ) -> None:
        super().__init__()
        self.model, self.compiled, self.seed, self.log = model, compiled, seed, log
        self.adaptive = adaptive or Adaptive()
        self.attack_model = self.adaptive.view(model) if attack_model is None else attack_model
        self.chunk = DRAW_BATCH if self.adaptive.randomised else round_up_batch(batch_size)
        self.on_pass = on_pass
        self.forwards = self.backwards = 0
        self.training = False  # torchattacks puts everything back into the mode it finds here

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, C, H, W) in [0,1], as attacks see them."""
        remembered = self._replays
        logits = self._pass(self.attack_model, images)
        self._advance(len(images), remembered)
        return logits

    def _pass(self, model: nn.Module, images: Tensor) -> Tensor:
        compute = partial(self._compute, model)
        logits = compute(images) if self.log is None else self.log.pass_through(compute, images)
        gradient, seen = self._asks_gradient(images), model is self.attack_model
        self.forwards += len(images) * (self.adaptive.passes(gradient=gradient) if seen else 1)
        if logits.requires_grad:
            logits.register_hook(self._count_backward)
        return logits

    def _asks_gradient(self, images: Tensor) -> bool:
        return torch.is_grad_enabled() and images.requires_grad

    def _compute(self, model: nn.Module, images: Tensor) -> Tensor:
        chunks = images.split(self.chunk)
        gradient = self._asks_gradient(images)
        recompute = len(chunks) > 1 and gradient and self.adaptive.eot == 1  # which recomputes too
        fill = self.chunk if self.compiled and model is self.attack_model else BATCH_MULTIPLE
        logits = [
            checkpoint(_filled, model, chunk, fill, use_reentrant=False)
            if recompute
            else _filled(model, chunk, fill)
            for chunk in chunks
        ]
        return logits[0] if len(logits) == 1 else torch.cat(logits)

    def step(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step of an attack, from tensors to tensors, that the log keeps as a whole."""
        log = self.log
        if log is None:
            return function

        def logged(*args: Any, **options: Any) -> Any:
            returned, (forwards, backwards) = log.step(
                function, args, options, lambda: [self.forwards, self.backwards]
            )
            self.forwards += forwards
            self.backwards += backwards
            self._advance(forwards + backwards, remembered=True)  # 0 where it was computed
            return returned

        return logged

    @property
    def _replays(self) -> bool:
        return self.log is not None and bool(self.log.waiting)

    def _advance(self, images: int, remembered: bool) -> None:
        if self.on_pass is not None and images:
            self.on_pass(images, remembered)

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient) * self.adaptive.eot
        self._advance(len(gradient), self._replays)

    @torch.no_grad()
    def draw(self, images: Tensor) -> Tensor:
        """Return the model's logits (draws, N, classes) that give the verdicts."""
        remembered, drawn = self._replays, []
        if not self.adaptive.randomised:
            drawn = [self._pass(self.model, images)]
        else:
            for number in range(self.adaptive.draws):
                with seeded(_draw_seed(self.seed, number)):
                    drawn.append(self._pass(self.model, images))
        self._advance(len(images), remembered)
        return torch.stack(drawn)

    def predict(self, images: Tensor) -> Tensor:
        """Return the model's class for each image (N,), -1 where a logit is not a number.

        It is -1 too where draws of a randomised model agree on none (`Adaptive.verdict`).
        """
        return self.adaptive.verdict(self.draw(images))

    def plain(self) -> AttackedModel:
        """Return one in which attacks see the model itself, counted anew."""
        return AttackedModel(self.model, self.chunk, self.on_pass, log=self.log)

    def confirm(self, suspected: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Return which of the suspected images (N,) the model itself misclassifies."""
        if self.attack_model is self.model or not suspected.any():
            return suspected
        confirmed = suspected.clone()
        confirmed[suspected] = self.predict(images[suspected]) != labels[suspected]
        return confirmed

    @torch.no_grad()
    def disputes(self, images: Tensor, labels: Tensor) -> bool:
        """Return whether `attack_model` alone misclassifies an image, so that an attack gave up."""
        if self.attack_model is self.model or not self.adaptive.plain:
            return False
        fooled = classes(self(images)) != labels
        return bool((fooled & ~self.confirm(fooled, images, labels)).any())


def _filled(model: nn.Module, images: Tensor, fill: int) -> Tensor:
    """Pass images through a model, filled up with copies to a multiple of `fill`."""
    n = len(images)
    short = -n % fill
    if short:
        images = torch.cat([images, images[-1:].expand(short, *images.shape[1:])])
    return logits_of(model, images)[:n].clone()  # a CUDA graph reuses its outputs


def _draw_seed(seed: int, number: int) -> int:
    digest = hashlib.sha256(f"{seed}/verdict/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


@contextmanager
def preserve_state(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Hold the model in eval mode and strict float32, and put everything back afterwards.

    The global generators of torch, NumPy and Python are seeded meanwhile, for models that draw
    from them.

    Attack libraries reseed the global generators, fill `param.grad`, flatten train and eval
    modes and remove the trace function. Parameters ask for no gradient meanwhile: only those by
    the input are needed.
    """
    modes = {  # a frozen script has none
        module: module.training for module in model.modules() if hasattr(module, "training")
    }
    required = {parameter: parameter.requires_grad for parameter in model.parameters()}
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    trace = sys.gettrace()
    try:
        for module in modes:
            module.training = False
        for parameter in required:
            parameter.requires_grad_(False)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        with seeded(seed):
            yield
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter, requires_grad in required.items():
            parameter.requires_grad_(requires_grad)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
        sys.settrace(trace)
