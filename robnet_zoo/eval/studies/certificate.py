"""The record of a certified evaluation: what is certain of each image, and what an attack leaves.

Unlike an attack, which bounds a model's accuracy from above, certificates bound it from below.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from robnet_zoo.eval import record
from robnet_zoo.eval.identity import validate_identity
from robnet_zoo.eval.record.check import Check
from robnet_zoo.eval.record.fields import Size, Timestamp, Verdicts, bits, flags_of, proportion_of
from robnet_zoo.eval.record.results import Clean
from robnet_zoo.eval.record.setup import DataInfo, ModelInfo, ThreatInfo
from robnet_zoo.eval.studies.plots import Plot, against_epsilon, write_plot
from robnet_zoo.runtime import files
from robnet_zoo.runtime.decode import Amount, Count, PositiveCount, to_builtins
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.threat_models import Norm

SCHEMA = "robnet_zoo.certificate/1"
STEPPED = "certified"  # the line that falls in steps


class Point(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accuracies at one size: certified from below, and what the attack leaves.

    `attacked_verdicts` has "1" for each image that the attack did not break, and
    `certified_verdicts` for each whose class a bound makes certain at this size or a larger one.
    Records from before have none: there an image counted as certified whose radius was as large.
    """

    epsilon: str
    epsilon_value: Size
    certified: Proportion
    attacked: Proportion
    attacked_verdicts: Verdicts
    certified_verdicts: Verdicts | msgspec.UnsetType = msgspec.UNSET


class Radii(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Certified radii (n,) in one norm, 0 for misclassified images, and their averages."""

    each: Annotated[tuple[Amount, ...], Meta(min_length=1)]
    mean: Amount
    median: Amount


class CertifySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How radii are bounded and sought, and the attack beside them with its seed.

    `rounding` is the part of an image's spread of logits that is left to rounding in each logit,
    and `precision` that of the bounds where it is not float32.
    """

    method: Literal["interval", "mixed", "zonotope", "linear", "optimised"]
    bisections: PositiveCount
    attack: str
    seed: Count
    rounding: Amount | msgspec.UnsetType = msgspec.UNSET
    precision: Literal["float64"] | msgspec.UnsetType = msgspec.UNSET


class Certificate(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag=SCHEMA,
):
    """One certified evaluation, as stored in its JSON record.

    Attributes:
        model, data, threat_model, clean: as in records of attacks.
        radii: by norm, the threat model's at least.
        certified: images whose class is certain at epsilon; `verdicts` has "1" for each of them.
        points: accuracies against epsilon, up to the threat model's.
        checks: whether the attack broke an image at a size at which it is certain.
    """

    model: ModelInfo
    data: DataInfo
    threat_model: ThreatInfo
    settings: CertifySettings
    clean: Clean
    radii: Annotated[dict[Norm, Radii], Meta(min_length=1)]
    certified: Proportion
    verdicts: Verdicts
    points: Annotated[tuple[Point, ...], Meta(min_length=1)]
    seconds: Amount
    environment: dict[str, Any]
    created: Timestamp
    checks: tuple[Check, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values."""
        plain: dict[str, Any] = to_builtins(self)
        return plain

    @property
    def reach(self) -> list[float]:
        """The largest size at which each image is certain: its radius, or that of a point."""
        sizes = list(self.radii[self.threat_model.norm].each)
        for at in self.points:
            if at.certified_verdicts is not msgspec.UNSET:
                sizes = [
                    max(size, at.epsilon_value) if is_certain else size
                    for size, is_certain in zip(sizes, flags_of(at.certified_verdicts), strict=True)
                ]
        return sizes

    def plot(self, stem: str) -> Plot:
        """Return clean, attacked and certified accuracy against epsilon, in files named `stem`.

        The certified one falls in steps: behind each size at which an image is last certain.
        """
        norm, largest = self.threat_model.norm, self.threat_model.epsilon_value
        reach = self.reach
        places = sorted({size for size in reach if 0 < size < largest} | {largest})
        clean, attack = self.clean.accuracy, self.settings.attack
        lines = {
            "clean": [(0.0, clean), (largest, clean)],
            attack: [(0.0, clean), *((at.epsilon_value, at.attacked) for at in self.points)],
            STEPPED: [(0.0, clean), *((at, within(reach, at)) for at in places)],
        }
        caption = f"certified accuracy against epsilon ({self.data.name}, n = {self.data.n:,})"
        return against_epsilon(stem, caption, lines, norm, stepped=(STEPPED,))


def averaged(each: Sequence[float]) -> Radii:
    """Return radii with their averages."""
    return Radii(each=tuple(each), mean=statistics.fmean(each), median=statistics.median(each))


def within(sizes: Sequence[float], epsilon: float) -> Proportion:
    """Return the proportion of images that are certain up to a size or more."""
    return proportion_of(bits(size >= epsilon for size in sizes))


def point(evaluation: record.EvaluationRecord, verdicts: str) -> Point:
    """Return the accuracies at the size of a record of one attack, with certified verdicts."""
    (result,), threat = evaluation.attacks, evaluation.threat_model
    return Point(
        epsilon=threat.epsilon,
        epsilon_value=threat.epsilon_value,
        certified=proportion_of(verdicts),
        attacked=result.robust,
        attacked_verdicts=result.verdicts,
        certified_verdicts=verdicts,
    )


def check(points: Sequence[Point], reach: Sequence[float]) -> Check:
    """Return whether no image was broken at a size up to which it is certain."""
    broken = [
        f"image {index} at {point.epsilon}"
        for point in points
        for index, verdict in enumerate(point.attacked_verdicts)
        if verdict == "0" and reach[index] >= point.epsilon_value
    ]
    detail = f"the attack broke {', '.join(broken) or 'no image'} within a certified radius"
    return Check(name="certificates-hold", passed=not broken, detail=detail)


def identify(
    model: ModelInfo,
    images: str,
    threat: ThreatInfo,
    settings: CertifySettings,
    norms: Iterable[str],
) -> dict[str, Any]:
    """Return what decides a certificate, ready for JSON.

    Args:
        model: what is certified.
        images: their sha256.
        threat: what the attacker may do.
        settings: how bounds are found.
        norms: of the radii.
    """
    known = model.fingerprint
    return {
        "model": model.state_sha256,
        "fingerprint": None if known is msgspec.UNSET else to_builtins(known),
        "data": images,
        "threat model": [threat.norm, threat.epsilon_value],
        "settings": {**to_builtins(settings), "norms": sorted(norms), "format": SCHEMA},
    }


def read_finished(path: Path, identity: Mapping[str, Any]) -> Certificate:
    """Return the record at a path.

    Raises:
        ZooError: it is no record of this format, or of what another identity describes.
    """
    known = read(path)
    own = identify(known.model, known.data.sha256, known.threat_model, known.settings, known.radii)
    validate_identity(own, identity, path, "Cannot resume from", "name another --out, or delete it")
    return known


def write(certificate: Certificate, path: Path) -> list[Path]:
    """Write the record, and the accuracies against epsilon as CSV and PNG beside it."""
    files.write_json(path, certificate.to_dict())
    return [path, *write_plot(certificate.plot(path.stem), path.parent)]


def read(path: Path) -> Certificate:
    """Read a record that `write` or `to_dict` made.

    Raises:
        ZooError: missing, not JSON, or not a record of this format.
    """
    return record.read_as(path, Certificate)
