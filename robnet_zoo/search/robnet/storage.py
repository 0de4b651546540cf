"""The Optuna study in which workers meet: a database in a folder, or a storage of their own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from robnet_zoo.runtime.errors import ZooError

DATABASE = "study.db"
LOCK_SECONDS = 60  # that SQLite waits for another worker's write


def open_study(
    folder: Path, settings: Mapping[str, Any], *, url: str | None = None, patience: int = 120
) -> optuna.Study:
    """Open a study, or begin it.

    Args:
        folder: its folder, which holds the database where no other is named.
        settings: all that the candidates' scores depend on; they name the study.
        url: a storage that Optuna knows, such as "postgresql://..."; None for the folder's own.
        patience: seconds without a heartbeat after which a worker counts as stopped.

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
