"""Generators keyed by what they are for, so that no state of draws need be kept."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def keyed_generator(*key: int | str, device: str = "cpu") -> torch.Generator:
    """Return a generator on a device whose draws depend on nothing but the key."""
    import torch

    text = "/".join(map(str, key))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    return torch.Generator(device).manual_seed(number >> 1)
