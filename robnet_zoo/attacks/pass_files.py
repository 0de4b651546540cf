"""Events of an attack under way, on disk: what its passes through the model returned.

They are written in pieces, each whole or not at all. An event has a place, (4,) for the attack's
fifth and (4, 2) for the third within a step that is the attack's fifth. A finished step stands for
everything within it, and pieces that hold nothing else are removed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from glob import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from robnet_zoo.runtime.files import atomic_path

Kind = Literal["forward", "backward", "step"]
Place = tuple[int, ...]


class Event(NamedTuple):
    """One thing that was computed for an attack.

    Attributes:
        place: in the attack's order.
        kind: a pass forwards, a pass backwards, or a step of several passes.
        key: a hash of what it was computed from.
        values: what was returned, and the state of the generators where it changed them.
        note: what else a replay needs, ready for JSON.
    """

    place: Place
    kind: Kind
    key: str
    values: Sequence[Tensor]
    note: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes that its values take."""
        return sum(value.numel() * value.element_size() for value in self.values)


class _Stored(Sequence[Tensor]):
    """The values of one event in a file, read when they are asked for."""

    def __init__(self, file: Any, number: int, count: int) -> None:
        self.file, self.number, self.length = file, number, count

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        return self.file.get_tensor(f"{self.number}.{range(self.length)[index]}")


class PassFiles:
    """The pieces of one attack on one block of images.

    Args:
        folder: where they are.
        stem: how their names begin.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self.folder, self.stem = folder, stem
        self.pieces: dict[Path, list[Place]] = {}
        self.seconds = 0.0  # that the attack had taken when the last one was written
        self.bytes = 0

    def load(self) -> list[Event]:
        """Return the events on disk, in order and without gaps; damaged pieces end them."""
        from safetensors import SafetensorError, safe_open

        events: list[Event] = []
        for path in sorted(self.folder.glob(f"{escape(self.stem)}.passes.*")):
            try:
                file = safe_open(path, "pt")  # open as long as its values are wanted
                header = json.loads(file.metadata()["events"])
                self.seconds = float(file.metadata()["seconds"])
            except (OSError, SafetensorError, KeyError, TypeError, ValueError):
                break
            void = header["void"]
            events = [event for event in events if void is None or event.place < tuple(void)]
            for number, (place, kind, key, count, note) in enumerate(header["events"]):
                values = _Stored(file, number, count)
                events.append(Event(tuple(place), kind, key, values, note))
            self.pieces[path] = [tuple(place) for place, *_ in header["events"]]
            self.bytes += path.stat().st_size
        return _in_order(events)

    def write(self, events: Sequence[Event], seconds: float, void: Place | None) -> None:
        """Write events as one more piece, and remove those that it makes needless.

        Args:
            events: the next ones.
            seconds: that the attack has taken.
            void: the place from which on whatever earlier pieces hold counts no more, if any.
        """
        from safetensors.torch import save_file

        last = max(self.pieces, default=None)
        number = 0 if last is None else int(last.name.rpartition(".")[2]) + 1
        path = self.folder / f"{self.stem}.passes.{number:06d}"
        rows = [(e.place, e.kind, e.key, len(e.values), e.note) for e in events]
        tensors = {
            f"{number}.{index}": value.detach().cpu().contiguous().clone()
            for number, event in enumerate(events)
            for index, value in enumerate(event.values)
        }
        header = {"void": void, "events": rows}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, {"events": json.dumps(header), "seconds": str(seconds)})
        self.pieces[path] = [event.place for event in events]
        self.bytes += path.stat().st_size
        self._remove({event.place[0] for event in events if event.kind == "step"})

    def remove(self) -> None:
        """Remove every piece."""
        for path in self.folder.glob(f"{escape(self.stem)}.passes.*"):
            path.unlink(missing_ok=True)

    def _remove(self, steps: set[int]) -> None:
        for path, places in list(self.pieces.items())[:-1]:
            if all(len(place) > 1 and place[0] in steps for place in places):
                self.bytes -= path.stat().st_size
                path.unlink()
                del self.pieces[path]


def _in_order(events: list[Event]) -> list[Event]:
    """Return the events up to the first gap, a finished step in place of what it holds."""
    steps = {event.place[0] for event in events if event.kind == "step"}
    kept: list[Event] = []
    expected: set[Place] = {(0,), (0, 0)}
    for event in sorted(events, key=lambda event: event.place):
        if len(event.place) > 1 and event.place[0] in steps:
            continue
        if event.place not in expected:
            break
        kept.append(event)
        outer = event.place[0]
        expected = (
            {(outer, event.place[1] + 1)}
            if len(event.place) > 1
            else {(outer + 1,), (outer + 1, 0)}
        )
    return kept
