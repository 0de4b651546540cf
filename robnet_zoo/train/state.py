"""A training run in memory: the network, its average, the optimizer, and where it stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from robnet_zoo.data import Dataset
from robnet_zoo.data.splits import Split
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.randomness import keyed_generator
from robnet_zoo.threat_models import ThreatModel
from robnet_zoo.train.cuda_graphs import Recorder
from robnet_zoo.train.ema import AveragePairs
from robnet_zoo.train.schedule import Schedule
from robnet_zoo.train.settings import Settings

GUARD_IMAGES = 500  # that show a collapse as well as 2,000 do, in a quarter of the time


@dataclass
class TrainState:
    """Where a run stands, in plain values.

    Attributes:
        plan: first step, progress there and last step of the present `Schedule`.
        epoch: passes over the data that are complete.
        batch: steps taken in the pass under way.
        step: steps taken that count; a rollback takes some back.
        images: images trained on, those taken back included.
        seconds: wall-clock seconds of training so far, over all sessions.
        resumed: times the run was resumed.
        rollbacks: times it was rolled back; each halves the learning rate.
        best: epoch, clean and robust accuracy, and weights ("raw" or "ema") of the best score.
        history: one row an epoch, as in history.csv.
        events: what happened besides, in words.
    """

    plan: tuple[int, float, int]
    epoch: int = 0
    batch: int = 0
    step: int = 0
    images: int = 0
    seconds: float = 0.0
    resumed: int = 0
    rollbacks: int = 0
    best: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


@dataclass
class Buffers:
    """All that a step reads and that differs from step to step, in places that stay the same.

    Attributes:
        images: this process's augmented images (B, C, H, W), float32 in [0,1].
        labels: their classes (B,).
        noise: unit noise that crafting starts from, of the images' shape.
        rate: the learning rate.
        scale: the part of epsilon that the adversary has.
    """

    images: Tensor
    labels: Tensor
    noise: Tensor
    rate: Tensor
    scale: Tensor


@dataclass
class Run:
    """A run's parts.

    Attributes:
        weights: the parameters that are trained.
        statistics: batch norm's running means and variances, which processes must agree on.
        forward: the model, perhaps compiled.
        craft: what images are crafted on, in eval mode its folded form.
        folded: that form, to be refreshed before each use; None where `craft` is `forward`.
        average_pairs: the tensors of `average` and those that they follow.
        recorder: replays steps from a CUDA graph; None where they are run as they are.
        validated_forms: the folded forms that are validated, by name, once there are any.
        totals: sums of loss, correct and seen images of the pass under way.
    """

    settings: Settings
    dataset: Dataset
    threat: ThreatModel
    train: Split
    validation: Split
    processes: ProcessGroup
    model: nn.Module
    weights: list[nn.Parameter]
    statistics: list[Tensor]
    buffers: Buffers
    forward: Callable[[Tensor], Tensor]
    craft: Callable[[Tensor], Tensor]
    folded: nn.Module | None
    average: nn.Module | None
    average_pairs: AveragePairs | None
    optimizer: torch.optim.SGD
    recorder: Recorder | None
    state: TrainState
    totals: Tensor
    validated_forms: dict[str, nn.Module] = field(default_factory=dict)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in a pass over the data; the images of an incomplete batch wait for another."""
        return len(self.train) // self.settings.recipe.batch_size

    @property
    def guard_stride(self) -> int:
        """Of how many held-out images one tells how the weights do: all, if none are averaged."""
        return 1 if self.average is None else max(len(self.validation) // GUARD_IMAGES, 1)

    @property
    def schedule(self) -> Schedule:
        """The present schedule."""
        return Schedule(*self.state.plan)

    def generator(self, *key: int, device: str = "cpu") -> torch.Generator:
        """Return a generator keyed by the seed, the rollbacks so far and `key`.

        Every step draws from its own, so that the state of the draws is the step's number.
        """
        return keyed_generator(self.settings.seed, self.state.rollbacks, *key, device=device)

    def changed(self) -> dict[str, list[Tensor]]:
        """Return the tensors that a step's body changes, in groups of one kind."""
        kept = [self.optimizer.state[weight].get("momentum_buffer") for weight in self.weights]
        groups: dict[str, list[Tensor]] = {
            "weights": [*self.weights],
            "statistics": self.statistics,
            "counters": [b for b in self.model.buffers() if not b.is_floating_point()],
            "momentum": [momentum for momentum in kept if momentum is not None],
            "totals": [self.totals],
        }
        return {name: group for name, group in groups.items() if group}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a checkpoint must hold."""
        optimizer = self.optimizer.state_dict()
        for group in optimizer["param_groups"]:
            group["lr"] = float(group["lr"])
        return {
            "settings": self.settings.as_dict(),
            "data": self.train.fingerprint,
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "optimizer": optimizer,
            "position": dataclasses.asdict(self.state),
            "totals": self.processes.sum(self.totals.clone()),
            "random": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint.

        Raises:
            ZooError: it is of a run on other images.
        """
        if state.get("data") not in (None, self.train.fingerprint):
            raise ZooError(
                f"The run was trained on other images than those of {self.settings.dataset}; "
                "put the same data set there."
            )
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        follow_rate(self.optimizer, self.buffers)
        if self.recorder is not None:
            self.recorder.forget()  # momentum has moved
        self.state = TrainState(**state["position"])
        self.totals.copy_(state["totals"] if self.processes.main else torch.zeros(3))
        torch.set_rng_state(state["random"].cpu())


def follow_rate(optimizer: torch.optim.SGD, buffers: Buffers) -> None:
    """Let an optimizer read the learning rate from the buffers."""
    for group in optimizer.param_groups:
        group |= {"lr": buffers.rate, "fused": True, "foreach": None}
