"""A pack on disk: sections of tensors, compressed one by one, in parts of under 16 MiB.

The parts, one after the other, are the sections. pack.json says where the sections lie, and holds
the size and sha256 of every part, by which it is named.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path, write_json

FORMAT, INDEX = "robnet_zoo.pack/2", "pack.json"
LIMIT = 60 << 20  # bytes of all files
INDEX_ROOM = 1 << 20  # of these, what pack.json may take
PART_BYTES = 15 << 20
MOST_ROUNDED = 4  # of float16's ten bits behind the point

Tensors = dict[str, Tensor]


def room_for_parts() -> int:
    """Return how many bytes the parts of a pack may take together."""
    return LIMIT - INDEX_ROOM


def squeeze(tensors: Tensors) -> bytes:
    """Return tensors as compressed bytes.

    First come all even bytes, then all odd ones. Of 16-bit weights these are the low halves, which
    are noise, and the high ones with the exponents, which compress well. Matching would gain
    nothing, so that plain Huffman codes are the fastest and the smallest.
    """
    content = save(tensors)
    coder = zlib.compressobj(1, strategy=zlib.Z_HUFFMAN_ONLY)
    return coder.compress(content[::2] + content[1::2]) + coder.flush()


def squeeze_to_fit(tensors: Tensors, room: int) -> tuple[int, bytes]:
    """Return how few bits had to be rounded off to make tensors fit, and their bytes.

    Raises:
        ZooError: they do not fit at all.
    """
    for bits in range(MOST_ROUNDED + 1):
        blob = squeeze({name: _rounded(tensor, bits) for name, tensor in tensors.items()})
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


def write_pack(out: Path, blobs: Mapping[str, bytes], index: Mapping[str, Any]) -> int:
    """Write sections and an index into a folder; return the bytes of the parts.

    An older pack there stays whole until the new index takes the place of its own.
    """
    content = b"".join(blobs.values())
    parts = [content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES)]
    sums = [hashlib.sha256(part).hexdigest() for part in parts]
    names = [_part_name(number, sha256) for number, sha256 in enumerate(sums)]
    for name, part in zip(names, parts, strict=True):
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(part)
    listed = [{"bytes": len(part), "sha256": sha} for part, sha in zip(parts, sums, strict=True)]
    sections = {name: len(blob) for name, blob in blobs.items()}
    write_json(out / INDEX, {"format": FORMAT, **index, "sections": sections, "parts": listed})
    for old in [*out.glob("part-*"), *out.glob(".part-*.tmp")]:
        if old.name not in names:
            old.unlink()
    return len(content)


def read_index(folder: Path) -> dict[str, Any]:
    """Read pack.json.

    Raises:
        ZooError: there is none, it is damaged, or of another format.
    """
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


def read_sections(folder: Path, index: Mapping[str, Any]) -> dict[str, Tensors]:
    """Read the tensors of a pack, by section.

    Raises:
        ZooError: a part is missing or altered.
        KeyError, TypeError, ValueError, zlib.error, SafetensorError: the index does not fit them.
    """
    content = b"".join(
        _read_part(folder / _part_name(number, part["sha256"]), part["sha256"])
        for number, part in enumerate(index["parts"])
    )
    sections, start = {}, 0
    for name, size in index["sections"].items():
        sections[name] = _restored(content[start : start + size])
        start += size
    return sections


def _restored(blob: bytes) -> Tensors:
    planes = zlib.decompress(blob)
    content = bytearray(len(planes))
    middle = (len(planes) + 1) // 2
    content[::2], content[1::2] = planes[:middle], planes[middle:]
    return load(bytes(content))


def _read_part(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ZooError(f"Cannot read '{path}' ({error.strerror}); copy the pack again.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ZooError(f"'{path}' is not what was packed; copy the pack again.")
    return content


def _part_name(number: int, sha256: str) -> str:
    return f"part-{number:03}-{sha256[:8]}"
