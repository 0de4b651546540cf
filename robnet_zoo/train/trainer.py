"""The training loop: passes over the data, validation, checkpoints and rollbacks."""

from __future__ import annotations

import dataclasses
import math
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robnet_zoo.runtime.checkpoint import BEST, LAST, load_checkpoint, save_checkpoint
from robnet_zoo.runtime.console import clock, progress
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path, write_text
from robnet_zoo.runtime.signals import SaveTimer, stop_signals
from robnet_zoo.runtime.tables import HISTORY, csv_records
from robnet_zoo.train.budget import TimeBudget, pace, validation_is_due
from robnet_zoo.train.guard import collapse, has_fallen
from robnet_zoo.train.score import score_weights
from robnet_zoo.train.state import Run
from robnet_zoo.train.step import start_statistics, train_step
from robnet_zoo.train.validate import Score

MAX_ROLLBACKS = 3


@dataclass(frozen=True)
class _Loop:
    """A run that is trained: its folder, its time, and when it is saved."""

    run: Run
    folder: Path
    budget: TimeBudget
    timer: SaveTimer


def fit(
    run: Run,
    folder: Path,
    *,
    save_every: float,
    started: float,
    after_epoch: Callable[[Run], None] | None = None,
) -> None:
    """Train until the schedule's last step.

    `last.pt` is written after every validation, every few minutes and on request to stop;
    `best.pt` whenever the validation score is the best so far.

    Args:
        run: a run, at its start or as a checkpoint left it.
        folder: where the files go; the main process writes them.
        save_every: seconds between checkpoints within an epoch.
        started: when the session began, on the monotonic clock: reading data counts as well.
        after_epoch: called with the run after every epoch, in the main process.

    Raises:
        Stopped: SIGTERM or SIGINT came.
        ZooError: the run collapsed again and again.
    """
    timer = SaveTimer(save_every)
    budget = TimeBudget(run.settings.time_budget, ticked=started, pace=pace(run))
    loop = _Loop(run, folder, budget, timer)
    if run.state.step == 0:
        start_statistics(run)
        _save(run, folder / BEST)  # what a rollback before the first validation goes back to
    with stop_signals(timer):
        while run.state.step < run.schedule.last:
            epoch = run.state.epoch
            _train_epoch(loop)
            if after_epoch is not None and run.processes.main and run.state.epoch > epoch:
                after_epoch(run)
            if timer.stop:
                _save(run, folder / LAST)
                timer.raise_if_stopped()


def _train_epoch(loop: _Loop) -> None:
    """Train to the end of the pass under way, or of the schedule, and validate if it is time."""
    run = loop.run
    state, size = run.state, run.settings.recipe.batch_size
    order = torch.randperm(len(run.train), generator=run.generator(state.epoch))
    batches = _batches(run, order[state.batch * size :])
    began, images = time.monotonic(), state.images
    shown = progress(_steps_left(run) * size, _title(loop))
    with shown if run.processes.main else nullcontext() as bar:
        while _steps_left(run) > 0:
            train_step(run, *next(batches))
            loop.budget.count_step(run)
            due = _agree(loop)
            if bar is not None:
                bar.describe(_title(loop))
                bar.resize(bar.done + (_steps_left(run) + 1) * size)
                left = loop.budget.seconds_left(run)
                bar.advance(size, "" if left is None else f"run: {clock(left)} left")
                if loop.budget.steps <= loop.budget.warm_up:
                    bar.restart()
            if due and not _checkpoint(loop):
                return
    rate = (state.images - images) / (time.monotonic() - began)
    _finish_epoch(loop, images_per_second=rate)


def _title(loop: _Loop) -> str:
    """Name the epoch under way, of so many where that is known."""
    title = f"epoch {loop.run.state.epoch + 1}"
    epochs = math.ceil(loop.run.schedule.last / loop.run.steps_per_epoch)
    return f"{title}/{epochs}" if loop.budget.fits(loop.run) else title


def _steps_left(run: Run) -> int:
    """Return the steps to the end of the pass under way, or of the schedule."""
    return min(run.steps_per_epoch - run.state.batch, run.schedule.last - run.state.step)


