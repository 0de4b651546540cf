"""The training loop: passes over the data, validation, checkpoints and rollbacks."""

from __future__ import annotations

import dataclasses
import math
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robnet_zoo.console import progress
from robnet_zoo.errors import ZooError
from robnet_zoo.models.folded import fold
from robnet_zoo.train.checkpoint import load_checkpoint, save_checkpoint
from robnet_zoo.train.clock import Clock, stop_signals
from robnet_zoo.train.history import write_history
from robnet_zoo.train.run import Run
from robnet_zoo.train.schedule import validation_adversary
from robnet_zoo.train.step import autocast, start_statistics, train_step
from robnet_zoo.train.validate import Score, validate

LAST, BEST = "last.pt", "best.pt"
MAX_ROLLBACKS = 3
VALIDATION_BATCH = 256


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """The process was asked to stop, and the work is saved; holds the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run_to_the_end(run: Run, folder: Path, *, save_every: float, started: float) -> None:
    """Train until the plan's last step.

    `last.pt` is written after every epoch, every few minutes and on request to stop; `best.pt`
    whenever the validation score is the best so far.

    Args:
        run: a run, at its start or as a checkpoint left it.
        folder: where the files go; the main process writes them.
        save_every: seconds between checkpoints within an epoch.
        started: when the session began, on the monotonic clock: reading data counts as well.

    Raises:
        Stopped: SIGTERM or SIGINT came.
        ZooError: the run collapsed again and again.
    """
    clock = Clock(save_every, run.settings.time_budget, ticked=started)
    if run.position.step == 0:
        start_statistics(run)
        _save(run, folder / BEST)  # what a rollback before the first validation goes back to
    with stop_signals(clock):
        while run.position.step < run.plan.last:
            _train_epoch(run, folder, clock)


def _train_epoch(run: Run, folder: Path, clock: Clock) -> None:
    """Train to the end of the pass under way, or of the plan, and validate."""
    position, size = run.position, run.settings.recipe.batch_size
    order = torch.randperm(len(run.train), generator=run.generator(position.epoch))
    batches = _batches(run, order[position.batch * size :])
    left = min(run.steps_per_epoch - position.batch, run.plan.last - position.step)
    epochs = math.ceil(run.plan.last / run.steps_per_epoch)
    title = f"epoch {position.epoch + 1}/{epochs}"
    began, images = time.monotonic(), position.images
    with progress(left * size, title) if run.world.main else nullcontext() as bar:
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
    mine = run.world.share(size)

    def fetch(indices: Tensor) -> tuple[Tensor, Tensor]:
        indices = indices[mine].to(train.device)
        return train.images(indices), train.labels[indices]

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(fetch, order[:size])
        for start in range(size, len(order) + 1, size):
            ready = pending.result()
            pending = pool.submit(fetch, order[start : start + size])
            yield ready


def _agree(run: Run, clock: Clock) -> bool:
    """Bring the plan up to date and return whether a checkpoint is due.

    All processes come to the same mind: the main one's plan and timer, a signal to any of them.
    """
    plan, due = clock.plan(run), clock.save_is_due
    if run.world.size > 1:
        told = [due, *dataclasses.astuple(plan)] if run.world.main else [0.0] * 4
        flags = torch.tensor([clock.stop > 0, *told], dtype=torch.float64, device=run.world.device)
        stop, told_due, first, share, last = run.world.sum(flags).tolist()
        clock.stop = clock.stop or (signal.SIGTERM if stop else 0)
        run.position.plan = (int(first), share, int(last))
        return bool(stop or told_due)
    run.position.plan = dataclasses.astuple(plan)
    return due


def _checkpoint(run: Run, folder: Path, clock: Clock) -> bool:
    """Write `last.pt` within an epoch; return False where the run was rolled back instead."""
    if not math.isfinite(float(run.world.sum(run.totals.clone())[0])):
        _roll_back(run, folder, "the training loss is not finite")
        return False
    _save(run, folder / LAST)
    clock.saved = clock.now()
    if clock.stop:
        raise Stopped(clock.stop)
    return True


def _finish_epoch(run: Run, folder: Path, clock: Clock, *, images_per_second: float) -> None:
    """Validate, look for a collapse, write the log and the checkpoints."""
    position = run.position
    scores = _scores(run)
    clock.count_validation(run)
    _agree(run, clock)
    loss, correct, seen = run.world.sum(run.totals.clone()).tolist()
    trouble = _trouble(run, loss, scores["raw"])
    if trouble:
        _roll_back(run, folder, trouble)
        return
    raw = scores["raw"]
    fallen = _fallen(run, raw.rank, "clean" if raw.robust is None else "robust")
    position.epoch += 1
    position.batch = 0
    run.totals.zero_()
    row: dict[str, Any] = {
        "epoch": position.epoch,
        "step": position.step,
        "lr": run.optimiser.param_groups[0]["lr"],
        "loss": loss / seen,
        "train_accuracy": correct / seen,
    }
    for name, score in scores.items():
        row |= {f"{name}_clean": score.clean, f"{name}_robust": score.robust}
    row |= {"images_per_second": images_per_second, "seconds": position.seconds}
    position.history.append(row)
    chosen = "raw" if run.average is None else "ema"
    score = scores[chosen]
    best = position.best
    if best is None or (score.rank > best["rank"] and not fallen):  # a rollback must end well
        position.best = {
            "epoch": position.epoch,
            "weights": chosen,
            "rank": score.rank,
            **dataclasses.asdict(score),
        }
        _save(run, folder / BEST)
    _save(run, folder / LAST)
    clock.saved = clock.now()
    if run.world.main:
        write_history(folder, position.history)
        _say(_told(row, score))
    if clock.stop:
        raise Stopped(clock.stop)


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
                fold(model, image_size=run.dataset.image_size),
                run.validation,
                adversary,
                stride=stride,
                batch_size=VALIDATION_BATCH,
                seed=run.settings.seed,
                world=run.world,
            )
            for name, (model, stride) in models.items()
        }
    run.model.train()
    return scores


def _fallen(run: Run, accuracy: float, kind: str) -> bool:
    """Return whether a held-out accuracy is below half of the best, and not by chance."""
    best = _best_raw(run, kind)
    judged = len(run.validation) / run.guard_stride
    noise = 2 * math.sqrt(best * (1 - best) / judged)
    return accuracy < min(best / 2, best - run.settings.recipe.guard - noise)


def _best_raw(run: Run, kind: str) -> float:
    return max((row[f"raw_{kind}"] for row in run.position.history), default=0.0)


def _trouble(run: Run, loss: float, score: Score) -> str:
    """Return what is wrong with a run that collapsed, or nothing.

    Catastrophic overfitting takes robust accuracy and leaves the clean one. Where both fall, a
    high learning rate may be all there is to it: one epoch is allowed for recovery.
    """
    if not math.isfinite(loss):
        return "the training loss is not finite"
    kind = "clean" if score.robust is None else "robust"
    if not _fallen(run, score.rank, kind):
        return ""
    before = run.position.history[-1]
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
    run.load(load_checkpoint(folder / BEST, run.world.device))
    position = run.position
    position.rollbacks = told.rollbacks + 1
    position.seconds, position.images = told.seconds, told.images
    lesson = f"rolled back to epoch {position.epoch} with half the learning rate"
    position.events = [*told.events, f"{event}; {lesson}"]
    _save(run, folder / LAST)
    if run.world.main:
        _say(f"warning: {position.events[-1]}")


def _save(run: Run, path: Path) -> None:
    state = run.state()  # in every process: it sums the totals
    if run.world.main:
        save_checkpoint(path, state)


def _told(row: dict[str, Any], score: Score) -> str:
    robust = "" if score.robust is None else f", PGD-10 {score.robust:.1%}"
    return (
        f"epoch {row['epoch']}: loss {row['loss']:.3f}, held-out clean {score.clean:.1%}{robust} "
        f"({row['images_per_second']:,.0f} images/s, {row['seconds']:.0f} s)"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
