"""One optimizer step: what is drawn and scheduled, then the body, then the weight average."""

from __future__ import annotations

import torch
from torch import Tensor

from robnet_zoo.data import to_float
from robnet_zoo.data.augment import augment
from robnet_zoo.train.batch_norm import statistics_momentum
from robnet_zoo.train.body import autocast, step_body
from robnet_zoo.train.ema import average_decay, update_average
from robnet_zoo.train.schedule import crafting, epsilon_scale, learning_rate, stage_at
from robnet_zoo.train.state import Run


def start_statistics(run: Run) -> None:
    """Take batch norm's running statistics from one batch, before the first step.

    From their initial variance of 1 they would need some hundred steps to forget it, in which
    crafting in eval mode sees another network than the one that is trained.
    """
    size = run.settings.recipe.batch_size
    order = torch.randperm(len(run.train), generator=run.generator(0))
    mine = order[:size][run.processes.share(size)]
    with torch.no_grad(), autocast(run), statistics_momentum(run.model, 1.0):
        run.model(to_float(run.train.images(mine.to(run.train.device))))
    run.processes.average_(run.statistics)
    if run.average is not None:
        run.average.load_state_dict(run.model.state_dict())


def train_step(run: Run, images: Tensor, labels: Tensor) -> None:
    """Take the next step of a run.

    Args:
        run: changed in place.
        images: this process's part of the batch, uint8 (B, C, H, W).
        labels: their classes (B,).
    """
    recipe, position = run.settings.recipe, run.position
    share = run.plan.at(position.step)
    stage = stage_at(recipe, share)
    _fill(run, images, labels, share)
    if run.settings.compile:
        torch.compiler.cudagraph_mark_step_begin()  # what the last step computed may be overwritten
    if run.recorder is None:
        step_body(run, stage)
    else:
        eager = run.recorder.trouble
        run.recorder.run(lambda: step_body(run, stage), stage, run.changed)
        if run.recorder.trouble and not eager:
            told = f"step {position.step}: steps run without a CUDA graph: {run.recorder.trouble}"
            position.events = [*position.events, told]
    position.batch += 1
    position.step += 1
    position.images += recipe.batch_size
    if run.average_pairs is not None:
        update_average(run.average_pairs, average_decay(recipe, run.plan.last), position.step)


def _fill(run: Run, images: Tensor, labels: Tensor, share: float) -> None:
    """Put into the run's buffers what this step reads: all that differs from other steps."""
    recipe, processes, position = run.settings.recipe, run.processes, run.position
    buffers, total = run.buffers, recipe.batch_size
    draws = run.generator(position.epoch, position.batch, device=processes.device)
    flip = recipe.flip and run.dataset.flip
    rows = processes.share(total)
    moved = augment(images, recipe, draws, flip=flip, rows=rows, total=total)
    buffers.images.copy_(to_float(moved))
    buffers.labels.copy_(labels)
    if recipe.adversarial:
        drawn = images.new_empty((total, *images.shape[1:]), dtype=torch.float32)
        buffers.noise.copy_(crafting(recipe, run.threat).draw_noise(drawn, draws)[rows])
    moment = run.plan.at(position.step - position.batch) if recipe.lr_per_epoch else share
    buffers.rate.fill_(learning_rate(recipe, max(moment, 0.0)) * 0.5**position.rollbacks)
    buffers.scale.fill_(epsilon_scale(recipe, share))
