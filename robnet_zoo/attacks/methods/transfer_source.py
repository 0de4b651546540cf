"""Models that adversarial images are made on, and how the name of a transfer attack says which.

`transfer:SOURCE` and `transfer:SOURCE:ATTACK` are such names. SOURCE is a model of the zoo
("vgg19.digits"), or a place and a name with one colon between them ("local-dir:runs/copy",
"hf-hub:org/name", "net.py:build", "timm:resnet18", "torchvision:resnet50"). ATTACK is one of the
gradient family (pgd20 if left out), or one of torchattacks that keeps to a ball
("torchattacks:VMIFGSM").
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from robnet_zoo.attacks.batch import AttackBatch
from robnet_zoo.attacks.fingerprint import Fingerprint, function_fingerprint
from robnet_zoo.attacks.methods.torchattack import PREFIX as OF_TORCHATTACKS
from robnet_zoo.attacks.model import (
    AttackedModel,
    preserve_state,
    state_sha256,
    validate_precision,
)
from robnet_zoo.attacks.verdicts import classes
from robnet_zoo.runtime.errors import ZooError

PREFIX = "transfer:"
DEFAULT_BASE = "pgd20"
PLACES = ("local-dir", "hf-hub", "timm", "torchvision")  # or a file FILE.py: SOURCE is PLACE:NAME
ASKED = 64  # images on which a source must be right without an attack


@dataclass(frozen=True, eq=False)
class Source:
    """A model that adversarial images are made on.

    Attributes:
        name: as in the attack's name and the record.
        model: from images (N, C, H, W) in [0,1] to logits.
        shape: channels, height and width of the images it takes, where known.
        arguments: what else the record says of where it came from.
    """

    name: str
    model: nn.Module
    shape: tuple[int, int, int] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """The hash of its parameters and buffers."""
        validate_precision(self.model, "source")
        return state_sha256(self.model)

    def fingerprint(self, images: Tensor) -> Fingerprint:
        """Return what it does to the first of some images (N, C, H, W), on their device.

        Raises:
            ZooError: it cannot take them, or no gradient flows through it.
        """
        shape = tuple(images.shape[1:])
        if self.shape is not None and self.shape != shape:
            raise ZooError(
                f"Source '{self.name}' takes images of shape {_times(self.shape)} and these are "
                f"{_times(shape)}; transfer from a model of the same data set."
            )
        try:
            fingerprint = function_fingerprint(self.model.to(images.device), images)
        except ZooError as error:
            raise ZooError(f"Source '{self.name}': {error}") from error
        if not fingerprint.gradients:
            raise ZooError(
                f"No gradient flows from the logits of source '{self.name}' to its images, so that "
                "nothing can be made on it; transfer from a model with gradients."
            )
        return fingerprint

    def validate(self, batch: AttackBatch, attacked_model: AttackedModel) -> None:
        """Warn of a source that is wrong on most of a batch without any attack.

        Raises:
            ZooError: it knows other classes than the model that is attacked.
        """
        few, labels = batch.images[:ASKED], batch.labels[:ASKED]
        with preserve_state(self.model), torch.no_grad():
            logits = AttackedModel(self.model, attacked_model.chunk)(few)
            others = AttackedModel(attacked_model.model, 1)(few[:1])
        if logits.shape[1] != others.shape[1]:
            raise ZooError(
                f"Source '{self.name}' knows {logits.shape[1]} classes and the model "
                f"{others.shape[1]}; transfer from a model of the same data set."
            )
        if (classes(logits) == labels).float().mean() < 0.5:
            warnings.warn(
                f"Source '{self.name}' is wrong on most images without any attack, so that what is "
                "made on it says little; look at its weights, its classes and its normalisation.",
                stacklevel=2,
            )


def load_source(name: str) -> Source:
    """Return a model of the zoo by name.

    Raises:
        ZooError: no such model or weights.
    """
    from robnet_zoo.zoo import create_model, get_weights

    if not name.startswith(("local-dir:", "hf-hub:")) and (":" in name or name.endswith(".py")):
        raise ZooError(
            f"Source '{name}' is none of the zoo's: hand the attack's name to evaluate, or the "
            'model to get_attack("transfer:NAME:ATTACK", source=model).'
        )
    weights = get_weights(name)
    side = weights.image_size
    shape = (weights.arguments.get("in_channels", 3), side, side)
    return Source(name, create_model(name, pretrained=True), shape)


def split(name: str) -> tuple[str, str]:
    """Return source and attack of a name.

    The attack stands behind the last colon, unless that one belongs to the source ("net.py:build").

    Raises:
        ZooError: there is no source, or nothing behind the last colon.
    """
    rest = name.removeprefix(PREFIX)
    source, colon, method = rest.rpartition(f":{OF_TORCHATTACKS}")
    if colon:
        return source, OF_TORCHATTACKS + method
    source, colon, base = rest.rpartition(":")
    if not colon or source in PLACES or source.endswith(".py"):
        source, base = rest, DEFAULT_BASE
    if not source or not base or source in PLACES or source.endswith(":"):
        raise ZooError(
            f"Attack '{name}' names no source, or no attack behind its last colon; write "
            "transfer:SOURCE:ATTACK, such as transfer:vgg19.digits:pgd10 or "
            "transfer:net.py:build:pgd10."
        )
    return source, base


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
