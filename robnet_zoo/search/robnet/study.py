"""The study of many architectures, by any number of workers at once (section 3.3).

Candidates are numbered; a number and the seed fix a candidate's code, and its scores depend on
nothing else, so any worker may judge any candidate. A worker claims the first number that nobody
has judged and nobody is judging. Workers agree through an Optuna storage: a trial is a worker's
turn, and trials claim in the order of their numbers. A worker whose heartbeat stops loses its
turn: its trial fails, and the candidate is free again.

A candidate whose judgement raises an error is recorded as failed and is not judged again, unless
`retry_failed` asks for it; the same goes for one at which several workers stopped.

Optuna's own queue (`enqueue_trial`, and `RetryFailedTrialCallback` for what is lost) is not used.
On SQLite it takes a waiting trial by a read and a write apart, so two workers can take the same;
and a trial whose worker dies before its first heartbeat is never retried.
"""

from __future__ import annotations

import math
import os
import platform
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from robnet_zoo.runtime.console import note, progress
from robnet_zoo.runtime.errors import ZooError, cause

CANDIDATE, ROW = "candidate", "row"  # a trial's attributes: what it judges, and the result,
ERROR, INTERRUPTED = "error", "interrupted"  # or why there is none
RETRIED = "retried"  # a study's attribute: failures of trials below this number do not count
CLAIM_SECONDS = 60  # after which a worker that has claimed no candidate counts as stopped
POLL = 0.5  # seconds between looks at what others do
STOPS = 3  # workers that stop at a candidate before it counts as failed
IN_A_ROW = 3  # failures after which a worker takes itself for the cause
LONGEST = 300  # letters of a failure's reason that are kept

Row = dict[str, Any]
Judge = Callable[[int], Row]  # a candidate's number -> its row
Report = Callable[[list[Row], Mapping[int, str]], None]


class Tally(NamedTuple):
    """Where a study stands.

    Attributes:
        judged: the rows of the candidates that are judged, by number.
        running: the numbers of those being judged.
        failed: why the others have no row and get none, by number.
    """

    judged: dict[int, Row]
    running: set[int]
    failed: dict[int, str]


class _FailedError(Exception):
    """A candidate's judgement has failed, and its trial says why."""


def work(
    study: optuna.Study,
    count: int,
    judge: Judge,
    report: Report,
    score: str = "robust",
) -> list[Row]:
    """Judge candidates until all are judged or have failed, by this worker and any others.

    Args:
        study: as `open_study` returns it.
        count: number of candidates.
        judge: scores one; an error, or a figure that is not finite, makes the candidate fail.
        report: takes the complete rows and the failures whenever there are more of them.
        score: column of the rows by which one is better than another.

    Returns:
        The rows of the judged candidates, by number.

    Raises:
        ZooError: no candidate could be judged, or several in a row failed under this worker.
    """
    ended_elsewhere = False
    in_a_row: list[str] = []
    seen: dict[int, float] = {}

    def objective(trial: optuna.Trial) -> float:
        nonlocal ended_elsewhere
        try:
            number = _claim(study, trial, count, seen)
            if number is None:
                raise optuna.TrialPruned
            try:
                row = _finite(judge(number))
            except KeyboardInterrupt:
                trial.set_user_attr(INTERRUPTED, True)
                raise
            except Exception as error:
                reason = str(error) if isinstance(error, ZooError) else cause(error)
                in_a_row.append(reason[:LONGEST])
                note(f"candidate {number} failed: {in_a_row[-1]}")
                trial.set_user_attr(ERROR, in_a_row[-1])
                raise _FailedError from error
            in_a_row.clear()
            trial.set_user_attr(ROW, row)
        except UpdateFinishedTrialError:
            ended_elsewhere = True
            raise
        return row[score]

    reported, before = -1, _settled(tally(study, count))
    with progress(count - before, "study", "architectures") as bar:
        while True:
            _fail_stale_trials(study)
            judged, running, failed = standing = tally(study, count)
            settled = _settled(standing)
            rows = [judged[number] for number in sorted(judged)]
            if settled > reported:
                report(rows, failed)
                reported = settled
            bar.advance(settled - before - bar.done, _best(judged, score))
            if settled == count:
                if not rows:
                    raise ZooError(
                        f"All {count} candidates failed, the first by: {failed[0].rstrip('.')}; "
                        "mend that, then add --retry-failed."
                    )
                return rows
            if len(in_a_row) >= IN_A_ROW:
                raise ZooError(
                    f"{IN_A_ROW} candidates in a row failed under this worker, the last by: "
                    f"{in_a_row[-1].rstrip('.')}; mend that, then start it again with "
                    "--retry-failed."
                )
            if settled + len(running) == count:
                time.sleep(POLL)
                continue
            try:
                study.optimize(objective, n_trials=1, catch=(_FailedError,))
            except ValueError:  # Optuna takes no result of a trial that another worker has ended
                if not ended_elsewhere:
                    raise
                ended_elsewhere = False


