"""Somebody else's verdicts, checked: saved adversarial images shown to the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

import torch
from msgspec import Struct
from torch import Tensor, nn

from robnet_zoo.attacks.calling import Model, as_module
from robnet_zoo.attacks.model import AttackedModel, device_of, preserve_state
from robnet_zoo.attacks.verdicts import distances, limit, valid_pixels, validate_classes
from robnet_zoo.eval.inputs import Images, RunMetadata, model_info, take_first
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.record.fields import Verdicts, bits, proportion_of
from robnet_zoo.eval.record.setup import DataInfo, ModelInfo, ThreatInfo
from robnet_zoo.eval.saved_images import SavedImages
from robnet_zoo.eval.sources import is_split, read_pair
from robnet_zoo.eval.target import BATCH_SIZE
from robnet_zoo.runtime.decode import Amount, Count
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.threat_models import ThreatModel

if TYPE_CHECKING:
    from robnet_zoo.data.splits import Split
    from robnet_zoo.eval.sources import Data

SCHEMA = "robnet_zoo.verification/1"


class Claim(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Verdicts on the same images from elsewhere, and where they differ from those given here.

    `source` says whose they are. `only_here` are the images that are robust here alone, for which
    no valid adversarial image was shown; `only_there` those that are broken here alone.
    """

    source: str
    robust: Proportion
    only_here: tuple[Count, ...]
    only_there: tuple[Count, ...]


class Verification(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="schema", tag=SCHEMA
):
    """What saved adversarial images do to a model.

    Every tuple holds positions in the data set. `outside` are images outside the ball, `invalid`
    those with pixels outside [0,1] or not finite: both kinds count as robust, not as broken.
    `notes` says where the file was made for something else.
    """

    file: str
    model: ModelInfo
    data: DataInfo
    threat_model: ThreatInfo
    indices: tuple[Count, ...]
    clean: Proportion
    robust: Proportion
    verdicts: Verdicts
    max_perturbation: Amount
    outside: tuple[Count, ...]
    invalid: tuple[Count, ...]
    claims: tuple[Claim, ...]
    notes: tuple[str, ...]


def verify(
    model: Model,
    data: Data,
    saved: SavedImages,
    threat_model: ThreatModel,
    *,
    n: int | None = None,
    record: EvaluationRecord | None = None,
    batch_size: int = BATCH_SIZE,
    metadata: RunMetadata | None = None,
) -> Verification:
    """Judge saved adversarial images: measure each against its clean image, and ask the model.

    An image is broken if its saved image lies in the ball and in [0,1] and the model
    misclassifies it, or if it misclassifies the clean one.

    Args:
        model: from images (N, C, H, W) with pixels in [0,1] to logits (N, classes), as `evaluate`
            takes it.
        data: the clean images, as `evaluate` takes them; all of them.
        saved: what `read_images` returned.
        threat_model: the ball.
        n: judge the first n of the saved images; all if None.
        record: one whose verdicts over all attacks are to be compared.
        batch_size: images in a forward pass.
        metadata: names for the result.

    Raises:
        ZooError: images of another shape, indices or labels that are not the data set's, or a
            record of other images.
    """
    metadata, model = metadata or RunMetadata(), as_module(model)
    if not is_split(data):
        pair = read_pair(data, None)
        data = pair.images, pair.labels
    if n is not None and not 1 <= n <= len(saved):
        raise ZooError(f"n {n} is out of range; '{saved.path}' holds {len(saved)} images.")
    device = device_of(model)
    available = _available(data)
    indices = _indices(saved, available)[:n]
    images = take_first(_subset(data, indices), None, device)
    _validate_labels(saved, images)
    adversarial = saved.shaped(tuple(images.take(torch.arange(1)).shape[1:]))[:n]
    with preserve_state(model), torch.no_grad():
        judged = _judge(model, images, adversarial, threat_model, batch_size)
    robust, places, info = judged.robust, indices.tolist(), model_info(model, metadata)
    claims = []
    if saved.robust is not None:
        claims.append(_claim("the file", places, robust, saved.robust[:n].tolist()))
    if record is not None:
        _validate_record(record, data, threat_model, device)
        claims.append(_claim_of_record(record, places, robust))
    return Verification(
        file=str(saved.path),
        model=info,
        data=DataInfo(
            name=metadata.data,
            split=metadata.split,
            n=len(places),
            available=available,
            sha256=images.sha256,
        ),
        threat_model=ThreatInfo.of(threat_model),
        indices=tuple(places),
        clean=proportion_of(bits(judged.correct)),
        robust=proportion_of(bits(robust)),
        verdicts=bits(robust),
        max_perturbation=judged.largest,
        outside=tuple(compress(places, (not near for near in judged.near))),
        invalid=tuple(compress(places, (not valid for valid in judged.valid))),
        claims=tuple(claims),
        notes=tuple(_notes(saved, info, threat_model)),
    )


