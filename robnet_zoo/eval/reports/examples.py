"""A few adversarial images of an evaluation, made again from its record and its model."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from msgspec import UNSET
from PIL import Image
from torch import Tensor, nn

from robnet_zoo.attacks.adaptive import Adaptive
from robnet_zoo.attacks.batch import AttackBatch
from robnet_zoo.attacks.methods.gradient import GradientAttack
from robnet_zoo.attacks.model import AttackedModel, device_of, preserve_state
from robnet_zoo.eval.inputs import RunMetadata, model_info, take_first
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.record.results import AttackResult
from robnet_zoo.eval.record.setup import Settings
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.runtime.errors import ZooError

if TYPE_CHECKING:
    from robnet_zoo.data.splits import Split

MOST = 6


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image, what was added to it, and the sum, as PNG in data addresses.

    Attributes:
        index: position among the evaluated images.
        label: the true class, and `taken_for` the one that the model gives the changed image.
        amplified: how many times the change is enlarged; grey is none.
    """

    index: int
    label: str
    taken_for: str
    attack: str
    clean: str
    change: str
    adversarial: str
    amplified: float


def remake(record: EvaluationRecord) -> list[Example]:
    """Return examples for a record, with the weights and images it names.

    Raises:
        ZooError: they are not at hand or not those of the record, or there is nothing to show.
    """
    from robnet_zoo.data import load_split
    from robnet_zoo.zoo import create_model

    if not record.model.weights:
        raise ZooError("the record names no weights of the zoo.")
    model = create_model(record.model.weights, pretrained=True)
    _, split = load_split(record.data.name, record.data.split, download=False)  # type: ignore[arg-type]
    return examples(record, model, split)


def examples(
    record: EvaluationRecord, model: nn.Module, split: Split | tuple[Tensor, Tensor]
) -> list[Example]:
    """Return a few images that the strongest gradient attack of the record broke.

    Raises:
        ZooError: model or images are not those of the record, or there is nothing to show.
    """
    images = take_first(split, record.data.n, device_of(model))
    if model_info(model, RunMetadata()).state_sha256 != record.model.state_sha256:
        raise ZooError("the weights at hand are not those of the record.")
    if record.settings.surrogate is not UNSET:
        raise ZooError("its attacks had a surrogate's gradients, which the record does not hold.")
    if images.sha256 != record.data.sha256:
        raise ZooError("the images at hand are not those of the record.")
    result, attack = _strongest(record)
    verdicts = zip(record.clean.verdicts, result.last_verdicts or result.verdicts, strict=True)
    broken = [index for index, pair in enumerate(verdicts) if pair == ("1", "0")][:MOST]
    if not broken:
        raise ZooError(f"{result.full_name} broke no image.")
    indices = torch.tensor(broken)
    batch = AttackBatch(
        number=0,
        indices=indices,
        images=images.take(indices),
        labels=images.labels_of(indices),
        seed=record.settings.seed,
    )
    threat_model, adaptive = record.threat_model.threat_model(), _adaptive(record.settings)
    with preserve_state(model):
        attack_model = fold(model, image_size=images.side) if record.settings.folded else model
        attacked_model = AttackedModel(
            model,
            len(indices),
            attack_model=None if adaptive.randomised else attack_model,
            adaptive=adaptive,
            seed=record.settings.seed,
        )
        adversarial = attack.run(attacked_model, batch, threat_model).adversarial
        predictions = attacked_model.predict(adversarial)
    return [
        _example(record, result.full_name, index, *parts)
        for index, *parts in zip(
            broken,
            batch.images,
            adversarial,
            batch.labels.tolist(),
            predictions.tolist(),
            strict=True,
        )
        if parts[2] != parts[3]
    ]


def _adaptive(settings: Settings) -> Adaptive:
    return Adaptive(
        eot=1 if settings.eot is UNSET else settings.eot,
        draws=1 if settings.draws is UNSET else settings.draws,
        decide="majority" if settings.decide is UNSET else settings.decide,
    )


def _strongest(record: EvaluationRecord) -> tuple[AttackResult, GradientAttack]:
    """Return the gradient attack that broke the most images, as the record describes it."""
    settings = {field.name for field in fields(GradientAttack)}
    remakable = [
        result
        for result in record.attacks
        if settings <= result.settings.keys() and "loss_sha256" not in result.settings
    ]
    if not remakable:
        raise ZooError("the record has no attack of the gradient family to make them with.")
    best = min(remakable, key=lambda result: (result.robust.correct, -result.settings["steps"]))
    return best, GradientAttack(**{key: best.settings[key] for key in settings})


def _example(
    record: EvaluationRecord,
    attack: str,
    index: int,
    clean: Tensor,
    adversarial: Tensor,
    label: int,
    taken_for: int,
) -> Example:
    names = {totals.label: totals.name for totals in record.totals.per_class}
    change = adversarial - clean
    reach = float(change.abs().amax().clamp(min=1e-8))
    return Example(
        index=index,
        label=names.get(label, str(label)),
        taken_for=names.get(taken_for, str(taken_for)),
        attack=attack,
        clean=png(clean),
        change=png(0.5 + change / (2 * reach)),
        adversarial=png(adversarial),
        amplified=0.5 / reach,
    )


def png(image: Tensor) -> str:
    """Return an image (C, H, W) with pixels in [0,1] as a data address."""
    pixels = (image.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
