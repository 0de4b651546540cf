"""Files written whole or not at all, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robnet_zoo.runtime.errors import ZooError

# full, over a quota, read-only, forbidden, broken
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


class UnwritableError(OSError):
    """A file could not be written; the command line prints why and exits with 2."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends well.

    A reader, or a process that died half-way, sees the old file or the new one, never a part.

    Raises:
        UnwritableError: the file cannot be written, such as on a full disk.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as file:  # Windows syncs no file that is only read
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise UnwritableError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically, as indented JSON; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def file_name(words: str) -> str:
    """Return words as the name of a file: what is no letter, digit, or . + _ becomes a hyphen."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "-", words)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of the file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(path: Path) -> None:
    """Raise ZooError unless a file could be written at `path`; nothing is left behind.

    Called before long work starts, so that its result is not lost at the end.
    """
    path = Path(path)
    if path.is_dir():
        raise ZooError(f"Cannot write '{path}': it is a folder; name a file.")
    file = next((place for place in path.parents if place.is_file()), None)
    if file:
        raise ZooError(f"Cannot write '{path}': '{file}' is no folder; choose another path.")
    try:
        made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
        for folder in made:
            folder.rmdir()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ZooError(f"Cannot write '{path}': {reason}; choose another path.") from error
