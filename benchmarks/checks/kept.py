"""What an unfinished run has measured, in a file beside its record, so that a kill loses little."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import robnet_zoo
from robnet_zoo.runtime import console, files

Row = dict[str, Any]
SOURCES = (Path(robnet_zoo.__file__).parent, Path(__file__).parent)


def sources_hash() -> str:
    """Return the hash of all code that a row depends on."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class Kept:
    """Rows by name, written after each; those of other settings or code are dropped."""

    def __init__(self, record: Path, key: Mapping[str, Any]) -> None:
        self.path = record.with_name(f"{record.name}.partial")
        self.key = json.loads(json.dumps({**key, "sources": sources_hash()}))
        self.rows: dict[str, Row] = {}
        if self.path.exists():
            saved = json.loads(self.path.read_text(encoding="utf-8"))
            if saved["key"] == self.key:
                self.rows = saved["rows"]
                console.note(f"{len(self.rows)} networks are done; going on with the others.")
            else:
                console.note("Settings, versions or code have changed; starting again.")

    def once(self, name: str, measure: Callable[[], Row]) -> Row:
        """Return the row of this name, measured now if it has not been."""
        if name not in self.rows:
            self.rows[name] = measure()
            files.write_json(self.path, {"key": self.key, "rows": self.rows})
        return self.rows[name]

    def remove(self) -> None:
        """Delete the file: the record holds all of it now."""
        self.path.unlink(missing_ok=True)
