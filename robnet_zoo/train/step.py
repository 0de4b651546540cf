"""One optimiser step: augment, craft, the loss, its gradient, and the update."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.data import to_float
from robnet_zoo.models.folded import refresh
from robnet_zoo.models.networks import Network
from robnet_zoo.train.augment import NO_FLIP, augment
from robnet_zoo.train.awp import perturbed
from robnet_zoo.train.batch_norm import statistics_momentum
from robnet_zoo.train.ema import update_average
from robnet_zoo.train.losses import Batch, training_loss
from robnet_zoo.train.run import LAYOUTS, Run
from robnet_zoo.train.schedule import crafting, learning_rate


def autocast(run: Run) -> torch.autocast:
    """Return the context that the network computes in."""
    kind = "cuda" if run.world.device.startswith("cuda") else "cpu"
    return torch.autocast(kind, torch.bfloat16, enabled=run.settings.precision == "bfloat16")


def start_statistics(run: Run) -> None:
    """Take batch norm's running statistics from one batch, before the first step.

    From their initial variance of 1 they would need some hundred steps to forget it, in which
    crafting in eval mode sees another network than the one that is trained.
    """
    size = run.settings.recipe.batch_size
    order = torch.randperm(len(run.train), generator=run.generator(0))
    mine = order[:size][run.world.share(size)]
    with torch.no_grad(), autocast(run), statistics_momentum(run.model, 1.0):
        run.model(to_float(run.train.images(mine.to(run.train.device))))
    run.world.average_(_statistics(run))
    if run.average is not None:
        run.average.load_state_dict(run.model.state_dict())


def _statistics(run: Run) -> list[Tensor]:
    """Return the buffers that every process must agree on."""
    return [buffer for buffer in run.model.buffers() if buffer.is_floating_point()]


def train_step(run: Run, images: Tensor, labels: Tensor) -> None:
    """Take the next step of a run.

    Args:
        run: changed in place.
        images: this process's part of the batch, uint8 (B, C, H, W).
        labels: their classes (B,).
    """
    recipe, position = run.settings.recipe, run.position
    share = run.plan.at(position.step)
    if run.settings.compile:
        torch.compiler.cudagraph_mark_step_begin()  # what the last step computed may be overwritten
    parts = _crafted(run, images, labels, share)

    weights = [p for p in run.model.parameters() if p.requires_grad]
    context: AbstractContextManager[None] = nullcontext()
    if recipe.awp and share >= recipe.awp_from:
        with statistics_momentum(run.model, 0.0):
            _gradients(run, parts)
        run.world.average_([p.grad for p in weights if p.grad is not None])
        context = perturbed(run.model, recipe.awp)
    with context:
        totals = _gradients(run, parts)
    gradients = [p.grad for p in weights if p.grad is not None]
    run.world.average_([*gradients, *_statistics(run)])
    if recipe.clip:
        torch.nn.utils.clip_grad_norm_(weights, recipe.clip)
    moment = run.plan.at(position.step - position.batch) if recipe.lr_per_epoch else share
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(recipe, max(moment, 0.0)) * 0.5**position.rollbacks
    run.optimiser.step()
    run.optimiser.zero_grad()
    run.totals += totals
    position.batch += 1
    position.step += 1
    position.images += recipe.batch_size
    if run.average is not None:
        update_average(run.average, run.model, recipe.ema, position.step)


def _crafted(run: Run, images: Tensor, labels: Tensor, share: float) -> list[Batch]:
    """Return the batch, augmented and attacked, in the parts it is computed in."""
    recipe, world, position = run.settings.recipe, run.world, run.position
    draws = run.generator(position.epoch, position.batch, device=world.device)
    total = recipe.batch_size
    moved = augment(
        images,
        recipe,
        draws,
        flip=recipe.flip and run.dataset.name not in NO_FLIP,
        rows=world.share(total),
        total=total,
    )
    images = to_float(moved).contiguous(memory_format=LAYOUTS[run.settings.layout])
    pieces = run.settings.accumulate
    chunks = list(zip(images.chunk(pieces), labels.chunk(pieces), strict=True))
    if not recipe.adversarial:
        return [Batch(part, part, target) for part, target in chunks]
    adversary = crafting(recipe, run.threat, share)
    noise = adversary.draw_noise(images.new_empty((total, *images.shape[1:])), draws)
    parts = []
    run.model.train(recipe.craft_mode == "train")
    if run.folded is not None:
        refresh(run.folded)
    starts = noise[world.share(total)].chunk(pieces)
    for (part, target), start in zip(chunks, starts, strict=True):
        with autocast(run):
            goal = target
            if adversary.loss == "kl":
                with torch.no_grad():
                    goal = run.craft(part).float().clone()  # a CUDA graph reuses its outputs
            adversarial = adversary(run.craft, part, goal, noise=start)
        parts.append(Batch(part, adversarial, target))
    run.model.train()
    return parts


def _gradients(run: Run, parts: Sequence[Batch]) -> Tensor:
    """Set the parameters' gradients to those of the mean loss; return the pass's sums."""
    recipe = run.settings.recipe
    run.optimiser.zero_grad()
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
