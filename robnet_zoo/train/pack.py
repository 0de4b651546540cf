"""Runs made small enough to move: 60 MiB at most, in files under 16 MiB, with nothing pickled.

A pack is a folder of up to four parts and `pack.json`. The parts, one after the other, are
sections: safetensors files that are compressed one by one. pack.json holds the rest: settings,
positions, where the sections lie, and the size and sha256 of every part, by which it is named.

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
import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from robnet_zoo.runtime.checkpoint import BEST, LAST, load_checkpoint, save_checkpoint
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path, check_writable, write_json
from robnet_zoo.runtime.lock import hold
from robnet_zoo.train.settings import (
    SETTINGS,
    Settings,
    read_settings,
    settings_from_dict,
    write_settings,
)
from robnet_zoo.train.state import LAYOUTS

FORMAT, INDEX = "robnet_zoo.pack/2", "pack.json"
LIMIT = 60 << 20  # bytes of all files
INDEX_ROOM = 1 << 20  # of these, what pack.json may take
PART_BYTES = 15 << 20
MOST_ROUNDED = 4  # of float16's ten bits behind the point
REST = "rest"  # the section of sums and of the generator's state
MOMENTUM = f"{LAST}/momentum"
WEIGHTS = (f"{BEST}/average", f"{BEST}/model", f"{LAST}/average", f"{LAST}/model")

Tensors = dict[str, Tensor]


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
    chosen = _chosen(best)
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

    What was left out of the pack is told in the `events` of last.pt's position, and so in the
    record of the run.

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
    try:
        content = b"".join(
            _read_part(folder / _part_name(number, part["sha256"]), part["sha256"])
            for number, part in enumerate(index["parts"])
        )
        settings = settings_from_dict(index["settings"])
        settings = dataclasses.replace(settings, dataset=dataset or settings.dataset)
        states = _states(index, _sections(index, content), settings)
    except (SafetensorError, zlib.error, KeyError, TypeError, ValueError) as error:
        raise ZooError(f"The pack in '{folder}' is not readable by this version.") from error
    with hold(run):
        for name, state in states.items():
            save_checkpoint(run / name, state)
        write_settings(run, settings)
    return settings


def _chosen(state: dict[str, Any]) -> str:
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
    blobs = {REST: _squeezed(_rest(states))}
    room = LIMIT - INDEX_ROOM - len(blobs[REST])
    sources: dict[str, str] = {}  # of what a checkpoint holds, the section it is stored in
    for name, tensors in wanted.items():
        twin = next((kept for kept in sources.values() if _equal(wanted[kept], tensors)), None)
        if twin is None:
            if name == first:
                rounded_bits, blob = _fitted(tensors, room)
            else:
                blob = _squeezed(tensors)
            if len(blob) > room:
                left_out.append(name)
                continue
            blobs[name] = blob
            room -= len(blob)
        sources[name] = twin or name
    content = b"".join(blobs.values())
    parts = [content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES)]
    sums = [hashlib.sha256(part).hexdigest() for part in parts]
    index = {
        "format": FORMAT,
        "settings": settings.as_dict(),
        "averaged": states[LAST]["average"] is not None,
        "left_out": left_out,
        "rounded_bits": rounded_bits,  # of the first section
        "sources": sources,
        "sections": {name: len(blob) for name, blob in blobs.items()},
        "parts": [
            {"bytes": len(part), "sha256": known} for part, known in zip(parts, sums, strict=True)
        ],
        **{
            name: {
                "data": state.get("data"),
                "position": _plain(state["position"]),
                "groups": _plain(state["optimizer"]["param_groups"]),
            }
            for name, state in states.items()
        },
    }
    # An older pack stays whole until the new index takes the place of its own.
    names = [_part_name(number, known) for number, known in enumerate(sums)]
    for name, part in zip(names, parts, strict=True):
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(part)
    write_json(out / INDEX, index)
    for old in [*out.glob("part-*"), *out.glob(".part-*.tmp")]:
        if old.name not in names:
            old.unlink()
    return len(content)


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


def _fitted(tensors: Tensors, room: int) -> tuple[int, bytes]:
    """Return the first section, after how few bits rounded off make it fit."""
    for bits in range(MOST_ROUNDED + 1):
        blob = _squeezed({name: _rounded(tensor, bits) for name, tensor in tensors.items()})
        if len(blob) <= room:
            return bits, blob
    raise ZooError(
        f"The network is too large for a pack: its weights take {len(blob):,} bytes, and there is "
        f"room for {room:,}; copy the run's folder instead."
    )


def _rounded(tensor: Tensor, bits: int) -> Tensor:
    """Return float16 values rounded to others whose lowest bits are zero."""
    if tensor.dtype != torch.float16 or bits == 0:
        return tensor
    unit = 1 << bits
    stored = tensor.view(torch.int16)
    size = ((stored & 0x7FFF) + unit // 2) & -unit
    size = size.clamp(max=0x7BFF & -unit)  # 0x7BFF is the largest finite value
    return (size | (stored & -0x8000)).view(torch.float16)


def _squeezed(tensors: Tensors) -> bytes:
    """Return tensors as compressed bytes.

    First come all even bytes, then all odd ones. Of 16-bit weights these are the low halves, which
    are noise, and the high ones with the exponents, which compress well. There is nothing to be
    found for matching, so that plain Huffman codes are the fastest and the smallest.
    """
    content = save(tensors)
    coder = zlib.compressobj(1, strategy=zlib.Z_HUFFMAN_ONLY)
    return coder.compress(content[::2] + content[1::2]) + coder.flush()


def _restored(blob: bytes) -> Tensors:
    planes = zlib.decompress(blob)
    content = bytearray(len(planes))
    middle = (len(planes) + 1) // 2
    content[::2], content[1::2] = planes[:middle], planes[middle:]
    return load(bytes(content))


def _sections(index: dict[str, Any], content: bytes) -> dict[str, Tensors]:
    found, start = {}, 0
    for name, size in index["sections"].items():
        found[name] = _restored(content[start : start + size])
        start += size
    return found


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
    told = [
        "momentum starts anew" if name == MOMENTUM else f"{name} is {nearest(*name.split('/'))}"
        for name in index["left_out"]
    ]
    if told:
        position = index[LAST]["position"]
        position["events"] = [
            *position["events"],
            f"unpacked at step {position['step']}: {', '.join(told)}",
        ]
    return states


def _full(tensor: Tensor, settings: Settings) -> Tensor:
    """Return a stored tensor in single precision and in the run's layout."""
    if tensor.dim() > 1:
        tensor = tensor.float()
    return (
        tensor.contiguous(memory_format=LAYOUTS[settings.layout]) if tensor.dim() == 4 else tensor
    )


def _part_name(number: int, known: str) -> str:
    return f"part-{number:03}-{known[:8]}"


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


def _read_part(path: Path, known: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ZooError(f"Cannot read '{path}' ({error.strerror}); copy the pack again.") from error
    if hashlib.sha256(content).hexdigest() != known:
        raise ZooError(f"'{path}' is not what was packed; copy the pack again.")
    return content
