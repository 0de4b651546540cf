"""The time a run takes, and the schedule that fits it to a budget."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from robnet_zoo.train.recipes import Recipe
from robnet_zoo.train.schedule import Schedule, mean_passes, passes
from robnet_zoo.train.state import Run

WARM_UP, PROBE = (
    2,
    3,
)  # steps of a session that are not timed, and timed before it reschedules
GPU_WARM_UP = 8  # there, with cuDNN's trials and a recording among them
AHEAD = 2  # steps that the host may be ahead of the GPU
LAST_EPOCHS = 4  # that are all validated
FORGET = 0.98  # weight of what was measured before, per step: the last fifty or so count
RESERVE = 0.01  # fraction of a budget kept for steps that take longer than those before
CLOSING_SECONDS = 3.0  # for the record and the curves
VALIDATION_PASSES = 11  # of each held-out image: ten steps and the verdict


@dataclass
class TimeBudget:
    """What a session measures of its own speed, and how long the run may take.

    Attributes:
        limit: seconds for the whole run; None for no limit.
        now: tells the seconds, from any point on.
        pace: waits until the GPU has all but caught up, so that its time is what is measured.
        ticked: when the run's seconds were last counted.
        steps: steps of this session.
        seconds: spent on training lately.
        passes: network passes over a batch in that time.
        validating: seconds of the last validation; None before the first.
    """

    limit: float | None
    now: Callable[[], float] = time.monotonic
    pace: Callable[[], None] | None = None
    ticked: float = field(default_factory=time.monotonic)
    steps: int = 0
    seconds: float = 0.0
    passes: float = 0.0
    validating: float | None = None

    @property
    def warm_up(self) -> int:
        """Steps of a session that are not timed."""
        return WARM_UP if self.pace is None else GPU_WARM_UP

    def _tick(self, run: Run) -> float:
        now = self.now()
        spent, self.ticked = now - self.ticked, now
        run.state.seconds += spent
        return spent

    def count_step(self, run: Run) -> None:
        """Count the time of the step that was just taken."""
        if self.pace is not None:
            self.pace()
        spent = self._tick(run)
        self.steps += 1
        if self.steps > self.warm_up:
            cost = passes(run.settings.recipe, run.schedule.progress(run.state.step - 1))
            self.seconds = FORGET * self.seconds + spent
            self.passes = FORGET * self.passes + cost

    def count_validation(self, run: Run) -> None:
        """Count the time of the validation that just ended."""
        self.validating = self._tick(run)

    def schedule(self, run: Run) -> Schedule:
        """Return the run's schedule: with a limit, one that fits what is known of the speed."""
        ended = run.state.step >= run.schedule.last
        if self.limit is None or ended or self.steps < self.warm_up + PROBE:
            return run.schedule
        per_pass = self.seconds / self.passes
        return reschedule(
            run.settings.recipe,
            run.schedule,
            run.state.step,
            left=self.limit * (1 - RESERVE) - CLOSING_SECONDS - run.state.seconds,
            seconds_per_pass=per_pass,
            validation_seconds=self._validation_seconds(run),
            steps_per_epoch=run.steps_per_epoch,
        )

    def fits(self, run: Run) -> bool:
        """Return whether the schedule's length is known: with a limit, once the speed is."""
        return self.limit is None or run.schedule.first > 0

    def seconds_left(self, run: Run) -> float | None:
        """Return what the rest of the run takes at the speed of late; None before it is known."""
        if self.steps < self.warm_up + PROBE:
            return None
        recipe, step = run.settings.recipe, run.state.step
        steps = run.schedule.last - step
        if not steps:
            return self._validation_seconds(run)
        training = mean_passes(recipe, run.schedule.progress(step)) * self.seconds / self.passes
        validations = steps / run.steps_per_epoch / recipe.validate_every
        return steps * training + validations * self._validation_seconds(run)

    def _validation_seconds(self, run: Run) -> float:
        """Return the seconds of the last validation; before the first, a guess from the steps."""
        if self.validating is not None:
            return self.validating
        batches = max(1.0, len(run.validation) / run.settings.recipe.batch_size)
        models = 1.0 if run.average is None else 1 + 1 / run.guard_stride
        return self.seconds / self.passes * batches * models * VALIDATION_PASSES


def reschedule(
    recipe: Recipe,
    schedule: Schedule,
    step: int,
    *,
    left: float,
    seconds_per_pass: float,
    validation_seconds: float,
    steps_per_epoch: int,
) -> Schedule:
    """Return a schedule whose last step, and the validation after it, end within the time left.

    Args:
        recipe: tells what a step costs in each part of the training.
        schedule: the present one; the new one goes on from the progress it has reached.
        step: steps taken so far.
        left: seconds left of the budget.
        seconds_per_pass: measured seconds of a network pass over a batch.
        validation_seconds: seconds of a validation; the recipe says after which epochs there is
            one, and there is one at the end.
        steps_per_epoch: steps in an epoch.
    """
    progress, every = schedule.progress(step), recipe.validate_every
    cost = seconds_per_pass * mean_passes(recipe, progress)
    cost += validation_seconds / steps_per_epoch / every
    at_the_end = 1 + LAST_EPOCHS * (1 - 1 / every)  # validations that `cost` does not count
    steps = max(int((left - at_the_end * validation_seconds) / cost), 0)
    return Schedule(step, progress, step + steps)


def validation_is_due(run: Run) -> bool:
    """Return whether the pass that ends now is one after which held-out images are looked at."""
    state, last = run.state, run.schedule.last
    number, epochs = state.epoch + 1, math.ceil(last / run.steps_per_epoch)
    due = number % run.settings.recipe.validate_every == 0 or number > epochs - LAST_EPOCHS
    return due or state.step >= last


def pace(run: Run) -> Callable[[], None] | None:
    """Return what keeps the host at most two steps ahead of the run's GPU; None on a CPU."""
    if not run.processes.device.startswith("cuda"):
        return None
    ahead: deque[torch.cuda.Event] = deque()

    def wait() -> None:
        event = torch.cuda.Event()
        event.record()
        ahead.append(event)
        if len(ahead) > AHEAD:
            ahead.popleft().synchronize()

    return wait
