"""The Optuna study in which workers meet: a database in a folder, or a storage of their own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.robnet.journal import Journal
from robnet_zoo.search.robnet.storage_url import JOURNAL, shown, storage_error

DATABASE = "study.db"
LOCK_SECONDS = 60  # that SQLite waits for another worker's write
ATTEMPTS, PAUSE = 12, 0.5  # at an empty database that others fill too, and seconds between them
BEATS = 6  # heartbeats that a worker may miss before it counts as stopped
REMEDY = (
    "name one that Optuna reaches, such as sqlite:///study.db, journal:FILE or "
    "postgresql+psycopg://USER@HOST/DATABASE"
)


def open_study(
    folder: Path, settings: Mapping[str, Any], *, url: str | None = None, patience: int = 120
) -> optuna.Study:
    """Open a study, or begin it.

    Args:
        folder: its folder, which holds the database where no other is named.
        settings: all that the candidates' scores depend on; they name the study.
        url: a storage, as for `open_storage`; None for the folder's own.
        patience: seconds without a heartbeat after which a worker counts as stopped.

    Raises:
        ZooError: the storage cannot be opened, or the folder's database holds a study with other
            settings.
    """
    text = json.dumps(settings, sort_keys=True)
    name = f"robnet {hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = folder / DATABASE
    if url is None and not path.exists():
        _create(path, name)
    storage = open_storage(url or f"sqlite:///{path}", patience)
    if url is None and name not in optuna.get_all_study_names(storage):
        raise ZooError(
            f"'{path}' holds a study of another supernet or with other settings; give the same "
            "ones again, or choose another --out."
        )
    return optuna.create_study(
        study_name=name, storage=storage, direction="maximize", load_if_exists=True
    )


def open_storage(url: str, patience: int = 120) -> BaseStorage:
    """Open a storage, whose tables are made where it is empty.

    Args:
        url: a database's as SQLAlchemy takes it, or "journal:FILE".
        patience: as for `open_study`.

    Raises:
        ZooError: it cannot be opened; the sentence holds no password.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its warnings hold tracebacks
    interval = max(1, patience // BEATS)
    try:
        if url.startswith(JOURNAL):
            return Journal(Path(url.removeprefix(JOURNAL)), interval, patience)
        return _database(url, interval, patience)
    except Exception as error:  # of any driver
        raise storage_error(url, "cannot be opened", error, REMEDY) from None


def copy_studies(source: str, target: str) -> int:
    """Copy all studies of one storage to another, and return how many there were.

    Candidates that were under way are left out, to be judged anew. No worker may be at work.

    Args:
        source: as for `open_storage`, such as "sqlite:///runs/robnet/study.db".
        target: the same; it must not hold any of the studies yet.

    Raises:
        ZooError: one of them cannot be opened, or the target holds such a study.
    """
    here, there = open_storage(source), open_storage(target)
    names = optuna.get_all_study_names(here)
    for name in names:
        old = optuna.load_study(study_name=name, storage=here)
        try:
            new = optuna.create_study(study_name=name, storage=there, directions=old.directions)
        except DuplicatedStudyError as error:
            raise ZooError(
                f"The storage '{shown(target)}' holds the study '{name}' already; workers may go "
                "on with it there."
            ) from error
        for key, value in old.user_attrs.items():
            new.set_user_attr(key, value)
        new.add_trials([trial for trial in old.get_trials() if trial.state.is_finished()])
    return len(names)


def _create(path: Path, name: str) -> None:
    """Make a database with its study under another name, then put it in place if none is there.

    Two workers that begin at once would otherwise create the same tables.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as place:
            made = Path(place) / path.name
            storage = open_storage(f"sqlite:///{made}")
            assert isinstance(storage, RDBStorage)
            optuna.create_study(study_name=name, storage=storage, direction="maximize")
            storage.engine.dispose()
            with contextlib.suppress(FileExistsError):  # the other worker was first
                path.hardlink_to(made)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ZooError(
            f"Cannot create '{path}': {reason}; choose another --out, or name a --storage."
        ) from error


class _Database(RDBStorage):
    """A database that a heartbeat may miss now and then."""

    def record_heartbeat(self, trial_id: int) -> None:
        # an error would end the thread that records them, with a traceback
        with contextlib.suppress(SQLAlchemyError, StorageInternalError):
            super().record_heartbeat(trial_id)


def _database(url: str, interval: int, patience: int) -> RDBStorage:
    """Open a database, again where another worker is about to make the same tables."""
    local = url.startswith("sqlite")
    # a server may have been restarted since a connection was last used
    how = {"connect_args": {"timeout": LOCK_SECONDS}} if local else {"pool_pre_ping": True}
    engine = create_engine(url, **how)
    engine.connect().close()  # one that cannot be reached is not worth more attempts
    engine.dispose()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return _Database(url, dict(how), heartbeat_interval=interval, grace_period=patience)
        except (SQLAlchemyError, StorageInternalError, AssertionError):
            if attempt == ATTEMPTS:
                raise
        time.sleep(PAUSE * random.random())
    raise AssertionError("the last attempt returns or raises")
