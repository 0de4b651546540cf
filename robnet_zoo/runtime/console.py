"""What every command shares: progress, and errors in one sentence."""

from __future__ import annotations

import math
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import UnwritableError

PLAIN_SECONDS = 10.0  # between two progress lines where there is no terminal
WINDOW = 30.0  # seconds that a rate looks back


def run(main: Callable[[], int | None]) -> int:
    """Run a command's body and return its exit code: 2 for a user's mistake, 130 for Ctrl-C.

    A disk that cannot be written counts as a user's mistake. It is 141 where the reader of the
    output, such as `head`, has ended.
    """
    try:
        with _plain_warnings():
            code = main() or 0
        sys.stdout.flush()
        return code
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except UnwritableError as error:
        print(f"error: Cannot write '{error.filename}': {error.strerror}.", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still buffered
        return 141
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings meant for users as one line, without the place in the code they come from."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_plainly(
            message: Warning | str, category: type[Warning], *rest: Any, **options: Any
        ) -> None:
            if issubclass(category, UserWarning):
                note(f"warning: {message}")
            else:
                show(message, category, *rest, **options)

        warnings.showwarning = show_plainly
        yield


def note(text: str) -> None:
    """Tell the user something beside a command's output, on stderr."""
    print(text, file=sys.stderr, flush=True)


def plain_table() -> Table:
    """Return a table for the terminal, without lines around its cells."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


class Progress:
    """A bar with rate and ETA on a terminal, a plain line now and then elsewhere (stderr)."""

    def __init__(self, total: float, description: str, unit: str = "images") -> None:
        self.total, self.description, self.unit = total, description, unit
        self.done, self.note = 0.0, ""
        self._worked = 0.0  # what of it took time
        self._last_line = time.monotonic()
        self._past = deque([(self._last_line, 0.0)])  # times, and what was worked by then
        self._bar = None
        if sys.stderr.isatty():
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f}%"),
                TextColumn("{task.fields[rate]}"),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(description, total=total, rate="", left="", note="")
            self._bar.start()

    @property
    def rate(self) -> float:
        """Units done per second, of late."""
        since, worked = self._past[0]
        return (self._worked - worked) / max(time.monotonic() - since, 1e-9)

    @property
    def left(self) -> float:
        """Seconds that what is left takes at that rate."""
        return (self.total - self.done) / self.rate if self.rate > 0 else math.inf

    def restart(self) -> None:
        """Measure the rate from now on: what took time before was other work."""
        self._past = deque([(time.monotonic(), self._worked)])

    def skip(self, amount: float) -> None:
        """Count `amount` more units as done that took no time, which the rate leaves out.

        Such as what a resumed run remembers, and what need not be done after all.
        """
        self.done += amount
        if self._bar is not None:
            self._bar.update(self._task, advance=amount)

    def advance(self, amount: float, note: str = "") -> None:
        """Count `amount` more units as done; `note` replaces the text behind the bar."""
        self.done += amount
        self._worked += amount
        self.note = note or self.note
        now = time.monotonic()
        self._past.append((now, self._worked))
        while len(self._past) > 1 and self._past[1][0] <= now - WINDOW:
            self._past.popleft()
        if self._bar is not None:
            rate, left = f"{self.rate:,.1f} {self.unit}/s", clock(self.left)
            self._bar.update(self._task, advance=amount, rate=rate, left=left, note=self.note)
        elif time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._line()

    def describe(self, description: str) -> None:
        """Take another description."""
        self.description = description
        if self._bar is not None:
            self._bar.update(self._task, description=description)

    def resize(self, total: float) -> None:
        """Take another total, where the work turns out longer or shorter."""
        self.total = total
        if self._bar is not None:
            self._bar.update(self._task, total=total)

    def _line(self) -> None:
        self._last_line = time.monotonic()
        percent = 100 * self.done / max(self.total, 1e-9)
        left = f", {self.left:.0f} s left" if math.isfinite(self.left) else ""
        speed = f"{self.rate:,.1f} {self.unit}/s{left}"
        text = f"{self.description}: {percent:.0f}% ({speed}) {self.note}"
        print(text.rstrip(), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away, leaving its last state on the screen."""
        if self._bar is not None:
            self._bar.stop()


def clock(seconds: float) -> str:
    """Write seconds as hours, minutes and seconds; "-" where they are infinite."""
    return str(timedelta(seconds=round(seconds))) if math.isfinite(seconds) else "-"


@contextmanager
def progress(total: float, description: str, unit: str = "images") -> Iterator[Progress]:
    """Yield a Progress that is closed when the block ends."""
    shown = Progress(total, description, unit)
    try:
        yield shown
    finally:
        shown.close()
