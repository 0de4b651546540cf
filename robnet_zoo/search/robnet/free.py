"""FSP-guided search without the constraint of one code for all cells (section 3.5).

Cell-free architectures are drawn and measured with the supernet's weights, which takes an attack
but no training; those whose deep cells an attack moves furthest are rejected, and only the rest
is worth fine-tuning. The paper names no threshold: here a number of architectures is kept, so
the threshold is the quantile of the distances that leaves so many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import optuna
import torch
from torch import Tensor

from robnet_zoo.attacks.noise import noise_for
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.data import to_float
from robnet_zoo.data.splits import Split
from robnet_zoo.models.networks import Network
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.core.supernet import Supernet
from robnet_zoo.search.robnet.codes import (
    Codes,
    convolutions,
    count_parameters,
    deep_distance,
    density,
    identities,
    to_text,
)
from robnet_zoo.search.robnet.finetune import inherited, scoring_adversary
from robnet_zoo.search.robnet.fsp import fsp_distances
from robnet_zoo.search.robnet.inherit import sizes
from robnet_zoo.search.robnet.recipe import RobNetRecipe
from robnet_zoo.search.robnet.study import Row, work
from robnet_zoo.search.robnet.table import CANDIDATES, Measured, measured_from, write_table
from robnet_zoo.search.run.data import SearchData

BATCH = 64  # images at once; a cell's FSP matrices take 170 MB at 144 channels of width


def measure_distances(
    network: Network, split: Split, adversary: Adversary, *, seed: int
) -> tuple[float, float, tuple[float, ...]]:
    """Return a network's clean and robust accuracy and each cell's FSP distance (Eq. 4).

    All three come from one attack, whose noise belongs to the images.

    Args:
        network: in eval mode.
        split: the images.
        adversary: the attack; its last iterate counts.
        seed: of the attack's noise.
    """
    right = torch.zeros(2, dtype=torch.float64)
    distances: list[Tensor] = []
    for indices in torch.arange(len(split)).split(BATCH):
        indices = indices.to(split.device)
        images, labels = to_float(split.images(indices)), split.labels[indices]
        noise = noise_for(indices, images.shape[1:], seed=seed, attack="validation")
        attacked = adversary(network, images, labels, noise=noise.to(images.device))
        logits: list[Tensor] = []

        def forward(both: Tensor, seen: list[Tensor] = logits) -> None:
            seen.append(network(both))

        distances.append(fsp_distances(network.cells, forward, images, attacked).double().cpu())
        hits = logits[0].argmax(1).view(2, -1) == labels
        right += hits.sum(1).cpu()
    clean, robust = (right / len(split)).tolist()
    return clean, robust, tuple(torch.cat(distances, dim=1).mean(1).tolist())


def measure_candidates(
    study: optuna.Study,
    supernet: Supernet,
    data: SearchData,
    recipe: RobNetRecipe,
    draw: Callable[[int], Codes],
    folder: Path,
) -> list[Measured]:
    """Measure the recipe's `fsp_candidates` candidates, together with any other workers.

    The folder's candidates.csv has those that are measured; none is measured twice.

    Args:
        study: where the workers agree, as from `open_study`.
        supernet: trained, with a code for each cell.
        data: candidates are attacked on its held-out images.
        recipe: the settings.
        draw: returns the codes of a number's candidate.
        folder: the search's folder.
    """
    adversary = scoring_adversary(recipe, data.threat)

    def measure(number: int) -> Row:
        codes = draw(number)
        network = inherited(supernet, codes, data, recipe)
        measured = measure_distances(network, data.validation, adversary, seed=recipe.seed)
        return _row(Measured(number, codes, *measured), sizes(supernet))

    def report(done: list[Row], failed: Mapping[int, str]) -> None:
        if done:
            write_table(folder / CANDIDATES, done)

    rows = work(study, recipe.fsp_candidates, measure, report, score="robust_before")
    return [measured_from(row) for row in rows]


def reject(measured: Sequence[Measured], keep: int) -> list[Measured]:
    """Return the `keep` candidates with the least FSP distance in their deep cells, least first.

    All are kept, in this order, where `keep` is their number.

    Raises:
        ZooError: fewer candidates than are to be kept.
    """
    if not 0 < keep <= len(measured):
        raise ZooError(
            f"Of {len(measured)} candidates {keep} cannot be kept; measure as many, or more."
        )
    return sorted(
        measured, key=lambda candidate: (deep_distance(candidate.distances), candidate.number)
    )[:keep]


def _row(candidate: Measured, size: Mapping[str, int]) -> Row:
    return {
        "number": candidate.number,
        "code": to_text(candidate.codes),
        "density": density(candidate.codes),
        "convs": convolutions(candidate.codes),
        "identities": identities(candidate.codes),
        "parameters": count_parameters(candidate.codes, **size),
        "clean_before": candidate.clean_before,
        "robust_before": candidate.robust_before,
        "deep_distance": deep_distance(candidate.distances),
        **{f"fsp_{cell}": distance for cell, distance in enumerate(candidate.distances)},
    }
