"""The study of many architectures, by any number of workers at once (section 3.3).

Candidates are numbered; a number and the seed fix a candidate's code, and its scores depend on
nothing else, so any worker may judge any candidate. A worker claims the first number that nobody
has judged and nobody is judging. Workers agree through an Optuna storage: a trial is a worker's
turn, and trials claim in the order of their numbers. A worker whose heartbeat stops loses its
turn: its trial fails, and the candidate is free again.

Optuna's own queue (`enqueue_trial`, and `RetryFailedTrialCallback` for what is lost) is not used.
On SQLite it takes a waiting trial by a read and a write apart, so two workers can take the same;
and a trial whose worker dies before its first heartbeat is never retried.
"""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from robnet_zoo.runtime.console import progress

CANDIDATE, ROW = "candidate", "row"  # a trial's attributes: what it judges, and the result
CLAIM_SECONDS = 60  # after which a worker that has claimed no candidate counts as stopped
POLL = 0.5  # seconds between looks at what others do

Row = dict[str, Any]
Judge = Callable[[int], Row]  # a candidate's number -> its row


def work(
    study: optuna.Study,
    count: int,
    judge: Judge,
    report: Callable[[list[Row]], None],
    score: str = "robust",
) -> list[Row]:
    """Judge candidates until all are judged, by this worker and any others.

    Args:
        study: as `open_study` returns it.
        count: number of candidates.
        judge: scores one.
        report: takes the rows that are complete, whenever there are more of them.
        score: column of the rows by which one is better than another.

    Returns:
        The rows of all candidates, by number.
    """
    ended_elsewhere = False

    def objective(trial: optuna.Trial) -> float:
        nonlocal ended_elsewhere
        try:
            number = _claim(study, trial, count)
            if number is None:
                raise optuna.TrialPruned
            row = judge(number)
            trial.set_user_attr(ROW, row)
        except UpdateFinishedTrialError:
            ended_elsewhere = True
            raise
        return row[score]

    reported, before = -1, len(tally(study, count)[0])
    with progress(count - before, "study", "architectures") as bar:
        while True:
            _fail_stale_trials(study)
            judged, running = tally(study, count)
            if len(judged) > reported:
                report([judged[number] for number in sorted(judged)])
                reported = len(judged)
            bar.advance(len(judged) - before - bar.done, _best(judged, score))
            if len(judged) == count:
                return [judged[number] for number in range(count)]
            if len(judged) + len(running) == count:
                time.sleep(POLL)
                continue
            try:
                study.optimize(objective, n_trials=1)
            except ValueError:  # Optuna takes no result of a trial that another worker has ended
                if not ended_elsewhere:
                    raise
                ended_elsewhere = False


def tally(study: optuna.Study, count: int) -> tuple[dict[int, Row], set[int]]:
    """Return the rows of the judged candidates by number, and the numbers being judged."""
    judged: dict[int, Row] = {}
    running = set()
    for trial in study.get_trials(deepcopy=False):
        number = trial.user_attrs.get(CANDIDATE, count)
        if number < count and trial.state == TrialState.COMPLETE:
            judged.setdefault(number, trial.user_attrs[ROW])
        elif number < count and trial.state == TrialState.RUNNING:
            running.add(number)
    return judged, running - judged.keys()


def _claim(study: optuna.Study, trial: optuna.Trial, count: int) -> int | None:
    """Claim the first free candidate for a trial; None where there is none.

    Trials claim in the order of their numbers, which the storage gives out one by one: each waits
    until those before it have claimed or have failed. So no two can claim the same.
    """
    # the first heartbeat must come before the claim: a trial without one never goes stale
    study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
    while any(
        other.number < trial.number and _is_claiming(other)
        for other in study.get_trials(deepcopy=False)
    ):
        time.sleep(POLL / 10)
        _fail_stale_trials(study)
    judged, running = tally(study, count)
    free = (number for number in range(count) if number not in judged and number not in running)
    number = next(free, None)
    if number is not None:
        trial.set_user_attr("worker", f"{platform.node()} {os.getpid()}")
        trial.set_user_attr(CANDIDATE, number)
    return number


def _is_claiming(trial: FrozenTrial) -> bool:
    """Return whether a trial is about to claim a candidate."""
    if trial.state != TrialState.RUNNING or CANDIDATE in trial.user_attrs:
        return False
    begun = trial.datetime_start
    return begun is None or (datetime.now() - begun).total_seconds() < CLAIM_SECONDS


def _fail_stale_trials(study: optuna.Study) -> None:
    """Fail the trials of workers whose heartbeat stopped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def _best(judged: Mapping[int, Row], score: str) -> str:
    return f"best {max(row[score] for row in judged.values()):.1%}" if judged else ""
