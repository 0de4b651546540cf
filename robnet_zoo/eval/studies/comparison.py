"""Two records on the same images: which model is better, and by how much."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from robnet_zoo.attacks.fingerprint import Fingerprint
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.record.fields import bits, positions, proportion_of
from robnet_zoo.eval.studies.differences import differences
from robnet_zoo.runtime.decode import Count, PositiveCount
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import PairedDifference, Proportion, paired_difference

SCHEMA = "robnet_zoo.paired/1"


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both records without an attack, under one attack, or under all.

    `only_first` and `only_second` are the positions of the images that one of the two alone gets
    right.
    """

    name: str
    first: Proportion
    second: Proportion
    paired: PairedDifference
    only_first: tuple[Count, ...]
    only_second: tuple[Count, ...]


class Comparison(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="schema", tag=SCHEMA
):
    """Two records compared image by image.

    `notes` says what else differs between the two, so that it may be no matter of the models.
    """

    first: str
    second: str
    n: PositiveCount
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def compare(
    first: EvaluationRecord, second: EvaluationRecord, *, data: Path | None = None
) -> Comparison:
    """Compare two models under the attacks that both records have.

    Args:
        first: a record.
        second: one of the same images under the same threat model. One of the two may have more
            images, if those of the other are its first ones.
        data: folder of the data sets, to show that; $ROBNET_ZOO_DATA if None.

    Raises:
        ZooError: other images, another epsilon or norm.
    """
    one, other = first.threat_model, second.threat_model
    if one.ball != other.ball:
        raise ZooError(
            f"The records are of different threat models, {one.title} and {other.title}, and "
            "accuracies under them cannot be compared; judge both models under one, by --eps."
        )
    n = common_images(first, second, data)
    shared = _shared(first, second)
    rows = [paired_row("clean", first.clean.verdicts, second.clean.verdicts, n)]
    rows += _attack_rows(first, second, n)
    alike = len(shared) == len(first.attacks) == len(second.attacks)
    if len(shared) > 1:
        name = "all attacks" if alike else "all shared"
        rows.append(paired_row(name, _worst(first, shared), _worst(second, shared), n))
    return Comparison(
        first=first.model.name,
        second=second.model.name,
        n=n,
        rows=tuple(rows),
        notes=tuple(_notes(first, second, shared)),
    )


def contrast(
    first: EvaluationRecord,
    second: EvaluationRecord,
    names: tuple[str, str],
    data: Path | None = None,
) -> Comparison:
    """Compare two evaluations of the same weights; the notes are every setting that differs.

    Args:
        first: a record.
        second: one of the same weights and images.
        names: what the two are called, such as their files.
        data: folder of the data sets, as for `compare`.

    Raises:
        ZooError: other weights or images.
    """
    if first.model.state_sha256 != second.model.state_sha256:
        raise ZooError(
            f"The records are of different weights, {first.model.name} and {second.model.name} "
            "(or a change of them); use eval compare."
        )
    n = common_images(first, second, data)
    rows = [paired_row("clean", first.clean.verdicts, second.clean.verdicts, n)]
    rows += _attack_rows(first, second, n)
    if len(rows) != 2 or len(first.attacks) != 1 or len(second.attacks) != 1:
        worst = first.totals.verdicts, second.totals.verdicts
        rows.append(paired_row("all attacks", *worst, n=n))
    return Comparison(
        first=names[0],
        second=names[1],
        n=n,
        rows=tuple(rows),
        notes=tuple(_function_notes(first, second)) + tuple(map(str, differences(first, second))),
    )


def paired_row(name: str, first: str, second: str, n: int) -> Row:
    """Return what two strings of verdicts say about the first n images."""
    first, second = first[:n], second[:n]
    pairs = list(zip(first, second, strict=True))
    return Row(
        name=name,
        first=proportion_of(first),
        second=proportion_of(second),
        paired=paired_difference(
            both=pairs.count(("1", "1")),
            only_first=pairs.count(("1", "0")),
            only_second=pairs.count(("0", "1")),
            neither=pairs.count(("0", "0")),
        ),
        only_first=positions(pair == ("1", "0") for pair in pairs),
        only_second=positions(pair == ("0", "1") for pair in pairs),
    )


