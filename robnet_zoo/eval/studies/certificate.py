"""The record of a certified evaluation: what is certain of each image, and what an attack leaves.

Unlike an attack, which bounds a model's accuracy from above, certificates bound it from below.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from robnet_zoo.eval import record
from robnet_zoo.eval.record import bits, share
from robnet_zoo.eval.studies import sweep as sweeps
from robnet_zoo.plotting import accuracy as figures
from robnet_zoo.runtime import files
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import Proportion

SCHEMA = "robnet_zoo.certificate/1"
SCHEMA_FILE = Path(__file__).with_name("certificate.schema.json")


@dataclass(frozen=True, kw_only=True)
class Point:
    """Accuracies at one size: certified from below, and what the attack leaves.

    `attacked_verdicts` has "1" for each image that the attack did not break.
    """

    epsilon: str
    epsilon_value: float
    certified: Proportion
    attacked: Proportion
    attacked_verdicts: str


@dataclass(frozen=True, kw_only=True)
class Radii:
    """Certified radii (n,) in one norm, 0 for misclassified images, and their averages."""

    each: tuple[float, ...]
    mean: float
    median: float


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """One certified evaluation, as stored in its JSON record.

    Attributes:
        model, data, threat_model, clean: as in records of attacks.
        settings: method, number of bisections, attack and seed.
        radii: by norm, the threat model's at least.
        certified: images whose radius in the threat model's norm is epsilon or more; `verdicts`
            has "1" for each of them.
        points: accuracies against epsilon, up to the threat model's.
        checks: whether the attack broke an image within its certified radius.
    """

    model: record.ModelInfo
    data: record.DataInfo
    threat_model: record.ThreatInfo
    settings: dict[str, Any]
    clean: record.Clean
    radii: dict[str, Radii]
    certified: Proportion
    verdicts: str
    points: tuple[Point, ...]
    seconds: float
    environment: dict[str, Any]
    created: str
    checks: tuple[record.Check, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values."""
        return {"schema": SCHEMA, **asdict(self)}

    def study(self, stem: str) -> sweeps.Study:
        """Return clean, attacked and certified accuracy against epsilon, in files named `stem`."""
        norm, largest = self.threat_model.norm, self.threat_model.epsilon_value
        radii = self.radii[norm].each
        places = sorted({r for r in radii if 0 < r < largest} | {largest})
        clean, attack = self.clean.accuracy, self.settings["attack"]
        lines = {
            "clean": [(0.0, clean), (largest, clean)],
            attack: [(0.0, clean), *((at.epsilon_value, at.attacked) for at in self.points)],
            "certified": [(0.0, clean), *((at, certain(radii, at)) for at in places)],
        }
        return sweeps.Study(
            stem=stem,
            caption=f"certified accuracy against epsilon ({self.data.name})",
            place="epsilon",
            lines=lines,
            plot=partial(figures.curves, lines, f"epsilon ({norm})"),
        )


def averaged(each: Sequence[float]) -> Radii:
    """Return radii with their averages."""
    return Radii(each=tuple(each), mean=statistics.fmean(each), median=statistics.median(each))


def certain(radii: Sequence[float], epsilon: float) -> Proportion:
    """Return the share of images whose class is certain at a size."""
    return share(bits(radius >= epsilon for radius in radii))


def point(report: record.EvaluationRecord, radii: Sequence[float]) -> Point:
    """Return the accuracies at the size of a report of one attack."""
    (found,), threat = report.attacks, report.threat_model
    return Point(
        epsilon=threat.epsilon,
        epsilon_value=threat.epsilon_value,
        certified=certain(radii, threat.epsilon_value),
        attacked=found.robust,
        attacked_verdicts=found.verdicts,
    )


def check(points: Sequence[Point], radii: Sequence[float]) -> record.Check:
    """Return whether no image was broken at a size within its certified radius."""
    broken = [
        f"image {index} at {point.epsilon}"
        for point in points
        for index, verdict in enumerate(point.attacked_verdicts)
        if verdict == "0" and radii[index] >= point.epsilon_value
    ]
    detail = f"the attack broke {', '.join(broken) or 'no image'} within a certified radius"
    return record.Check(name="certificates-hold", passed=not broken, detail=detail)


def write(found: Certificate, path: Path) -> list[Path]:
    """Write the record, and the accuracies against epsilon as CSV and PNG beside it."""
    files.write_json(path, found.to_dict())
    return [path, *sweeps.write(found.study(path.stem), path.parent)]


def read(path: Path) -> Certificate:
    """Read a record that `write` or `to_dict` made.

    Raises:
        ZooError: missing, not JSON, or not a record of this format.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("schema") != SCHEMA:
            raise ValueError("another format")
        return Certificate(
            **{
                **found,
                "model": record.ModelInfo(**found["model"]),
                "data": record.DataInfo(**found["data"]),
                "threat_model": record.ThreatInfo(**found["threat_model"]),
                "clean": _clean(found["clean"]),
                "radii": {norm: averaged(radii["each"]) for norm, radii in found["radii"].items()},
                "certified": Proportion(**found["certified"]),
                "points": tuple(_point(one) for one in found["points"]),
                "checks": tuple(record.Check(**one) for one in found["checks"]),
            }
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ZooError(
            f"Cannot read the certified evaluation '{path}' of format {SCHEMA}: "
            f"{type(error).__name__}: {error}."
        ) from error


def _clean(found: dict[str, Any]) -> record.Clean:
    accuracy, predictions = Proportion(**found["accuracy"]), tuple(found["predictions"])
    return record.Clean(**{**found, "accuracy": accuracy, "predictions": predictions})


def _point(found: dict[str, Any]) -> Point:
    rates = {key: Proportion(**found[key]) for key in ("certified", "attacked")}
    return Point(**{**found, **rates})
