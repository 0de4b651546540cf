"""Unit noise from which attacks start: from one stream for a batch, or from each image's index."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from robnet_zoo.attacks.norms import l2_norms
from robnet_zoo.threat_models import Norm

Start = Literal["clean", "uniform", "gaussian"]


def draw_noise(images: Tensor, start: Start, norm: Norm, generator: torch.Generator) -> Tensor:
    """Return unit noise of the shape of images (N, C, H, W), from a generator on their device.

    Uniform on [-1,1] per pixel (Linf), uniform in the unit ball (L2) or standard normal
    (start="gaussian").
    """
    noise = torch.empty_like(images)
    if start != "gaussian" and norm == "Linf":
        return noise.uniform_(-1, 1, generator=generator)
    noise.normal_(generator=generator)
    if start == "gaussian":
        return noise
    radius = torch.rand(len(images), device=images.device, generator=generator)
    return _into_unit_ball(noise, radius)


def noise_for(
    indices: Tensor | Sequence[int],
    shape: Sequence[int],
    *,
    seed: int,
    attack: str,
    restart: int = 0,
    start: Start = "uniform",
    norm: Norm = "Linf",
) -> Tensor:
    """Return unit noise (N, *shape) that depends on nothing but each image's own index.

    Drawn on the CPU from a counter-based generator keyed by (seed, attack, restart) and the
    index, so that verdicts depend on neither batch size, order, resumption nor device.

    Args:
        indices: positions of the images in their data set (N,).
        shape: shape of one image, such as (3, 32, 32).
        seed: the evaluation's seed.
        attack: name of the attack, so that attacks are independent.
        restart: number of the random restart.
        start: distribution, as in `draw_noise`.
        norm: norm of the ball that a uniform start fills.
    """
    stream = hashlib.sha256(f"{seed}/{attack}/{restart}".encode()).digest()[:8]
    key = np.array([int.from_bytes(stream, "little"), 0], np.uint64)
    positions = indices.tolist() if isinstance(indices, Tensor) else list(indices)
    noise = np.empty((len(positions), *shape), np.float32)
    radius = np.ones(len(positions), np.float32)
    normal = start == "gaussian" or norm == "L2"
    for row, index in enumerate(positions):
        key[1] = index
        source = np.random.Generator(np.random.Philox(key=key))
        if normal:
            source.standard_normal(out=noise[row], dtype=np.float32)
            radius[row] = source.random(dtype=np.float32)
        else:
            source.random(out=noise[row], dtype=np.float32)
    drawn = torch.from_numpy(noise)
    if start == "gaussian":
        return drawn
    return _into_unit_ball(drawn, torch.from_numpy(radius)) if normal else drawn.mul_(2).sub_(1)


def _into_unit_ball(normal: Tensor, radius: Tensor) -> Tensor:
    """Turn standard normal images and radii uniform on [0,1] into points uniform in the L2 ball."""
    dimensions = normal[0].numel() if len(normal) else 1
    return normal.mul_(radius.pow(1 / dimensions)[:, None, None, None] / l2_norms(normal))