def tally(study: optuna.Study, count: int) -> Tally:
    """Return where the first `count` candidates of a study stand."""
    judged: dict[int, Row] = {}
    running, stops, failed = set(), Counter[int](), dict[int, str]()
    since = study.user_attrs.get(RETRIED, 0)
    for trial in study.get_trials(deepcopy=False):
        attributes = trial.user_attrs
        number = attributes.get(CANDIDATE, count)
        if number >= count:
            continue
        if trial.state == TrialState.COMPLETE:
            judged.setdefault(number, attributes[ROW])
        elif trial.state == TrialState.RUNNING:
            running.add(number)
        elif trial.number >= since and ERROR in attributes:
            failed.setdefault(number, attributes[ERROR])
        elif trial.number >= since and INTERRUPTED not in attributes:
            stops[number] += 1
            if stops[number] >= STOPS:
                failed.setdefault(number, f"{STOPS} workers stopped while they judged it")
    failed = {number: why for number, why in sorted(failed.items()) if number not in judged}
    return Tally(judged, running - judged.keys() - failed.keys(), failed)


def retry_failed(study: optuna.Study) -> None:
    """Let the candidates that have failed be judged again."""
    study.set_user_attr(RETRIED, len(study.get_trials(deepcopy=False)))


def _settled(standing: Tally) -> int:
    return len(standing.judged) + len(standing.failed)


def _finite(row: Row) -> Row:
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ZooError(f"its {name} is {value}")
    return row


def _claim(
    study: optuna.Study, trial: optuna.Trial, count: int, seen: dict[int, float]
) -> int | None:
    """Claim the first free candidate for a trial; None where there is none.

    Trials claim in the order of their numbers, which the storage gives out one by one: each waits
    until those before it have claimed or have failed. So no two can claim the same.

    Args:
        study: the study.
        trial: this worker's turn.
        count: number of candidates.
        seen: when this worker first saw a trial that had not claimed yet, by its number.
    """
    # the first heartbeat must come before the claim: a trial without one never goes stale
    study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
    while any(
        other.number < trial.number and _is_claiming(other, seen)
        for other in study.get_trials(deepcopy=False)
    ):
        time.sleep(POLL / 10)
        _fail_stale_trials(study)
    judged, running, failed = tally(study, count)
    taken = judged.keys() | running | failed.keys()
    number = next((number for number in range(count) if number not in taken), None)
    if number is not None:
        trial.set_user_attr("worker", f"{platform.node()} {os.getpid()}")
        trial.set_user_attr(CANDIDATE, number)
    return number


def _is_claiming(trial: FrozenTrial, seen: dict[int, float]) -> bool:
    """Return whether a trial is about to claim a candidate.

    Its own time of start is that of another machine, whose clock may be wrong.
    """
    if trial.state != TrialState.RUNNING or CANDIDATE in trial.user_attrs:
        return False
    now = time.monotonic()
    return now - seen.setdefault(trial.number, now) < CLAIM_SECONDS


def _fail_stale_trials(study: optuna.Study) -> None:
    """Fail the trials of workers whose heartbeat stopped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def _best(judged: Mapping[int, Row], score: str) -> str:
    return f"best {max(row[score] for row in judged.values()):.1%}" if judged else ""
