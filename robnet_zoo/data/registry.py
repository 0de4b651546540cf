"""The table of data sets, one row each, and the reading of their parts by name.

Nothing here imports torch until a split is read, so that command lines answer at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from robnet_zoo.data.dataset import ARRAYS, PARTS, Dataset, Part
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.threat_models import ThreatModel, get_threat_model

if TYPE_CHECKING:
    from torch import Tensor

    from robnet_zoo.data.splits import Split


# (part, folder of the data sets, whether to download what is missing) -> that part
Reader = Callable[[Part, Path, bool], "Split"]


class Row(NamedTuple):
    """A data set and what reads it."""

    dataset: Dataset
    read: Reader


def _row(
    name: str,
    read: str,
    classes: int,
    channels: int,
    size: int,
    names: str,
    note: str,
    hub: str,
    *,
    flip: bool = True,
    subject: str = "",
    crop: float = 1.0,
) -> Row:
    """Return a row whose reader, "module:function", is imported when it is first called."""

    def reader(part: Part, root: Path, download: bool) -> Split:
        module, _, function = read.partition(":")
        read_part: Reader = getattr(import_module(f"robnet_zoo.data.{module}"), function)
        return read_part(part, root, download)

    threat = get_threat_model(name)
    class_names = tuple(names.split())
    dataset = Dataset(
        name, classes, channels, size, class_names, threat, note, flip, subject, crop, hub
    )
    return Row(dataset, reader)


_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum
rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_DIGITS = "0 1 2 3 4 5 6 7 8 9"
_PHOTOS = "60,000 photographs, read by torchvision"
ROWS: dict[str, Row] = {
    row.dataset.name: row
    for row in (
        _row(
            *("digits", "public:read_digits", 10, 1, 8, _DIGITS),
            "1,797 handwritten digits that come with scikit-learn",
            "sklearn-docs/digits",
            flip=False,
            subject="handwritten digits, white on black",
        ),
        _row("cifar10", "public:read_cifar10", 10, 3, 32, _CIFAR10, _PHOTOS, "uoft-cs/cifar10"),
        _row(
            "cifar100", "public:read_cifar100", 100, 3, 32, _CIFAR100, _PHOTOS, "uoft-cs/cifar100"
        ),
        _row(
            *("svhn", "public:read_svhn", 10, 3, 32, _DIGITS),
            "99,289 house numbers, read by torchvision",
            "ufldl-stanford/svhn",
            flip=False,
            subject="digits of house numbers",
        ),
        _row(
            *("mnist", "public:read_mnist", 10, 1, 28, _DIGITS),
            "70,000 handwritten digits, read by torchvision",
            "ylecun/mnist",
            flip=False,
            subject="handwritten digits, white on black",
        ),
        _row(
            *("tiny-imagenet", "folders:read_tiny_imagenet", 200, 3, 64, ""),
            "110,000 photographs; test is the official val",
            "zh-plus/tiny-imagenet",
        ),
        _row(
            *("imagenet", "folders:read_imagenet", 1000, 3, 224, ""),
            "train and val class folders; test is val",
            "ILSVRC/imagenet-1k",
            crop=224 / 256,
        ),
    )
}


def register_dataset(dataset: Dataset, read: Reader) -> None:
    """Add a data set, which `load_split`, training and evaluation then take by its name.

    Args:
        dataset: what it is; its threat model is a row of the table, perhaps at another size.
        read: (part, root, download) -> that part, "train", "validation" or "test"; `root` is the
            folder of the data sets. `splits.part_of` holds validation images out of training
            ones.

    Raises:
        ZooError: the name is taken, or the threat model's is not in the table.
    """
    if dataset.name in ROWS or dataset.name.startswith(ARRAYS):
        raise ZooError(f"There is a data set '{dataset.name}' already; choose another name.")
    get_threat_model(dataset.threat_model.name)

    def reader(part: Part, root: Path, download: bool) -> Split:
        from robnet_zoo.data.splits import check_fits

        images = read(part, root, download)
        check_fits(images, dataset)
        return images

    ROWS[dataset.name] = Row(dataset, reader)


def list_datasets() -> list[str]:
    """Return the names that `load_split` takes; a user's own are `arrays:FILE.npz`."""
    return list(ROWS)


def dataset_info(name: str, threat_model: str | ThreatModel | None = None) -> Dataset:
    """Return what a data set is; only `arrays:FILE.npz` is read for that.

    Args:
        name: one of `list_datasets`, or `arrays:FILE.npz`.
        threat_model: another one, or the name of its row in the table; arrays need one.

    Raises:
        ZooError: an unknown name, a bad file, or arrays without a threat model.
    """
    if name.startswith(ARRAYS):
        return _arrays(name, threat_model)[0]
    if name not in ROWS:
        raise unknown_name("data set", name, [*ROWS, f"{ARRAYS}FILE.npz"])
    dataset = ROWS[name].dataset
    if threat_model is None:
        return dataset
    return replace(dataset, threat_model=get_threat_model(threat_model))


def load_split(
    name: str,
    split: Part,
    *,
    root: str | Path | None = None,
    download: bool = True,
    threat_model: str | ThreatModel | None = None,
) -> tuple[Dataset, Split]:
    """Read one split of a data set.

    "train" and "validation" are disjoint parts of the training images, the same at every call:
    2,000 (at most 10 %) are held out; of digits 200, stratified. "test" is the official test set,
    or, where its labels are secret, the official validation set; of `arrays:FILE.npz` it is the
    whole file.

    Args:
        name: one of `list_datasets`, or `arrays:FILE.npz`.
        split: "train", "validation" or "test".
        root: folder of the data sets; $ROBNET_ZOO_DATA or ~/.cache/robnet_zoo/data if None.
        download: fetch what is missing and has a public address.
        threat_model: another one, or the name of its row in the table; arrays need one.

    Raises:
        ZooError: an unknown name, files that are missing and cannot be downloaded, files that
            are not what they should be, or arrays without a threat model.
    """
    if split not in PARTS:
        raise unknown_name("split", split, PARTS)
    if name.startswith(ARRAYS):
        from robnet_zoo.data.splits import part_of

        dataset, whole = _arrays(name, threat_model)
        return dataset, part_of(whole, split)
    dataset = dataset_info(name, threat_model)
    chosen = root or os.environ.get("ROBNET_ZOO_DATA") or "~/.cache/robnet_zoo/data"
    images = ROWS[name].read(split, Path(chosen).expanduser(), download)
    if images.class_names:
        classes = images.class_names
        dataset = replace(dataset, num_classes=len(classes), class_names=classes)
    return dataset, images


def to_float(images: Tensor) -> Tensor:
    """Return uint8 images as the float32 pixels in [0,1] that models take."""
    return images.float() / 255


def _arrays(name: str, threat_model: str | ThreatModel | None) -> tuple[Dataset, Split]:
    """Read a user's file; images of a known data set are flipped where that allows it."""
    from robnet_zoo.data.arrays import read_arrays

    dataset, images = read_arrays(name, threat_model)
    known = ROWS.get(dataset.name)
    return replace(dataset, flip=known is None or known.dataset.flip), images
