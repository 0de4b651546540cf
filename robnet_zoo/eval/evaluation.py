"""The evaluation: any model, under any attacks, to one record."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from msgspec import UNSET
from msgspec.structs import replace
from torch import Tensor, nn

from robnet_zoo.attacks.adaptive import Adaptive, Decide
from robnet_zoo.attacks.base import Attack, Suite, validate
from robnet_zoo.attacks.batch import BLOCK_SIZE, validate_numbers
from robnet_zoo.attacks.methods.gradient import with_loss
from robnet_zoo.attacks.model import (
    AttackedModel,
    device_of,
    preserve_state,
    state_sha256,
    validate_float32,
)
from robnet_zoo.attacks.pgd import Loss
from robnet_zoo.attacks.registry import get_attack
from robnet_zoo.eval import record as records
from robnet_zoo.eval import results
from robnet_zoo.eval.checks import check_results, check_state, fingerprint
from robnet_zoo.eval.engine import Engine
from robnet_zoo.eval.inputs import Images, RunMetadata, model_info, take_first
from robnet_zoo.eval.record import (
    Check,
    Clean,
    EvaluationRecord,
    ModelInfo,
    Settings,
    SurrogateInfo,
    ThreatInfo,
    bits,
    proportion_of,
)
from robnet_zoo.eval.shards import Shards, validate_identity
from robnet_zoo.eval.target import BATCH_SIZE
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.runtime import files
from robnet_zoo.runtime.console import progress
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.distributed import PATIENCE, process_group
from robnet_zoo.runtime.environment import Compile, environment
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import ThreatModel, get_threat_model

if TYPE_CHECKING:
    from robnet_zoo.data.splits import Split


def evaluate(
    model: nn.Module,
    data: Split | tuple[Tensor, Tensor],
    attacks: Sequence[Attack | Suite | str],
    threat_model: ThreatModel | str,
    *,
    n: int | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    out: str | Path | None = None,
    resume: bool = False,
    folded: bool = True,
    compile: Compile | None = None,
    surrogate: nn.Module | None = None,
    eot: int = 1,
    draws: int = 1,
    decide: Decide = "majority",
    loss: str | Loss | None = None,
    metadata: RunMetadata | None = None,
    quiet: bool = True,
) -> EvaluationRecord:
    """Judge a model under attacks; every verdict is given by the model as it is, in float32.

    Attacks on the zoo's networks see a faster form of the same function (`models.folded`).

    The verdicts depend on the seed and on nothing else: not on the batch size, the order of the
    attacks, an interruption, or the number of processes. The model is put into eval mode
    meanwhile and left as it was, as are the global random generators.

    Args:
        model: from images (N, C, H, W) with pixels in [0,1] to logits (N, classes), on the
            device to use.
        data: a split from `robnet_zoo.data.load_split`, or images (N, C, H, W), as floats in
            [0,1] or uint8, and labels (N,).
        attacks: attacks, or names such as "pgd100" and "autoattack".
        threat_model: a threat model, or the name of a row of the table, such as "cifar10".
        n: judge the first n images; all if None.
        seed: of all randomness.
        batch_size: images in a forward pass, rounded up to a multiple of 16; halved when a GPU
            runs out of memory.
        out: where to write the record; a folder beside it keeps finished blocks meanwhile.
        resume: use the blocks that an interrupted evaluation with the same `out` finished.
        folded: let attacks see the network's folded form; with False, the network itself.
        compile: compile what attacks see, in this mode of torch.compile ("reduce-overhead" and
            "max-autotune" use CUDA graphs): minutes at the start, then faster.
        surrogate: a model on the same device that gives the gradients in the model's place, which
            gives every value and verdict: `robnet_zoo.attacks.Bpda`, for a defence that has none.
        eot: draws of a randomised model whose logits are averaged in each pass of an attack, and
            so their gradients: `robnet_zoo.attacks.Eot`.
        draws: draws of a randomised model that give a verdict, the same for every iterate. They
            depend on the seed, the block and the image's place in it.
        decide: how: "majority", where an image is broken unless more than half of the draws are
            right, or "mean", by the largest mean probability.
        loss: "ce", "margin", or a function of your own from logits (N, classes) and labels (N,) to
            losses (N,), for every attack, which must be of the gradient family.
        metadata: names for the record.
        quiet: show no progress bar.

    Returns:
        The record, as written to `out`.

    Raises:
        ZooError: unknown names, n out of range, `out` not writable, data or model of a wrong
            form, or blocks of another evaluation.
    """
    metadata = metadata or RunMetadata()
    device = device_of(model)
    adaptive = Adaptive(surrogate=surrogate, eot=eot, draws=draws, decide=decide)
    _validate_adaptive(adaptive, device, compile)
    threat = get_threat_model(threat_model) if isinstance(threat_model, str) else threat_model
    chosen = _attacks(attacks, threat, adaptive, loss)
    validate_numbers(seed, batch_size)
    path = None if out is None else Path(out)
    if path is not None:
        files.check_writable(path)
    images = take_first(data, n, device)
    info = model_info(model, metadata)
    chosen = _fitted(chosen, threat, model, images)
    settings = {attack.name: attack.settings(threat) for attack in chosen}
    adapted = _adaptive_settings(adaptive)
    identity = _identity(
        info, images.sha256, threat.norm, threat.epsilon.value, settings, seed, adapted
    )
    parts = None if path is None else path.with_name(f"{path.name}.parts")
    if resume and path is not None and parts is not None and path.exists() and not parts.exists():
        return _finished(path, identity)

    held = nullcontext() if surrogate is None else preserve_state(surrogate)
    with held, process_group(timeout=PATIENCE) as processes:
        shards = Shards(parts, identity)
        if processes.main:
            shards.open(resume)
        processes.wait()
        before = fingerprint(model)
        with preserve_state(model):  # in full precision, which decides the form
            faster = folded and adaptive.plain
            attack_model = fold(model, image_size=images.side) if faster else model
            if compile is not None:
                attack_model = cast(
                    nn.Module, torch.compile(attack_model, mode=compile, dynamic=False)
                )
        work = Engine(
            model=model,
            attack_model=attack_model,
            compiled=compile is not None,
            images=images,
            threat_model=threat,
            seed=seed,
            batch_size=batch_size,
            shards=shards,
            processes=processes,
            adaptive=adaptive,
        )
        passes = len(images) * sum(part.cost() for attack in chosen for part in attack.parts)
        shown = not quiet and processes.main
        bar = progress(passes / processes.size, "Evaluating", "passes") if shown else nullcontext()
        with bar as work.bar:
            predictions, drawn = work.clean()
            labels = images.labels.tolist()
            correct = [got == label for got, label in zip(predictions, labels, strict=True)]
            checks = work.check(_averaged(chosen, adaptive))
            _validate_gradients(chosen, checks)
            attacked = tuple(
                work.attack(attack, settings[attack.name], correct) for attack in chosen
            )
        record = EvaluationRecord(
            model=info,
            data=images.info(metadata),
            threat_model=ThreatInfo.of(threat),
            settings=Settings(
                seed=seed,
                block_size=BLOCK_SIZE,
                batch_size=work.batch_size,
                device=str(device),
                attacks=tuple(settings),
                folded=folded and work.attack_model is not model,
                compile=compile,
                **adapted,
            ),
            clean=Clean(
                accuracy=proportion_of(bits(correct)),
                verdicts=bits(correct),
                predictions=tuple(predictions),
                draws=drawn,
            ),
            attacks=attacked,
            totals=results.total(correct, attacked, labels, metadata.class_names),
            environment=environment(str(device)),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            warnings=tuple(dict.fromkeys(work.warnings)),
            checks=(*checks, *check_state(model, before)),
        )
        judged = check_results(
            record,
            len(metadata.class_names) or None,
            metadata.card,
            image_size=images.side,
            usual_size=metadata.image_size,
            swept=metadata.swept,
        )
        record = replace(record, checks=(*record.checks, *judged))
        if processes.main and path is not None:
            records.write(record, path)
            shards.remove()
        processes.wait()
    return record


def _validate_adaptive(adaptive: Adaptive, device: torch.device, compile: str | None) -> None:
    """Raise ZooError unless the surrogate can be used, and nothing but a plain model compiled."""
    if compile is not None and not adaptive.plain:
        raise ZooError("compile does not go with a surrogate, eot or draws; leave it out.")
    if adaptive.surrogate is not None:
        validate_float32(adaptive.surrogate, "surrogate")
        place = device_of(adaptive.surrogate)
        if adaptive.surrogate.state_dict() and place != device:
            raise ZooError(f"The surrogate is on {place} and the model on {device}; move it there.")


def _adaptive_settings(adaptive: Adaptive) -> dict[str, Any]:
    """Return what the record's settings say about adaptive attacks; nothing of plain ones."""
    settings: dict[str, Any] = {}
    if adaptive.surrogate is not None:
        name, sha256 = type(adaptive.surrogate).__name__, state_sha256(adaptive.surrogate)
        settings["surrogate"] = SurrogateInfo(name=name, state_sha256=sha256)
    if adaptive.randomised:
        settings |= {"eot": adaptive.eot, "draws": adaptive.draws, "decide": adaptive.decide}
    return settings


