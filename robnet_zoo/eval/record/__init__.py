"""The record of one evaluation: everything needed to repeat it, and every result."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from robnet_zoo.eval.record import text
from robnet_zoo.eval.record.check import Check, having
from robnet_zoo.eval.record.fields import Timestamp
from robnet_zoo.eval.record.results import AttackResult, Clean, Passes, Totals
from robnet_zoo.eval.record.setup import Addition, DataInfo, ModelInfo, Settings, ThreatInfo
from robnet_zoo.runtime import files
from robnet_zoo.runtime.decode import read_json, to_builtins
from robnet_zoo.runtime.errors import ZooError

SCHEMA = "robnet_zoo.evaluation/1"
T = TypeVar("T", bound=Struct)


class EvaluationRecord(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag=SCHEMA,
):
    """One evaluation, as stored in its JSON record."""

    model: ModelInfo
    data: DataInfo
    threat_model: ThreatInfo
    settings: Settings
    clean: Clean
    attacks: tuple[AttackResult, ...]
    totals: Totals
    environment: dict[str, Any]
    created: Timestamp
    warnings: tuple[str, ...]
    checks: tuple[Check, ...]
    added: tuple[Addition, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def failed_checks(self) -> list[Check]:
        """The checks that failed."""
        return having(self.checks, "failed")

    def attack(self, name: str) -> AttackResult:
        """Return the result of one attack; KeyError if it was not part of the evaluation."""
        return {result.full_name: result for result in self.attacks}[name]

    def passes(self, name: str | None = None) -> Passes:
        """Return the passes for each attacked image, of one attack or of all, in old records too.

        Raises:
            KeyError: there is no attack of this name.
        """
        results = self.attacks if name is None else (self.attack(name),)
        return Passes.over(results, self.clean.accuracy.correct)

    @property
    def attack_names(self) -> list[str]:
        """The names of its attacks, in their order."""
        return [result.full_name for result in self.attacks]

    def __str__(self) -> str:
        """Return the table of the terminal as plain text."""
        return text.render(self.headings, self.rows, self.closing)

    @property
    def headings(self) -> list[str]:
        """What was judged, in lines of text."""
        return text.headings(self.model, self.data, self.threat_model, self.settings)

    @property
    def rows(self) -> list[text.Row]:
        """Accuracies as rows of a table with `text.COLUMNS`."""
        return text.rows(self.clean, self.attacks, self.totals)

    @property
    def closing(self) -> list[text.Line]:
        """What stands below the table: warnings, failed checks and how many passed."""
        return text.closing(self.attacks, self.warnings, self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values, tuples as lists."""
        plain: dict[str, Any] = json.loads(json.dumps(to_builtins(self), allow_nan=False))
        return plain


def write(record: EvaluationRecord, path: Path) -> None:
    """Write the record atomically; lists of plain values stay on one line."""
    encoded = json.dumps(to_builtins(record), indent=2, allow_nan=False, ensure_ascii=False)
    encoded = re.sub(r"\[\n([^][{}]*?)\n\s*\]", _on_one_line, encoded)
    files.write_text(path, encoded + "\n")


def _on_one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r"\n\s*", " ", match.group(1)).strip() + "]"


class _Header(Struct):
    schema: str


def schema_of(path: Path) -> str:
    """Return the format that a JSON record names.

    Raises:
        ZooError: it cannot be read, or is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Header).schema
    except OSError as error:
        raise ZooError(f"Cannot read the record '{path}': {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ZooError(f"'{path}' is not a record of this harness: {error}.") from error


def read(path: str | Path) -> EvaluationRecord:
    """Read a record.

    Raises:
        ZooError: missing, not JSON, or not a record of this format.
    """
    return read_as(Path(path), EvaluationRecord)


def read_as(path: Path, kind: type[T]) -> T:
    """Read a record of a type that has its format as its tag.

    Raises:
        ZooError: missing, not JSON, of another format, incomplete or altered.
    """
    wanted = kind.__struct_config__.tag
    if schema_of(path) != wanted:
        raise ZooError(f"'{path}' is not an evaluation record of format {wanted}.")
    return read_json(path, kind, "evaluation record")
