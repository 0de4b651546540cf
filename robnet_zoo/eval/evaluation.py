"""The evaluation: any model, under any attacks, to one record."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from msgspec.structs import replace
from torch import nn

from robnet_zoo.attacks.adaptive import Adaptive, Decide
from robnet_zoo.attacks.base import Attack, Suite
from robnet_zoo.attacks.batch import BLOCK_SIZE, validate_numbers
from robnet_zoo.attacks.calling import Model, as_module
from robnet_zoo.attacks.fingerprint import function_fingerprint
from robnet_zoo.attacks.losses import Loss
from robnet_zoo.attacks.model import device_of, preserve_state, validate_precision
from robnet_zoo.eval import record as records
from robnet_zoo.eval import results
from robnet_zoo.eval.checking import check_before, check_behind
from robnet_zoo.eval.checks import check_results, fingerprint
from robnet_zoo.eval.engine import CLEAN_COST, Engine
from robnet_zoo.eval.finished import add_attacks, find_finished
from robnet_zoo.eval.identity import first_images, settings_of
from robnet_zoo.eval.inputs import Images, RunMetadata, model_info, take_first
from robnet_zoo.eval.kept_images import keep_images, validate_save_images
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.record.check import Check
from robnet_zoo.eval.record.fields import flags_of
from robnet_zoo.eval.record.results import AttackResult, Clean
from robnet_zoo.eval.record.setup import Settings, ThreatInfo
from robnet_zoo.eval.request import (
    Request,
    adaptive_settings,
    averaged_draws,
    choose_attacks,
    fitted,
    validate_adaptive,
    validate_gradients,
)
from robnet_zoo.eval.shards import Shards
from robnet_zoo.eval.target import BATCH_SIZE
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.runtime import files
from robnet_zoo.runtime.console import note, progress
from robnet_zoo.runtime.distributed import PATIENCE, process_group
from robnet_zoo.runtime.environment import Compile, environment
from robnet_zoo.threat_models import ThreatModel, get_threat_model

if TYPE_CHECKING:
    from robnet_zoo.eval.sources import Data


def evaluate(
    model: Model,
    data: Data,
    attacks: Sequence[Attack | Suite | str],
    threat_model: ThreatModel | str,
    *,
    n: int | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    out: str | Path | None = None,
    resume: bool = False,
    save_images: str | Path | None = None,
    folded: bool = True,
    compile: Compile | None = None,
    surrogate: Model | None = None,
    eot: int = 1,
    draws: int = 1,
    decide: Decide = "majority",
    loss: str | Loss | None = None,
    metadata: RunMetadata | None = None,
    quiet: bool = True,
) -> EvaluationRecord:
    """Judge a model under attacks; every verdict is given by the model as it is.

    A model computes in strict float32, or in float64 where its parameters are. Attacks on the
    zoo's networks see a faster form of the same function (`models.folded`).

    The verdicts depend on the seed and on nothing else: not on the batch size, the order of the
    attacks, an interruption, or the number of processes. The model is put into eval mode
    meanwhile and left as it was, as are the global random generators.

    Args:
        model: from images (N, C, H, W) with pixels in [0,1] to logits (N, classes), on the
            device to use; a module, or a plain function. See `attacks.calling.logits_of` for
            other outputs.
        data: a split from `robnet_zoo.data.load_split`, images (N, C, H, W), as floats in [0,1]
            or uint8, and labels (N,), both tensors or NumPy arrays (channels may come last
            there), or a DataLoader or Dataset of such pairs.
        attacks: attacks, or names such as "pgd100" and "autoattack".
        threat_model: a threat model, or the name of a row of the table, such as "cifar10".
        n: judge the first n images; all if None.
        seed: of all randomness.
        batch_size: images in a forward pass, rounded up to a multiple of 16; halved when a GPU
            runs out of memory.
        out: where to write the record; a folder beside it keeps finished blocks meanwhile.
        resume: use what an interrupted evaluation with the same `out` finished, and add attacks
            to its record where it was finished. Without this, a record that says what is asked is
            returned as it is, and any other is refused: none is ever overwritten.
        save_images: where to write adversarial images as .npz, for `eval verify`: of each image
            the first that broke it, or what the last attack made of it.
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
            form, or `out` holds the blocks or the record of another evaluation.
    """
    metadata = metadata or RunMetadata()
    model = as_module(model)
    validate_precision(model)
    source = None if surrogate is None else as_module(surrogate, "surrogate")
    adaptive = Adaptive(surrogate=source, eot=eot, draws=draws, decide=decide)
    threat = get_threat_model(threat_model)
    chosen = choose_attacks(attacks, threat, adaptive, loss)
    validate_numbers(seed, batch_size)
    path = None if out is None else Path(out)
    images_path = None if save_images is None else Path(save_images)
    if path is not None:
        files.check_writable(path)
    images = take_first(data, n, device_of(model) if model.state_dict() else None)
    device = images.device
    validate_adaptive(adaptive, device, compile)
    before = fingerprint(model)
    chosen = fitted(chosen, threat, model, images)
    request = Request(
        model=replace(
            model_info(model, metadata),
            fingerprint=function_fingerprint(model, first_images(images)),
        ),
        images=images,
        threat_model=threat,
        metadata=metadata,
        attacks={attack.name: settings_of(attack, threat, images) for attack in chosen},
        settings=Settings(
            seed=seed,
            block_size=BLOCK_SIZE,
            batch_size=batch_size,
            device=str(device),
            attacks=tuple(attack.name for attack in chosen),
            folded=folded,
            compile=compile,
            **adaptive_settings(adaptive, images, metadata.surrogate),
        ),
    )
    earlier = find_finished(path, request.identity, resume)
    if images_path is not None:
        finished = path if earlier is not None else None
        validate_save_images(images_path, randomised=adaptive.randomised, finished=finished)
    if earlier is not None:
        chosen = [attack for attack in chosen if attack.name not in earlier.attack_names]
        if not chosen:
            if not quiet:
                note(f"'{path}' is finished; delete it to evaluate anew.")
            return earlier

    held = nullcontext() if source is None else preserve_state(source)
    with held, process_group(timeout=PATIENCE) as processes:
        shards = Shards(path and path.with_name(f"{path.name}.parts"), request.identity)
        if processes.main:
            shards.open(resume)
        processes.wait()
        work = Engine(
            model=model,
            attack_model=_attacked_form(model, images, adaptive, folded=folded, compile=compile),
            compiled=compile is not None,
            images=images,
            threat_model=threat,
            seed=seed,
            batch_size=batch_size,
            shards=shards,
            processes=processes,
            adaptive=adaptive,
            kept_images=keep_images(images_path, shards.folder),
        )
        cost = sum(part.cost() for attack in chosen for part in attack.parts)
        passes = len(images) * (cost + (CLEAN_COST if earlier is None else 0))
        shown = not quiet and processes.main
        bar = progress(passes / processes.size, "Evaluating", "passes") if shown else nullcontext()
        with bar as work.bar:
            clean = work.clean() if earlier is None else earlier.clean
            correct = flags_of(clean.verdicts)
            checks = check_before(work, averaged_draws(chosen, adaptive))
            validate_gradients(chosen, checks)
            if work.bar is not None:
                work.bar.restart()
            attacked = tuple(
                work.attack(attack, request.attacks[attack.name], correct) for attack in chosen
            )
        record = _record(work, request, clean, attacked, earlier)
        own = (*checks, *check_behind(work, record, checks, before))
        record = replace(record, checks=(*own, *_check_results(record, request)))
        if processes.main and images_path is not None and work.kept_images is not None:
            work.kept_images.write(images_path, record, images)
        if processes.main and path is not None:
            records.write(record, path)
            shards.remove()
        processes.wait()
    return record


def _attacked_form(
    model: nn.Module, images: Images, adaptive: Adaptive, *, folded: bool, compile: Compile | None
) -> nn.Module:
    """Return the model as attacks see it: folded where that may be, compiled where asked for."""
    with preserve_state(model):  # in full precision, which decides the form
        form = fold(model, image_size=images.side) if folded and adaptive.plain else model
        if compile is None:
            return form
        return cast(nn.Module, torch.compile(form, mode=compile, dynamic=False))


def _record(
    work: Engine,
    request: Request,
    clean: Clean,
    attacked: tuple[AttackResult, ...],
    earlier: EvaluationRecord | None,
) -> EvaluationRecord:
    """Return the record, with the attacks of an earlier one before its own; without checks."""
    images, every = request.images, attacked if earlier is None else (*earlier.attacks, *attacked)
    record = EvaluationRecord(
        model=request.model,
        data=images.info(request.metadata),
        threat_model=ThreatInfo.of(request.threat_model),
        settings=replace(
            request.settings,
            batch_size=work.batch_size,
            attacks=tuple(result.name for result in attacked),
            folded=request.settings.folded and work.attack_model is not work.model,
        ),
        clean=clean,
        attacks=attacked,
        totals=results.total(
            flags_of(clean.verdicts),
            every,
            images.labels.tolist(),
            request.metadata.class_names,
        ),
        environment=environment(str(images.device)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        warnings=tuple(dict.fromkeys(work.warnings)),
        checks=(),
    )
    return record if earlier is None else add_attacks(earlier, record)


def _check_results(record: EvaluationRecord, request: Request) -> tuple[Check, ...]:
    metadata = request.metadata
    return check_results(
        record,
        len(metadata.class_names) or None,
        metadata.card,
        image_size=request.images.side,
        usual_size=metadata.image_size,
        swept=metadata.swept,
    )
