"""Numbers that were drawn once and are the same in every run."""

from __future__ import annotations

import torch

from benchmarks.checks.data import CLASSES, SIDE

_generator = torch.Generator().manual_seed(5)
SIGNS = torch.where(torch.rand(SIDE, SIDE, generator=_generator) < 0.3, -1.0, 1.0)  # of pixels
WAVES = torch.randn(SIDE * SIDE, CLASSES, generator=_generator)  # a direction for each class
TRAP = torch.randn(SIDE * SIDE, generator=_generator) / SIDE  # the direction of a trap
