"""Transfer attacks: adversarial images made on one model and shown to another.

`transfer:SOURCE` and `transfer:SOURCE:ATTACK` name one, where SOURCE is a model of the zoo
("vgg19.digits"), a weights folder ("local-dir:runs/copy") or a repository ("hf-hub:org/name"), and
ATTACK one of the gradient family (pgd20 if left out), or one of torchattacks that keeps to a ball
("torchattacks:VMIFGSM").

Images that were made once are kept, in blocks, under a name that hashes everything they depend on
but the source's forward and backward pass. A kept block is used only if its bytes are those that
were written, and if the source does to the block's first images what it did then.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor, nn

from robnet_zoo.attacks.base import Attack, Suite, Traits
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.fingerprint import Fingerprint, function_fingerprint
from robnet_zoo.attacks.methods.gradient import GradientAttack
from robnet_zoo.attacks.methods.torchattack import PREFIX as OF_TORCHATTACKS
from robnet_zoo.attacks.methods.torchattack import TorchAttack
from robnet_zoo.attacks.model import AttackedModel, preserve_state, state_sha256
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path
from robnet_zoo.threat_models import ThreatModel

Transferable = GradientAttack | TorchAttack
PREFIX = "transfer:"
DEFAULT_BASE = "pgd20"
FORMAT = "robnet_zoo.adversarial/2"


@dataclass(frozen=True, eq=False)
class Source:
    """A model that adversarial images are made on.

    Attributes:
        name: as in the attack's name and the record.
        model: from images (N, C, H, W) in [0,1] to logits.
        shape: channels, height and width of the images it takes, where known.
    """

    name: str
    model: nn.Module
    shape: tuple[int, int, int] | None = None

    @cached_property
    def sha256(self) -> str:
        """The hash of its parameters and buffers."""
        return state_sha256(self.model)


def load_source(name: str) -> Source:
    """Return a model with weights by name.

    Raises:
        ZooError: no such model or weights.
    """
    from robnet_zoo.zoo import create_model, get_weights

    weights = get_weights(name)
    side = weights.image_size
    shape = (weights.arguments.get("in_channels", 3), side, side)
    return Source(name, create_model(name, pretrained=True), shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Transfer(Attack):
    """Images that `base` makes on the source, judged on the model under evaluation.

    The images are the last iterates, as in the papers, whether or not they fool the source.
    """

    source: Source
    base: Transferable

    @property
    def traits(self) -> Traits:
        """What the attack needs and is."""
        return Traits(gradients=False, norms=self.base.traits.norms)

    def check(self) -> None:
        """Raise ZooError unless there is one set of images: no restarts, no early exit."""
        self.base.check()
        if getattr(self.base, "restarts", 1) > 1 or getattr(self.base, "early_exit", False):
            raise ZooError(
                f"Attack '{self.name}' transfers one image for each image; "
                "leave out --restarts and --early-exit."
            )

    def cost(self) -> int:
        """Return the forward passes that an image takes, nearly all of them on the source."""
        return self.base.cost() + 1

    def settings(self, threat_model: ThreatModel) -> dict[str, Any]:
        """Return the source and the settings of the attack on it."""
        return {
            "name": self.name,
            "source": self.source.name,
            "source_sha256": self.source.sha256,
            "base": self.base.settings(threat_model),
        }

    def source_fingerprint(self, images: Tensor) -> Fingerprint:
        """Return what the source does to the first of some images (N, C, H, W)."""
        return function_fingerprint(self.source.model.to(images.device), images)

    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Make, or fetch, the images and hand them over."""
        made, survived = adversarial_block(self, batch, threat_model, model)
        return AttackOutput(adversarial=made, on_source=survived)


def transfer(name: str, make_base: Callable[[str], Attack | Suite]) -> Transfer:
    """Return the attack of a name such as "transfer:vgg19.digits:pgd10".

    Args:
        name: of the attack.
        make_base: from a name to the attack on the source.

    Raises:
        ZooError: no such source, or no attack that can be transferred.
    """
    source, made_by = split(name)
    base = transferable(make_base(made_by))
    if getattr(base, "targeted", False):
        name = f"{PREFIX}{source}:{base.name}"
    return Transfer(name=name, source=load_source(source), base=base)


def split(name: str) -> tuple[str, str]:
    """Return source and attack of a name; a source may hold a colon of its own ("local-dir:DIR").

    Raises:
        ZooError: there is no source.
    """
    rest = name.removeprefix(PREFIX)
    source, colon, method = rest.rpartition(f":{OF_TORCHATTACKS}")
    if colon:
        return source, OF_TORCHATTACKS + method
    source, colon, base = rest.rpartition(":")
    if not colon or source in ("local-dir", "hf-hub"):
        source, base = rest, DEFAULT_BASE
    if not source:
        raise ZooError(
            f"Attack '{name}' names no source; write transfer:SOURCE:ATTACK, such as "
            "transfer:vgg19.digits:pgd10."
        )
    return source, base


