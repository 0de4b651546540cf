"""Optuna's JournalStorage in a file on a shared disk, with heartbeats, which it has none of."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

BEAT = "heartbeat"


class Journal(JournalStorage, BaseHeartbeat):
    """A journal whose trials go stale when their worker's heartbeat stops.

    A heartbeat is a number that rises. Whoever looks on measures by a clock of its own how long
    it has not risen, so that the clocks of several machines need not agree.
    """

    def __init__(self, path: Path, interval: int, patience: int) -> None:
        """Open a journal, or begin it.

        Args:
            path: of the file; a file beside it with ".lock" behind its name is the lock.
            interval: seconds between heartbeats.
            patience: seconds without one after which a trial is stale.

        Raises:
            StorageInternalError: the file cannot be used.
        """
        self._interval, self._patience = interval, patience
        self._seen: dict[int, tuple[int, float]] = {}  # by trial: its beat, and since when
        self._beats = 0
        try:
            # a lock made by O_EXCL holds on NFS from version 3 on, and on Windows
            backend = _Backend(str(path), JournalFileOpenLock(str(path)))
        except OSError as error:
            raise StorageInternalError(str(error)) from error
        super().__init__(backend)

    def record_heartbeat(self, trial_id: int) -> None:
        """Record that the worker of a trial is alive."""
        self._beats += 1
        # where another worker has ended the trial, whoever reports its result is told
        with contextlib.suppress(UpdateFinishedTrialError):
            self.set_trial_system_attr(trial_id, BEAT, self._beats)

    def get_heartbeat_interval(self) -> int:
        """Return the seconds between heartbeats."""
        return self._interval

    def get_heartbeat_stale_trial_callback(self) -> Callable[[Study, FrozenTrial], None] | None:
        """Return nothing: a stale trial's candidate is free again, and that is all."""
        return None

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        now = time.monotonic()
        stale = []
        for trial in self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
            beat = trial.system_attrs.get(BEAT, 0)
            last, since = self._seen.get(trial._trial_id, (-1, now))
            if beat != last:
                self._seen[trial._trial_id] = (beat, now)
            elif now - since > self._patience:
                stale.append(trial._trial_id)
        return stale


class _Backend(JournalFileBackend):
    """The file of a journal, whose errors are those of a storage."""

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        try:
            yield from super().read_logs(log_number_from)
        except (OSError, ValueError) as error:
            raise StorageInternalError(f"{error} ({self._file_path})") from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        try:
            super().append_logs(logs)
        except (OSError, RuntimeError) as error:
            raise StorageInternalError(f"{error} ({self._file_path})") from error
