"""A training run in memory: the network, its average, the optimiser, and where it stands."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from robnet_zoo.data import Dataset
from robnet_zoo.data.splits import Split
from robnet_zoo.errors import ZooError
from robnet_zoo.models.folded import fold
from robnet_zoo.randomness import keyed_generator
from robnet_zoo.threat_models import ThreatModel
from robnet_zoo.train.batch_norm import join_batch_norm
from robnet_zoo.train.distributed import World
from robnet_zoo.train.schedule import Plan
from robnet_zoo.train.settings import Settings
from robnet_zoo.zoo import create_model

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
FOLDED_FROM = 64  # gradients of images in a step of training, which make up for folding anew
GUARD_IMAGES = 500  # that show a collapse as well as 2,000 do, in a quarter of the time


@dataclass
class Position:
    """Where a run stands, in plain values.

    Attributes:
        plan: first step, share and last step of the schedule's present `Plan`.
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
class Run:
    """A run's parts.

    Attributes:
        forward: the model, perhaps compiled.
        craft: what images are crafted on, in eval mode its folded form.
        folded: that form, to be refreshed before each use; None where `craft` is `forward`.
        totals: sums of loss, correct and seen images of the pass under way.
    """

    settings: Settings
    dataset: Dataset
    threat: ThreatModel
    train: Split
    validation: Split
    world: World
    model: nn.Module
    forward: Callable[[Tensor], Tensor]
    craft: Callable[[Tensor], Tensor]
    folded: nn.Module | None
    average: nn.Module | None
    optimiser: torch.optim.SGD
    position: Position
    totals: Tensor

    @property
    def steps_per_epoch(self) -> int:
        """Steps in a pass over the data; the images of an incomplete batch wait for another."""
        return len(self.train) // self.settings.recipe.batch_size

    @property
    def guard_stride(self) -> int:
        """Of how many held-out images one tells how the weights do: all, if none are averaged."""
        return 1 if self.average is None else max(len(self.validation) // GUARD_IMAGES, 1)

    @property
    def plan(self) -> Plan:
        """The schedule's present plan."""
        return Plan(*self.position.plan)

    def generator(self, *key: int, device: str = "cpu") -> torch.Generator:
        """Return a generator keyed by the seed, the rollbacks so far and `key`.

        Every step draws from its own, so that the state of the draws is the step's number.
        """
        return keyed_generator(self.settings.seed, self.position.rollbacks, *key, device=device)

    def state(self) -> dict[str, Any]:
        """Return everything that a checkpoint must hold."""
        return {
            "settings": self.settings.as_dict(),
            "data": self.train.fingerprint,
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "optimiser": self.optimiser.state_dict(),
            "position": dataclasses.asdict(self.position),
            "totals": self.world.sum(self.totals.clone()),
            "random": torch.get_rng_state(),
        }

    def load(self, state: dict[str, Any]) -> None:
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
        self.optimiser.load_state_dict(state["optimiser"])
        self.position = Position(**state["position"])
        self.totals.copy_(state["totals"] if self.world.main else torch.zeros(3))
        torch.set_rng_state(state["random"].cpu())


def build_run(
    settings: Settings, dataset: Dataset, train: Split, validation: Split, world: World
) -> Run:
    """Return a run at its first step, with weights drawn from the seed.

    The network is initialised from torch's global generator, which the caller seeds.

    Raises:
        ZooError: the batch size does not fit the data, the processes or the accumulation.
    """
    recipe = settings.recipe
    if recipe.batch_size > len(train):
        raise ZooError(
            f"Batch size {recipe.batch_size} is above the {len(train)} training images of "
            f"{dataset.name}; choose a smaller one."
        )
    if recipe.batch_size % (world.size * settings.accumulate):
        raise ZooError(
            f"Batch size {recipe.batch_size} cannot be divided among {world.size} process(es) "
            f"in {settings.accumulate} part(s) each; choose a multiple of the product."
        )
    model = create_model(
        settings.model,
        num_classes=dataset.num_classes,
        in_channels=dataset.in_channels,
        **settings.model_arguments(dataset.image_size),
    )
    if settings.joint_batch_norm and world.size > 1:
        join_batch_norm(model)
    model = model.to(world.device).to(memory_format=LAYOUTS[settings.layout]).train()
    decayed = [p for p in model.parameters() if p.dim() > 1 or recipe.decay_all]
    spared = [p for p in model.parameters() if p.dim() <= 1 and not recipe.decay_all]
    groups: list[dict[str, Any]] = [
        {"params": decayed},
        {"params": spared, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.SGD(
        groups,
        lr=recipe.lr,
        momentum=0.9,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
    )
    steps = recipe.epochs * (len(train) // recipe.batch_size)
    forward = _compiled(model, settings)
    folded = _folded(model, settings, dataset.image_size, world)
    return Run(
        settings=settings,
        dataset=dataset,
        threat=settings.threat(dataset.threat_model),
        train=train,
        validation=validation,
        world=world,
        model=model,
        forward=forward,
        craft=forward if folded is None else _compiled(folded, settings),
        folded=folded,
        average=copy.deepcopy(model).eval() if recipe.ema else None,
        optimiser=optimiser,
        position=Position(plan=(0, 0.0, steps)),
        totals=torch.zeros(3, dtype=torch.float64, device=world.device),
    )


def _compiled(model: nn.Module, settings: Settings) -> Callable[[Tensor], Tensor]:
    return torch.compile(model, mode=settings.compile) if settings.compile else model


def _folded(
    model: nn.Module, settings: Settings, image_size: int, world: World
) -> nn.Module | None:
    """Return the folded form to craft on, None where crafting needs the model or is too short."""
    recipe = settings.recipe
    crafted = recipe.steps * recipe.batch_size // world.size if recipe.adversarial else 0
    if recipe.craft_mode == "train" or crafted < FOLDED_FROM:
        return None
    kind = "cuda" if world.device.startswith("cuda") else "cpu"
    with torch.autocast(kind, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        folded = fold(model, image_size=image_size)  # in the form that suits this precision
    return None if folded is model else folded
