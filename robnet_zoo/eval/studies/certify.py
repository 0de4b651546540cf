"""Certify a model: for each image radii, in Linf and in L2, within which its class is certain.

An attack at several sizes runs beside it, so that certified, attacked and clean accuracy stand in
one plot, and so that each can contradict the other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robnet_zoo.attacks.model import preserve_state
from robnet_zoo.certify import certified_radius
from robnet_zoo.certify.margins import BISECTIONS, refuse_large
from robnet_zoo.certify.tracing import trace
from robnet_zoo.eval.evaluation import evaluate
from robnet_zoo.eval.inputs import Images, take_first
from robnet_zoo.eval.record.fields import bits
from robnet_zoo.eval.shards import Shards
from robnet_zoo.eval.studies import certificate
from robnet_zoo.eval.studies.certificate import SCHEMA, Certificate, CertifySettings
from robnet_zoo.eval.target import BATCH_SIZE, EvalTarget
from robnet_zoo.runtime.console import progress
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.distributed import PATIENCE, ProcessGroup, process_group
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import GRADIENT_NORMS, Norm, ThreatModel

ATTACK = "pgd20"  # drawn beside the certificates
# Parts of epsilon at which the attack runs too.
PARTS = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4)


def certify(
    target: EvalTarget,
    *,
    n: int | None = None,
    norms: Sequence[Norm] = GRADIENT_NORMS,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    out: Path | None = None,
    resume: bool = False,
    quiet: bool = True,
) -> Certificate:
    """Certify a model's class on each image, and attack it at several sizes beside.

    Args:
        target: the model, its images and its threat model.
        n: judge the first n images; all if None.
        norms: of the radii, the threat model's among them; each takes its time.
        seed: of the attack.
        batch_size: images in a forward pass of the attack.
        out: where the record will be; a folder beside it keeps finished images meanwhile.
        resume: use the images that an interrupted run with the same `out` finished.
        quiet: show no progress bar.

    Raises:
        ZooError: the model is too large, or has parts that bounds are not known for.
    """
    model, threat = target.model, target.threat_model
    if threat.norm not in norms:
        raise ZooError(f"Radii are certified in {' and '.join(norms)}, not in {threat.norm}.")
    device = next(model.parameters()).device
    images = take_first(target.split, n, device)
    with preserve_state(model), torch.no_grad():
        refuse_large(trace(model, images.take(torch.arange(1))))
    settings = CertifySettings(method="linear", bisections=BISECTIONS, attack=ATTACK, seed=seed)
    with process_group(timeout=PATIENCE) as processes:
        records = [
            evaluate(
                model,
                target.split,
                [ATTACK],
                size,
                n=n,
                seed=seed,
                batch_size=batch_size,
                metadata=target.metadata,
            )
            for size in _sizes(threat)
        ]
        last = records[-1]
        identity = {
            "model": last.model.state_sha256,
            "fingerprint": to_builtins(last.model.fingerprint),
            "data": last.data.sha256,
            "settings": {**to_builtins(settings), "norms": list(norms), "format": SCHEMA},
        }
        shards = Shards(out and out.with_name(f"{out.name}.parts"), identity)
        if processes.main:
            shards.open(resume)
        processes.wait()
        rows = _certify_each(model, images, norms, shards, processes, quiet)
        if processes.main:
            shards.remove()
    radii = {norm: certificate.averaged([row[norm] for row in rows]) for norm in norms}
    within = radii[threat.norm].each
    points = tuple(certificate.point(record, within) for record in records)
    return Certificate(
        model=last.model,
        data=last.data,
        threat_model=last.threat_model,
        settings=settings,
        clean=last.clean,
        radii=radii,
        certified=points[-1].certified,
        verdicts=bits(radius >= threat.epsilon.value for radius in within),
        points=points,
        seconds=round(sum(row["seconds"] for row in rows), 1),
        environment=environment(str(device)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        checks=(certificate.check(points, within),),
    )


def _sizes(threat: ThreatModel) -> list[ThreatModel]:
    smaller = [threat.at(f"{part * threat.epsilon.value:.6g}") for part in PARTS]
    return [*smaller, threat]


def _certify_each(
    model: nn.Module,
    images: Images,
    norms: Sequence[Norm],
    shards: Shards,
    processes: ProcessGroup,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Return each image's radii by norm and the seconds they took."""
    rows: dict[int, dict[str, Any]] = {}
    numbers = processes.strided(len(images))
    shown = not quiet and processes.main
    with progress(len(numbers), "Certifying", "images") if shown else nullcontext() as bar:
        for number in numbers:
            row = shards.load("image", number, dict[str, Any])
            if row is None:
                row = _certify_one(model, images, number, norms)
                shards.save("image", number, row)
            rows[number] = row
            if bar is not None:
                bar.advance(1)
    all_rows = processes.gather(rows)
    return [all_rows[number] for number in sorted(all_rows)]


def _certify_one(
    model: nn.Module, images: Images, number: int, norms: Sequence[Norm]
) -> dict[str, Any]:
    started = time.perf_counter()
    image, label = images.take(torch.tensor([number])), images.labels[number : number + 1]
    with preserve_state(model):
        row: dict[str, Any] = {
            norm: certified_radius(model, image, label, norm=norm).item() for norm in norms
        }
    row["seconds"] = round(time.perf_counter() - started, 3)
    return row
