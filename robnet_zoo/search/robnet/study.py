"""The study of many architectures, by any number of workers at once (section 3.3).

Candidates are numbered; a number and the seed fix a candidate's code, and its scores depend on
nothing else, so it matters not who judges it. A worker takes the first number that nobody has
judged and nobody is judging. Workers agree through an Optuna storage: trials are their turns,
in the order of the trials' numbers, and a worker that gives no sign of life for a while loses
its turn, so that its candidate is free again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from robnet_zoo.runtime.console import progress
from robnet_zoo.runtime.errors import ZooError

CANDIDATE, ROW = "candidate", "row"  # a trial's attributes: what it judges, what it found
DATABASE = "study.db"
CHOOSING_SECONDS = 60  # after which a worker that has not taken a candidate is taken for dead
POLL = 0.5  # seconds between looks at what others do
LOCK_SECONDS = 60  # that SQLite waits for another worker's write

Row = dict[str, Any]
Judge = Callable[[int], Row]  # a candidate's number -> its row


def open_study(
    folder: Path, settings: Mapping[str, Any], *, url: str | None = None, patience: int = 120
) -> optuna.Study:
    """Open a study, or begin it.

    Args:
        folder: its folder, which holds the database where no other is named.
        settings: all that the candidates' scores depend on; they name the study.
        url: a storage that Optuna knows, such as "postgresql://..."; None for the folder's own.
        patience: seconds without a sign of life after which a worker is taken for dead.

    Raises:
        ZooError: the folder's database holds a study with other settings.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    text = json.dumps(settings, sort_keys=True)
    name = f"robnet {hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = folder / DATABASE
    if url is None and not path.exists():
        _create(path, name)
    storage = _storage(url or f"sqlite:///{path}", patience)
    if url is None and name not in optuna.get_all_study_names(storage):
        raise ZooError(
            f"'{path}' holds a study of another supernet or with other settings; give the same "
            "ones again, or choose another --out."
        )
    return optuna.create_study(
        study_name=name, storage=storage, direction="maximize", load_if_exists=True
    )


def _create(path: Path, name: str) -> None:
    """Make a database with its study under another name, then put it in place if none is there.

    Two workers that begin at once would otherwise create the same tables.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        made = Path(place) / path.name
        storage = _storage(f"sqlite:///{made}", 1)
        optuna.create_study(study_name=name, storage=storage, direction="maximize")
        storage.engine.dispose()
        with contextlib.suppress(FileExistsError):  # the other worker was first
            path.hardlink_to(made)


def _storage(url: str, patience: int) -> RDBStorage:
    wait = {"connect_args": {"timeout": LOCK_SECONDS}} if url.startswith("sqlite") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            return RDBStorage(
                url,
                engine_kwargs=wait,
                heartbeat_interval=max(1, patience // 6),
                grace_period=patience,
            )
        except (ImportError, SQLAlchemyError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ZooError(
                f"The storage '{url}' cannot be opened: {reason}; name a database that Optuna "
                "reaches, such as sqlite:///study.db."
            ) from error


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
    buried = False

    def objective(trial: optuna.Trial) -> float:
        nonlocal buried
        try:
            number = _claim(study, trial, count)
            if number is None:
                raise optuna.TrialPruned
            row = judge(number)
            trial.set_user_attr(ROW, row)
        except UpdateFinishedTrialError:
            buried = True
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
                if not buried:
                    raise
                buried = False


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
    """Take the first free candidate; None where there is none.

    Trials claim in the order of their numbers, which the storage gives out one by one: each waits
    until those before it have claimed, or are dead. So no two can take the same.
    """
    # the first sign of life must come before the claim: a claim without one would never go stale
    study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
    while any(
        other.number < trial.number and _is_choosing(other)
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


def _is_choosing(trial: FrozenTrial) -> bool:
    """Return whether a trial is about to claim a candidate."""
    if trial.state != TrialState.RUNNING or CANDIDATE in trial.user_attrs:
        return False
    begun = trial.datetime_start
    return begun is None or (datetime.now() - begun).total_seconds() < CHOOSING_SECONDS


def _fail_stale_trials(study: optuna.Study) -> None:
    """End the trials of workers that give no sign of life any more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def _best(judged: Mapping[int, Row], score: str) -> str:
    return f"best {max(row[score] for row in judged.values()):.1%}" if judged else ""