def common_images(
    first: EvaluationRecord, second: EvaluationRecord, data: Path | None = None
) -> int:
    """Return how many images two records share: all, or those of the smaller one.

    A hash tells only whether all images are the same. Where one record has more images, both are
    looked up in the data set that they name.

    Raises:
        ZooError: the images differ, or cannot be shown to be the same.
    """
    one, other = first.data, second.data
    if (one.sha256, one.n) == (other.sha256, other.n):
        return one.n
    names = [it.title for it in (one, other)]
    if one.n == other.n or names[0] != names[1]:
        raise ZooError(
            f"The records are not of the same images ({one.n} of {names[0]}, sha256 "
            f"{one.sha256[:8]}, and {other.n} of {names[1]}, {other.sha256[:8]}); "
            "judge both models on the same ones."
        )
    for record in (first, second):
        _validate_prefix(record, data)
    return min(one.n, other.n)


def _function_notes(first: EvaluationRecord, second: EvaluationRecord) -> Iterable[str]:
    """Say where the same weights stand behind another forward or backward pass."""
    one, other = first.model.fingerprint, second.model.fingerprint
    if first.data.sha256 != second.data.sha256:  # of which the fingerprints are
        return
    if isinstance(one, Fingerprint) and isinstance(other, Fingerprint) and not one.matches(other):
        yield "function: the same parameters give other logits or gradients"


def _shared(first: EvaluationRecord, second: EvaluationRecord) -> list[str]:
    return [name for name in first.attack_names if name in second.attack_names]


def _attack_rows(first: EvaluationRecord, second: EvaluationRecord, n: int) -> list[Row]:
    return [
        paired_row(name, first.attack(name).verdicts, second.attack(name).verdicts, n)
        for name in _shared(first, second)
    ]


def _validate_prefix(record: EvaluationRecord, root: Path | None) -> None:
    """Raise ZooError unless a record's images are the first n of the data set it names."""
    import torch

    from robnet_zoo.data import load_split

    data = record.data
    try:
        _, split = load_split(
            data.name,
            data.split,  # type: ignore[arg-type]
            root=root,
            download=False,
            threat_model=record.threat_model.name,
        )
    except ZooError as error:
        raise ZooError(
            f"The records have different numbers of images, and '{data.name}' cannot be read to "
            f"show that those of one are the first of the other ({error}); judge both on the "
            "same number."
        ) from error
    if len(split) < data.n or split.subset(torch.arange(data.n)).fingerprint != data.sha256:
        raise ZooError(
            f"The {data.n} images of the record of {record.model.name} are not the first of "
            f"{data.title}; judge both models on the same ones."
        )


def _notes(first: EvaluationRecord, second: EvaluationRecord, shared: list[str]) -> Iterable[str]:
    """Say what differs beside the models, and what makes a record doubtful."""
    for record, other in ((first, second), (second, first)):
        extra = [name for name in record.attack_names if name not in shared]
        if extra:
            yield f"only {record.model.name} was judged under {', '.join(extra)}"
        if record.data.n > other.data.n:
            yield f"only the first {other.data.n} of {record.data.n} images are compared"
    for difference in differences(first, second):
        if difference.setting.split()[0] in ("seed", "epsilon", "step", *shared):
            yield str(difference)
    for record in (first, second):
        failed = [check.name for check in record.failed_checks]
        if failed:
            yield f"checks of {record.model.name} failed: {', '.join(failed)}"


def _worst(record: EvaluationRecord, names: list[str]) -> str:
    each = (record.attack(name).flags for name in names)
    return bits(all(flags) for flags in zip(*each, strict=True))
