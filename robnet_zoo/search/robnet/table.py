"""The tables of a study and of a cell-free search, read with care and written whole."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_text
from robnet_zoo.runtime.tables import csv_records
from robnet_zoo.search.robnet.codes import Codes, from_text

STUDY, CANDIDATES = "study.csv", "candidates.csv"
COMPLETE, FAILED = "complete", "failed"  # states of a line; only a complete one may be used


@dataclass(frozen=True)
class Studied:
    """An architecture of a study; accuracies are fractions.

    Attributes:
        number: its number in the study.
        codes: its cells.
        clean: accuracy on clean images after fine-tuning.
        robust_before: robust accuracy with the supernet's weights.
        robust: robust accuracy after fine-tuning.
    """

    number: int
    codes: Codes
    clean: float
    robust_before: float
    robust: float


@dataclass(frozen=True)
class Measured:
    """A cell-free candidate before fine-tuning; accuracies are fractions.

    Attributes:
        number: its number in the search.
        codes: its cells, a code for each.
        clean_before: accuracy on clean images.
        robust_before: robust accuracy.
        distances: FSP distance of each cell, first to last.
    """

    number: int
    codes: Codes
    clean_before: float
    robust_before: float
    distances: tuple[float, ...]


class Tuned(NamedTuple):
    """A cell-free candidate before fine-tuning and after it."""

    before: Measured
    after: Studied


def read_study(folder: Path) -> list[Studied]:
    """Read the complete lines of a folder's study.csv.

    Raises:
        ZooError: the file is missing, or a line is not what `codes.COLUMNS` says.
    """
    studied = []
    for line, row in _lines(folder / STUDY):
        try:
            if row["state"] == COMPLETE:
                accuracies = {
                    key: _fraction(row[key]) for key in ("clean", "robust_before", "robust")
                }
                studied.append(Studied(int(row["number"]), from_text(row["code"]), **accuracies))
        except (KeyError, TypeError, ValueError, ZooError) as error:
            raise _unreadable(folder / STUDY, line, error) from error
    return studied


def read_candidates(folder: Path) -> list[Measured]:
    """Read a folder's candidates.csv, which a cell-free search writes.

    Raises:
        ZooError: the file is missing, or a line is not what the search writes.
    """
    measured = []
    for line, row in _lines(folder / CANDIDATES):
        try:
            measured.append(measured_from(row))
        except (KeyError, TypeError, ValueError, ZooError) as error:
            raise _unreadable(folder / CANDIDATES, line, error) from error
    return measured


def all_tuned(folder: Path) -> bool:
    """Return whether a folder's study has a line for each of its cell-free candidates."""
    if not all((folder / name).exists() for name in (CANDIDATES, STUDY)):
        return False
    return len(_lines(folder / STUDY)) == len(_lines(folder / CANDIDATES))


def read_control(folder: Path) -> list[Tuned]:
    """Read the candidates of a cell-free search that rejected none.

    Raises:
        ZooError: as `read_tuned` does, or candidates were rejected or wait for fine-tuning.
    """
    tuned = read_tuned(folder)
    if not all_tuned(folder):
        count = len(read_candidates(folder))
        raise ZooError(
            f"Of the {count} candidates in '{folder}' {len(tuned)} are fine-tuned; the control "
            f"takes all, so go on with its study by robnet study --architectures {count}."
        )
    return tuned


def read_tuned(folder: Path) -> list[Tuned]:
    """Read the candidates of a cell-free search that were fine-tuned, as they were drawn.

    candidates.csv and study.csv are joined by code: the study numbers candidates anew, by their
    distance.

    Raises:
        ZooError: a table is missing or wrong, or they are of different searches.
    """
    measured, studied = read_candidates(folder), read_study(folder)
    after = {each.codes: each for each in studied}
    tuned = [Tuned(each, after[each.codes]) for each in measured if each.codes in after]
    if len(tuned) < len(studied):
        raise ZooError(
            f"'{folder / STUDY}' has architectures that {CANDIDATES} has not; name the folder of "
            "one search."
        )
    return tuned


def measured_from(row: Mapping[str, Any]) -> Measured:
    """Return the candidate of a row, its values as numbers or as text."""
    codes = from_text(row["code"])
    distances = tuple(float(row[f"fsp_{cell}"]) for cell in range(len(codes)))
    before = (_fraction(row["clean_before"]), _fraction(row["robust_before"]))
    return Measured(int(row["number"]), codes, *before, distances)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of the same keys as CSV, atomically; None becomes an empty field."""
    write_text(path, csv_records(rows))


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(enumerate(csv.DictReader(file), start=2))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ZooError(
            f"Cannot read '{path}': {reason}; name the folder of a study or a cell-free search."
        ) from error


def _fraction(text: str | float) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"accuracy {value} is not between 0 and 1")
    return value


def _unreadable(path: Path, line: int, error: Exception) -> ZooError:
    reason = f"column {error} is missing" if isinstance(error, KeyError) else str(error).rstrip(".")
    return ZooError(f"Line {line} of '{path}' cannot be used: {reason}; write the table anew.")
