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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robnet_zoo.models.fast.folded import refresh
from robnet_zoo.runtime.checkpoint import load_checkpoint, save_checkpoint
from robnet_zoo.runtime.console import progress
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path, write_text
from robnet_zoo.runtime.tables import HISTORY, csv_records
from robnet_zoo.train.body import autocast
from robnet_zoo.train.budget import TimeBudget, pace, stop_signals, validated
from robnet_zoo.train.schedule import validation_adversary
from robnet_zoo.train.state import Run, folded_form
from robnet_zoo.train.step import start_statistics, train_step
from robnet_zoo.train.validate import Score, validate

LAST, BEST = "last.pt", "best.pt"
MAX_ROLLBACKS = 3
VALIDATION_BATCH = {"cpu": 256, "cuda": 512}


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """The process was asked to stop, and the work is saved; holds the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def fit(
    run: Run,
    folder: Path,
    *,
    save_every: float,
    started: float,
    after_epoch: Callable[[Run], None] | None = None,
) -> None:
    """Train until the plan's last step.

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
    clock = TimeBudget(save_every, run.settings.time_budget, ticked=started, pace=pace(run))
    if run.position.step == 0:
        start_statistics(run)
        _save(run, folder / BEST)  # what a rollback before the first validation goes back to
    with stop_signals(clock):
        while run.position.step < run.plan.last:
            epoch = run.position.epoch
            _train_epoch(run, folder, clock)
            if after_epoch is not None and run.processes.main and run.position.epoch > epoch:
                after_epoch(run)
            if clock.stop:
                _save(run, folder / LAST)
                raise Stopped(clock.stop)


def _train_epoch(run: Run, folder: Path, clock: TimeBudget) -> None:
    """Train to the end of the pass under way, or of the plan, and validate where it is time to."""
    position, size = run.position, run.settings.recipe.batch_size
    order = torch.randperm(len(run.train), generator=run.generator(position.epoch))
    batches = _batches(run, order[position.batch * size :])
    left = min(run.steps_per_epoch - position.batch, run.plan.last - position.step)
    epochs = math.ceil(run.plan.last / run.steps_per_epoch)
    title = f"epoch {position.epoch + 1}/{epochs}"
    began, images = time.monotonic(), position.images
    with progress(left * size, title) if run.processes.main else nullcontext() as bar:
        while position.batch < run.steps_per_epoch and position.step < run.plan.last:
            train_step(run, *next(batches))
            clock.count_step(run)
            due = _agree(run, clock)
            if bar is not None:
                left = min(run.steps_per_epoch - position.batch, run.plan.last - position.step)
                bar.resize(bar.done + (left + 1) * size)
                bar.advance(size)
            if due and not _checkpoint(run, folder, clock):
                return
    rate = (position.images - images) / (time.monotonic() - began)
    _finish_epoch(run, folder, clock, images_per_second=rate)