def _notes(saved: SavedImages, model: ModelInfo, threat_model: ThreatModel) -> Iterable[str]:
    if saved.model_sha256 not in ("", model.state_sha256):
        yield (
            f"the images were made on a model with state sha256 {saved.model_sha256[:8]}, and "
            f"this one has {model.state_sha256[:8]}"
        )
    ball = f"{saved.norm} {saved.epsilon}"
    if saved.epsilon and ball != str(threat_model):
        yield f"the images were made under {ball}"


def _indices(saved: SavedImages, available: int) -> Tensor:
    if saved.indices is None:
        if len(saved) > available:
            raise ZooError(
                f"'{saved.path}' holds {len(saved):,} images and the data set {available:,}; name "
                "the data set and split that they were made of."
            )
        return torch.arange(len(saved))
    wrong = saved.indices[(saved.indices < 0) | (saved.indices >= available)]
    if len(wrong):
        raise ZooError(
            f"'{saved.path}' has index {int(wrong[0])} and the data set {available:,} images; name "
            "the data set and split that they were made of."
        )
    return saved.indices


def _available(data: Split | tuple[Tensor, Tensor]) -> int:
    return len(data[1]) if isinstance(data, tuple) else len(data)


def _subset(data: Split | tuple[Tensor, Tensor], indices: Tensor) -> Split | tuple[Tensor, Tensor]:
    if isinstance(data, tuple):
        return data[0][indices], data[1][indices]
    return data.subset(indices)


def _validate_labels(saved: SavedImages, images: Images) -> None:
    if saved.labels is None:
        return
    labels = images.labels.cpu()
    wrong = int((saved.labels[: len(labels)] != labels).sum())
    if wrong:
        raise ZooError(
            f"{wrong} of {len(labels)} labels in '{saved.path}' are not those of the data set's "
            "images; if these are not its first ones in order, save their positions as 'indices'."
        )


class _Judged(NamedTuple):
    """What the model and the ball say of each image, and the size of the largest perturbation."""

    correct: list[bool]  # without an attack
    fooled: list[bool]
    near: list[bool]  # in the ball
    valid: list[bool]  # pixels in [0,1]
    largest: float

    @property
    def robust(self) -> list[bool]:
        each = zip(self.correct, self.fooled, self.near, self.valid, strict=True)
        return [
            correct and not (fooled and near and valid) for correct, fooled, near, valid in each
        ]


def _judge(
    model: nn.Module,
    images: Images,
    adversarial: Tensor,
    threat_model: ThreatModel,
    batch_size: int,
) -> _Judged:
    attacked = AttackedModel(model, batch_size)
    validate_classes(images.labels, attacked(images.take(torch.arange(1))))
    allowed = limit(threat_model.epsilon.value, threat_model.norm)
    rows: list[Tensor] = []
    largest = 0.0
    for part in torch.arange(len(images)).split(attacked.chunk):
        clean, labels = images.take(part), images.labels_of(part)
        shown = adversarial[part].to(clean.device)
        valid = valid_pixels(shown)
        sizes = distances(shown, clean, threat_model.norm)
        near = sizes <= allowed
        correct, fooled = attacked.predict(clean) == labels, attacked.predict(shown) != labels
        rows.append(torch.stack([correct, fooled, near, valid]).cpu())
        largest = max(largest, float(sizes.nan_to_num(0, 0).max()))
    correct, fooled, near, valid = torch.cat(rows, 1).tolist()
    return _Judged(correct, fooled, near, valid, largest)


def _claim(source: str, positions: Sequence[int], here: list[bool], there: list[bool]) -> Claim:
    pairs = list(zip(here, there, strict=True))
    return Claim(
        source=source,
        robust=proportion_of(bits(there)),
        only_here=tuple(compress(positions, (pair == (True, False) for pair in pairs))),
        only_there=tuple(compress(positions, (pair == (False, True) for pair in pairs))),
    )


def _claim_of_record(record: EvaluationRecord, positions: Iterable[int], here: list[bool]) -> Claim:
    shared = [(at, flag) for at, flag in zip(positions, here, strict=True) if at < record.data.n]
    if not shared:
        raise ZooError(
            f"The record judges the first {record.data.n} images and the file holds none of them."
        )
    at, flags = zip(*shared, strict=True)
    there = [record.totals.verdicts[position] == "1" for position in at]
    return _claim("the record", at, list(flags), there)


def _validate_record(
    record: EvaluationRecord,
    data: Split | tuple[Tensor, Tensor],
    threat_model: ThreatModel,
    device: torch.device,
) -> None:
    threat = record.threat_model
    if threat.ball != (threat_model.norm, threat_model.epsilon.value):
        raise ZooError(
            f"The record is of {threat.title} and the images are judged under "
            f"{threat_model}; give --eps {threat.epsilon} --norm {threat.norm}."
        )
    n = record.data.n
    if n > _available(data) or take_first(data, n, device).sha256 != record.data.sha256:
        raise ZooError(
            f"The record's {n} images are not the first of this data set; name the data set and "
            "split that it was made on."
        )
