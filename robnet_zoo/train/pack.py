"""Runs made small enough to move: half precision, in parts under 16 MiB, with nothing pickled.

A pack is a folder of `part-000`, `part-001`, ... and `pack.json`. The parts, one after the other,
are one safetensors file with the tensors of both checkpoints; pack.json holds the rest: settings,
position, and the size and sha256 of every part.

What is lost is precision alone. Convolution and linear weights are stored in float16, their
momentum, which can be far below float16's range, in bfloat16; all that has one dimension (batch
norm's parameters and statistics, biases) and every counter stays as it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from robnet_zoo.errors import ZooError
from robnet_zoo.files import atomic_path, check_writable, write_json
from robnet_zoo.train.checkpoint import load_checkpoint, save_checkpoint
from robnet_zoo.train.lock import hold
from robnet_zoo.train.loop import BEST, LAST
from robnet_zoo.train.run import LAYOUTS
from robnet_zoo.train.settings import (
    SETTINGS,
    Settings,
    read_settings,
    settings_from_dict,
    write_settings,
)

FORMAT, INDEX = "robnet_zoo.pack/1", "pack.json"
PART_BYTES = 15 << 20
CHECKPOINTS = (LAST, BEST)


def pack(run: Path, out: Path) -> int:
    """Write a run's checkpoints into a folder as small files; return their bytes.

    Args:
        run: the run's folder; no process may be at work in it.
        out: the pack's folder; an older pack there is replaced.

    Raises:
        ZooError: there is no run, it is being trained, or a weight is beyond half precision.
    """
    settings = read_settings(run)
    check_writable(out / INDEX)
    tensors: dict[str, Tensor] = {}
    index: dict[str, Any] = {"format": FORMAT, "settings": settings.as_dict()}
    with hold(run):
        for name in CHECKPOINTS:
            state = load_checkpoint(run / name)
            tensors |= {f"{name}/{key}": value for key, value in _tensors(state).items()}
            index[name] = {
                "data": state.get("data"),
                "position": state["position"],
                "groups": state["optimiser"]["param_groups"],
            }
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ZooError(
                f"'{run}' cannot be packed: '{key}' is NaN, infinite or above 65504, the largest "
                "value of half precision; the training has diverged."
            )
    content = save(tensors)
    parts = [content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES)]
    index["parts"] = [
        {"bytes": len(part), "sha256": hashlib.sha256(part).hexdigest()} for part in parts
    ]
    for number, part in enumerate(parts):
        with atomic_path(_part(out, number)) as temporary:
            temporary.write_bytes(part)
    write_json(out / INDEX, index)
    for old in sorted(out.glob("part-*"))[len(parts) :]:
        old.unlink()
    return len(content)


def unpack(folder: Path, run: Path, dataset: str | None = None) -> Settings:
    """Make a run of a pack, ready for `--resume`; return its settings.

    Args:
        folder: the pack's folder.
        run: the run's folder, which may not hold a run yet.
        dataset: where the same data set is now, if `arrays:FILE.npz` moved.

    Raises:
        ZooError: the pack is missing, incomplete or altered, or there is a run already.
    """
    if (run / SETTINGS).exists():
        raise ZooError(f"'{run}' already holds a run; choose another --out.")
    index = _read_index(folder)
    content = b"".join(
        _read_part(_part(folder, number), part) for number, part in enumerate(index["parts"])
    )
    try:
        settings = settings_from_dict(index["settings"])
        settings = dataclasses.replace(settings, dataset=dataset or settings.dataset)
        tensors = load(content)
        states = {name: _state(name, index[name], tensors, settings) for name in CHECKPOINTS}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ZooError(f"The pack in '{folder}' is not readable by this version.") from error
    with hold(run):
        for name, state in states.items():
            save_checkpoint(run / name, state)
        write_settings(run, settings)
    return settings


def _tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors as they are stored, by name."""
    found = {"totals": state["totals"], "random": state["random"]}
    for network in ("model", "average"):
        for name, tensor in (state[network] or {}).items():
            found[f"{network}/{name}"] = tensor.half() if tensor.dim() > 1 else tensor
    for number, kept in state["optimiser"]["state"].items():
        momentum = kept["momentum_buffer"]
        if momentum is not None:
            found[f"momentum/{number}"] = momentum.bfloat16() if momentum.dim() > 1 else momentum
    return {name: tensor.contiguous() for name, tensor in found.items()}


def _state(
    checkpoint: str, plain: dict[str, Any], tensors: dict[str, Tensor], settings: Settings
) -> dict[str, Any]:
    """Return a checkpoint made of what a pack holds of it."""

    def named(kind: str) -> dict[str, Tensor]:
        prefix = f"{checkpoint}/{kind}/"
        return {
            key.removeprefix(prefix): _full(tensor, settings)
            for key, tensor in tensors.items()
            if key.startswith(prefix)
        }

    return {
        "settings": settings.as_dict(),
        "data": plain["data"],
        "model": named("model"),
        "average": named("average") or None,
        "optimiser": {
            "state": {int(k): {"momentum_buffer": v} for k, v in named("momentum").items()},
            "param_groups": plain["groups"],
        },
        "position": plain["position"],
        "totals": tensors[f"{checkpoint}/totals"],
        "random": tensors[f"{checkpoint}/random"],
    }


def _full(tensor: Tensor, settings: Settings) -> Tensor:
    """Return a stored tensor in single precision and in the run's layout."""
    if tensor.dim() > 1:
        tensor = tensor.float()
    return (
        tensor.contiguous(memory_format=LAYOUTS[settings.layout]) if tensor.dim() == 4 else tensor
    )


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:03}"


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except OSError as error:
        raise ZooError(
            f"There is no pack in '{folder}'; make one: python -m robnet_zoo.train pack RUN --out "
            f"{folder}."
        ) from error
    except ValueError as error:
        raise ZooError(f"'{folder / INDEX}' is damaged; copy the pack again.") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise ZooError(f"'{folder / INDEX}' is no pack of format {FORMAT}.")
    return index


def _read_part(path: Path, known: dict[str, Any]) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ZooError(f"Cannot read '{path}' ({error.strerror}); copy the pack again.") from error
    if hashlib.sha256(content).hexdigest() != known["sha256"]:
        raise ZooError(f"'{path}' is not what was packed; copy the pack again.")
    return content