def _batches(run: Run, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's images and labels of each step, fetched while the last step runs."""
    size, train = run.settings.recipe.batch_size, run.train
    mine = run.processes.share(size)

    def fetch(indices: Tensor) -> tuple[Tensor, Tensor]:
        indices = indices[mine].to(train.device)
        return train.images(indices), train.labels[indices]

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(fetch, order[:size])
        for start in range(size, len(order) + 1, size):
            ready = pending.result()
            pending = pool.submit(fetch, order[start : start + size])
            yield ready


def _agree(run: Run, clock: TimeBudget) -> bool:
    """Bring the plan up to date and return whether a checkpoint is due.

    All processes come to the same mind: the main one's plan and timer, a signal to any of them.
    """
    plan, due = clock.plan(run), clock.save_is_due
    if run.processes.size > 1:
        told = [due, *dataclasses.astuple(plan)] if run.processes.main else [0.0] * 4
        flags = torch.tensor(
            [clock.stop > 0, *told], dtype=torch.float64, device=run.processes.device
        )
        stop, told_due, first, share, last = run.processes.sum(flags).tolist()
        clock.stop = clock.stop or (signal.SIGTERM if stop else 0)
        run.position.plan = (int(first), share, int(last))
        return bool(stop or told_due)
    run.position.plan = dataclasses.astuple(plan)
    return due


def _checkpoint(run: Run, folder: Path, clock: TimeBudget) -> bool:
    """Write `last.pt` within an epoch; return False where the run was rolled back instead."""
    if not math.isfinite(float(run.processes.sum(run.totals.clone())[0])):
        _roll_back(run, folder, "the training loss is not finite")
        return False
    _save(run, folder / LAST)
    clock.saved = clock.now()
    if clock.stop:
        raise Stopped(clock.stop)
    return True


def _finish_epoch(run: Run, folder: Path, clock: TimeBudget, *, images_per_second: float) -> None:
    """Validate, look for a collapse, write the log and the checkpoints."""
    position = run.position
    looked = validated(run)
    scores = _scores(run) if looked else {}
    if looked:
        clock.count_validation(run)
        _agree(run, clock)
    loss, correct, seen = run.processes.sum(run.totals.clone()).tolist()
    trouble = _trouble(run, loss, scores.get("raw"))
    if trouble:
        _roll_back(run, folder, trouble)
        return
    raw = scores.get("raw")
    fallen = raw is not None and _fallen(run, raw.rank, "clean" if raw.robust is None else "robust")
    position.epoch += 1
    position.batch = 0
    run.totals.zero_()
    row: dict[str, Any] = {
        "epoch": position.epoch,
        "step": position.step,
        "lr": float(run.buffers.rate),
        "loss": loss / seen,
        "train_accuracy": correct / seen,
    }
    chosen = "raw" if run.average is None else "ema"
    for name in dict.fromkeys(("raw", chosen)):
        score = scores.get(name)
        row |= {f"{name}_clean": None, f"{name}_robust": None}
        if score is not None:
            row |= {f"{name}_clean": score.clean, f"{name}_robust": score.robust}
    row |= {"images_per_second": images_per_second, "seconds": position.seconds}
    position.history.append(row)
    score, best = scores.get(chosen), position.best
    better = score is not None and (
        best is None or (score.rank > best["rank"] and not fallen)  # a rollback must end well
    )
    if score is not None and better:
        position.best = {
            "epoch": position.epoch,
            "weights": chosen,
            "rank": score.rank,
            **dataclasses.asdict(score),
        }
    if looked or clock.save_is_due:
        _save(run, folder / LAST)
        clock.saved = clock.now()
    if run.processes.main:
        if better:  # the same state
            with atomic_path(folder / BEST) as temporary:
                shutil.copyfile(folder / LAST, temporary)
        write_text(folder / HISTORY, csv_records(position.history))
        _say(_told(row, score))


def _scores(run: Run) -> dict[str, Score]:
    """Return the validation scores of the weights and of their average.

    Where there is an average, it is the one that is chosen; for the guard, which watches the
    weights themselves, some of the images do.
    """
    adversary = validation_adversary(run.threat) if run.settings.recipe.adversarial else None
    models = {"raw": (run.model, run.guard_stride)}
    if run.average is not None:
        models["ema"] = (run.average, 1)
    run.model.eval()
    with autocast(run):
        scores = {
            name: validate(
                _judged(run, name, model),
                run.validation,
                adversary,
                stride=stride,
                batch_size=VALIDATION_BATCH[run.processes.device.partition(":")[0]],
                seed=run.settings.seed,
                processes=run.processes,
            )
            for name, (model, stride) in models.items()
        }
    run.model.train()
    return scores


def _judged(run: Run, name: str, model: nn.Module) -> nn.Module:
    """Return the folded form of a model, up to date."""
    if name not in run.judged:
        run.judged[name] = folded_form(model, run.settings, run.dataset.image_size)
    refresh(run.judged[name])
    return run.judged[name]


def _fallen(run: Run, accuracy: float, kind: str) -> bool:
    """Return whether a held-out accuracy is below half of the best, and not by chance."""
    best = _best_raw(run, kind)
    judged = len(run.validation) / run.guard_stride
    noise = 2 * math.sqrt(best * (1 - best) / judged)
    return accuracy < min(best / 2, best - run.settings.recipe.guard - noise)


def _best_raw(run: Run, kind: str) -> float:
    return max((row[f"raw_{kind}"] for row in _validated_rows(run)), default=0.0)


def _validated_rows(run: Run) -> list[dict[str, Any]]:
    return [row for row in run.position.history if row["raw_clean"] is not None]


def _trouble(run: Run, loss: float, score: Score | None) -> str:
    """Return what is wrong with a run that collapsed, or nothing.

    Catastrophic overfitting takes robust accuracy and leaves the clean one. Where both fall, a
    high learning rate may be all there is to it: one epoch is allowed for recovery.
    """
    if not math.isfinite(loss):
        return "the training loss is not finite"
    if score is None:
        return ""
    kind = "clean" if score.robust is None else "robust"
    if not _fallen(run, score.rank, kind):
        return ""
    before = _validated_rows(run)[-1]
    if _fallen(run, score.clean, "clean") and not _fallen(run, before[f"raw_{kind}"], kind):
        return ""
    return f"held-out {kind} accuracy fell from {_best_raw(run, kind):.1%} to {score.rank:.1%}"


def _roll_back(run: Run, folder: Path, trouble: str) -> None:
    """Go back to the best checkpoint and go on from there with half the learning rate.

    Raises:
        ZooError: this happened too often.
    """
    told = run.position
    event = f"epoch {told.epoch + 1}, step {told.step}: {trouble}"
    if told.rollbacks == MAX_ROLLBACKS:
        raise ZooError(
            f"Training collapsed {MAX_ROLLBACKS + 1} times, last in {event}; "
            f"'{folder / BEST}' holds the best weights, or start again with --set lr=SMALLER."
        )
    run.load(load_checkpoint(folder / BEST, run.processes.device))
    position = run.position
    position.rollbacks = told.rollbacks + 1
    position.seconds, position.images = told.seconds, told.images
    lesson = f"rolled back to epoch {position.epoch} with half the learning rate"
    position.events = [*told.events, f"{event}; {lesson}"]
    _save(run, folder / LAST)
    if run.processes.main:
        _say(f"warning: {position.events[-1]}")


def _save(run: Run, path: Path) -> None:
    state = run.state()  # in every process: it sums the totals
    if run.processes.main:
        save_checkpoint(path, state)


def _told(row: dict[str, Any], score: Score | None) -> str:
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