def _attacks(
    attacks: Sequence[Attack | Suite | str],
    threat_model: ThreatModel,
    adaptive: Adaptive,
    loss: str | Loss | None,
) -> list[Attack | Suite]:
    chosen = [get_attack(name) if isinstance(name, str) else name for name in attacks]
    if loss is not None:
        chosen = [with_loss(attack, loss) for attack in chosen]
    if not chosen:
        raise ZooError("There is no attack to judge by; name one, such as pgd100.")
    names = [attack.name for attack in chosen]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ZooError(f"Attack '{min(twice)}' is named twice; name each attack once.")
    for attack in chosen:
        validate(attack, threat_model)
        own = max(getattr(part, "eot", 1) for part in attack.parts)
        if own > 1 and adaptive.eot > 1:
            raise ZooError(
                f"Attack '{attack.name}' averages {own} draws a step of its own; leave out eot."
            )
    return chosen


def _averaged(attacks: list[Attack | Suite], adaptive: Adaptive) -> int:
    """Return how many draws of a randomised model every attack's gradient averages at least."""
    parts = [part for attack in attacks for part in attack.parts if part.traits.gradients]
    own = min((getattr(part, "eot", 1) for part in parts), default=1)
    return max(own, adaptive.eot) if adaptive.randomised else 1


