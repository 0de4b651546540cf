"""Every indicator of every cell; a cell's values have a file of their own and are kept."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

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
from robnet_zoo.search.indicators.registry import Indicator, Stage, of_stage
from robnet_zoo.search.indicators.settings import TrialSettings
from robnet_zoo.search.indicators.training import train_briefly
from robnet_zoo.threat_models import ThreatModel
from robnet_zoo.train.validate import validate

JUDGED_STEPS = 10  # of PGD, on the held-out images
NARROW = 4  # channels of a narrow network
SECONDS = "seconds"  # what a cell's file holds beside the values: how long each task took
Values = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is measured, and with what.

    Attributes:
        settings: how.
        labels: of the indicators that are measured, as `label` makes them.
        dataset: what the images are of.
        train: what networks are trained on and probed with.
        held_out: what they are judged on.
        threat: sets epsilon.
    """

    settings: TrialSettings
    labels: frozenset[str]
    dataset: Dataset
    train: Split
    held_out: Split
    threat: ThreatModel

    def candidate(self, genotype: CellGenotype) -> Candidate:
        """Return a genotype at the trial's size."""
        return Candidate(
            genotype=genotype,
            channels=self.settings.channels,
            layers=self.settings.layers,
            num_classes=self.dataset.num_classes,
            in_channels=self.dataset.in_channels,
            image_size=self.dataset.image_size,
        )

    @cached_property
    def images(self) -> tuple[Tensor, Tensor]:
        """The training images that every network is probed with, spread over all of them."""
        total = len(self.train)
        n = min(self.settings.images, total)
        chosen = (torch.arange(n) * total // n).to(self.train.device)
        return to_float(self.train.images(chosen)), self.train.labels[chosen]


def label(each: Indicator, task: Stage) -> str:
    """Return the name of an indicator's column: "trained_" before what a training comes first."""
    return f"trained_{each.name}" if task == "trained" else each.name


def known_labels(stages: Collection[Stage]) -> list[str]:
    """Return the labels of all indicators of some stages."""
    labels = [label(each, stage) for stage in stages for each in of_stage(stage).values()]
    if "trained" in stages:
        labels += [label(each, "trained") for each in of_stage("network").values()]
    return labels


def load_trial(
    settings: TrialSettings, labels: Collection[str], device: str, root: Path | None
) -> Trial:
    """Return a trial with its images.

    Raises:
        ZooError: an unknown data set, or files that are missing.
    """
    dataset, train = load_split(settings.dataset, "train", root=root)
    _, held_out = load_split(settings.dataset, "validation", root=root)
    return Trial(
        settings=settings,
        labels=frozenset(labels),
        dataset=dataset,
        train=train.to(device),
        held_out=held_out.to(device),
        threat=dataset.threat_model,
    )


def measure_all(
    genotypes: Mapping[str, CellGenotype],
    trial: Trial,
    folder: Path,
    processes: ProcessGroup,
    bar: Progress,
) -> None:
    """Measure what is not measured yet of this process's part of the cells.

    Args:
        genotypes: the cells, by name.
        trial: what is measured, and with what.
        folder: gets a file a cell.
        processes: that share the cells out.
        bar: counts the cells.
    """
    names = list(genotypes)
    for number in processes.strided(len(names)):
        path = folder / f"{names[number]}.json"
        values = read_values(path)
        candidate = trial.candidate(genotypes[names[number]])
        for key, wanted, probe in _tasks(candidate, number, trial):
            left = {
                label: each
                for label, each in wanted.items()
                if label in trial.labels and label not in values.get(key, {})
            }
            if left:
                began = time.perf_counter()
                looked_at = probe()
                measured = {label: float(each.measure(looked_at)) for label, each in left.items()}
                values[key] = values.get(key, {}) | measured
                spent = values.setdefault(SECONDS, {})
                spent[key] = round(spent.get(key, 0.0) + time.perf_counter() - began, 2)
                write_json(path, values)
        bar.advance(processes.size)


def read_values(path: Path) -> dict[str, Values]:
    """Return what is measured of a cell: values by label, by what was looked at ("network-0").

    Under "seconds" are those that each look took, over all runs.
    """
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _tasks(
    candidate: Candidate, number: int, trial: Trial
) -> Iterator[tuple[str, dict[str, Indicator], Callable[[], Any]]]:
    """Yield what can be looked at of a cell: a key, the indicators by label, and how to get it."""
    settings = trial.settings
    yield "cell", dict(of_stage("cell")), lambda: candidate
    narrow = dataclasses.replace(candidate, channels=NARROW)
    probe = partial(_at_start, narrow, trial, settings.seed)
    yield "narrow-0", dict(of_stage("narrow")), probe
    for index in range(settings.seeds):
        probe = partial(_at_start, candidate, trial, settings.seed + index)
        yield f"network-{index}", dict(of_stage("network")), probe
    again = {label(each, "trained"): each for each in of_stage("network").values()}
    again |= {label(each, "trained"): each for each in of_stage("trained").values()}
    for index in range(1 + (number < settings.repeats) if settings.steps else 0):
        yield (
            f"trained-{index}",
            again,
            partial(_after_training, candidate, trial, settings.seed + index),
        )


def _at_start(candidate: Candidate, trial: Trial, seed: int) -> Probe:
    return start_probe(candidate, *trial.images, trial.threat, seed)


def _after_training(candidate: Candidate, trial: Trial, seed: int) -> Probe:
    network = train_briefly(candidate, trial.train, trial.threat, trial.settings, seed)
    size = trial.threat.epsilon.value
    score = validate(
        network,
        trial.held_out,
        Adversary(epsilon=size, step_size=size / 4, steps=JUDGED_STEPS),
        batch_size=trial.settings.batch_size,
        seed=trial.settings.seed,
        processes=ProcessGroup(device=str(trial.train.device)),
    )
    return probe_of(candidate, cast(Network, network), *trial.images, trial.threat, seed, score)
