"""CIFAR-10 as its authors distribute it: batches, pickled or binary.

Of a pickle only numbers, texts, lists and byte arrays are read: no code of it runs.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np

from robnet_zoo.runtime.errors import ZooError

StoredPart = Literal["train", "test"]
Files = dict[str, bytes]  # contents by path

BATCHES = {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)}
CLASSES = 10
RECORD_BYTES = 1 + 3 * 32 * 32  # of the binary version: a class, then the pixels
# What the readers of archives and pickles raise for files that are cut or altered.
UNREADABLE = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError),
    *(MemoryError, OverflowError, RecursionError, RuntimeError, NotImplementedError),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError),
)


def is_cifar_batch(name: str) -> bool:
    """Return whether a file has the name of one of CIFAR-10's batches."""
    return any(name.removesuffix(".bin") in batches for batches in BATCHES.values())


def cifar_batches(
    source: Path, files: Files, split: StoredPart
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the images (N, 32, 32, 3) and classes (N,) of a part; None if there are no batches.

    Args:
        source: where the files are from, for errors.
        files: contents by path.
        split: which batches to take.

    Raises:
        ZooError: batches are missing or damaged.
    """
    names = {PurePosixPath(path).name: path for path in files}
    for ending, decode in (("", _pickled), (".bin", _binary)):
        if any(f"{batch}{ending}" in names for part in BATCHES.values() for batch in part):
            return _read(source, files, names, [f"{b}{ending}" for b in BATCHES[split]], decode)
    return None


def _read(
    source: Path,
    files: Files,
    names: dict[str, str],
    batches: Sequence[str],
    decode: Callable[[bytes], tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    missing = [batch for batch in batches if batch not in names]
    if missing:
        raise ZooError(f"'{source}' lacks {', '.join(missing)}; it must hold {', '.join(batches)}.")
    pixels, labels = [], []
    for batch in batches:
        try:
            rows, classes = decode(files[names[batch]])
            pixels.append(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
            labels.append(classes)
            if len(pixels[-1]) != len(classes):
                raise ValueError(f"it has {len(pixels[-1])} images and {len(classes)} labels")
            if classes.size and not 0 <= classes.min() <= classes.max() < CLASSES:
                raise ValueError(
                    f"its labels range from {classes.min()} to {classes.max()} instead of 0 to "
                    f"{CLASSES - 1}"
                )
        except UNREADABLE as error:
            raise ZooError(
                f"'{batch}' in '{source}' is no batch of CIFAR-10: {reason_of(error)}; copy it "
                "again."
            ) from error
    return np.concatenate(pixels), np.concatenate(labels)


def _binary(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    if len(content) % RECORD_BYTES:
        raise ValueError(f"its {len(content)} bytes are no multiple of {RECORD_BYTES}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    return rows[:, 1:], rows[:, 0].astype(np.int64)


def _pickled(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    if not isinstance(batch, dict):
        raise ValueError("it holds no dict")
    values = {key.decode() if isinstance(key, bytes) else key: batch[key] for key in batch}
    pixels, labels = values["data"], values["labels"]
    if not isinstance(pixels, _Array) or not isinstance(labels, list):
        raise ValueError("its data are no array or its labels no list")
    if not all(type(label) is int for label in labels):
        raise ValueError("its labels are no integers")
    return pixels.values, np.array(labels, np.int64)


class _Array:
    """Stands in for numpy's array in a pickle, so that no code of numpy's is given its content."""

    values: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if dtype.kind not in ("u1", b"u1") or fortran or not isinstance(content, bytes):
            raise pickle.UnpicklingError("its array is not of uint8, row by row")
        self.values = np.frombuffer(content, np.uint8).reshape(shape)


class _Dtype:
    """Stands in for numpy's dtype."""

    def __init__(self, kind: object = None, *rest: object) -> None:
        self.kind = kind

    def __setstate__(self, state: object) -> None:
        """Take the byte order, which bytes do not have."""


def _array(*arguments: object) -> _Array:
    return _Array()


def _latin1(text: str, encoding: str) -> bytes:
    """Return bytes that Python 3 wrote in an old protocol, in which they are texts."""
    return text.encode("latin1")


class _Unpickler(pickle.Unpickler):
    """Reads what CIFAR-10's batches consist of, and nothing else."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): _array,
        ("numpy._core.multiarray", "_reconstruct"): _array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
        ("_codecs", "encode"): _latin1,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a name; any other name is refused."""
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused") from None


def reason_of(error: Exception) -> str:
    """Return what is wrong with a file, in words."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
