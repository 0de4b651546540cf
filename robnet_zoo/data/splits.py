"""Images and labels of one split, as training and evaluation take them: uint8, by index."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from robnet_zoo.data.dataset import Dataset, Part
from robnet_zoo.runtime.console import progress
from robnet_zoo.runtime.errors import ZooError

AnySplit = TypeVar("AnySplit", bound="Split")
DECODERS = min(32, os.cpu_count() or 1)  # threads; Pillow decodes outside the interpreter's lock
CHUNK = 1000  # images decoded between two updates of the progress bar


class Split(Protocol):
    """What training and evaluation ask of a split."""

    @property
    def labels(self) -> Tensor:
        """Classes, int64 (N,), on the split's device."""

    @property
    def device(self) -> torch.device:
        """Where labels and images lie."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names where its files tell them, else empty."""

    @property
    def fingerprint(self) -> str:
        """A sha256 that names the content, for records."""

    def __len__(self) -> int: ...

    def images(self, indices: Tensor) -> Tensor:
        """Return uint8 images (B, C, H, W) for int64 indices (B,)."""

    def to(self, device: torch.device | str) -> Self:
        """Return the split on another device."""

    def subset(self, indices: Tensor) -> Self:
        """Return the split of these images, in this order."""


@dataclass(frozen=True, eq=False)
class ArraySplit:
    """A split held in memory: uint8 pixels (N, C, H, W) and int64 labels (N,)."""

    pixels: Tensor
    labels: Tensor
    class_names: tuple[str, ...] = ()

    @classmethod
    def from_numpy(cls, images: np.ndarray, labels: np.ndarray) -> ArraySplit:
        """Take uint8 images (N, H, W) or (N, H, W, C) and integer labels (N,)."""
        if images.ndim == 3:
            images = images[..., None]
        pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        return cls(pixels, torch.from_numpy(labels.astype(np.int64)))

    @property
    def device(self) -> torch.device:
        """Where labels and images lie."""
        return self.pixels.device

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: Tensor) -> Tensor:
        """Return uint8 images (B, C, H, W) for int64 indices (B,)."""
        return self.pixels.index_select(0, indices.to(self.device))

    def to(self, device: torch.device | str) -> ArraySplit:
        """Return the split on another device."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def subset(self, indices: Tensor) -> ArraySplit:
        """Return the split of these images, in this order."""
        indices = indices.to(self.device)
        labels = self.labels.index_select(0, indices)
        return replace(self, pixels=self.images(indices), labels=labels)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the shape, the pixels' bytes and the int64 labels' bytes."""
        sha = hashlib.sha256(f"{tuple(self.pixels.shape)}".encode())
        sha.update(self.pixels.cpu().contiguous().numpy().data)
        sha.update(self.labels.cpu().contiguous().numpy().data)
        return sha.hexdigest()


@dataclass(frozen=True, eq=False)
class FolderSplit:
    """A split left in its image files, decoded whenever asked for by a pool of threads."""

    paths: Sequence[Path]
    labels: Tensor
    decode: Callable[[Path], np.ndarray]  # to uint8 (H, W, C), the same size for all
    class_names: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where labels and images lie."""
        return self.labels.device

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: Tensor) -> Tensor:
        """Return uint8 images (B, C, H, W) for int64 indices (B,).

        Raises:
            ZooError: a file cannot be decoded.
        """
        return torch.from_numpy(self._decoded(indices.tolist())).to(self.device)

    def to(self, device: torch.device | str) -> FolderSplit:
        """Return the split on another device; the files stay where they are."""
        return replace(self, labels=self.labels.to(device))

    def subset(self, indices: Tensor) -> FolderSplit:
        """Return the split of these images, in this order."""
        paths = [self.paths[index] for index in indices.tolist()]
        return replace(self, paths=paths, labels=self.labels[indices.to(self.device)])

    def in_memory(self, description: str) -> ArraySplit:
        """Decode every file once."""
        parts = []
        with progress(len(self), description) as bar:
            for first in range(0, len(self), CHUNK):
                parts.append(self._decoded(range(first, min(first + CHUNK, len(self)))))
                bar.advance(len(parts[-1]))
        return ArraySplit(torch.from_numpy(np.concatenate(parts)), self.labels, self.class_names)

    def _decoded(self, indices: Sequence[int]) -> np.ndarray:
        with ThreadPoolExecutor(DECODERS) as pool:
            images = list(pool.map(self._open, indices))
        return np.stack(images).transpose(0, 3, 1, 2).copy()

    def _open(self, index: int) -> np.ndarray:
        path = self.paths[index]
        try:
            return self.decode(path)
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's three ways to say broken
            raise ZooError(f"Cannot decode '{path}': {error}; replace the file.") from error

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of each file's class folder, name, size and label.

        Pixels are left out: decoding a million files to name them would take hours.
        """
        sha = hashlib.sha256()
        for path, label in zip(self.paths, self.labels.tolist(), strict=True):
            line = f"{path.parent.name}/{path.name} {path.stat().st_size} {label}\n"
            sha.update(line.encode())
        return sha.hexdigest()


def part_of(whole: AnySplit, part: Part) -> AnySplit:
    """Return the whole of a test set, or the training or validation part of training images.

    Raises:
        ZooError: fewer than two training images.
    """
    if part == "test":
        return whole
    training, validation = hold_out(len(whole))
    return whole.subset(training if part == "train" else validation)


def check_fits(images: Split, dataset: Dataset) -> None:
    """Raise ZooError unless images and labels are of the sizes that the data set claims."""
    first, labels = images.images(torch.arange(1, device=images.device)), images.labels
    side, classes = dataset.image_size, len(images.class_names) or dataset.num_classes
    claimed = (dataset.in_channels, side, side)
    if first.dtype != torch.uint8 or tuple(first.shape[1:]) != claimed:
        raise ZooError(
            f"The reader of '{dataset.name}' gives {first.dtype} images of {tuple(first.shape[1:])}"
            f"; they must be torch.uint8 of (C, H, W) = {claimed}, as the data set says."
        )
    if labels.dtype != torch.int64 or labels.min() < 0 or labels.max() >= classes:
        raise ZooError(
            f"The reader of '{dataset.name}' gives {labels.dtype} labels from {labels.min()} to "
            f"{labels.max()}; they must be torch.int64 from 0 to {classes - 1}."
        )


def hold_out(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Divide `count` training images into indices of a training and a validation part.

    The validation part has 2,000 images, at most 10 %, drawn by the seed; both are in order.

    Raises:
        ZooError: fewer than two images.
    """
    if count < 2:
        raise ZooError(
            f"{count} image(s) cannot be divided into a training and a validation part; "
            "give at least 2."
        )
    size = min(2000, max(1, count // 10))
    # RandomState's stream is frozen for good, which default_rng's is not.
    order = torch.from_numpy(np.random.RandomState(seed).permutation(count))
    return order[size:].sort().values, order[:size].sort().values
