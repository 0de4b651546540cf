"""Images and labels out of whatever holds them: tensors, arrays, data sets, loaders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler
from torch.utils.data import Dataset as TorchDataset

from robnet_zoo.attacks.batch import to_labels, to_pixels, validate_dense
from robnet_zoo.data import Dataset
from robnet_zoo.runtime.errors import ZooError, cause
from robnet_zoo.runtime.randomness import seeded

if TYPE_CHECKING:
    from robnet_zoo.data.splits import Split

    Array = Tensor | np.ndarray
    Data = Split | tuple[Array, Array] | list[Array] | DataLoader[Any] | TorchDataset[Any]

CHANNELS = (1, 3)  # of images, by which the axes of NumPy arrays are told apart
READ = 64  # items of a data set at a time
FORMS = (
    "give a split of load_split, a pair of images and labels (tensors or NumPy arrays), a "
    "DataLoader or a Dataset"
)


@dataclass(frozen=True, eq=False)
class Pair:
    """The first images (N, C, H, W), uint8 or in [0,1], and labels (N,), of those available."""

    images: Tensor
    labels: Tensor
    available: int


def is_split(data: object) -> TypeGuard[Split]:
    """Return whether data is a split, as `load_split` returns it."""
    return all(hasattr(data, name) for name in ("images", "labels", "subset", "fingerprint"))


def read_pair(data: Data, n: int | None) -> Pair:
    """Return images and labels of what is no split, the first n of a loader or data set.

    NumPy images are (N, H, W, C), (N, C, H, W) or grey (N, H, W): channels are the axis of
    length 1 or 3. Tensors are (N, C, H, W).

    Raises:
        ZooError: data of another form, labels that are no classes, a loader that shuffles or
            leaves images out, or images that are others when they are read again.
    """
    if isinstance(data, DataLoader):
        return _read_loader(data, n)
    if isinstance(data, TorchDataset):
        return _read_loader(DataLoader(data, READ, collate_fn=_collate), n)
    if not isinstance(data, tuple | list):
        raise ZooError(f"Data cannot be a {type(data).__name__}; {FORMS}.")
    if len(data) == 2 and isinstance(data[0], Dataset):
        raise ZooError("Data is a data set and its split; give the split alone.")
    if len(data) != 2:
        raise ZooError(f"Data is a {type(data).__name__} of {len(data)}, and no pair; {FORMS}.")
    images, labels = _images(data[0]), to_labels(data[1])
    if images.ndim == 4 and len(images) != len(labels):
        raise ZooError(
            f"There are {len(images):,} images and {len(labels):,} labels; give one an image."
        )
    return Pair(images, labels, len(labels))


def _images(images: Any) -> Tensor:
    """Return images as a tensor, with channels first."""
    if isinstance(images, Tensor):
        validate_dense("Images", images)
        return images
    if not isinstance(images, np.ndarray):
        raise ZooError(f"Images cannot be a {type(images).__name__}; {FORMS}.")
    if np.ma.is_masked(images):
        raise ZooError("Some pixels are masked; fill them, or leave their images out.")
    if images.dtype.kind not in "uf" or images.dtype == np.uint16:
        raise ZooError(f"Images are {images.dtype}; give uint8, or floats in [0,1].")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.size:
        first, last = images.shape[1] in CHANNELS, images.shape[3] in CHANNELS
        if first == last:
            which = "both" if first else "neither"
            raise ZooError(
                f"Images of shape {list(images.shape)} may be (N, C, H, W) or (N, H, W, C): of "
                f"axes 1 and 3 {which} can be channels, 1 or 3; give a tensor (N, C, H, W)."
            )
        images = images if first else images.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.require(images, images.dtype.newbyteorder("="), ["C", "W"]))


def _read_loader(loader: DataLoader[Any], n: int | None) -> Pair:
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    if isinstance(sampler, RandomSampler):
        raise ZooError(
            "The DataLoader shuffles, so that its first images are others each time; make it "
            "with shuffle=False."
        )
    read, count = [], 0
    with seeded(0):
        for images, labels in _batches(loader):
            read.append((images, labels))
            count += len(labels)
            if n is not None and count >= n:
                break
        if read and not isinstance(loader.dataset, IterableDataset):
            again = next(_batches(loader))[0]
            if not torch.equal(again, read[0][0]):
                raise ZooError(
                    "The images are others when they are read again; take what is random out of "
                    "their transform."
                )
    if not read:
        raise ZooError(f"There are no images in the {type(loader.dataset).__name__}.")
    size = len(sampler) if isinstance(sampler, Sized) else count
    if count < min(size, size if n is None else n):
        raise ZooError(
            f"The DataLoader gives {count:,} of {size:,} images; make it with drop_last=False."
        )
    shapes = sorted({tuple(images.shape[1:]) for images, _ in read})
    if len(shapes) > 1:
        raise ZooError(f"Images have several shapes, {shapes[0]} and {shapes[1]}; resize them.")
    images, labels = (torch.cat(parts) for parts in zip(*read, strict=True))
    return Pair(images, labels, size)


def _batches(loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Read a loader's batches as images (B, C, H, W) and labels (B,)."""
    batches = iter(loader)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except ZooError:
            raise
        except Exception as error:  # of the user's own data set
            raise ZooError(f"The data cannot be read: {cause(error)}.") from error
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise ZooError(
                f"The data gives a {type(batch).__name__} where a pair of images and labels is "
                "needed; let its items be (image, label)."
            )
        images, labels = _images(batch[0]), to_labels(batch[1])
        to_pixels(images, labels)
        yield images, labels


def _collate(items: Sequence[Any]) -> Any:
    """Return a batch of items (image, label), whose images may be Pillow's or NumPy's."""
    if not all(isinstance(item, tuple | list) and len(item) == 2 for item in items):
        return items[0]  # refused with its type
    images = [_image(image) for image, _ in items]
    shapes = sorted({tuple(image.shape) for image in images})
    if len(shapes) > 1:
        raise ZooError(f"Images have several shapes, {shapes[0]} and {shapes[1]}; resize them.")
    return torch.stack(images), torch.stack([torch.as_tensor(label) for _, label in items])


def _image(image: Any) -> Tensor:
    if isinstance(image, Tensor):
        return image
    mode = getattr(image, "mode", "RGB")
    if mode not in ("L", "RGB"):
        raise ZooError(f"An image has the mode {mode}; convert it to L or RGB.")
    return _images(np.asarray(image)[None])[0]
