"""A training step recorded as one CUDA graph, so that launching its kernels costs no time.

A full-size step is some five thousand kernels, which the host launches more slowly than a GPU runs
them. Recorded once, they are launched as one. What a graph cannot hold is kept out of the body
that is recorded: draws, numbers that Python computes, and whatever waits for the GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

Body = Callable[[], None]
State = Mapping[str, Sequence[Tensor]]  # what a body changes, in groups of one kind

WARM_UP = 3  # eager steps before a recording: momentum exists then, and cuDNN has chosen
ALIKE = 0.2  # a replay's change may differ from the eager one's by this part of it: a wrong
# replay differs by all of it, while kernels that add in no fixed order differ in the last bits,
# which flip a few signs of crafting


class Recording(Protocol):
    """How bodies are run and recorded: `CudaGraphs` or `PlainBodies`."""

    def eager(self, body: Body) -> None:
        """Run a body as it will be recorded."""

    def capture(self, body: Body) -> Body:
        """Return what replays a body; the body itself is recorded, not run."""


class CudaGraphs:
    """Bodies recorded by torch.cuda.graph, on a stream of their own."""

    def __init__(self, device: str) -> None:
        self.stream = torch.cuda.Stream(device)

    def eager(self, body: Body) -> None:
        """Run a body on the stream that it will be recorded on."""
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            body()
        current.wait_stream(self.stream)

    def capture(self, body: Body) -> Body:
        """Return the graph's replay."""
        current, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        try:
            # other threads go on fetching batches meanwhile
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                body()
        finally:
            torch.cuda.set_stream(current)  # which a capture that fails does not do
        return graph.replay


class PlainBodies:
    """Bodies that are run as they are: what stands in for graphs where there is no GPU."""

    def eager(self, body: Body) -> None:
        """Run a body."""
        body()

    def capture(self, body: Body) -> Body:
        """Return the body."""
        return body


@dataclass
class Recorder:
    """Runs a step's body: eagerly at first, then by replays of its recording.

    Attributes:
        recording: how bodies are recorded.
        trouble: why there is no recording, in words; from then on every step is eager.
        steps: eager steps so far.
    """

    recording: Recording
    trouble: str = ""
    steps: int = 0
    _stage: Hashable = field(default=None, repr=False)
    _replay: Body | None = field(default=None, repr=False)

    @property
    def replays(self) -> bool:
        """Whether there is a recording."""
        return self._replay is not None

    def forget(self) -> None:
        """Drop the recording: what it reads or writes is elsewhere now."""
        self._replay, self._stage = None, None

    def run(self, body: Body, stage: Hashable, changed: Callable[[], State]) -> None:
        """Run the body of a step.

        Args:
            body: reads and writes tensors in fixed places only.
            stage: what decides which operations the body is made of; another one is recorded anew.
            changed: tells the tensors that it changes.
        """
        if self._replay is not None and stage == self._stage:
            self._replay()
            return
        self.forget()
        if self.trouble:
            body()
        elif self.steps < WARM_UP:
            self.recording.eager(body)
            self.steps += 1
        else:
            self._record(body, stage, changed())

    def _record(self, body: Body, stage: Hashable, state: State) -> None:
        """Take the step eagerly and by a first replay, which must come to the same."""
        before = _copied(state)
        self.recording.eager(body)
        eager = _copied(state)
        try:
            _restore(state, before)
            replay = self.recording.capture(body)
            replay()
            self.trouble = _difference(state, eager, before)
        except RuntimeError as error:  # torch's, out of memory included
            self.trouble = f"{type(error).__name__}: {error}".splitlines()[0]
        if self.trouble:
            _restore(state, eager)
        else:
            self._replay, self._stage = replay, stage


def _copied(state: State) -> State:
    return {name: [tensor.detach().clone() for tensor in group] for name, group in state.items()}


@torch.no_grad()
def _restore(state: State, kept: State) -> None:
    for name, group in state.items():
        torch._foreach_copy_(list(group), list(kept[name]))


@torch.no_grad()
def _difference(state: State, eager: State, before: State) -> str:
    """Return in words how a replay's outcome differs from the eager step's, or nothing."""
    for name, group in state.items():
        apart, moved = _distance(group, eager[name]), _distance(eager[name], before[name])
        if not (math.isfinite(apart) and apart <= ALIKE * moved):
            part = apart / moved if moved else math.inf
            return f"a replay changed the {name} otherwise than the eager step, by {part:.0%}"
    return ""


def _distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    apart = torch._foreach_sub([t.detach() for t in ours], list(theirs))
    floats = [t if t.is_floating_point() else t.double() for t in apart]
    return math.sqrt(sum(float(norm) ** 2 for norm in torch._foreach_norm(floats)))
