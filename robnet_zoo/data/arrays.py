"""A user's own images: `arrays:FILE.npz` with x (images) and y (classes)."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from robnet_zoo.data.dataset import ARRAYS, Dataset
from robnet_zoo.data.splits import ArraySplit
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import THREAT_MODELS, ThreatModel, get_threat_model

# What numpy raises for files that are cut, altered, pickled, or something else altogether.
UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
ENTRIES = ("x", "y", "class_names", "name", "note")
MAX_CLASSES = 65536  # more is a column of identifiers, not of classes


def read_arrays(name: str, threat_model: str | ThreatModel | None) -> tuple[Dataset, ArraySplit]:
    """Read `arrays:FILE.npz` and check all of it.

    The file holds `x`, uint8 images (N, H, W, C) or (N, H, W) with H = W, and `y`, integer
    classes (N,) from 0. Optional are `class_names`, strings, without which the largest class in
    `y` says how many classes there are, and two texts for the records: `name`, where the images
    are those of a known data set, and `note`, what is to be known about them.

    Raises:
        ZooError: no threat model, no such file, or contents other than these.
    """
    path = Path(name.removeprefix(ARRAYS)).expanduser()
    if threat_model is None:
        raise ZooError(
            f"'{name}' needs a threat model; name a row of the table with --threat-model: "
            f"{', '.join(THREAT_MODELS)}; an evaluation also takes --norm and --eps in its place."
        )
    row = get_threat_model(threat_model)
    entries = _load(path)
    missing = {"x", "y"} - set(entries)
    if missing:
        raise ZooError(
            f"'{path}' lacks the array(s) {', '.join(sorted(missing))}; it needs x, uint8 images "
            f"(N, H, W, C) or (N, H, W), and y, integer classes (N,)."
        )
    images, labels = entries["x"], entries["y"]
    names = tuple(str(entry) for entry in entries.get("class_names", np.empty(0)).ravel())
    _check(path, images, labels, names)
    split = ArraySplit.from_numpy(images, labels)
    classes = len(names) or int(labels.max()) + 1
    channels, size = split.pixels.shape[1:3]
    known = str(entries.get("name", name))
    note = str(entries.get("note", "a user's own images"))
    return Dataset(known, classes, channels, size, names, row, note), split


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("one array without a name")
        with file:
            return {key: file[key] for key in ENTRIES if key in file}
    except FileNotFoundError as error:
        raise ZooError(f"There is no file '{path}'; give arrays:FILE.npz.") from error
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or "it is no intact .npz file of plain arrays"
        raise ZooError(
            f"Cannot read '{path}': {reason}; write it with numpy.savez(FILE, x=images, y=labels)."
        ) from error


def _check(path: Path, images: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> None:
    limit = len(names) or MAX_CLASSES
    faults = {
        f"x has dtype {images.dtype}; it must be uint8, pixels 0 to 255": images.dtype == np.uint8,
        f"x has shape {images.shape}; it must be (N, H, W, C) or (N, H, W) with H = W": (
            images.ndim in (3, 4) and images.shape[1] == images.shape[2]
        ),
        "x is empty; it must hold at least one image": images.size > 0,
        f"y has dtype {labels.dtype}; it must be an integer type": labels.dtype.kind in "iu",
        f"y has shape {labels.shape}; it must be ({len(images)},), one class an image": (
            labels.shape == images.shape[:1]
        ),
    }
    for fault, fine in faults.items():
        if not fine:
            raise ZooError(f"'{path}': {fault}.")
    if labels.min() < 0 or labels.max() >= limit:
        raise ZooError(
            f"'{path}': y ranges from {labels.min()} to {labels.max()}; "
            f"classes must lie between 0 and {limit - 1}."
        )
