"""Data sets that are folders of image files: ImageNet and Tiny-ImageNet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robnet_zoo.data.dataset import Part
from robnet_zoo.data.splits import ArraySplit, FolderSplit, part_of
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.extras import import_extra

SUFFIXES = (".jpeg", ".jpg", ".png")
Classes = tuple[str, ...]


def read_imagenet(part: Part, root: Path, download: bool) -> FolderSplit:
    """Read `imagenet/train` or, for the test split, `imagenet/val`: a folder of images a class.

    Images are resized to 256 pixels on the shorter side and cropped to the centre 224.

    Raises:
        ZooError: the folders are missing, empty, or name different classes.
    """
    folder = root / "imagenet"
    source = folder / ("val" if part == "test" else "train")
    layout = "train/ and val/ with one folder of images a class"
    classes = _class_folders(source, "imagenet", layout)
    if part == "test" and (folder / "train").is_dir():
        trained = _class_folders(folder / "train", "imagenet", "one folder of images a class")
        strange = sorted(set(classes) - set(trained))
        if strange:
            raise ZooError(
                f"'{source}' has classes that '{folder / 'train'}' has not "
                f"({', '.join(strange[:3])}); both must name the same classes."
            )
        classes = trained
    return part_of(_labelled(_members(source, classes), classes, source, centre_crop), part)


def read_tiny_imagenet(part: Part, root: Path, download: bool) -> ArraySplit:
    """Read `tiny-imagenet-200/train` or, for the test split, its labelled `val`, into memory.

    Raises:
        ZooError: the folders or the annotations are missing or do not fit each other.
    """
    folder = root / "tiny-imagenet-200"
    layout = "train/<class>/images, val/images and val/val_annotations.txt"
    classes = _class_folders(folder / "train", "tiny-imagenet", layout)
    if part == "test":
        source = folder / "val"
        members = _annotated(source, classes, layout)
    else:
        source = folder / "train"
        members = _members(source, classes, "images")
    images = part_of(_labelled(members, classes, source, colour_64), part)
    return images.in_memory("Decoding tiny-imagenet")


def _annotated(folder: Path, classes: Classes, layout: str) -> list[tuple[Path, int]]:
    """Return the images that `val_annotations.txt` names, with their classes."""
    known = {name: label for label, name in enumerate(classes)}
    members = []
    try:
        for line in (folder / "val_annotations.txt").read_text(encoding="utf-8").splitlines():
            file, name, *_ = line.split("\t")
            members.append((folder / "images" / file, known[name]))
    except OSError as error:
        raise _missing(folder, "tiny-imagenet", layout) from error
    except (KeyError, ValueError) as error:
        raise ZooError(
            f"'{folder / 'val_annotations.txt'}' has a line '{line}' that names no image and class "
            "of train/; restore the file."
        ) from error
    return members


def centre_crop(path: Path) -> np.ndarray:
    """Decode an image to RGB, resize its shorter side to 256 and crop the centre 224."""
    transforms = import_extra("torchvision.transforms.functional", "Data set 'imagenet'", "vision")
    with _pillow("imagenet").open(path) as image:
        resized = transforms.resize(image.convert("RGB"), [256])
        return np.asarray(transforms.center_crop(resized, [224]))


def colour_64(path: Path) -> np.ndarray:
    """Decode an image of 64x64 pixels to RGB; some of Tiny-ImageNet's are stored grey."""
    with _pillow("tiny-imagenet").open(path) as image:
        if image.size != (64, 64):
            raise ValueError(f"it has {image.size[0]}x{image.size[1]} pixels instead of 64x64")
        return np.asarray(image.convert("RGB"))


def _pillow(name: str) -> Any:
    return import_extra("PIL.Image", f"Data set '{name}'", "vision")


def _class_folders(folder: Path, name: str, layout: str) -> Classes:
    entries = folder.iterdir() if folder.is_dir() else ()
    classes = sorted(entry.name for entry in entries if entry.is_dir())
    if not classes:
        raise _missing(folder, name, layout)
    return tuple(classes)


def _missing(folder: Path, name: str, layout: str) -> ZooError:
    return ZooError(
        f"{name} is not at hand: '{folder}' is missing or empty; unpack it as {layout}, name "
        "another folder with --data or ROBNET_ZOO_DATA, or use --dataset digits, which needs no "
        "download."
    )


def _members(folder: Path, classes: Classes, inner: str = ".") -> list[tuple[Path, int]]:
    return [
        (path, label)
        for label, name in enumerate(classes)
        if (folder / name / inner).is_dir()
        for path in sorted((folder / name / inner).iterdir())
        if path.suffix.lower() in SUFFIXES
    ]


def _labelled(
    members: list[tuple[Path, int]],
    classes: Classes,
    folder: Path,
    decode: Callable[[Path], np.ndarray],
) -> FolderSplit:
    if not members:
        raise ZooError(f"'{folder}' holds no images ({', '.join(SUFFIXES)}); unpack it again.")
    paths, labels = zip(*members, strict=True)
    return FolderSplit(paths, torch.tensor(labels), decode, classes)
