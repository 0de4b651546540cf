"""Data sets by name: what they are, and their training, validation and test splits.

Nothing here imports torch until a split is read, so that command lines answer at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from robnet_zoo.runtime.errors import unknown_name
from robnet_zoo.threat_models import ThreatModel, get_threat_model

if TYPE_CHECKING:
    from torch import Tensor

    from robnet_zoo.data.splits import Split

AnySplit = TypeVar("AnySplit", bound="Split")
Part = Literal["train", "validation", "test"]
PARTS = ("train", "validation", "test")
ARRAYS = "arrays:"


@dataclass(frozen=True)
class Dataset:
    """What a data set is: sizes, class names where known, and what an attacker may do.

    Attributes:
        name: as given to `load_split`.
        num_classes: number of classes.
        in_channels: 1 for grey, 3 for colour.
        image_size: height and width in pixels.
        class_names: one name a class, or empty where files name the classes.
        threat_model: the row of the threat-model table that goes with it.
        note: where it comes from, for people.
    """

    name: str
    num_classes: int
    in_channels: int
    image_size: int
    class_names: tuple[str, ...]
    threat_model: ThreatModel
    note: str


def _row(name: str, classes: int, channels: int, size: int, names: str, note: str) -> Dataset:
    return Dataset(
        name, classes, channels, size, tuple(names.split()), get_threat_model(name), note
    )


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
_DATASETS: dict[str, Dataset] = {
    row.name: row
    for row in (
        _row("digits", 10, 1, 8, _DIGITS, "1,797 handwritten digits that come with scikit-learn"),
        _row("cifar10", 10, 3, 32, _CIFAR10, "60,000 photographs, read by torchvision"),
        _row("cifar100", 100, 3, 32, _CIFAR100, "60,000 photographs, read by torchvision"),
        _row("svhn", 10, 3, 32, _DIGITS, "99,289 house numbers, read by torchvision"),
        _row("mnist", 10, 1, 28, _DIGITS, "70,000 handwritten digits, read by torchvision"),
        _row("tiny-imagenet", 200, 3, 64, "", "110,000 photographs; test is the official val"),
        _row("imagenet", 1000, 3, 224, "", "train and val class folders; test is val"),
    )
}


def list_datasets() -> list[str]:
    """Return the names that `load_split` takes; a user's own are `arrays:FILE.npz`."""
    return list(_DATASETS)


def describe(name: str, threat_model: str | None = None) -> Dataset:
    """Return what a data set is; only `arrays:FILE.npz` is read for that.

    Args:
        name: one of `list_datasets`, or `arrays:FILE.npz`.
        threat_model: name of another row of the threat-model table; arrays need one.

    Raises:
        ZooError: an unknown name, a bad file, or arrays without a threat model.
    """
    if name.startswith(ARRAYS):
        from robnet_zoo.data.arrays import read_arrays

        return read_arrays(name, threat_model)[0]
    if name not in _DATASETS:
        raise unknown_name("data set", name, [*_DATASETS, f"{ARRAYS}FILE.npz"])
    row = _DATASETS[name]
    return replace(row, threat_model=get_threat_model(threat_model)) if threat_model else row


def load_split(
    name: str,
    split: Part,
    *,
    root: str | Path | None = None,
    download: bool = True,
    threat_model: str | None = None,
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
        threat_model: name of another row of the threat-model table; arrays need one.

    Raises:
        ZooError: an unknown name, files that are missing and cannot be downloaded, files that
            are not what they should be, or arrays without a threat model.
    """
    if split not in PARTS:
        raise unknown_name("split", split, PARTS)
    from robnet_zoo.data import arrays, folders, public

    if name.startswith(ARRAYS):
        dataset, whole = arrays.read_arrays(name, threat_model)
        return dataset, _part(whole, split)
    dataset = describe(name, threat_model)
    chosen = root or os.environ.get("ROBNET_ZOO_DATA") or "~/.cache/robnet_zoo/data"
    folder = Path(chosen).expanduser()
    if name == "digits":
        return dataset, public.read_digits(split)
    if name not in folders.READERS:
        return dataset, _part(public.read_torchvision(name, folder, split, download), split)
    classes, files = folders.READERS[name](folder, split)
    dataset = replace(dataset, num_classes=len(classes), class_names=classes)
    files = _part(files, split)
    return dataset, files if name == "imagenet" else files.in_memory(f"Decoding {name}")


def to_float(images: Tensor) -> Tensor:
    """Return uint8 images as the float32 pixels in [0,1] that models take."""
    return images.float() / 255


def _part(whole: AnySplit, split: Part) -> AnySplit:
    """Return the whole of a test set, or the training or validation part of training images."""
    if split == "test":
        return whole
    from robnet_zoo.data.splits import hold_out

    training, validation = hold_out(len(whole))
    return whole.subset(training if split == "train" else validation)
