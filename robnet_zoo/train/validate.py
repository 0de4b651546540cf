"""Accuracy on the held-out part, which chooses the checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robnet_zoo.attacks.noise import noise_for
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.data import to_float
from robnet_zoo.data.splits import Split
from robnet_zoo.runtime.distributed import ProcessGroup

Kind = Literal["clean", "robust"]


@dataclass(frozen=True)
class Score:
    """Accuracies as fractions: on clean images, and on adversarial ones where these were made."""

    clean: float
    robust: float | None

    @property
    def kind(self) -> Kind:
        """The accuracy that checkpoints are compared by: robust, or clean where there is none."""
        return "clean" if self.robust is None else "robust"

    @property
    def rank(self) -> float:
        """That accuracy."""
        return self.clean if self.robust is None else self.robust


def validate(
    model: Callable[[Tensor], Tensor],
    split: Split,
    adversary: Adversary | None,
    *,
    batch_size: int,
    stride: int = 1,
    seed: int,
    processes: ProcessGroup,
) -> Score:
    """Judge a model, which is in eval mode, on a split.

    The last iterate of the attack counts, and each image's noise belongs to its index, so the
    score depends on neither the batch size nor the number of processes.

    Args:
        model: from pixels to logits.
        split: the images.
        adversary: the attack; None judges clean images only.
        batch_size: images at once, at most.
        stride: judge every so manyth image.
        seed: of the attack's noise.
        processes: the processes that share the images.
    """
    chosen = torch.arange(0, len(split), stride)
    mine = chosen[processes.shard(len(chosen))]
    correct = torch.zeros(3, dtype=torch.float64, device=split.device)
    for indices, real in _even(mine, batch_size):
        indices = indices.to(split.device)
        images, labels = to_float(split.images(indices)), split.labels[indices]
        with torch.no_grad():
            correct[0] += (model(images).argmax(1) == labels)[:real].sum()
        if adversary is not None:
            noise = noise_for(indices, images.shape[1:], seed=seed, attack="validation")
            adversarial = adversary(model, images, labels, noise=noise.to(images.device))
            with torch.no_grad():
                correct[1] += (model(adversarial).argmax(1) == labels)[:real].sum()
        correct[2] += real
    clean, robust, count = processes.sum(correct).tolist()
    return Score(clean / count, None if adversary is None else robust / count)


def _even(indices: Tensor, most: int) -> Iterator[tuple[Tensor, int]]:
    """Cut indices into batches of one size; yield each with the number of those that count.

    Every size of batch makes cuDNN look for its algorithms anew, so the last batch is filled up.
    """
    if not len(indices):
        return
    size = math.ceil(len(indices) / math.ceil(len(indices) / most))
    for batch in indices.split(size):
        filled = torch.cat([batch, batch[-1:].expand(size - len(batch))])
        yield filled, len(batch)
