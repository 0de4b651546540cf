"""Transfer attacks: adversarial images made on one model and shown to another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from robnet_zoo.attacks.base import Attack, Suite, Traits
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.calling import Model, as_module
from robnet_zoo.attacks.methods import transfer_cache
from robnet_zoo.attacks.methods.gradient import GradientAttack
from robnet_zoo.attacks.methods.torchattack import TorchAttack
from robnet_zoo.attacks.methods.transfer_source import PREFIX, Source, load_source, split
from robnet_zoo.attacks.model import AttackedModel, preserve_state
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import ThreatModel

Transferable = GradientAttack | TorchAttack
FORMAT = "robnet_zoo.adversarial/2"


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
        """Return the passes of an image, nearly all of them on the source."""
        return self.base.cost() + 1

    def settings(self, threat_model: ThreatModel) -> dict[str, Any]:
        """Return the source and the settings of the attack on it."""
        own = {"source_arguments": dict(self.source.arguments)} if self.source.arguments else {}
        return {
            "name": self.name,
            "source": self.source.name,
            **own,
            "source_sha256": self.source.sha256,
            "base": self.base.settings(threat_model),
        }

    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Make, or fetch, the images and hand them over."""
        made, survived = adversarial_block(self, batch, threat_model, model)
        return AttackOutput(adversarial=made, on_source=survived)


def transfer(
    name: str,
    make_base: Callable[[str], Attack | Suite],
    model: Source | Model | None = None,
) -> Transfer:
    """Return the attack of a name such as "transfer:vgg19.digits:pgd10".

    Args:
        name: of the attack.
        make_base: from a name to the attack on the source.
        model: the source, where it is not to be found in the zoo by its name.

    Raises:
        ZooError: no such source, or no attack that can be transferred.
    """
    source, made_by = split(name)
    base = transferable(make_base(made_by))
    if getattr(base, "targeted", False):
        name = f"{PREFIX}{source}:{base.name}"
    if model is None:
        model = load_source(source)
    elif not isinstance(model, Source):
        model = Source(source, as_module(model, "source"))
    return Transfer(name=name, source=model, base=base)


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
        ZooError: the source takes images of another shape, or knows other classes.
    """
    source = attack.source
    fingerprint = source.fingerprint(batch.images)
    source.validate(batch, attacked_model)
    key = _key(attack, batch, threat_model)
    kept = transfer_cache.fetch(key, fingerprint)
    if kept is not None:
        return kept[0].to(batch.images.device), kept[1].to(batch.images.device)
    model = source.model
    with preserve_state(model):
        attack_model = fold(model, image_size=batch.images.shape[-1])
        own = AttackedModel(
            model,
            attacked_model.chunk,
            attacked_model.on_pass,
            attack_model=attack_model,
            log=attacked_model.log,
        )
        quiet = replace(batch, watch=lambda robust: None)  # it would tell of the source's fate
        made = attack.base.run(own, quiet, threat_model).adversarial
        survived = own.predict(made) == batch.labels
    transfer_cache.keep(key, fingerprint, made, survived)
    return made, survived


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
