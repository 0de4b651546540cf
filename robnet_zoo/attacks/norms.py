"""Lengths of images and gradients, safe to divide by."""

from __future__ import annotations

import torch
from torch import Tensor

TINY = torch.finfo(torch.float32).tiny  # keeps 0/0 out of the normalisation of zero gradients


def l2_norms(images: Tensor) -> Tensor:
    """Return each image's L2 norm (N, 1, 1, 1), kept above 0.

    Summed in float64: squares of a confident image's gradient would vanish in float32.
    """
    norms = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
    return norms.to(images.dtype).clamp_(min=TINY)
