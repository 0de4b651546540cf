"""Certify a model: for each image, sizes and radii within which its class is certain.

An attack at several sizes runs beside it, so that certified, attacked and clean accuracy stand in
one plot, and so that each can contradict the other.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from torch import Tensor, nn

from robnet_zoo.attacks.calling import precision_of
from robnet_zoo.attacks.fingerprint import function_fingerprint
from robnet_zoo.attacks.model import preserve_state
from robnet_zoo.certify import certified, certified_radius
from robnet_zoo.certify.graph import ROUNDING
from robnet_zoo.certify.margins import BISECTIONS, Method
from robnet_zoo.certify.size import feasible, refuse_large
from robnet_zoo.certify.tracing import trace
from robnet_zoo.eval.evaluation import evaluate
from robnet_zoo.eval.identity import first_images
from robnet_zoo.eval.inputs import Images, model_info, take_first
from robnet_zoo.eval.record.fields import bits
from robnet_zoo.eval.record.setup import ThreatInfo
from robnet_zoo.eval.shards import Shards
from robnet_zoo.eval.studies import certificate
from robnet_zoo.eval.studies.certificate import Certificate, CertifySettings
from robnet_zoo.eval.target import BATCH_SIZE, EvalTarget
from robnet_zoo.runtime.console import note, progress
from robnet_zoo.runtime.distributed import PATIENCE, ProcessGroup, process_group
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.threat_models import GRADIENT_NORMS, Norm, ThreatModel

DTYPES = {"float32": torch.float32, "float64": torch.float64}
ATTACK = "pgd20"  # drawn beside the certificates
# Parts of epsilon at which the attack runs too.
PARTS = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4)


def certify(
    target: EvalTarget,
    *,
    n: int | None = None,
    norms: Sequence[str] = GRADIENT_NORMS,
    method: Method | None = None,
    precision: Literal["float32", "float64"] | None = None,
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
        method: as for `certify.bounds`; None for linear bounds, or zonotopes where a model is too
            large for them.
        precision: that bounds are computed in, the model's if None; the attack meets the model as
            it is.
        seed: of the attack.
        batch_size: images in a forward pass of the attack.
        out: where the record will be; a folder beside it keeps finished images meanwhile.
        resume: use the images that an interrupted run with the same `out` finished. A finished
            record of the same is returned as it is, and none is overwritten.
        quiet: show no progress bar.

    Raises:
        ZooError: the model is too large, or has parts that bounds are not known for, or `out`
            holds the record of another evaluation.
    """
    model, threat = target.model, target.threat_model
    for name in norms:
        if name not in GRADIENT_NORMS:
            raise unknown_name("norm", name, GRADIENT_NORMS)
    chosen_norms: list[Norm] = [norm for norm in GRADIENT_NORMS if norm in norms]
    if threat.norm not in norms:
        raise ZooError(f"Radii are certified in {' and '.join(norms)}, not in {threat.norm}.")
    device = next(model.parameters()).device
    images = take_first(target.split, n, device)
    dtype = DTYPES[precision] if precision else precision_of(model) or torch.float32
    bounded = model if precision is None else copy.deepcopy(model).to(dtype)
    with preserve_state(bounded), torch.no_grad():
        first = images.take(torch.arange(1)).to(dtype)
        graph = trace(bounded, first)
        chosen: Method = method or feasible(graph)
        refuse_large(graph, chosen)
    settings = CertifySettings(
        method=chosen,
        bisections=BISECTIONS,
        attack=ATTACK,
        seed=seed,
        rounding=ROUNDING[dtype],
        precision="float64" if dtype == torch.float64 else msgspec.UNSET,
    )
    info = msgspec.structs.replace(
        model_info(model, target.metadata),
        fingerprint=function_fingerprint(model, first_images(images)),
    )
    threat_info = ThreatInfo.of(threat)
    identity = certificate.identify(info, images.sha256, threat_info, settings, chosen_norms)
    if out is not None and out.exists():
        finished = certificate.read_finished(out, identity)
        if not quiet:
            note(f"'{out}' is finished; delete it to certify anew.")
        return finished
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
        shards = Shards(out and out.with_name(f"{out.name}.parts"), identity)
        if processes.main:
            shards.open(resume)
        processes.wait()
        sizes = [record.threat_model.epsilon_value for record in records]
        job = _Job(bounded, images, dtype, chosen, chosen_norms, threat.norm, sizes)
        rows = _certify_each(job, shards, processes, quiet)
        if processes.main:
            shards.remove()
    radii = {norm: certificate.averaged([row[norm] for row in rows]) for norm in chosen_norms}
    points = tuple(
        certificate.point(record, bits(row["certain"] >= size for row in rows))
        for record, size in zip(records, sizes, strict=True)
    )
    reach = [max(row["certain"], row[threat.norm]) for row in rows]
    return Certificate(
        model=last.model,
        data=last.data,
        threat_model=last.threat_model,
        settings=settings,
        clean=last.clean,
        radii=radii,
        certified=points[-1].certified,
        verdicts=bits(row["certain"] >= sizes[-1] for row in rows),
        points=points,
        seconds=round(sum(row["seconds"] for row in rows), 1),
        environment=environment(str(device)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        checks=(certificate.check(points, reach),),
    )


def _sizes(threat: ThreatModel) -> list[ThreatModel]:
    smaller = [threat.at(f"{part * threat.epsilon.value:.6g}") for part in PARTS]
    return [*smaller, threat]


@dataclass(frozen=True)
class _Job:
    """What is certified, and how: fields as in `certify`, sizes from the smallest on."""

    model: nn.Module
    images: Images
    dtype: torch.dtype
    method: Method
    norms: Sequence[Norm]
    norm: Norm
    sizes: Sequence[float]


def _certify_each(
    job: _Job, shards: Shards, processes: ProcessGroup, quiet: bool
) -> list[dict[str, Any]]:
    """Return for each image the largest certain size, its radii by norm and the seconds taken."""
    rows: dict[int, dict[str, Any]] = {}
    numbers = processes.strided(len(job.images))
    shown = not quiet and processes.main
    with progress(len(numbers), "Certifying", "images") if shown else nullcontext() as bar:
        for number in numbers:
            row = kept = shards.load("image", number, dict[str, Any])
            if row is None:
                row = _certify_one(job, number)
                shards.save("image", number, row)
            rows[number] = row
            if bar is not None:
                count = bar.advance if kept is None else bar.skip
                count(1)
    all_rows = processes.gather(rows)
    return [all_rows[number] for number in sorted(all_rows)]


def _certify_one(job: _Job, number: int) -> dict[str, Any]:
    started = time.perf_counter()
    image = job.images.take(torch.tensor([number])).to(job.dtype)
    label = job.images.labels[number : number + 1]
    with preserve_state(job.model):
        largest, refuted = _largest_certain(job, image, label)
        row: dict[str, Any] = {"certain": largest}
        for norm in job.norms:
            found = norm == job.norm
            row[norm] = certified_radius(
                job.model,
                image,
                label,
                norm=norm,
                method=job.method,
                low=torch.tensor([largest if found else 0.0], dtype=job.dtype),
                high=torch.tensor([refuted if found else math.inf], dtype=job.dtype),
            ).item()
    row["seconds"] = round(time.perf_counter() - started, 3)
    return row


def _largest_certain(job: _Job, image: Tensor, label: Tensor) -> tuple[float, float]:
    """Return the largest size at which an image is certain, and the next, at which it is not.

    From the largest on, so that none is passed over: what is certain at a size is at any smaller.
    """
    refuted = math.inf
    for size in reversed(job.sizes):
        if certified(job.model, image, label, size, norm=job.norm, method=job.method).item():
            return size, refuted
        refuted = size
    return 0.0, refuted
