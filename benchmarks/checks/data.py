"""The digits that networks learn from, and those that they are judged on."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from robnet_zoo.data import load_split, to_float
from robnet_zoo.threat_models import get_threat_model

DIGITS = get_threat_model("digits")
CLASSES = 10
SIDE = 8  # pixels


@lru_cache
def training_digits() -> tuple[Tensor, Tensor]:
    """Return all training images (N, 1, 8, 8), as floats in [0,1], and their labels (N,)."""
    _, split = load_split("digits", "train")
    return to_float(split.images(torch.arange(len(split)))), split.labels


@lru_cache
def test_digits(n: int) -> tuple[Tensor, Tensor]:
    """Return the first n test images (n, 1, 8, 8), as floats in [0,1], and their labels (n,)."""
    _, split = load_split("digits", "test")
    return to_float(split.images(torch.arange(n))), split.labels[:n]
