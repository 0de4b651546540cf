"""Adversarial images that were made once, kept in blocks to be transferred again.

A block's file name hashes everything that its images depend on but the source's forward and
backward pass. A block is used only if its bytes are those that were written, and if the source
does to the block's first images what it did then. No name of a source or attack counts.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

import msgspec
from torch import Tensor

from robnet_zoo.attacks.fingerprint import Fingerprint
from robnet_zoo.runtime.files import atomic_path


def cache_folder() -> Path:
    """Return where made images are kept: $ROBNET_ZOO_CACHE or ~/.cache/robnet_zoo."""
    chosen = os.environ.get("ROBNET_ZOO_CACHE") or "~/.cache/robnet_zoo"
    return Path(chosen).expanduser() / "adversarial"


def fetch(key: str, fingerprint: Fingerprint) -> tuple[Tensor, Tensor] | None:
    """Return a kept block: images (B, C, H, W), and whether the source is right on each (B,).

    None if there is none of this source. One that was altered is removed and reported.

    Args:
        key: all that the images depend on, but for the source's function, as text.
        fingerprint: of the source's function.
    """
    from safetensors import SafetensorError, safe_open

    path = _path(key)
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            stored = file.metadata() or {}
            images, survived = file.get_tensor("images"), file.get_tensor("on_source")
        if stored.get("key") == key and stored.get("sha256") == _digest(images, survived):
            made_by = msgspec.json.decode(stored["source"], type=Fingerprint)
            return (images, survived) if made_by.matches(fingerprint) else None
    except (OSError, SafetensorError, KeyError, msgspec.DecodeError):
        pass
    path.unlink(missing_ok=True)
    warnings.warn(f"Kept adversarial images were damaged and are made anew: {path}", stacklevel=2)
    return None


def keep(key: str, fingerprint: Fingerprint, images: Tensor, survived: Tensor) -> None:
    """Keep a block for `fetch`, in the place of one that was made with another function."""
    from safetensors.torch import save_file

    path = _path(key)
    images, survived = images.detach().cpu().contiguous(), survived.cpu()
    source = msgspec.json.encode(fingerprint).decode()
    notes = {"key": key, "sha256": _digest(images, survived), "source": source}
    try:
        with atomic_path(path) as temporary:
            save_file({"images": images, "on_source": survived}, temporary, notes)
    except OSError as error:
        warnings.warn(
            f"Adversarial images cannot be kept in '{path.parent}' ({error.strerror}); "
            "set ROBNET_ZOO_CACHE to a folder that can be written.",
            stacklevel=2,
        )


def _path(key: str) -> Path:
    return cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"


def _digest(*tensors: Tensor) -> str:
    content = b"".join(tensor.numpy().tobytes() for tensor in tensors)
    return hashlib.sha256(content).hexdigest()
