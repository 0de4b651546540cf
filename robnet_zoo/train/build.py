"""A training run at its first step, as its settings say."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from robnet_zoo.data import Dataset
from robnet_zoo.data.splits import Split
from robnet_zoo.models.cells import CellBlock
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.models.operations import SeparableConv
from robnet_zoo.runtime.console import note
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.train.batch_norm import join_batch_norm
from robnet_zoo.train.cuda_graphs import CudaGraphs, Recorder
from robnet_zoo.train.ema import pair
from robnet_zoo.train.init import initialise
from robnet_zoo.train.settings import Settings
from robnet_zoo.train.state import Buffers, Run, TrainState, follow_rate
from robnet_zoo.zoo import create_model

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
FOLDED_FROM = 64  # gradients of images in a step of training, which make up for folding anew


def build_run(
    settings: Settings,
    dataset: Dataset,
    train: Split,
    validation: Split,
    processes: ProcessGroup,
    *,
    resumed: bool = False,
) -> Run:
    """Return a run at its first step, with weights drawn from the seed or those of `init`.

    The network is initialised from torch's global generator, which the caller seeds.

    Args:
        settings: what to train and how.
        dataset: the data set's description.
        train: its training images.
        validation: those held out.
        processes: the processes that train together.
        resumed: leave the weights of `init` out, as a checkpoint takes their place.

    Raises:
        ZooError: the batch size does not fit the data, the processes or the accumulation, or
            weights to start from are not of this network.
    """
    recipe = settings.recipe
    if recipe.batch_size > len(train):
        raise ZooError(
            f"Batch size {recipe.batch_size} is above the {len(train)} training images of "
            f"{dataset.name}; choose a smaller one."
        )
    if recipe.batch_size % (processes.size * settings.accumulate):
        raise ZooError(
            f"Batch size {recipe.batch_size} cannot be divided among {processes.size} process(es) "
            f"in {settings.accumulate} part(s) each; choose a multiple of the product."
        )
    model = create_model(
        settings.model,
        num_classes=dataset.num_classes,
        in_channels=dataset.in_channels,
        **settings.model_arguments(dataset.image_size),
    )
    if settings.init and not resumed:
        changed = initialise(model, settings, dataset)
        if changed and processes.main:
            note(changed)
    if settings.joint_batch_norm and processes.size > 1:
        join_batch_norm(model)
    _set_convolutions(model, settings, processes)
    model = model.to(processes.device).to(memory_format=LAYOUTS[settings.layout]).train()
    buffers = _buffers(settings, dataset, processes)
    decayed = [p for p in model.parameters() if p.dim() > 1 or recipe.decay_all]
    undecayed = [p for p in model.parameters() if p.dim() <= 1 and not recipe.decay_all]
    groups: list[dict[str, Any]] = [
        {"params": decayed},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(
        groups,
        lr=recipe.lr,
        momentum=0.9,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=True,
    )
    follow_rate(optimizer, buffers)
    steps = recipe.epochs * (len(train) // recipe.batch_size)
    forward = _compiled(model, settings)
    folded = _folded(model, settings, dataset.image_size, processes)
    average = copy.deepcopy(model).eval() if recipe.averaged else None
    return Run(
        settings=settings,
        dataset=dataset,
        threat=settings.threat(dataset.threat_model),
        train=train,
        validation=validation,
        processes=processes,
        model=model,
        weights=[parameter for parameter in model.parameters() if parameter.requires_grad],
        statistics=[buffer for buffer in model.buffers() if buffer.is_floating_point()],
        buffers=buffers,
        forward=forward,
        craft=forward if folded is None else _compiled(folded, settings),
        folded=folded,
        average=average,
        average_pairs=None if average is None else pair(average, model),
        optimizer=optimizer,
        recorder=_recorder(settings, processes),
        state=TrainState(plan=(0, 0.0, steps)),
        totals=torch.zeros(3, dtype=torch.float64, device=processes.device),
    )


def _set_convolutions(model: nn.Module, settings: Settings, processes: ProcessGroup) -> None:
    """Let a network compute its separable convolutions as the settings say, or as measured best."""
    half_on_gpu = processes.device.startswith("cuda") and settings.precision == "bfloat16"
    mode = settings.separable or ("merged" if half_on_gpu else "apart")
    grouped = False if settings.grouped is None and mode != "apart" else settings.grouped
    for module in model.modules():
        if isinstance(module, CellBlock):
            module.grouped = grouped
        elif isinstance(module, SeparableConv):
            module.mode = mode


def _buffers(settings: Settings, dataset: Dataset, processes: ProcessGroup) -> Buffers:
    size = settings.recipe.batch_size // processes.size
    shape = (size, dataset.in_channels, dataset.image_size, dataset.image_size)
    layout = LAYOUTS[settings.layout]
    images, noise = (
        torch.zeros(shape, device=processes.device).contiguous(memory_format=layout)
        for _ in range(2)
    )
    labels = torch.zeros(size, dtype=torch.int64, device=processes.device)
    rate, scale = (torch.ones((), device=processes.device) for _ in range(2))
    return Buffers(images, labels, noise, rate, scale)


def _recorder(settings: Settings, processes: ProcessGroup) -> Recorder | None:
    """Return what records steps, on one GPU; torch.compile records in its own way."""
    recorded = settings.cuda_graph and not settings.compile and processes.size == 1
    if recorded and processes.device.startswith("cuda"):
        return Recorder(CudaGraphs(processes.device))
    return None


def _compiled(model: nn.Module, settings: Settings) -> Callable[[Tensor], Tensor]:
    return torch.compile(model, mode=settings.compile) if settings.compile else model


def folded_form(model: nn.Module, settings: Settings, image_size: int) -> nn.Module:
    """Return a model's folded form, in the precision that the run computes in."""
    dtype = torch.bfloat16 if settings.precision == "bfloat16" else None
    return fold(model, settings.folded_form, image_size=image_size, dtype=dtype)


def _folded(
    model: nn.Module, settings: Settings, image_size: int, processes: ProcessGroup
) -> nn.Module | None:
    """Return the folded form to craft on, None where crafting needs the model or is too short."""
    recipe = settings.recipe
    crafted = recipe.steps * recipe.batch_size // processes.size if recipe.adversarial else 0
    if recipe.craft_mode == "train" or crafted < FOLDED_FROM:
        return None
    folded = folded_form(model, settings, image_size)
    return None if folded is model else folded
