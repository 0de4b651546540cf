"""One optimiser step: augment, craft, the loss, its gradient, and the update."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.data import to_float
from robnet_zoo.train.augment import NO_FLIP, augment
from robnet_zoo.train.awp import frozen_statistics, perturbed
from robnet_zoo.train.ema import update_average
from robnet_zoo.train.losses import Batch, training_loss
from robnet_zoo.train.run import Run, memory_format
from robnet_zoo.train.schedule import crafting, learning_rate


def autocast(run: Run) -> torch.autocast:
    """Return the context that the network computes in."""
    kind = "cuda" if run.world.device.startswith("cuda") else "cpu"
    return torch.autocast(kind, torch.bfloat16, enabled=run.settings.precision == "bfloat16")


def train_step(run: Run, order: Tensor) -> None:
    """Take the next step of a run.

    Args:
        run: changed in place.
        order: the pass's permutation of the training images, on their device.
    """
    recipe, position, size = run.settings.recipe, run.position, run.settings.recipe.batch_size
    share = run.plan.at(position.step)
    start = position.batch * size
    mine = run.world.share(size)
    parts = _crafted(run, order[start : start + size][mine], share)

    weights = [p for p in run.model.parameters() if p.requires_grad]
    if recipe.awp and share >= recipe.awp_from:
        with frozen_statistics(run.model):
            _gradients(run, parts)
        run.world.average_([p.grad for p in weights if p.grad is not None])
        context = perturbed(run.model, recipe.awp)
    else:
        context = nullcontext()
    with context:
        totals = _gradients(run, parts)
    gradients = [p.grad for p in weights if p.grad is not None]
    statistics = [buffer for buffer in run.model.buffers() if buffer.is_floating_point()]
    run.world.average_([*gradients, *statistics])
    if recipe.clip:
        torch.nn.utils.clip_grad_norm_(weights, recipe.clip)
    moment = run.plan.at(position.step - position.batch) if recipe.lr_per_epoch else share
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(recipe, max(moment, 0.0)) * 0.5**position.rollbacks
    run.optimiser.step()
    run.totals += totals
    position.batch += 1
    position.step += 1
    position.images += size
    if run.average is not None:
        update_average(run.average, run.model, recipe.ema, position.step)


def _crafted(run: Run, indices: Tensor, share: float) -> list[Batch]:
    """Return this process's images, augmented and attacked, in the parts they are computed in."""
    recipe, world, position = run.settings.recipe, run.world, run.position
    draws = run.generator(position.epoch, position.batch, device=world.device)
    total = recipe.batch_size
    moved = augment(
        run.train.images(indices),
        recipe,
        draws,
        flip=recipe.flip and run.dataset.name not in NO_FLIP,
        rows=world.share(total),
        total=total,
    )
    images = to_float(moved).contiguous(memory_format=memory_format(world.device))
    pieces = run.settings.accumulate
    labels = run.train.labels[indices]
    chunks = list(zip(images.chunk(pieces), labels.chunk(pieces), strict=True))
    if not recipe.adversarial:
        return [Batch(part, part, target) for part, target in chunks]
    adversary = crafting(recipe, run.threat, share)
    noise = adversary.draw_noise(images.new_empty((total, *images.shape[1:])), draws)
    parts = []
    run.model.train(recipe.craft_mode == "train")
    starts = noise[world.share(total)].chunk(pieces)
    for (part, target), start in zip(chunks, starts, strict=True):
        with autocast(run):
            goal = target
            if adversary.loss == "kl":
                with torch.no_grad():
                    goal = run.forward(part).float()
            adversarial = adversary(run.forward, part, goal, noise=start)
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
                _, auxiliary = run.model.forward_with_auxiliary(part.images)
                loss = loss + recipe.auxiliary * F.cross_entropy(auxiliary.float(), part.labels)
        (loss / len(parts)).backward()
        count = len(part.labels)
        totals[0] += loss.detach() * count
        totals[1] += (logits.argmax(1) == part.labels).sum()
        totals[2] += count
    return totals
