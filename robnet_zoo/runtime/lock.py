"""One process at a time in a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable

LOCK = "lock"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a run's folder to this process for the length of the block.

    The operating system takes the lock back when the process ends, however it ends; the empty
    file that stays behind locks nothing.

    Raises:
        ZooError: another process holds the folder, or it cannot be written or locked.
    """
    check_writable(folder / LOCK)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ZooError(
            f"Another process is at work in '{folder}'; wait until it ends, or choose another "
            "--out."
        ) from error
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ZooError(
            f"'{folder}' lies where files cannot be locked ({reason}); choose another --out."
        ) from error
    try:
        yield
    finally:
        lock.release()
