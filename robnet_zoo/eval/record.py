"""The record of one evaluation: everything needed to repeat it, and everything found.

Per-image verdicts are strings of one character an image, "1" for robust and "0" for broken, in
the order of the images; an image that is misclassified without an attack is "0" everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from robnet_zoo.runtime import files
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import Proportion, proportion

SCHEMA = "robnet_zoo.evaluation/1"
SCHEMA_FILE = Path(__file__).with_name("record.schema.json")


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What was judged.

    `state_sha256` hashes the parameters and buffers as they were in memory, and
    `weights_file_sha256` the file they came from, where there was one.
    """

    name: str
    state_sha256: str
    parameters: int
    architecture: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    weights_file_sha256: str = ""
    genotype_status: str = ""


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """The images it was judged on, the first n of those available, and their hash."""

    name: str
    split: str
    n: int
    available: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ThreatInfo:
    """What the attacker may do: sizes as written and as floats, for pixels in [0,1]."""

    name: str
    norm: str
    epsilon: str
    epsilon_value: float
    step: str
    step_value: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What else a repetition needs; `batch_size` and `device` do not change the verdicts.

    `folded` says that attacks saw the model in its folded form, `compile` in which mode it was
    compiled; the verdicts are the model's.
    """

    seed: int
    block_size: int
    batch_size: int
    device: str
    attacks: tuple[str, ...]
    folded: bool = False
    compile: str | None = None


@dataclass(frozen=True, kw_only=True)
class Clean:
    """Accuracy without an attack; `predictions` is the class given to each image."""

    accuracy: Proportion
    verdicts: str
    predictions: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """How many of the n images are robust after each step; entry 0 is the attack's start.

    `last` judges the iterate of that very step, `any` every iterate up to it; with restarts an
    image must survive them all. Entry k is therefore the result of the same attack with k steps.
    `last` is empty where the attack left images alone once they were broken.
    """

    last: tuple[int, ...]
    any: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Queries:
    """What a black-box attack asked the model: queries spent on each of the images it broke."""

    budget: int
    broken: int
    mean: float | None
    median: float | None


@dataclass(frozen=True, kw_only=True)
class Part:
    """One attack of a suite: it meets only the images that those before it left standing."""

    name: str
    attacked: int
    broken: int
    seconds: float
    forwards: int
    backwards: int


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """What one attack, or one suite of attacks, found.

    `robust` is the worst case (any iterate the attack tried, where it tells them apart) and
    `last` the papers' number, the last iterate alone; both on all n images. `forwards` and
    `backwards` count images. `max_perturbation` is measured by the harness, in float32, and
    `over_epsilon` counts returned images outside the threat model, which are never counted as
    broken. `median_distance` is how far the broken images of an attack that looks for the
    smallest perturbation are, wherever they lie; it is judged at epsilon nevertheless.
    `on_source` tells of the images that a transfer attack was run on how many survive it on the
    very model that they were made on.
    """

    name: str
    settings: dict[str, Any]
    robust: Proportion
    verdicts: str
    last: Proportion | None = None
    last_verdicts: str | None = None
    first_broken: tuple[int | None, ...] | None = None
    trace: Trace | None = None
    parts: tuple[Part, ...] = ()
    queries: Queries | None = None
    on_source: Proportion | None = None
    median_distance: float | None = None
    max_perturbation: float = 0.0
    over_epsilon: int = 0
    seconds: float = 0.0
    forwards: int = 0
    backwards: int = 0

    @property
    def flags(self) -> list[bool]:
        """Whether each image is robust."""
        return [verdict == "1" for verdict in self.verdicts]


@dataclass(frozen=True, kw_only=True)
class ClassTotals:
    """One class: how many images it has, and how many are right and survive every attack."""

    label: int
    name: str
    n: int
    clean: int
    robust: int


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The verdict over all attacks: an image is robust if it survives every one of them."""

    robust: Proportion
    verdicts: str
    clean_mistakes: tuple[int, ...]
    per_class: tuple[ClassTotals, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of whether the numbers can be trusted, such as one for gradient masking."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """One evaluation, as stored in its JSON record."""

    model: ModelInfo
    data: DataInfo
    threat_model: ThreatInfo
    settings: Settings
    clean: Clean
    attacks: tuple[AttackResult, ...]
    totals: Totals
    environment: dict[str, Any]
    created: str
    warnings: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    schema: str = SCHEMA

    def attack(self, name: str) -> AttackResult:
        """Return the result of one attack; KeyError if it was not part of the evaluation."""
        found = {result.name: result for result in self.attacks}
        return found[name]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values, tuples as lists."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return {"schema": plain.pop("schema"), **plain}


def bits(flags: Iterable[bool]) -> str:
    """Return verdicts as text, "1" for robust and "0" for broken."""
    return "".join("1" if flag else "0" for flag in flags)


def share(verdicts: str) -> Proportion:
    """Return the proportion of "1" in verdicts."""
    return proportion(verdicts.count("1"), len(verdicts))


def write(report: EvaluationRecord, path: Path) -> None:
    """Write the record atomically; lists of plain values stay on one line."""
    text = json.dumps(report.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)
    text = re.sub(r"\[\n([^][{}]*?)\n\s*\]", _on_one_line, text)
    files.write_text(path, text + "\n")


def _on_one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r"\n\s*", " ", match.group(1)).strip() + "]"


def schema_of(path: Path) -> str:
    """Return the format that a JSON record names.

    Raises:
        ZooError: it is none.
    """
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["schema"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ZooError(f"'{path}' is not a record of this harness: {error}.") from error


def read(path: str | Path) -> EvaluationRecord:
    """Read a record.

    Raises:
        ZooError: missing, not JSON, or not a record of this format.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ZooError(f"Cannot read the evaluation record '{path}': {error}.") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ZooError(f"'{path}' is not an evaluation record of format {SCHEMA}.")
    try:
        return from_dict(found)
    except (KeyError, TypeError) as error:
        raise ZooError(
            f"The evaluation record '{path}' is incomplete or altered: {error}."
        ) from error


def from_dict(found: dict[str, Any]) -> EvaluationRecord:
    """Build a record from what `to_dict` returned; KeyError or TypeError if it cannot."""
    clean, totals = found["clean"], found["totals"]
    return EvaluationRecord(
        **{
            **found,
            "model": ModelInfo(**found["model"]),
            "data": DataInfo(**found["data"]),
            "threat_model": ThreatInfo(**found["threat_model"]),
            "settings": Settings(**_tuples(found["settings"])),
            "clean": Clean(**{**_tuples(clean), "accuracy": Proportion(**clean["accuracy"])}),
            "attacks": tuple(_attack(one) for one in found["attacks"]),
            "totals": Totals(
                **{
                    **_tuples(totals),
                    "robust": Proportion(**totals["robust"]),
                    "per_class": tuple(ClassTotals(**one) for one in totals["per_class"]),
                }
            ),
            "warnings": tuple(found["warnings"]),
            "checks": tuple(Check(**one) for one in found["checks"]),
        }
    )


def _attack(found: dict[str, Any]) -> AttackResult:
    last, trace, queries = found["last"], found["trace"], found["queries"]
    on_source = found["on_source"]
    return AttackResult(
        **{
            **_tuples(found),
            "robust": Proportion(**found["robust"]),
            "last": last and Proportion(**last),
            "trace": trace and Trace(**_tuples(trace)),
            "queries": queries and Queries(**queries),
            "on_source": on_source and Proportion(**on_source),
            "parts": tuple(Part(**one) for one in found["parts"]),
        }
    )


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
