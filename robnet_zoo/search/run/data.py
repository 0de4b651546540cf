"""What a search learns from.

Batches of the training part, of one half of it for the weights and of the other for the
architecture, and the held-out part to judge by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from robnet_zoo.data import Dataset, load_split, to_float
from robnet_zoo.data.augment import augment
from robnet_zoo.data.splits import Split
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.randomness import keyed_generator
from robnet_zoo.search.run.recipe import SearchRecipe
from robnet_zoo.threat_models import ThreatModel


class SearchBatch(NamedTuple):
    """Images (B, C, H, W) with pixels in [0,1], augmented, and their classes (B,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class BatchStream:
    """The batches of one stream of images, each fixed by its epoch and number alone."""

    split: Split
    recipe: SearchRecipe
    stream: str
    flip: bool
    processes: ProcessGroup

    def __len__(self) -> int:
        """Batches in an epoch; the images of an incomplete one wait for another epoch."""
        return len(self.split) // self.recipe.batch_size

    def at(self, epoch: int, index: int) -> SearchBatch:
        """Return this process's part of a batch."""
        size = self.recipe.batch_size
        order = _order(len(self.split), self.recipe.seed, self.stream, epoch)
        rows = self.processes.shard(size)
        chosen = order[index * size : (index + 1) * size][rows].to(self.split.device)
        images, labels = self.split.images(chosen), self.split.labels[chosen]
        key = (self.recipe.seed, self.stream, "augment", epoch, index)
        draws = keyed_generator(*key, device=self.processes.device)
        moved = augment(images, self.recipe, draws, flip=self.flip, rows=rows, total=size)
        return SearchBatch(to_float(moved), labels)


@lru_cache(maxsize=8)
def _order(count: int, seed: int, stream: str, epoch: int) -> Tensor:
    return torch.randperm(count, generator=keyed_generator(seed, stream, epoch))


@dataclass(frozen=True)
class SearchData:
    """The images of a search, on its device.

    Attributes:
        dataset: what the data set is.
        threat: the threat model that images are crafted under.
        streams: one for the weights, and one for the architecture where a search needs it.
        validation: held-out images, to judge by.
        processes: the processes that share the work.
    """

    dataset: Dataset
    threat: ThreatModel
    streams: tuple[BatchStream, ...]
    validation: Split
    processes: ProcessGroup


def load_search_data(
    recipe: SearchRecipe,
    *,
    streams: Sequence[str] = ("weights", "architecture"),
    processes: ProcessGroup | None = None,
    root: Path | None = None,
) -> SearchData:
    """Load a search's images; each stream gets an equal part of the training images.

    Args:
        recipe: names the data set; its seed draws the parts.
        streams: names of the streams.
        processes: the processes that share the work; None for this one alone.
        root: folder of the data sets.

    Raises:
        ZooError: missing data, or a batch that does not fit it or the processes.
    """
    processes = processes or ProcessGroup()
    row = recipe.threat_model
    dataset, training = load_split(recipe.dataset, "train", root=root, threat_model=row)
    _, validation = load_split(recipe.dataset, "validation", root=root, threat_model=row)
    threat = dataset.threat_model
    images = min(recipe.images or len(training), len(training))
    size = images // len(streams)
    if recipe.batch_size > size or recipe.batch_size % processes.size:
        raise ZooError(
            f"Batch size {recipe.batch_size} does not fit {size} images a stream and "
            f"{processes.size} process(es); choose a multiple of {processes.size} that is "
            f"at most {size}."
        )
    order = torch.randperm(len(training), generator=keyed_generator(recipe.seed, "parts"))
    parts = order[: size * len(streams)].chunk(len(streams))
    flip = recipe.flip and dataset.flip
    return SearchData(
        dataset,
        threat.at(recipe.epsilon) if recipe.epsilon else threat,
        tuple(
            BatchStream(training.subset(part).to(processes.device), recipe, stream, flip, processes)
            for stream, part in zip(streams, parts, strict=True)
        ),
        validation.to(processes.device),
        processes,
    )
