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
    mine = order[:size][run.processes.shard(size)]
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
    recipe, state = run.settings.recipe, run.state
    progress = run.schedule.progress(state.step)
    stage = stage_at(recipe, progress)
    _fill(run, images, labels, progress)
    if run.settings.compile:
        torch.compiler.cudagraph_mark_step_begin()  # what the last step computed may be overwritten
    if run.recorder is None:
        step_body(run, stage)
    else:
        eager = run.recorder.trouble
        run.recorder.run(lambda: step_body(run, stage), stage, run.changed)
        if run.recorder.trouble and not eager:
            event = f"step {state.step}: steps run without a CUDA graph: {run.recorder.trouble}"
            state.events = [*state.events, event]
    state.batch += 1
    state.step += 1
    state.images += recipe.batch_size
    if run.average_pairs is not None:
        update_average(run.average_pairs, average_decay(recipe, run.schedule.last), state.step)


def _fill(run: Run, images: Tensor, labels: Tensor, progress: float) -> None:
    """Put into the run's buffers what this step reads: all that differs from other steps."""
    recipe, processes, state = run.settings.recipe, run.processes, run.state
    buffers, total = run.buffers, recipe.batch_size
    draws = run.generator(state.epoch, state.batch, device=processes.device)
    flip = recipe.flip and run.dataset.flip
    rows = processes.shard(total)
    moved = augment(images, recipe, draws, flip=flip, rows=rows, total=total)
    buffers.images.copy_(to_float(moved))
    buffers.labels.copy_(labels)
    if recipe.adversarial:
        drawn = images.new_empty((total, *images.shape[1:]), dtype=torch.float32)
        buffers.noise.copy_(crafting(recipe, run.threat).draw_noise(drawn, draws)[rows])
    epoch_start = run.schedule.progress(state.step - state.batch)
    rate = learning_rate(recipe, max(epoch_start if recipe.lr_per_epoch else progress, 0.0))
    buffers.rate.fill_(rate * 0.5**state.rollbacks)
    buffers.scale.fill_(epsilon_scale(recipe, progress))
