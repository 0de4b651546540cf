"""Attacks: what they declare, how they are run, and the plain call that returns images."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from robnet_zoo.attacks.batch import (
    BLOCK_SIZE,
    AttackBatch,
    AttackOutput,
    to_labels,
    to_pixels,
    validate_numbers,
)
from robnet_zoo.attacks.calling import Model, as_module
from robnet_zoo.attacks.model import AttackedModel, device_of, preserve_state, validate_precision
from robnet_zoo.attacks.naming import named_by_aim
from robnet_zoo.attacks.setting_kinds import validate_setting
from robnet_zoo.attacks.verdicts import classes, into_ball, validate_classes, within
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import GRADIENT_NORMS, ThreatModel, get_threat_model

FIXED = ("name", "parts", "notes")  # fields that are no settings


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What an attack needs and is. The harness, its checks and its reports read it here.

    Attributes:
        gradients: needs the gradients of the model under attack; a black box needs none.
        minimal: looks for the smallest perturbation, whatever epsilon is. Its images are moved
            into the ball before they are judged.
        loss: what it raises: cross-entropy, a margin between logits, or neither.
        restarts: starts at random, so that it can take independent restarts.
        norms: of the threat models that it attacks under.
    """

    gradients: bool = True
    minimal: bool = False
    loss: Literal["ce", "margin"] | None = None
    restarts: bool = False
    norms: tuple[str, ...] = GRADIENT_NORMS


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A named attack; its settings are its fields.

    An attack is a frozen dataclass with a `run` of its own. The rest has defaults.

    Attributes:
        name: as on the command line and in the record.
    """

    name: str

    def __post_init__(self) -> None:
        """Let the name of an attack with a setting `targeted` say which it is."""
        targeted = getattr(self, "targeted", None)
        if targeted is not None:
            object.__setattr__(self, "name", named_by_aim(self.name, targeted))

    @property
    def traits(self) -> Traits:
        """What the attack, with these settings, needs and is."""
        return Traits()

    @property
    def parts(self) -> tuple[Attack, ...]:
        """The attacks of a suite; an attack is its own only part."""
        return (self,)

    def check(self) -> None:
        """Raise ZooError if the attack cannot run here."""

    def cost(self) -> int:
        """Return the passes, forward and backward, of an image that stays robust, roughly."""
        return 1

    def settings(self, threat_model: ThreatModel) -> dict[str, Any]:
        """Return everything a repetition needs, as JSON-ready values."""
        return asdict(self)

    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch of images that the model classifies correctly."""
        raise NotImplementedError(f"{type(self).__name__} has no run.")

    def __call__(
        self,
        model: Model,
        images: Tensor,
        labels: Tensor,
        threat_model: ThreatModel | str,
        *,
        seed: int = 0,
        batch_size: int = BLOCK_SIZE,
        **settings: Any,
    ) -> Tensor:
        """Return adversarial images; see `perturb`. `settings` change the attack's fields."""
        return perturb(
            changed(self, settings), model, images, labels, threat_model, seed, batch_size
        )


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Attacks in turn, each on the images that those before it left standing.

    Attributes:
        name: as on the command line and in the record.
        parts: the attacks.
        notes: sentences for the record on how they differ from those that the name stands for.
    """

    name: str
    parts: tuple[Attack, ...]
    notes: tuple[str, ...] = ()

    def fitted(self, threat_model: ThreatModel, classes: int) -> Suite:
        """Return the suite as it runs under a threat model on a model of so many classes."""
        return self

    def settings(self, threat_model: ThreatModel) -> dict[str, Any]:
        """Return the settings of every part."""
        return {"parts": [part.settings(threat_model) for part in self.parts]}

    def __call__(
        self,
        model: Model,
        images: Tensor,
        labels: Tensor,
        threat_model: ThreatModel | str,
        *,
        seed: int = 0,
        batch_size: int = BLOCK_SIZE,
    ) -> Tensor:
        """Return adversarial images; see `perturb`."""
        return perturb(self, model, images, labels, threat_model, seed, batch_size)


Kind = TypeVar("Kind", bound=Attack | Suite)


def changed(attack: Kind, settings: Mapping[str, Any]) -> Kind:
    """Return an attack with other settings.

    Raises:
        ZooError: a setting that the attack does not have, or a value of another kind or out of
            range.
    """
    own = {field.name: field for field in fields(attack) if field.name not in FIXED}
    for key, value in settings.items():
        if key not in own:
            raise ZooError(
                f"Attack '{attack.name}' has no setting '{key}'; "
                f"it has {', '.join(sorted(own)) or 'none'}."
            )
        validate_setting(attack.name, own[key], value)
    return replace(attack, **settings)


def validate(attack: Attack | Suite, threat_model: ThreatModel) -> None:
    """Raise ZooError if an attack cannot run here, or not under this threat model."""
    for part in attack.parts:
        part.check()
        if threat_model.norm not in part.traits.norms:
            raise ZooError(
                f"Attack '{part.name}' does not work under {threat_model.norm}; "
                f"it works under {' and '.join(part.traits.norms)}."
            )


def run_confirmed(
    attack: Attack, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
) -> tuple[AttackOutput, AttackedModel]:
    """Attack a batch, again without the faster form of the model where that misled the attack.

    Returns:
        What the attack returned, and the model that counted its passes.
    """
    with torch.enable_grad():
        output = attack.run(model, batch, threat_model)
        if output.robust_at_step is None and model.disputes(output.adversarial, batch.labels):
            model = model.plain()
            output = attack.run(model, batch, threat_model)
    return output, model


def admitted(
    attack: Attack, adversarial: Tensor, images: Tensor, threat_model: ThreatModel
) -> Tensor:
    """Return what an attack made of images (N, C, H, W) as it is judged.

    Images of minimal attacks are moved into the ball; those that lie outside come back clean.
    """
    moved = adversarial.detach().float()
    if attack.traits.minimal:
        moved = into_ball(moved, images, threat_model)
    inside = within(moved, images, threat_model)
    return torch.where(inside[:, None, None, None], moved, images)


def perturb(
    attack: Attack | Suite,
    model: Model,
    images: Tensor,
    labels: Tensor,
    threat_model: ThreatModel | str,
    seed: int = 0,
    batch_size: int = BLOCK_SIZE,
) -> Tensor:
    """Return adversarial images (N, C, H, W) within the threat model, for images and labels.

    They are what `robnet_zoo.evaluate` judges with the same seed. Images that the model gets wrong
    without an attack come back as they were, as do those that an attack moved out of the threat
    model. Images of attacks that look for the smallest perturbation are moved into the ball.
    Attacks with steps return their last iterates (the first that broke the image with
    early_exit=True). The model and the global random generators are left as they were.

    Args:
        attack: an attack; or a suite, whose parts attack the images that still stand.
        model: from images with pixels in [0,1] to logits (N, classes), on the device to use; a
            module, or a plain function.
        images: (N, C, H, W), as floats in [0,1] or uint8.
        labels: classes (N,).
        threat_model: a threat model, or the name of a row of the table, such as "cifar10".
        seed: of all randomness.
        batch_size: images in a forward pass, rounded up to a multiple of 16.

    Raises:
        ZooError: an unknown threat model, a number out of range, images, labels or a model of a
            wrong form, or an attack that cannot run here.
    """
    threat = get_threat_model(threat_model)
    validate(attack, threat)
    validate_numbers(seed, batch_size)
    model = as_module(model)
    validate_precision(model)
    classes_given = to_labels(labels)
    pixels = to_pixels(images, classes_given)
    device = device_of(model, pixels.device)
    clean, labels = pixels.to(device), classes_given.to(device)
    with preserve_state(model):
        with torch.no_grad():
            logits = AttackedModel(model, batch_size)(clean)
        validate_classes(labels, logits)
        standing = classes(logits) == labels
        if isinstance(attack, Suite):
            attack = attack.fitted(threat, logits.shape[1])
            for note in attack.notes:
                warnings.warn(f"{attack.name}: {note}", stacklevel=2)
        attacked = AttackedModel(
            model, batch_size, attack_model=fold(model, image_size=clean.shape[-1])
        )
    adversarial = clean.clone()
    for part in attack.parts:
        left = standing.nonzero()[:, 0]
        for number, indices in enumerate(left.split(BLOCK_SIZE) if len(left) else ()):
            batch = AttackBatch(
                number=number,
                indices=indices.cpu(),
                images=clean[indices],
                labels=labels[indices],
                seed=seed,
            )
            with preserve_state(model, seed + number):
                output, _ = run_confirmed(part, attacked, batch, threat)
                moved = admitted(part, output.adversarial, batch.images, threat)
                adversarial[indices] = moved
                standing[indices] = attacked.predict(moved) == batch.labels
    return adversarial.to(images.device)
