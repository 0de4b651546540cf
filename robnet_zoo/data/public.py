"""Data sets that others serve: scikit-learn's digits, and what torchvision reads."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robnet_zoo.data.dataset import Part
from robnet_zoo.data.splits import ArraySplit, part_of
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.extras import import_extra

TIMEOUT = 10.0  # seconds of silence after which a download is given up
# torchvision knows the sums of the compressed files only; these are of the unpacked ones it reads.
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def read_digits(part: Part, root: Path, download: bool) -> ArraySplit:
    """Return 1,147 training, 200 validation or 450 test digits, stratified by class.

    Raises:
        ZooError: scikit-learn is not installed.
    """
    datasets = import_extra("sklearn.datasets", "Data set 'digits'", "eval")
    values, labels = datasets.load_digits(return_X_y=True)
    images = np.rint(values.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    # Each image's rank within its class, from 0 to 1: any stretch of this order is stratified.
    source = np.random.RandomState(0)  # its stream is frozen for good, which default_rng's is not
    place = np.empty(len(labels))
    for label in range(10):
        members = np.flatnonzero(labels == label)
        place[source.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    order = np.argsort(place, kind="stable")
    bounds = {"test": (0, 450), "validation": (450, 650), "train": (650, None)}
    chosen = np.sort(order[slice(*bounds[part])])
    return ArraySplit.from_numpy(images[chosen], labels[chosen])


@dataclass(frozen=True)
class _Published:
    """A data set as torchvision reads it.

    Attributes:
        name: as in the registry.
        address: where its files can be fetched by hand.
        files: (root, training) -> the files that are read, with their md5.
        open: (root, training, download) -> images and labels.
    """

    name: str
    address: str
    files: Callable[[Path, bool], dict[Path, str]]
    open: Callable[[Path, bool, bool], ArraySplit]


def read_cifar10(part: Part, root: Path, download: bool) -> ArraySplit:
    """Read CIFAR-10, as `_read` says."""
    return _read(_cifar("cifar10", _torchvision("cifar10").CIFAR10), part, root, download)


def read_cifar100(part: Part, root: Path, download: bool) -> ArraySplit:
    """Read CIFAR-100, as `_read` says."""
    return _read(_cifar("cifar100", _torchvision("cifar100").CIFAR100), part, root, download)


def read_mnist(part: Part, root: Path, download: bool) -> ArraySplit:
    """Read MNIST, as `_read` says."""
    mnist = _Published(
        "mnist",
        "https://ossci-datasets.s3.amazonaws.com/mnist/*.gz",
        lambda root, training: {
            root / "MNIST" / "raw" / file: md5 for file, md5 in MNIST_MD5.items()
        },
        partial(_open, _torchvision("mnist").MNIST),
    )
    return _read(mnist, part, root, download)


def read_svhn(part: Part, root: Path, download: bool) -> ArraySplit:
    """Read SVHN, as `_read` says; scipy opens its files."""
    kind = _torchvision("svhn").SVHN

    def files(root: Path, training: bool) -> dict[Path, str]:
        _, file, md5 = kind.split_list["train" if training else "test"]
        return {root / file: md5}

    def open_(root: Path, training: bool, download: bool) -> ArraySplit:
        import_extra("scipy.io", "Data set 'svhn'", "eval")  # torchvision asks for it late
        images = kind(root, "train" if training else "test", download=download)
        return ArraySplit(torch.from_numpy(images.data), torch.from_numpy(images.labels))

    address = "http://ufldl.stanford.edu/housenumbers/*_32x32.mat"
    return _read(_Published("svhn", address, files, open_), part, root, download)


def _torchvision(name: str) -> Any:
    return import_extra("torchvision.datasets", f"Data set '{name}'", "vision")


def _cifar(name: str, kind: Any) -> _Published:
    """Return CIFAR-10 or CIFAR-100, of torchvision's class."""

    def files(root: Path, training: bool) -> dict[Path, str]:
        meta = (kind.meta["filename"], kind.meta["md5"])
        listed = [*kind.train_list, *kind.test_list, meta]
        return {root / kind.base_folder / file: md5 for file, md5 in listed}

    return _Published(name, kind.url, files, partial(_open, kind))


def _open(kind: Any, root: Path, training: bool, download: bool) -> ArraySplit:
    images = kind(root, train=training, download=download)
    return ArraySplit.from_numpy(np.asarray(images.data), np.asarray(images.targets))


def _read(published: _Published, part: Part, root: Path, download: bool) -> ArraySplit:
    """Read a part through torchvision, after comparing every file with its published md5.

    Raises:
        ZooError: files are missing and could not be downloaded, or differ from the published ones.
    """
    name, training = published.name, part != "test"
    files = published.files(root, training)
    if not all(path.is_file() for path in files):
        reason = "downloading is switched off"
        if download:
            try:
                with _hasty():
                    published.open(root, training, True)
            except (OSError, RuntimeError, HTTPException) as error:
                reason = f"downloading failed: {' '.join(str(error).split())}"
        missing = next((path for path in files if not path.is_file()), None)
        if missing:
            raise ZooError(
                f"{name} is not at hand: '{missing}' is missing and {reason}; fetch "
                f"{published.address} and unpack it so that this file is there, name another "
                "folder with --data or ROBNET_ZOO_DATA, or use --dataset digits, which needs no "
                "download."
            )
    from torchvision.datasets.utils import check_md5

    for path, md5 in files.items():
        if not check_md5(path, md5):
            raise ZooError(
                f"'{path}' differs from the published {name} (its md5 is not {md5}); delete it "
                "and run again to fetch it anew."
            )
    return part_of(published.open(root, training, False), part)


@contextlib.contextmanager
def _hasty() -> Iterator[None]:
    """Let silent servers fail soon, and keep torchvision's chatter out of standard output."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(before)
