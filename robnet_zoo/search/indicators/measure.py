"""Every indicator of every cell; a cell's values have a file of their own and are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.data import Dataset, load_split, to_float
from robnet_zoo.data.splits import Split
from robnet_zoo.genotypes import CellGenotype
from robnet_zoo.models.networks import Network
from robnet_zoo.runtime.console import Progress
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.files import write_json
from robnet_zoo.search.indicators.candidate import Candidate
from robnet_zoo.search.indicators.probe import Probe, probe_of, start_probe
from robnet_zoo.search.indicators.registry import Stage, of_stage
from robnet_zoo.search.indicators.settings import TrialSettings
from robnet_zoo.search.indicators.training import train_briefly
from robnet_zoo.threat_models import ThreatModel
from robnet_zoo.train.validate import validate

JUDGED_STEPS = 10  # of PGD, on the held-out images
Values = dict[str, float]


@dataclass(frozen=True)
class Material:
    """The images and the threat model of a trial.

    Attributes:
        dataset: what they are of.
        train: what networks are trained on and probed with.
        held_out: what they are judged on.
        threat: sets epsilon.
    """

    dataset: Dataset
    train: Split
    held_out: Split
    threat: ThreatModel


def load_material(settings: TrialSettings, device: str, root: Path | None) -> Material:
    """Read a trial's images.

    Raises:
        ZooError: an unknown data set, or files that are missing.
    """
    dataset, train = load_split(settings.dataset, "train", root=root)
    _, held_out = load_split(settings.dataset, "validation", root=root)
    return Material(dataset, train.to(device), held_out.to(device), dataset.threat_model)


def measure_all(
    genotypes: Mapping[str, CellGenotype],
    stages: tuple[Stage, ...],
    settings: TrialSettings,
    material: Material,
    folder: Path,
    processes: ProcessGroup,
    bar: Progress,
) -> None:
    """Measure what is not measured yet of this process's part of the cells.

    Args:
        genotypes: the cells, by name.
        stages: which indicators.
        settings: how.
        material: with what.
        folder: gets a file a cell.
        processes: that share the cells out.
        bar: counts the cells.
    """
    names = list(genotypes)
    for number in processes.strided(len(names)):
        path = folder / f"{names[number]}.json"
        values = read_values(path)
        candidate = _candidate(genotypes[names[number]], settings, material)
        for stage, key, measure in _tasks(candidate, number, settings, material):
            if stage in stages and key not in values:
                values[key] = measure()
                write_json(path, values)
        bar.advance(processes.size)


def read_values(path: Path) -> dict[str, Values]:
    """Return what is measured of a cell: values by stage and number, such as "network-0"."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _candidate(genotype: CellGenotype, settings: TrialSettings, material: Material) -> Candidate:
    dataset = material.dataset
    return Candidate(
        genotype=genotype,
        channels=settings.channels,
        layers=settings.layers,
        num_classes=dataset.num_classes,
        in_channels=dataset.in_channels,
        image_size=dataset.image_size,
    )


def _tasks(
    candidate: Candidate, number: int, settings: TrialSettings, material: Material
) -> Iterator[tuple[Stage, str, Callable[[], Values]]]:
    """Yield what there is to measure of a cell: stage, key, and the function that does it."""
    yield "cell", "cell", lambda: _measured("cell", candidate)
    for index in range(settings.seeds):
        seed = settings.seed + index
        yield "network", f"network-{index}", partial(_at_start, candidate, settings, material, seed)
    if settings.steps:
        for index in range(1 + (number < settings.repeats)):
            seed = settings.seed + index
            yield (
                "trained",
                f"trained-{index}",
                partial(_after_training, candidate, settings, material, seed),
            )


def _measured(stage: Stage, looked_at: Candidate | Probe) -> Values:
    return {name: float(each.measure(looked_at)) for name, each in of_stage(stage).items()}


def _at_start(
    candidate: Candidate, settings: TrialSettings, material: Material, seed: int
) -> Values:
    images, labels = _images(settings, material)
    return _measured("network", start_probe(candidate, images, labels, material.threat, seed))


def _after_training(
    candidate: Candidate, settings: TrialSettings, material: Material, seed: int
) -> Values:
    network = train_briefly(candidate, material.train, material.threat, settings, seed)
    images, labels = _images(settings, material)
    network.eval()
    size = material.threat.epsilon.value
    score = validate(
        network,
        material.held_out,
        Adversary(epsilon=size, step_size=size / 4, steps=JUDGED_STEPS),
        batch_size=settings.batch_size,
        seed=settings.seed,
        processes=ProcessGroup(device=str(material.train.device)),
    )
    judged = {"clean_accuracy": score.clean, "robust_accuracy": score.rank}
    probe = probe_of(candidate, cast(Network, network), images, labels, material.threat, seed)
    return judged | _measured("network", probe) | _measured("trained", probe)


def _images(settings: TrialSettings, material: Material) -> tuple[Tensor, Tensor]:
    """Return the training images that every network is probed with, spread over all of them."""
    n, total = min(settings.images, len(material.train)), len(material.train)
    chosen = (torch.arange(n) * total // n).to(material.train.device)
    return to_float(material.train.images(chosen)), material.train.labels[chosen]
