"""One process at a time in a run's folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ZooError(
                f"Another process is at work in '{folder}'; wait until it ends, or choose "
                "another --out."
            ) from error
        except OSError as error:
            raise ZooError(
                f"'{folder}' lies where files cannot be locked ({error.strerror}); choose another "
                "--out."
            ) from error
        yield
