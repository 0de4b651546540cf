"""Data sets that others serve: scikit-learn's digits, and what torchvision reads."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robnet_zoo.data import Part
from robnet_zoo.data.splits import ArraySplit
from robnet_zoo.runtime.errors import ZooError

TIMEOUT = 10.0  # seconds of silence after which a download is given up
ADDRESSES = {
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "cifar100": "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    "svhn": "http://ufldl.stanford.edu/housenumbers/*_32x32.mat",
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/*.gz",
}
# torchvision knows the sums of the compressed files only; these are of the unpacked ones it reads.
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def read_digits(split: Part) -> ArraySplit:
    """Return 1,147 training, 200 validation or 450 test digits, stratified by class.

    Raises:
        ZooError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ZooError(
            "The digits data set comes with scikit-learn, which is not installed; "
            "run: pip install 'robnet-zoo[eval]'."
        ) from error
    values, labels = load_digits(return_X_y=True)
    images = np.rint(values.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    # Each image's rank within its class, as a share: any stretch of this order is stratified.
    source = np.random.RandomState(0)  # its stream is frozen for good, which default_rng's is not
    share = np.empty(len(labels))
    for label in range(10):
        members = np.flatnonzero(labels == label)
        share[source.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    order = np.argsort(share, kind="stable")
    bounds = {"test": (0, 450), "validation": (450, 650), "train": (650, None)}
    chosen = np.sort(order[slice(*bounds[split])])
    return ArraySplit.from_numpy(images[chosen], labels[chosen])


def read_torchvision(name: str, root: Path, split: Part, download: bool) -> ArraySplit:
    """Read all training images, or the test images, through torchvision.

    Every file is compared with its known md5 before it is opened.

    Raises:
        ZooError: files are missing and could not be downloaded, or differ from the published ones.
    """
    training = split != "test"
    files = _files(name, root, training)
    if not all(path.is_file() for path in files):
        reason = "downloading is switched off"
        if download:
            try:
                with _hasty():
                    _open(name, root, training, download=True)
            except (OSError, RuntimeError, HTTPException) as error:
                reason = f"downloading failed: {' '.join(str(error).split())}"
        missing = next((path for path in files if not path.is_file()), None)
        if missing:
            raise ZooError(
                f"{name} is not at hand: '{missing}' is missing and {reason}; fetch "
                f"{ADDRESSES[name]} and unpack it so that this file is there, name another "
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
    return _open(name, root, training, download=False)


def _files(name: str, root: Path, training: bool) -> dict[Path, str]:
    """Return the files torchvision will read, with their md5."""
    from torchvision import datasets

    if name == "svhn":
        _, file, md5 = datasets.SVHN.split_list["train" if training else "test"]
        return {root / file: md5}
    if name == "mnist":
        return {root / "MNIST" / "raw" / file: md5 for file, md5 in MNIST_MD5.items()}
    kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
    files = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    return {root / kind.base_folder / file: md5 for file, md5 in files}


def _open(name: str, root: Path, training: bool, download: bool) -> ArraySplit:
    from torchvision import datasets

    if name == "svhn":
        try:
            found: Any = datasets.SVHN(root, "train" if training else "test", download=download)
        except ImportError as error:
            raise ZooError(
                "svhn is read with scipy, which is not installed; "
                "run: pip install 'robnet-zoo[eval]'."
            ) from error
        return ArraySplit(torch.from_numpy(found.data), torch.from_numpy(found.labels))
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "mnist": datasets.MNIST}
    found = kind[name](root, train=training, download=download)
    return ArraySplit.from_numpy(np.asarray(found.data), np.asarray(found.targets))


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
