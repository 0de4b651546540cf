"""Adversarial images in a file, as this harness and other tools save them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from robnet_zoo.data.arrays import UNREADABLE
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import NORMS, Norm

IMAGES = (
    *("x_adv", "adversarial", "adv", "adv_images", "adv_inputs", "adv_complete"),
    *("images", "x", "arr_0"),
)
LABELS = ("labels", "y", "y_test", "y_orig", "targets")
INDICES = ("indices", "index", "idx")
VERDICTS = ("verdicts", "robust")
TENSORS = (".pt", ".pth")
BRIGHTEST = 2.0  # pixels in [0,1] that an attack let slip a little are still below


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedImages:
    """Adversarial images and what their file says about them.

    Attributes:
        path: of the file.
        pixels: as stored, uint8 or floats, (N, C, H, W), (N, H, W, C) or (N, H, W).
        labels: classes (N,), where there are any.
        indices: positions in the data set (N,); the first N if None.
        robust: whether whoever saved them calls each image robust (N,), where that is stored.
        norm, epsilon: of the ball, where `evaluate` saved them.
        model_sha256: hash of the model's state, likewise.
    """

    path: Path
    pixels: Tensor
    labels: Tensor | None = None
    indices: Tensor | None = None
    robust: Tensor | None = None
    norm: Norm | None = None
    epsilon: str = ""
    model_sha256: str = ""

    def __len__(self) -> int:
        return len(self.pixels)

    def shaped(self, shape: tuple[int, ...]) -> Tensor:
        """Return the images as float32 (N, C, H, W), uint8 divided by 255.

        Args:
            shape: channels, height and width of the clean images.

        Raises:
            ZooError: they are images of another shape, or not in [0,1].
        """
        channels, height, width = shape
        own, pixels = tuple(self.pixels.shape[1:]), self.pixels
        if own == (height, width) and channels == 1:
            pixels = pixels[:, None]
        elif own == (height, width, channels) and own != shape:
            pixels = pixels.permute(0, 3, 1, 2)
        elif own != shape:
            raise ZooError(
                f"The images in '{self.path}' have shape {own} and the clean ones {shape}; name "
                "the data set that they were made of by --dataset."
            )
        if pixels.dtype == torch.uint8:
            return pixels.contiguous().float() / 255
        if pixels.nan_to_num().abs().max() > BRIGHTEST:
            raise ZooError(
                f"Pixels in '{self.path}' go from {float(pixels.min()):.3g} to "
                f"{float(pixels.max()):.3g}; they must lie in [0,1], or be uint8: save them "
                "before any normalisation."
            )
        return pixels.contiguous().float()


def read_images(path: str | Path) -> SavedImages:
    """Read adversarial images from a .npz, .npy, .pt or .pth file; nothing in it is executed.

    The images are found by the usual names (`x_adv`, `adv`, `images`, `arr_0`...) or as the only
    array of four dimensions; labels, indices and verdicts by theirs, where there are any.

    Raises:
        ZooError: missing, damaged, pickled objects, or without images.
    """
    path = Path(path)
    arrays, words = _read(path)
    pixels = _first(arrays, IMAGES)
    if pixels is None:
        large = [array for array in arrays.values() if array.ndim == 4]
        pixels = large[0] if len(large) == 1 else None
    if pixels is None or pixels.ndim not in (3, 4) or not pixels.numel():
        held = ", ".join(f"{key} {list(array.shape)}" for key, array in arrays.items())
        raise ZooError(
            f"'{path}' holds no adversarial images (N, C, H, W) but {held or 'nothing'}; save "
            "them as x_adv, such as by numpy.savez_compressed(FILE, x_adv=images, labels=labels)."
        )
    per_image = {
        "labels": _first(arrays, LABELS),
        "indices": _first(arrays, INDICES),
        "robust": _first(arrays, VERDICTS),
    }
    for what, array in per_image.items():
        if array is not None and array.shape != pixels.shape[:1]:
            raise ZooError(
                f"'{path}' holds {len(pixels)} images and {what} of shape {list(array.shape)}; "
                "it must have one an image."
            )
    return SavedImages(
        path=path,
        pixels=pixels,
        labels=_whole(path, "labels", per_image["labels"]),
        indices=_whole(path, "indices", per_image["indices"]),
        robust=None if per_image["robust"] is None else per_image["robust"].bool(),
        norm=cast(Norm, words["norm"]) if words.get("norm") in NORMS else None,
        epsilon=words.get("epsilon", ""),
        model_sha256=words.get("model_sha256", ""),
    )


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the arrays of numbers in a file, and its words, by name."""
    try:
        if path.suffix in TENSORS:
            return _tensors(torch.load(path, map_location="cpu", weights_only=True))
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            return _tensors(file)
        with file:
            return _tensors(dict(file))
    except FileNotFoundError as error:
        raise ZooError(f"There is no file '{path}'; name saved adversarial images.") from error
    except Exception as error:
        if not isinstance(error, UNREADABLE) and path.suffix not in TENSORS:
            raise
        reason = getattr(error, "strerror", None) or "it holds more than plain arrays, or is cut"
        raise ZooError(
            f"Cannot read '{path}': {reason}; save images by numpy.savez_compressed, or tensors "
            "alone by torch.save."
        ) from error


def _tensors(content: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    if isinstance(content, Mapping):
        items = {str(key): value for key, value in content.items()}
    elif isinstance(content, list | tuple):  # (images, labels), as DataLoaders have them
        items = dict(zip(("x_adv", "labels"), content, strict=False))
    else:
        items = {"x_adv": content}
    arrays, words = {}, {}
    for key, value in items.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "U" and key in VERDICTS:
            value = np.array([bit == "1" for bit in str(value)])
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            value = torch.from_numpy(value)
        if isinstance(value, Tensor):
            arrays[key] = value.detach()
        elif isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.ndim == 0:
            words[key] = str(value)
    return arrays, words


def _first(arrays: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _whole(path: Path, what: str, array: Tensor | None) -> Tensor | None:
    """Return whole numbers as int64.

    Raises:
        ZooError: they are none.
    """
    if array is None:
        return None
    if array.is_floating_point() and not torch.equal(array, array.round()):
        raise ZooError(f"The {what} in '{path}' are no whole numbers.")
    return array.long()