def _fitted(
    attacks: list[Attack | Suite], threat_model: ThreatModel, model: nn.Module, images: Images
) -> list[Attack | Suite]:
    """Return the attacks, suites as they run under the threat model on the model's classes."""
    if not any(isinstance(attack, Suite) for attack in attacks):
        return attacks
    with preserve_state(model), torch.no_grad():
        logits = AttackedModel(model, 1)(images.take(torch.arange(1)))
    return [
        attack.fitted(threat_model, logits.shape[1]) if isinstance(attack, Suite) else attack
        for attack in attacks
    ]


def _validate_gradients(attacks: list[Attack | Suite], checks: tuple[Check, ...]) -> None:
    """Refuse attacks that need gradients where the checks found none."""
    blind = any(check.name == "gradient-path" and not check.passed for check in checks)
    for part in (part for attack in attacks for part in attack.parts):
        if blind and part.traits.gradients:
            raise ZooError(
                f"Attack '{part.name}' needs gradients, and none flow from the model's logits to "
                "its input: take no_grad, detach and NumPy out of the forward pass, give a "
                "surrogate with gradients, or use square."
            )


def _identity(
    model: ModelInfo,
    data_sha256: str,
    norm: str,
    epsilon: float,
    attacks: dict[str, Any],
    seed: int,
    adaptive: dict[str, Any],
) -> dict[str, Any]:
    """Return what decides the verdicts, and so what a resumed evaluation must have too."""
    return {
        "model": model.state_sha256,
        "data": data_sha256,
        "threat model": [norm, epsilon],
        "attacks": attacks,
        "seed": seed,
        "surrogate or draws": to_builtins(adaptive) or None,
        "format": [records.SCHEMA, BLOCK_SIZE],
    }


def _finished(path: Path, identity: dict[str, Any]) -> EvaluationRecord:
    """Return a finished record, if it is of this very evaluation."""
    record = records.read(path)
    stored = _identity(
        record.model,
        record.data.sha256,
        record.threat_model.norm,
        record.threat_model.epsilon_value,
        {attack.name: attack.settings for attack in record.attacks},
        record.settings.seed,
        {
            name: value
            for name in ("surrogate", "eot", "draws", "decide")
            if (value := getattr(record.settings, name)) is not UNSET
        },
    )
    validate_identity(stored, identity, path)
    return record
