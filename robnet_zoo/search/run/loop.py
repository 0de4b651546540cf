"""The loop of every search: epochs of steps, a log, checkpoints, and resumption."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from robnet_zoo.runtime.checkpoint import LAST, load_checkpoint, save_checkpoint
from robnet_zoo.runtime.console import progress
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_text
from robnet_zoo.runtime.lock import hold
from robnet_zoo.runtime.randomness import keyed_generator
from robnet_zoo.runtime.signals import SaveTimer, stop_signals
from robnet_zoo.runtime.tables import HISTORY, csv_records
from robnet_zoo.search.run.artifacts import RECORD
from robnet_zoo.search.run.data import SearchData
from robnet_zoo.search.run.finite import check_finite
from robnet_zoo.search.run.recipe import HEADER, SearchRecipe, present_names

SAVE_EVERY = 300.0  # seconds between checkpoints within an epoch


@dataclass(frozen=True)
class StepContext:
    """A step's place in a search.

    Attributes:
        seed: the search's seed.
        epoch: passes that are complete.
        index: steps taken in this pass.
        lr: the weights' learning rate.
        device: where draws are needed.
    """

    seed: int
    epoch: int
    index: int
    lr: float
    device: str

    def generator(self, purpose: str) -> torch.Generator:
        """Return a generator that depends on this step and a purpose alone.

        Draws that every process must agree on, such as a sampled architecture, take a plain
        purpose; noise on a process's own images takes one with its rank.
        """
        key = (self.seed, purpose, self.epoch, self.index)
        return keyed_generator(*key, device=self.device)


class Search(Protocol):
    """What an algorithm gives to the loop."""

    @property
    def step(self) -> Callable[..., Mapping[str, Any]]:
        """(context, one batch from each stream) -> figures to log, as means over an epoch."""

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        """Return what to log of the epoch that ended, and do what is due then."""

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint must hold: tensors and plain values."""

    def load(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint."""


def run_search(
    search: Search,
    data: SearchData,
    recipe: SearchRecipe,
    folder: Path,
    *,
    resume: bool = False,
    save_every: float = SAVE_EVERY,
) -> list[dict[str, Any]]:
    """Run a search to its last epoch and return its log, one row an epoch.

    The folder gets history.csv and last.pt, from which `resume` goes on as if nothing had
    happened: every draw belongs to the number of its step.

    Args:
        search: the algorithm, at its start.
        data: its images.
        recipe: its settings.
        folder: where the files go.
        resume: go on from the folder's checkpoint, if there is one.
        save_every: seconds between checkpoints within an epoch.

    Raises:
        Stopped: the process was asked to stop and has saved its work.
        ZooError: the folder holds another search, or a finished one; another process is at work in
            it; or a figure, a weight or a part of the architecture is not finite.
    """
    path = folder / LAST
    with hold(folder) if data.processes.main else nullcontext():
        if not resume and (path.exists() or (folder / RECORD).exists()):
            raise ZooError(
                f"'{folder}' already holds a search; add --resume, or choose another --out."
            )
        if resume and not path.exists() and (folder / RECORD).exists():
            raise ZooError(
                f"'{folder}' holds a finished search without its checkpoint; choose another --out."
            )
        run = _Run(search, data, recipe, path)
        if resume and path.exists():
            run.load(load_checkpoint(path, data.processes.device))
        timer = SaveTimer(save_every)
        with stop_signals(timer):
            while run.epoch < recipe.epochs:
                run.train_epoch(timer)
    return run.rows


class _Run:
    """A search and where it stands."""

    def __init__(self, search: Search, data: SearchData, recipe: SearchRecipe, path: Path) -> None:
        self.search, self.data, self.recipe, self.path = search, data, recipe, path
        self.epoch = self.index = 0
        self.seconds = 0.0
        self.sums: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []

    def train_epoch(self, timer: SaveTimer) -> None:
        """Train to the end of the epoch under way and write its row."""
        steps, size = len(self.data.streams[0]), self.recipe.batch_size
        lr = self.recipe.rate(self.epoch)
        began, first = time.monotonic(), self.index
        title = f"epoch {self.epoch + 1}/{self.recipe.epochs}"
        main = self.data.processes.main
        with progress((steps - first) * size, title) if main else nullcontext() as bar:
            while self.index < steps:
                context = StepContext(
                    self.recipe.seed, self.epoch, self.index, lr, self.data.processes.device
                )
                batches = (stream.at(self.epoch, self.index) for stream in self.data.streams)
                for key, value in self.search.step(context, *batches).items():
                    self.sums[key] = self.sums.get(key, 0.0) + value
                self.index += 1
                if bar is not None:
                    bar.advance(size)
                if timer.due and self.index < steps:
                    began = self._count(began)
                    self._checkpoint(timer)
        rate = (steps - first) * size / (time.monotonic() - began)
        self._count(began)
        check_finite(self.sums, f"in epoch {self.epoch + 1}")
        row: dict[str, Any] = {"epoch": self.epoch + 1, "lr": lr}
        row |= {key: float(value) / steps for key, value in self.sums.items()}
        row |= self.search.end_epoch(self.epoch)
        check_finite(row, f"after epoch {self.epoch + 1}")
        self.rows.append(row | {"images_per_second": rate, "seconds": self.seconds})
        self.epoch, self.index, self.sums = self.epoch + 1, 0, {}
        if main:
            write_text(self.path.parent / HISTORY, csv_records(self.rows))
            figures = ", ".join(f"{k} {v:.3g}" for k, v in row.items() if isinstance(v, float))
            print(f"epoch {self.epoch}: {figures}", file=sys.stderr, flush=True)
        self._checkpoint(timer)

    def _count(self, began: float) -> float:
        now = time.monotonic()
        self.seconds += now - began
        return now

    def _checkpoint(self, timer: SaveTimer) -> None:
        """Save what is finite; raise Stopped where that was asked for."""
        state = self.search.state()
        step = f"after step {self.index} of epoch {self.epoch + 1}"
        when = step if self.index else f"after epoch {self.epoch}"
        check_finite({**self.sums, **state}, when)
        if self.data.processes.main:
            whole = {
                "recipe": dataclasses.asdict(self.recipe),
                "epoch": self.epoch,
                "index": self.index,
                "seconds": self.seconds,
                "sums": {key: float(value) for key, value in self.sums.items()},
                "rows": self.rows,
                "search": state,
            }
            save_checkpoint(self.path, whole)
        timer.restart()
        timer.raise_if_stopped()

    def load(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint of the same search."""
        asked = dataclasses.asdict(self.recipe)
        for key, saved in present_names(state.get("recipe", {})).items():
            if key not in HEADER and asked.get(key) != saved:
                raise ZooError(
                    f"'{self.path.parent}' was searched with {key}={saved}, not {asked.get(key)}; "
                    "leave the setting as it was, or choose another --out."
                )
        if "search" not in state:
            raise ZooError(f"'{self.path}' is not the checkpoint of a search.")
        self.epoch, self.index = state["epoch"], state["index"]
        self.seconds, self.sums, self.rows = state["seconds"], state["sums"], state["rows"]
        check_finite(state["search"], f"in '{self.path}'")
        self.search.load(state["search"])
