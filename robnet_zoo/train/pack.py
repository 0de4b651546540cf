"""Runs made small enough to move: 60 MiB at most, in files under 16 MiB, with nothing pickled.

A pack is a folder of up to four parts, which hold sections of tensors, and `pack.json`, which holds
the rest: settings, where the checkpoints stand, and what the parts are (`pack_files`).

Sections come in the order of their worth, as many as there is room for: the weights that export
takes from best.pt, then last.pt's weights, their average and its momentum. What is equal is stored
once. What a checkpoint lacks is filled in by `unpack` from what there is, and momentum starts anew;
best.pt's other weights and momentum, which only a rollback takes up, are never stored.

Convolution and linear weights are stored in float16, their momentum, which can be far below
float16's range, in bfloat16; all that has one dimension (batch norm's parameters and statistics,
biases) and every counter stays as it is. Compression loses nothing. Where the first section still
has no room, as of 36 million parameters, the lowest bits of its float16 are rounded off, as few as
do: one bit makes the largest relative error 2^-10 instead of 2^-11.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from robnet_zoo.runtime.checkpoint import BEST, LAST, load_checkpoint, save_checkpoint
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable
from robnet_zoo.runtime.lock import hold
from robnet_zoo.train.build import LAYOUTS
from robnet_zoo.train.pack_files import (
    INDEX,
    Tensors,
    read_index,
    read_sections,
    room_for_parts,
    squeeze,
    squeeze_to_fit,
    write_pack,
)
from robnet_zoo.train.settings import (
    SETTINGS,
    Settings,
    read_settings,
    settings_from_dict,
    write_settings,
)

REST = "rest"  # the section of sums and of the generator's state
MOMENTUM = f"{LAST}/momentum"
WEIGHTS = (f"{BEST}/average", f"{BEST}/model", f"{LAST}/average", f"{LAST}/model")


def pack(run: Path, out: Path) -> int:
    """Write a run's checkpoints into a folder as small files; return the bytes of the parts.

    Args:
        run: the run's folder; no process may be at work in it.
        out: the pack's folder; an older pack there is replaced.

    Raises:
        ZooError: there is no run, it is being trained, a weight is beyond half precision, or the
            network is too large.
    """
    settings = read_settings(run)
    check_writable(out / INDEX)
    with hold(run):
        last, best = load_checkpoint(run / LAST), load_checkpoint(run / BEST)
    chosen = _best_network(best)
    sections = {f"{BEST}/{chosen}": _halved(best[chosen]), f"{LAST}/model": _halved(last["model"])}
    if last["average"] is not None:
        sections[f"{LAST}/average"] = _halved(last["average"])
    momentum = _momentum(last)
    if momentum:
        sections[MOMENTUM] = momentum
    return _write(out, settings, {LAST: last, BEST: best}, sections)


def pack_average(state: dict[str, Any], settings: Settings, out: Path) -> int:
    """Write a light pack of a run in memory, which may train on; return the bytes of the parts.

    It holds the average of the weights, or the weights where none are averaged: enough to export
    them, and to go on from them with momentum that starts anew.

    Args:
        state: what `Run.state_dict` returns, on any device.
        settings: the run's settings.
        out: the pack's folder; an older pack there is replaced.

    Raises:
        ZooError: the folder cannot be written, a weight is beyond half precision, or the network
            is too large.
    """
    check_writable(out / INDEX)
    averaged = state["average"] is not None
    kind = "average" if averaged else "model"
    left_out = [f"{BEST}/{kind}", *([f"{LAST}/model"] if averaged else []), MOMENTUM]
    sections = {f"{LAST}/{kind}": _halved(state[kind])}
    return _write(out, settings, {LAST: state, BEST: state}, sections, left_out)


def unpack(folder: Path, run: Path, dataset: str | None = None) -> Settings:
    """Make a run of a pack, ready for `--resume`; return its settings.

    The `events` of last.pt, and so the record of the run, say what was left out of the pack.

    Args:
        folder: the pack's folder.
        run: the run's folder, which may not hold a run yet.
        dataset: where the same data set is now, if `arrays:FILE.npz` moved.

    Raises:
        ZooError: the pack is missing, incomplete or altered, or there is a run already.
    """
    if (run / SETTINGS).exists():
        raise ZooError(f"'{run}' already holds a run; choose another --out.")
    index = read_index(folder)
    try:
        sections = read_sections(folder, index)
        settings = settings_from_dict(index["settings"])
        settings = dataclasses.replace(settings, dataset=dataset or settings.dataset)
        states = _states(index, sections, settings)
    except (SafetensorError, zlib.error, KeyError, TypeError, ValueError) as error:
        raise ZooError(f"The pack in '{folder}' is not readable by this version.") from error
    with hold(run):
        for name, state in states.items():
            save_checkpoint(run / name, state)
        write_settings(run, settings)
    return settings


def _best_network(state: dict[str, Any]) -> str:
    """Return which of a checkpoint's networks export takes."""
    best = state["position"]["best"]
    averaged = state["average"] is not None and (best is None or best["weights"] == "ema")
    return "average" if averaged else "model"