def _batches(run: Run, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's images and labels of each step, fetched while the last step runs."""
    size, train = run.settings.recipe.batch_size, run.train
    mine = run.processes.shard(size)

    def fetch(indices: Tensor) -> tuple[Tensor, Tensor]:
        indices = indices[mine].to(train.device)
        return train.images(indices), train.labels[indices]

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(fetch, order[:size])
        for start in range(size, len(order) + 1, size):
            ready = pending.result()
            pending = pool.submit(fetch, order[start : start + size])
            yield ready


def _agree(loop: _Loop) -> bool:
    """Bring the schedule up to date and return whether a checkpoint is due.

    All processes come to the same mind: the main one's schedule and timer, a signal to any.
    """
    run, timer = loop.run, loop.timer
    schedule, due = dataclasses.astuple(loop.budget.schedule(run)), timer.due
    if run.processes.size > 1:
        ours = [due, *schedule] if run.processes.main else [0.0] * 4
        flags = torch.tensor([timer.stop > 0, *ours], dtype=torch.float64)
        total = run.processes.sum(flags.to(run.processes.device))
        stop, due, first, start, last = total.tolist()
        timer.stop = timer.stop or (signal.SIGTERM if stop else 0)
        due, schedule = bool(stop or due), (int(first), start, int(last))
    run.state.plan = schedule
    return due


def _checkpoint(loop: _Loop) -> bool:
    """Write `last.pt` within an epoch; return False where the run was rolled back instead."""
    run = loop.run
    if not math.isfinite(float(run.processes.sum(run.totals.clone())[0])):
        _roll_back(loop, "the training loss is not finite")
        return False
    _save(run, loop.folder / LAST)
    loop.timer.restart()
    loop.timer.raise_if_stopped()
    return True


def _finish_epoch(loop: _Loop, *, images_per_second: float) -> None:
    """Validate, look for a collapse, write the log and the checkpoints."""
    run, state = loop.run, loop.run.state
    validates = validation_is_due(run)
    scores = score_weights(run) if validates else {}
    if validates:
        loop.budget.count_validation(run)
        _agree(loop)
    loss, correct, seen = run.processes.sum(run.totals.clone()).tolist()
    raw = scores.get("raw")
    trouble = collapse(run, loss, raw)
    if trouble:
        _roll_back(loop, trouble)
        return
    fallen = raw is not None and has_fallen(run, raw.rank, raw.kind)
    state.epoch += 1
    state.batch = 0
    run.totals.zero_()
    row: dict[str, Any] = {
        "epoch": state.epoch,
        "step": state.step,
        "lr": float(run.buffers.rate),
        "loss": loss / seen,
        "train_accuracy": correct / seen,
    }
    chosen = "raw" if run.average is None else "ema"
    for name in dict.fromkeys(("raw", chosen)):
        score = scores.get(name)
        row[f"{name}_clean"] = None if score is None else score.clean
        row[f"{name}_robust"] = None if score is None else score.robust
    row |= {"images_per_second": images_per_second, "seconds": state.seconds}
    state.history.append(row)
    score, best = scores.get(chosen), state.best
    better = score is not None and (
        best is None or (score.rank > best["rank"] and not fallen)  # a rollback must end well
    )
    if score is not None and better:
        state.best = {
            "epoch": state.epoch,
            "weights": chosen,
            "rank": score.rank,
            **dataclasses.asdict(score),
        }
    if validates or loop.timer.due:
        _save(run, loop.folder / LAST)
        loop.timer.restart()
    if run.processes.main:
        if better:  # the same state
            with atomic_path(loop.folder / BEST) as temporary:
                shutil.copyfile(loop.folder / LAST, temporary)
        write_text(loop.folder / HISTORY, csv_records(state.history))
        _say(_summary(row, score))


def _roll_back(loop: _Loop, trouble: str) -> None:
    """Go back to the best checkpoint and go on from there with half the learning rate.

    Raises:
        ZooError: this happened too often.
    """
    run, best, before = loop.run, loop.folder / BEST, loop.run.state
    event = f"epoch {before.epoch + 1}, step {before.step}: {trouble}"
    if before.rollbacks == MAX_ROLLBACKS:
        raise ZooError(
            f"Training collapsed {MAX_ROLLBACKS + 1} times, last in {event}; "
            f"'{best}' holds the best weights, or start again with --set lr=SMALLER."
        )
    run.load_state_dict(load_checkpoint(best, run.processes.device))
    state = run.state
    state.rollbacks = before.rollbacks + 1
    state.seconds, state.images = before.seconds, before.images
    lesson = f"rolled back to epoch {state.epoch} with half the learning rate"
    state.events = [*before.events, f"{event}; {lesson}"]
    _save(run, loop.folder / LAST)
    if run.processes.main:
        _say(f"warning: {state.events[-1]}")


def _save(run: Run, path: Path) -> None:
    state = run.state_dict()  # in every process: it sums the totals
    if run.processes.main:
        save_checkpoint(path, state)


def _summary(row: dict[str, Any], score: Score | None) -> str:
    held_out = ""
    if score is not None:
        robust = "" if score.robust is None else f", PGD-10 {score.robust:.1%}"
        held_out = f", held-out clean {score.clean:.1%}{robust}"
    return (
        f"epoch {row['epoch']}: loss {row['loss']:.3f}{held_out} "
        f"({row['images_per_second']:,.0f} images/s, {row['seconds']:.0f} s)"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
