"""Tensors from files that are trusted with nothing.

A file must have the size and sha256 that config.json states, only safetensors is read, and every
tensor must have the name, shape and type that the architecture expects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.weights import TENSORS, Weights

HEADER_LIMIT = 8 << 20  # bytes; real ones take a tenth at most


def read_tensors(weights: Weights, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the stored tensors in float32, after every check.

    Args:
        weights: what was read from the folder.
        expected: `stored_state` of the network they are for; its tensors may be on "meta".

    Raises:
        ZooError: the file is missing, truncated, oversized, altered, no safetensors, made for
            another architecture, of another type, or holds NaN or infinite values.
    """
    path = weights.folder / TENSORS
    limit = HEADER_LIMIT + 4 * sum(tensor.numel() for tensor in expected.values())
    content = _read_checked(path, weights, limit)
    try:
        tensors = load(content)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ZooError(f"'{path}' is not a valid safetensors file; it is not used.") from error
    validate_tensors(f"'{path}'", weights.architecture, tensors, expected)
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float16, torch.float32):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ZooError(f"'{path}' holds '{name}' as {kind}; float16 or float32 is needed.")
        if not torch.isfinite(tensor).all():
            raise ZooError(f"'{path}' holds NaN or infinite values in '{name}'; it is not used.")
    return {name: tensor.float() for name, tensor in tensors.items()}


def validate_tensors(
    where: str, architecture: str, tensors: Mapping[str, Tensor], needed: Mapping[str, Tensor]
) -> None:
    """Raise ZooError, naming some that differ, unless names and shapes are the architecture's."""
    missing = [name for name in needed if name not in tensors]
    surplus = [name for name in tensors if name not in needed]
    differences = [
        f"{what} {len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("lacks", missing), ("has a surplus of", surplus))
        if names
    ]
    if differences:
        raise ZooError(
            f"{where} does not hold the tensors of {architecture}: it {' and '.join(differences)}."
        )
    for name, tensor in tensors.items():
        if tensor.shape != needed[name].shape:
            raise ZooError(
                f"{where} holds '{name}' with shape {list(tensor.shape)}, but {architecture} "
                f"needs {list(needed[name].shape)}."
            )


def _read_checked(path: Path, weights: Weights, limit: int) -> bytes:
    """Return the file's bytes, once their number and hash agree with config.json."""
    again = "copy or download the folder again (embedded weights: reinstall robnet-zoo)"
    try:
        size = path.stat().st_size
        if size > limit:
            raise ZooError(
                f"'{path}' has {size:,} bytes, more than {weights.architecture} can need "
                f"({limit:,}); it is not used."
            )
        if size != weights.size_bytes:
            how = "truncated" if size < weights.size_bytes else "too long"
            raise ZooError(
                f"'{path}' is {how}: {size:,} bytes instead of {weights.size_bytes:,}; {again}."
            )
        content = path.read_bytes()
    except OSError as error:
        raise ZooError(f"Cannot read '{path}' ({error.strerror}); {again}.") from error
    if hashlib.sha256(content).hexdigest() != weights.sha256:
        raise ZooError(f"'{path}' is altered: its sha256 is not the recorded one; {again}.")
    if int.from_bytes(content[:8], "little") > HEADER_LIMIT:
        raise ZooError(f"'{path}' has an oversized header; it is not used.")
    return content