def _halved(network: Mapping[str, Tensor], kind: torch.dtype = torch.float16) -> Tensors:
    """Return tensors as they are stored: in 16 bits if they have more than one dimension."""
    return {
        name: (tensor.to(kind) if tensor.dim() > 1 else tensor).cpu().contiguous()
        for name, tensor in network.items()
    }


def _momentum(state: dict[str, Any]) -> Tensors:
    """Return an optimizer's momentum, named by the parameters' numbers."""
    kept = {
        str(number): values["momentum_buffer"]
        for number, values in state["optimizer"]["state"].items()
    }
    return _halved({k: v for k, v in kept.items() if v is not None}, torch.bfloat16)


def _write(
    out: Path,
    settings: Settings,
    states: dict[str, dict[str, Any]],
    wanted: dict[str, Tensors],
    left_out: list[str] | None = None,
) -> int:
    """Write a pack of as many sections as there is room for, the first in any case."""
    for section, tensors in wanted.items():
        for name, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                raise ZooError(
                    f"The run cannot be packed: '{section}/{name}' is NaN, infinite or above "
                    "65504, the largest value of half precision; the training has diverged."
                )
    left_out = list(left_out or ())
    first = next(iter(wanted))
    blobs = {REST: squeeze(_rest(states))}
    room = room_for_parts() - len(blobs[REST])
    sources: dict[str, str] = {}  # of what a checkpoint holds, the section it is stored in
    for name, tensors in wanted.items():
        twin = next((kept for kept in sources.values() if _equal(wanted[kept], tensors)), None)
        if twin is None:
            if name == first:
                rounded_bits, blob = squeeze_to_fit(tensors, room)
            else:
                blob = squeeze(tensors)
            if len(blob) > room:
                left_out.append(name)
                continue
            blobs[name] = blob
            room -= len(blob)
        sources[name] = twin or name
    index = {
        "settings": settings.as_dict(),
        "averaged": states[LAST]["average"] is not None,
        "left_out": left_out,
        "rounded_bits": rounded_bits,  # of the first section
        "sources": sources,
        **{
            name: {
                "data": state.get("data"),
                "position": _plain(state["position"]),
                "groups": _plain(state["optimizer"]["param_groups"]),
            }
            for name, state in states.items()
        },
    }
    return write_pack(out, blobs, index)


def _rest(states: dict[str, dict[str, Any]]) -> Tensors:
    return {
        f"{name}/{key}": state[key].cpu().clone()
        for name, state in states.items()
        for key in ("totals", "random")
    }


def _equal(ours: Tensors, theirs: Tensors) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def _plain(value: Any) -> Any:
    """Return a value with its tensors of one number, such as a learning rate, as numbers."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value.item() if isinstance(value, Tensor) else value


def _states(
    index: dict[str, Any], sections: dict[str, Tensors], settings: Settings
) -> dict[str, dict[str, Any]]:
    """Return the checkpoints made of what a pack holds; the nearest weights fill the gaps."""
    full = {
        name: {key: _full(tensor, settings) for key, tensor in tensors.items()}
        for name, tensors in sections.items()
    }
    weights = {name: full[section] for name, section in index["sources"].items() if name in WEIGHTS}
    kept = [name for name in WEIGHTS if name in weights]

    def nearest(checkpoint: str, network: str) -> str:
        """Return what of the pack is the network, or stands in for it."""
        return min(
            kept, key=lambda name: (name != f"{checkpoint}/{network}", checkpoint not in name)
        )

    momentum = full[index["sources"][MOMENTUM]] if MOMENTUM in index["sources"] else {}
    states = {}
    for checkpoint, buffers in ((LAST, momentum), (BEST, {})):
        plain = index[checkpoint]
        average = weights[nearest(checkpoint, "average")] if index["averaged"] else None
        states[checkpoint] = {
            "settings": settings.as_dict(),
            "data": plain["data"],
            "model": weights[nearest(checkpoint, "model")],
            "average": average,
            "optimizer": {
                "state": {int(k): {"momentum_buffer": v} for k, v in buffers.items()},
                "param_groups": plain["groups"],
            },
            "position": plain["position"],
            "totals": sections[REST][f"{checkpoint}/totals"],
            "random": sections[REST][f"{checkpoint}/random"],
        }
    gaps = [
        "momentum starts anew" if name == MOMENTUM else f"{name} is {nearest(*name.split('/'))}"
        for name in index["left_out"]
    ]
    if gaps:
        position = index[LAST]["position"]
        position["events"] = [
            *position["events"],
            f"unpacked at step {position['step']}: {', '.join(gaps)}",
        ]
    return states


def _full(tensor: Tensor, settings: Settings) -> Tensor:
    """Return a stored tensor in single precision and in the run's layout."""
    if tensor.dim() > 1:
        tensor = tensor.float()
    return (
        tensor.contiguous(memory_format=LAYOUTS[settings.layout]) if tensor.dim() == 4 else tensor
    )
