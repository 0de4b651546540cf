"""A candidate's judgement: inherited weights, a few adversarial epochs, PGD (section 3.2)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F

from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.models.networks import Network
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.randomness import keyed_generator
from robnet_zoo.search.core.optimizers import WeightOptimizer
from robnet_zoo.search.core.supernet import Supernet
from robnet_zoo.search.robnet.codes import Codes
from robnet_zoo.search.robnet.inherit import subnetwork
from robnet_zoo.search.robnet.recipe import RobNetRecipe
from robnet_zoo.search.robnet.supernet import LAYOUT, training_adversary
from robnet_zoo.search.run.data import BatchStream, SearchData
from robnet_zoo.threat_models import ThreatModel
from robnet_zoo.train.batch_norm import statistics_momentum
from robnet_zoo.train.schedule import validation_adversary
from robnet_zoo.train.validate import validate

SCORING_BATCH = 256


class Accuracy(NamedTuple):
    """Held-out accuracies as fractions, on clean images and under PGD."""

    clean: float
    robust: float


@dataclass(frozen=True)
class Scores:
    """Held-out accuracies as fractions, and the seconds that they took.

    Attributes:
        clean: after fine-tuning.
        robust_before: under PGD, with inherited weights.
        robust: under PGD, after fine-tuning.
        seconds: of the whole judgement.
    """

    clean: float
    robust_before: float
    robust: float
    seconds: float


def judge(
    supernet: Supernet,
    codes: Codes,
    data: SearchData,
    recipe: RobNetRecipe,
    before: float | None = None,
) -> Scores:
    """Fine-tune an architecture from the supernet's weights and score it.

    Every candidate sees the same batches in the same order, and the same noise: what differs
    between two of them is the architecture alone. Adversarial images are not handed on from one
    candidate to the next: scores of attacks that begin at different places cannot be compared,
    and with the paper's recipe both scorings together cost 7 % of the fine-tuning.

    Args:
        supernet: trained.
        codes: the architecture.
        data: the images.
        recipe: the settings.
        before: robust accuracy with inherited weights, where it is known already.
    """
    began = time.monotonic()
    network = inherited(supernet, codes, data, recipe)
    if before is None:
        before = score(network, data, recipe).robust
    finetune(network, data, recipe)
    after = score(network, data, recipe)
    return Scores(after.clean, before, after.robust, time.monotonic() - began)


def inherited(supernet: Supernet, codes: Codes, data: SearchData, recipe: RobNetRecipe) -> Network:
    """Return the network of `codes` with the supernet's weights, settled, in eval mode."""
    network = subnetwork(supernet, codes).to(memory_format=LAYOUT)
    settle(network, data.streams[0], recipe.settle_batches)
    return network.eval()


@torch.no_grad()
def settle(network: Network, stream: BatchStream, batches: int) -> None:
    """Take batch norm's running statistics anew: their mean over some batches."""
    network.train()
    for index in range(min(batches, len(stream))):
        with statistics_momentum(network, 1 / (index + 1)):
            network(stream.at(0, index).images.contiguous(memory_format=LAYOUT))


def finetune(network: Network, data: SearchData, recipe: RobNetRecipe) -> None:
    """Train a network adversarially for a few epochs; it is left in eval mode.

    Raises:
        ZooError: its weights are not finite any more.
    """
    stream, adversary = data.streams[0], training_adversary(recipe, data.threat)
    weight_optimizer = WeightOptimizer(network, recipe, data.processes)
    steps = len(stream)
    total = recipe.finetune_epochs * steps
    for step in range(total):
        epoch, index = divmod(step, steps)
        images, labels = stream.at(epoch, index)
        noise = keyed_generator(recipe.seed, "finetune", step, device=data.processes.device)
        network.train(recipe.craft_mode == "train")
        images = images.contiguous(memory_format=LAYOUT)
        attacked = adversary(network, images, labels, generator=noise)
        network.train()
        loss = F.cross_entropy(network(attacked), labels)
        lr = recipe.finetune_lr * (1 + math.cos(math.pi * step / total)) / 2
        weight_optimizer.step(loss, lr)
    network.eval()
    if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
        raise ZooError("its weights are not finite after fine-tuning; lower finetune_lr")


def scoring_adversary(recipe: RobNetRecipe, threat: ThreatModel) -> Adversary:
    """Return the attack that candidates are scored under."""
    return replace(validation_adversary(threat), steps=recipe.score_steps)


def score(network: Network, data: SearchData, recipe: RobNetRecipe) -> Accuracy:
    """Return a network's accuracies on the held-out images; it is in eval mode.

    Each image's noise belongs to the image, so that candidates meet the same starts.
    """
    held_out = validate(
        network,
        data.validation,
        scoring_adversary(recipe, data.threat),
        batch_size=SCORING_BATCH,
        seed=recipe.seed,
        processes=ProcessGroup(device=data.processes.device),  # a candidate is one process's own
    )
    return Accuracy(held_out.clean, float(held_out.robust or 0.0))
