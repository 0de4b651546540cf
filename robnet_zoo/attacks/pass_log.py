"""A log of what passes through the model returned, from which a killed attack goes on.

Attacks, and those of libraries above all, draw one stream of random numbers for a whole block of
images, and cannot be entered half-way. But they are deterministic: run again from the start, and
answered from the log, they come to where they were without the network, and go on bit for bit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robnet_zoo.attacks.pass_files import Event, Kind, PassFiles, Place

Compute = Callable[[Tensor], Tensor]

SECONDS = 20.0  # between two writes
MEMORY = 2**28  # bytes to write at once at most: logs that grow faster than this are not kept
DISK = 2**32  # bytes of a log at most


class PassLog:
    """The log of one attack on one block of images: replayed first, written from there on.

    An answer is replayed only if the question is the same as it was; from the first that differs
    (the attack is run on another machine, say) the log is void, and begins anew.

    Args:
        folder: where its files are.
        stem: how their names begin.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self.files = PassFiles(folder, stem)
        self.waiting = deque(self.files.load())  # to be replayed
        self.earlier = self.files.seconds if self.waiting else 0.0  # that went into them
        self.started = self.written = time.perf_counter()
        self.pending: list[Event] = []
        self.size = 0  # of what is pending, in bytes
        self.void: Place | None = None  # from where on what was written counts no more
        self.outer, self.inner = 0, -1  # the next place; -1 outside of a step
        self.kept = True  # whether more can be written
        self.skipping = False  # the rest of a step, too large to keep

    def pass_through(self, compute: Compute, images: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, C, H, W), and log them and their gradients."""
        key = _hash(images)
        event = self._replay("forward", key)
        if event is not None:
            logits = event.values[0].to(images.device)
            if not event.note["gradient"]:
                self._set_generators(event)
                return logits
            before = _generators()
            self._set_generators(event)
            replayed: Tensor = _Replayed.apply(images, logits, compute, self, before)
            return replayed
        gradient = torch.is_grad_enabled() and images.requires_grad
        entry = images.view_as(images) if gradient else images  # where the model alone begins
        before = _generators()
        logits = compute(entry)
        self._record("forward", key, [logits], before, gradient=logits.requires_grad)
        if logits.requires_grad:
            keys: list[str] = []
            logits.register_hook(lambda incoming: keys.append(_hash(incoming)))
            entry.register_hook(lambda outgoing: self._record_gradient(keys[-1], outgoing))
        return logits

    def gradient(
        self, incoming: Tensor, images: Tensor, compute: Compute, before: list[Tensor]
    ) -> Tensor:
        """Return the gradient by images whose logits were replayed, from the log if it has it."""
        key = _hash(incoming)
        event = self._replay("backward", key)
        if event is not None:
            return event.values[0].to(images.device)
        again = torch.is_grad_enabled()  # the gradient is to be derived once more
        with _restored(before), torch.enable_grad():
            entry = images.view_as(images)
            (outgoing,) = torch.autograd.grad(compute(entry), entry, incoming, create_graph=again)
        self._record_gradient(key, outgoing)
        return outgoing

    def step(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        options: dict[str, Any],
        count: Callable[[], list[int]],
    ) -> tuple[Any, list[int]]:
        """Return what a step of an attack returns, and the passes that were replayed for it.

        Args:
            function: the step, from tensors to a tensor or several.
            args: its arguments.
            options: those that have names.
            count: returns the passes made so far.
        """
        key = "/".join(_hash(value) for value in args if isinstance(value, Tensor))
        event = self._replay("step", key)
        if event is not None:
            self._set_generators(event)
            device = next((value.device for value in args if isinstance(value, Tensor)), None)
            values = tuple(event.values[n].to(device) for n in range(event.note["values"]))
            return (values[0] if event.note["single"] else values), event.note["passes"]
        before, passes, self.inner = _generators(), count(), 0
        try:
            returned = function(*args, **options)
        finally:
            self.inner = -1
        passes = [now - then for now, then in zip(count(), passes, strict=True)]
        single = isinstance(returned, Tensor)
        values = (returned,) if single else tuple(returned)
        self._end_step()
        note = {"single": single, "passes": passes}
        self._record("step", key, list(values), before, **note)
        return returned, [0] * len(passes)

    def _place(self) -> Place:
        return (self.outer,) if self.inner < 0 else (self.outer, self.inner)

    def _advance(self) -> None:
        if self.inner < 0:
            self.outer += 1
        else:
            self.inner += 1

    def _replay(self, kind: Kind, key: str) -> Event | None:
        """Return the next event of the log, if it is this one; the log is void if it is not."""
        if not self.waiting or (kind == "step" and len(self.waiting[0].place) > 1):
            return None
        event = self.waiting[0]
        if (event.kind, event.key, event.place) != (kind, key, self._place()):
            self.waiting.clear()
            self.void, self.earlier = self._place(), 0.0
            return None
        self.waiting.popleft()
        self._advance()
        return event

    def _record(
        self, kind: Kind, key: str, values: list[Tensor], before: list[Tensor], **note: Any
    ) -> None:
        """Note an event that was computed, and write what is pending if it is time."""
        if not self.kept or self.skipping:
            return
        after = _generators() if before else []
        same = all(torch.equal(*pair) for pair in zip(before, after, strict=False))
        note["values"] = len(values)
        kept = [value.detach().clone() for value in values]
        event = Event(self._place(), kind, key, kept if same else kept + after, note)
        self._advance()
        self.pending.append(event)
        self.size += event.size
        now = time.perf_counter()
        if self.size > MEMORY:
            self._give_up()
        elif now - self.written >= SECONDS:
            self._write(now)

    def _record_gradient(self, key: str, outgoing: Tensor) -> None:
        if torch.is_grad_enabled():  # a gradient that is to be derived once more
            self.kept = False
        self._record("backward", key, [outgoing], [])

    def _end_step(self) -> None:
        """Forget what is pending of the step that has ended."""
        self.skipping = False
        self._forget(self.outer)

    def _give_up(self) -> None:
        """Keep nothing more: of the step under way, or at all outside of one."""
        self.kept, self.skipping = self.inner >= 0, True
        self._forget(self.outer if self.kept else 0)

    def _forget(self, outer: int) -> None:
        self.pending = [event for event in self.pending if event.place[0] < outer]
        self.size = sum(event.size for event in self.pending)

    def _write(self, now: float) -> None:
        if self.files.bytes > DISK:
            self._give_up()
            return
        self.files.write(self.pending, self.earlier + now - self.started, self.void)
        self.pending, self.size, self.void = [], 0, None
        self.written = time.perf_counter()

    def _set_generators(self, event: Event) -> None:
        states = [event.values[n] for n in range(event.note["values"], len(event.values))]
        if states:
            _restore(states)


class _Replayed(torch.autograd.Function):
    """Logits from the log, whose gradient comes from it too."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, logits: Tensor, compute: Compute, log: PassLog, before: Any
    ) -> Tensor:
        ctx.save_for_backward(images)
        ctx.replay = (compute, before), log
        return logits

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        rest, log = ctx.replay
        return log.gradient(incoming, *ctx.saved_tensors, *rest), None, None, None, None


def _hash(values: Tensor) -> str:
    """Return a hash of the bits of float or integer tensors (N, ...), by a sum of each row."""
    width = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    flat = values.detach().contiguous().flatten(1) if values.ndim > 1 else values.detach()[:, None]
    sums = flat.view(width[values.element_size()]).sum(1, dtype=torch.int64)
    return blake2b(sums.cpu().numpy().tobytes(), digest_size=12).hexdigest()


def _generators() -> list[Tensor]:
    """Return the states of torch's global generators."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *gpus]


def _restore(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state_all(states[1:])


@contextmanager
def _restored(states: list[Tensor]) -> Iterator[None]:
    """Put the generators back to these states meanwhile."""
    now = _generators()
    _restore(states)
    try:
        yield
    finally:
        _restore(now)
