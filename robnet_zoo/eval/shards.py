"""Finished blocks on disk, and the log of the block under way: what a killed evaluation keeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from robnet_zoo.attacks.pass_files import PassFiles
from robnet_zoo.attacks.pass_log import PassLog
from robnet_zoo.eval.identity import validate_identity, with_attacks
from robnet_zoo.runtime import files
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.errors import ZooError

IDENTITY = "evaluation.json"
REMEDY = (
    "repeat the command it was made with, leave out --resume to start over, or name another --out"
)
Block = TypeVar("Block")


class Shards:
    """A folder of one JSON file a block, each written whole or not at all.

    Args:
        folder: where; None keeps nothing.
        identity: what decides the verdicts; blocks of another evaluation are refused. Blocks of
            other attacks may lie beside.
    """

    def __init__(self, folder: Path | None, identity: dict[str, Any]) -> None:
        self.folder, self.identity = folder, identity

    def open(self, resume: bool) -> None:
        """Make the folder ready, empty unless `resume`.

        Raises:
            ZooError: it holds blocks of another evaluation and was to be resumed.
        """
        if self.folder is None:
            return
        identity = self.identity
        if not resume:
            self.remove()
        elif (self.folder / IDENTITY).exists():
            stored = _read(self.folder / IDENTITY, dict[str, Any])
            validate_identity(stored, identity, self.folder, "Cannot resume from", REMEDY)
            identity = with_attacks(stored, identity)
        files.write_json(self.folder / IDENTITY, identity)

    def load(self, stage: str, number: int, kind: type[Block]) -> Block | None:
        """Return a stored block as a value of type `kind`, None if there is none.

        Raises:
            ZooError: it is damaged.
        """
        path = self._path(stage, number)
        return _read(path, kind) if path is not None and path.exists() else None

    def save(self, stage: str, number: int, block: Any) -> None:
        """Store a finished block, in place of its log."""
        path = self._path(stage, number)
        if path is not None:
            files.write_text(path, json.dumps(to_builtins(block), allow_nan=False))
            PassFiles(path.parent, path.stem).remove()

    def log(self, stage: str, number: int) -> PassLog | None:
        """Return the log of a block under way, with what a killed run left in it."""
        path = self._path(stage, number)
        return None if path is None else PassLog(path.parent, path.stem)

    def remove(self) -> None:
        """Remove the folder once its content is in the record."""
        if self.folder is not None and self.folder.exists():
            shutil.rmtree(self.folder)

    def _path(self, stage: str, number: int) -> Path | None:
        return None if self.folder is None else self.folder / f"{stage}.{number:05d}.json"


def _read(path: Path, kind: type[Block]) -> Block:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ZooError(f"Cannot read '{path}' ({error}); delete it and resume.") from error
