"""The body of a step, from crafting to the update: what a CUDA graph can hold.

It reads a run's `Buffers`, whose places are fixed, and draws nothing, computes nothing in Python
that changes from step to step, and never waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.models.fast.refresh import refresh
from robnet_zoo.models.networks import Network
from robnet_zoo.train.awp import perturbed
from robnet_zoo.train.batch_norm import statistics_momentum
from robnet_zoo.train.losses import TrainBatch, training_loss
from robnet_zoo.train.schedule import Stage, crafting
from robnet_zoo.train.state import Run


def autocast(run: Run) -> torch.autocast:
    """Return the context that the network computes in."""
    kind = "cuda" if run.processes.device.startswith("cuda") else "cpu"
    return torch.autocast(kind, torch.bfloat16, enabled=run.settings.precision == "bfloat16")


def step_body(run: Run, stage: Stage) -> None:
    """Craft from the run's buffers, and update weights, statistics and totals in place."""
    recipe = run.settings.recipe
    parts = _crafted(run, stage)
    context: AbstractContextManager[None] = nullcontext()
    if stage.perturbed:
        with statistics_momentum(run.model, 0.0):
            _gradients(run, parts)
        run.processes.average_([p.grad for p in run.weights if p.grad is not None])
        context = perturbed(run.model, recipe.awp)
    with context:
        totals = _gradients(run, parts)
    run.processes.average_([*(p.grad for p in run.weights if p.grad is not None), *run.statistics])
    if recipe.clip:
        torch.nn.utils.clip_grad_norm_(run.weights, recipe.clip)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.totals += totals


def _crafted(run: Run, stage: Stage) -> list[TrainBatch]:
    """Return the attacked batch in the parts it is computed in."""
    recipe, buffers, pieces = run.settings.recipe, run.buffers, run.settings.accumulate
    chunks = [held.chunk(pieces) for held in (buffers.images, buffers.labels, buffers.noise)]
    if not recipe.adversarial:
        return [
            TrainBatch(images, images, labels) for images, labels, _ in zip(*chunks, strict=True)
        ]
    adversary = crafting(recipe, run.threat, early=stage.early)
    scale = buffers.scale if recipe.epsilon_warmup else None
    on_model = run.folded is None and recipe.craft_mode == "eval"
    if on_model:
        run.model.eval()
    if run.folded is not None:
        refresh(run.folded)
    parts = []
    for images, labels, noise in zip(*chunks, strict=True):
        with autocast(run):
            goal = labels
            if adversary.loss == "kl":
                with torch.no_grad():
                    goal = run.craft(images).float().clone()  # a CUDA graph reuses its outputs
            adversarial = adversary(run.craft, images, goal, noise=noise, scale=scale)
        parts.append(TrainBatch(images, adversarial, labels))
    if on_model:
        run.model.train()
    return parts


def _gradients(run: Run, parts: Sequence[TrainBatch]) -> Tensor:
    """Set the parameters' gradients to those of the mean loss; return the pass's sums."""
    recipe = run.settings.recipe
    run.optimizer.zero_grad()
    totals = torch.zeros_like(run.totals)
    for part in parts:
        with autocast(run):
            loss, logits = training_loss(recipe, run.forward, part)
            if recipe.auxiliary:
                # as in the reference code: a pass of its own over the clean images
                _, auxiliary = cast(Network, run.model).forward_with_auxiliary(part.images)
                loss = loss + recipe.auxiliary * F.cross_entropy(auxiliary.float(), part.labels)
        (loss / len(parts)).backward()
        count = len(part.labels)
        totals[0] += loss.detach() * count
        totals[1] += (logits.argmax(1) == part.labels).sum()
        totals[2] += count
    return totals
