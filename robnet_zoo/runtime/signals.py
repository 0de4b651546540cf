"""Requests to stop, answered once the work is saved; and when it is saved in between."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """The process was asked to stop, and the work is saved; holds the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass
class SaveTimer:
    """When a loop is to write its next checkpoint: every so often, and when asked to stop.

    Attributes:
        every: seconds between checkpoints.
        now: tells the seconds, from any point on.
        saved: when the last checkpoint was written.
        stop: number of the signal that asked for an end, or 0.
    """

    every: float
    now: Callable[[], float] = time.monotonic
    saved: float = field(default_factory=time.monotonic)
    stop: int = 0

    @property
    def due(self) -> bool:
        """Whether a checkpoint is to be written now."""
        return self.stop > 0 or self.now() - self.saved > self.every

    def restart(self) -> None:
        """Count from now: a checkpoint was written."""
        self.saved = self.now()

    def raise_if_stopped(self) -> None:
        """Raise Stopped if that was asked for; the work must be saved before."""
        if self.stop:
            raise Stopped(self.stop)


@contextmanager
def stop_signals(timer: SaveTimer) -> Iterator[None]:
    """Turn SIGTERM and SIGINT into a request that the loop answers after the present step."""

    def ask(number: int, frame: FrameType | None) -> None:
        timer.stop = number

    kept = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