def transferable(attack: Attack | Suite) -> Transferable:
    """Return the attack if it is one that can be transferred.

    Raises:
        ZooError: it looks for the smallest perturbation of the source, or is another library's.
    """
    if not isinstance(attack, Transferable) or attack.traits.minimal:
        raise ZooError(
            f"Attack '{attack.name}' cannot be transferred; use fgsm, bimN, pgdN, mifgsmN or an "
            "attack of torchattacks that keeps to a ball, such as torchattacks:VMIFGSM."
        )
    return attack


def adversarial_block(
    attack: Transfer, batch: AttackBatch, threat_model: ThreatModel, attacked_model: AttackedModel
) -> tuple[Tensor, Tensor]:
    """Return adversarial images (B, C, H, W) for a batch, from the kept ones where they exist.

    Beside them, whether the source itself still classifies each image correctly (B,).

    Args:
        attack: the source and the attack on it.
        batch: the images.
        threat_model: the ball they may move in.
        attacked_model: lends its batch size, and counts the passes for the progress bar.

    Raises:
        ZooError: the source takes images of another shape.
    """
    source, shape = attack.source, tuple(batch.images.shape[1:])
    if source.shape is not None and source.shape != shape:
        raise ZooError(
            f"Source '{source.name}' takes images of shape {_times(source.shape)} and these are "
            f"{_times(shape)}; transfer from a model of the same data set."
        )
    key = _key(attack, batch, threat_model)
    path = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
    fingerprint = attack.source_fingerprint(batch.images)
    kept = _fetch(path, key, fingerprint)
    if kept is not None:
        return kept[0].to(batch.images.device), kept[1].to(batch.images.device)
    model = source.model
    with preserve_state(model):
        attack_model = fold(model, image_size=batch.images.shape[-1])
        own = AttackedModel(
            model,
            attacked_model.chunk,
            attacked_model.on_forward,
            attack_model=attack_model,
            log=attacked_model.log,
        )
        quiet = replace(batch, watch=lambda robust: None)  # it would tell of the source's fate
        made = attack.base.run(own, quiet, threat_model).adversarial
        survived = own.predict(made) == batch.labels
    _keep(path, key, fingerprint, made, survived)
    return made, survived


def cache_folder() -> Path:
    """Return where made images are kept: $ROBNET_ZOO_CACHE or ~/.cache/robnet_zoo."""
    chosen = os.environ.get("ROBNET_ZOO_CACHE") or "~/.cache/robnet_zoo"
    return Path(chosen).expanduser() / "adversarial"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _key(attack: Transfer, batch: AttackBatch, threat_model: ThreatModel) -> str:
    """Return what the images depend on, except for the source's function, as text."""
    content = hashlib.sha256()
    for tensor in (batch.indices, batch.labels, batch.images):
        content.update(tensor.cpu().contiguous().numpy().tobytes())
    settings, seed = attack.base.settings(threat_model), batch.seed
    if isinstance(attack.base, TorchAttack):  # draws for the block, and has its name from its class
        kept, seed = settings, batch.seed + batch.number
    else:
        kept = {key: value for key, value in settings.items() if key not in ("name", "step")}
    return json.dumps(
        {
            "format": FORMAT,
            "source": attack.source.sha256,
            "attack": kept,
            "threat model": [threat_model.norm, threat_model.epsilon.value],
            "seed": seed,
            "images": content.hexdigest(),
        },
        sort_keys=True,
    )


def _digest(*tensors: Tensor) -> str:
    content = b"".join(tensor.numpy().tobytes() for tensor in tensors)
    return hashlib.sha256(content).hexdigest()


def _fetch(path: Path, key: str, fingerprint: Fingerprint) -> tuple[Tensor, Tensor] | None:
    """Return a kept block, None if there is none of this source.

    One that was altered is removed and reported.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            stored = file.metadata() or {}
            images, survived = file.get_tensor("images"), file.get_tensor("on_source")
        if stored.get("key") == key and stored.get("sha256") == _digest(images, survived):
            made_by = msgspec.json.decode(stored["source"], type=Fingerprint)
            return (images, survived) if made_by.matches(fingerprint) else None
    except (OSError, SafetensorError, KeyError, msgspec.DecodeError):
        pass
    path.unlink(missing_ok=True)
    warnings.warn(f"Kept adversarial images were damaged and are made anew: {path}", stacklevel=2)
    return None


def _keep(path: Path, key: str, fingerprint: Fingerprint, images: Tensor, survived: Tensor) -> None:
    from safetensors.torch import save_file

    images, survived = images.detach().cpu().contiguous(), survived.cpu()
    source = msgspec.json.encode(fingerprint).decode()
    notes = {"key": key, "sha256": _digest(images, survived), "source": source}
    try:
        with atomic_path(path) as temporary:
            save_file({"images": images, "on_source": survived}, temporary, notes)
    except OSError as error:
        warnings.warn(
            f"Adversarial images cannot be kept in '{path.parent}' ({error.strerror}); "
            "set ROBNET_ZOO_CACHE to a folder that can be written.",
            stacklevel=2,
        )
