"""How a supernet's weights are trained: its start, its adversary, and the steps of SGD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.core.spaces import Space
from robnet_zoo.search.core.supernet import CellWeights, Supernet
from robnet_zoo.search.run.data import SearchBatch, SearchData
from robnet_zoo.search.run.recipe import SearchRecipe
from robnet_zoo.threat_models import ThreatModel


def seeded_supernet(space: Space, recipe: SearchRecipe, data: SearchData) -> Supernet:
    """Return a supernet with the weights of the recipe's seed, on the search's device.

    Raises:
        ZooError: it cannot take the images or the batches, or does not fit into memory.
    """
    _check_maps(space, recipe, data)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(recipe.seed)  # leaves CUDA's alone
            supernet = Supernet(
                space,
                channels=recipe.channels,
                num_classes=data.dataset.num_classes,
                in_channels=data.dataset.in_channels,
            )
        return supernet.to(data.processes.device).train()
    except (RuntimeError, MemoryError, TypeError) as error:  # torch's, for what it cannot allocate
        raise ZooError(
            f"A supernet of channels={recipe.channels} and layers={recipe.layers} cannot be built "
            f"here ({type(error).__name__}); choose a smaller one."
        ) from error


def _check_maps(space: Space, recipe: SearchRecipe, data: SearchData) -> None:
    """Raise ZooError unless all reductions halve the images, and batch norm has what to average."""
    side, parts = data.dataset.image_size, 2 ** sum(slot.reduction for slot in space.slots)
    if side % parts:
        raise ZooError(
            f"Images of {side}x{side} pixels do not fit a supernet whose cells halve them "
            f"{parts.bit_length() - 1} times; their side must be a multiple of {parts}."
        )
    images = recipe.batch_size // data.processes.size
    if images * (side // parts) ** 2 < 2:
        raise ZooError(
            f"batch_size={recipe.batch_size} leaves batch norm one value to average in the last "
            "cells; choose at least 2 images a process."
        )


def search_adversary(recipe: SearchRecipe, threat: ThreatModel) -> Adversary | None:
    """Return the adversary of a search, or None where it sees clean images only."""
    if not recipe.attack_steps:
        return None
    epsilon = threat.epsilon.value
    return Adversary(
        epsilon=epsilon,
        step_size=epsilon * recipe.step_share,
        steps=recipe.attack_steps,
        norm=threat.norm,
    )


def craft(
    supernet: Supernet,
    weights: Mapping[str, CellWeights],
    adversary: Adversary | None,
    batch: SearchBatch,
    generator: torch.Generator,
    *,
    mode: str = "train",
) -> SearchBatch:
    """Return the batch attacked through an architecture; the supernet is left in train mode."""
    if adversary is None:
        return batch
    fixed = {
        role: CellWeights(_detached(cell.operations), _detached(cell.edges))
        for role, cell in weights.items()
    }
    supernet.train(mode == "train")
    images = adversary(lambda x: supernet(x, fixed), *batch, generator=generator)
    supernet.train()
    return SearchBatch(images, batch.labels)


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


class WeightOptimizer:
    """SGD with momentum and clipping on a supernet's weights, averaged over the processes."""

    def __init__(self, supernet: nn.Module, recipe: SearchRecipe, processes: ProcessGroup) -> None:
        self.supernet = supernet
        self.parameters = list(supernet.parameters())
        self.buffers = [buffer for buffer in supernet.buffers() if buffer.is_floating_point()]
        self.clip, self.processes = recipe.clip, processes
        self.optimizer = torch.optim.SGD(
            self.parameters,
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )

    def step(self, loss: Tensor, lr: float) -> None:
        """Take a step down a loss; weights that it does not depend on keep their values."""
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        used = [gradient for gradient in gradients if gradient is not None]
        self.processes.average_([*used, *self.buffers])
        if self.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad()

    def momentum_buffers(self) -> dict[str, Tensor]:
        """Return the optimizer's momentum buffers by the weights' names; none before its steps."""
        state = self.optimizer.state
        return {
            name: state[weight]["momentum_buffer"]
            for name, weight in self.supernet.named_parameters()
            if state.get(weight, {}).get("momentum_buffer") is not None
        }

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold of the weights."""
        return {"supernet": self.supernet.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the weights of a checkpoint."""
        self.supernet.load_state_dict(state["supernet"])
        self.optimizer.load_state_dict(state["optimizer"])


class WeightTraining:
    """The part of a `Search` that a weight optimizer gives: its state, and nothing to log."""

    weight_optimizer: WeightOptimizer

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        """Return what to log of the epoch that ended."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return self.weight_optimizer.state()

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.weight_optimizer.load(state)
