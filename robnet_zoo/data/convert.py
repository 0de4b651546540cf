"""Images in the usual layouts made into the .npz file that `arrays:FILE.npz` reads.

Sources are CIFAR-10 as its authors distribute it (pickled or binary, unpacked or not), folders of
images, one a class, loose or in an archive, and .npz files. Nothing is unpacked to disk, and of a
pickle only numbers, texts, lists and byte arrays are read: no code of it runs.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from robnet_zoo.data.arrays import read_arrays
from robnet_zoo.data.cifar_batches import (
    UNREADABLE,
    Files,
    StoredPart,
    cifar_batches,
    is_cifar_batch,
    reason_of,
)
from robnet_zoo.data.dataset import ARRAYS, Dataset
from robnet_zoo.data.folders import SUFFIXES
from robnet_zoo.data.registry import dataset_info
from robnet_zoo.data.splits import ArraySplit
from robnet_zoo.runtime.console import progress
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path, check_writable

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
LAYOUTS = (
    "CIFAR-10's batches (data_batch_1, ..., or .bin), folders of images, one a class "
    f"({', '.join(SUFFIXES)}), either also in an archive ({', '.join(ARCHIVES)}), or FILE.npz"
)
UNCOMPARED = "in CIFAR-10's layout, not compared with the published files"
ANY_THREAT = "cifar10"  # reading arrays asks for a threat model; none is stored


@dataclass(frozen=True)
class Images:
    """What a source holds.

    Attributes:
        pixels: uint8 (N, H, W, C).
        labels: int64 (N,).
        class_names: one name a class, or empty.
        name: of the known data set that the images are of, or empty.
        note: what is to be known about them, or empty.
    """

    pixels: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    name: str = ""
    note: str = ""


def convert_images(
    out: Path,
    sources: Sequence[Path],
    *,
    split: StoredPart = "train",
    name: str | None = None,
    note: str | None = None,
) -> tuple[Dataset, ArraySplit]:
    """Write the images of one or several sources, in their order, as an .npz file.

    Args:
        out: the file to write, FILE.npz.
        sources: folders, archives and .npz files.
        split: which batches of CIFAR-10 to take, and which of the folders train/ and test/ where
            a source has both.
        name: the data set's name for the records; the sources' own if None.
        note: what is to be known about the images, likewise.

    Returns:
        The data set that was written, read back, and its images.

    Raises:
        ZooError: a source that is missing, damaged or of no known layout, sources that do not fit
            each other, or a file that cannot be written.
    """
    if out.suffix != ".npz":
        raise ZooError(f"'{out}' is no name of an .npz file; write FILE.npz.")
    check_writable(out)
    parts = [_read(path, split) for path in sources]
    if not any(len(images.labels) for images in parts):
        raise ZooError(f"There is no image in {_listed(tuple(sources))}; name {LAYOUTS}.")
    for path, images in zip(sources, parts, strict=True):
        _validate_fit(path, images, sources[0], parts[0])
    values: dict[str, Any] = {
        "x": np.concatenate([images.pixels for images in parts]),
        "y": np.concatenate([images.labels for images in parts]),
    }
    if parts[0].class_names:
        values["class_names"] = np.array(parts[0].class_names)
    if name is None and all(images.name == parts[0].name for images in parts):
        name = parts[0].name
    if note is None:
        note = "; ".join(dict.fromkeys(images.note for images in parts if images.note))
    values |= {key: np.array(text) for key, text in (("name", name), ("note", note)) if text}
    with atomic_path(out) as temporary:
        with temporary.open("wb") as file:
            np.savez(file, **values)
        return read_arrays(f"{ARRAYS}{temporary}", ANY_THREAT)


def _validate_fit(path: Path, images: Images, first: Path, expected: Images) -> None:
    for what, ours, theirs in (
        ("images of", images.pixels.shape[1:], expected.pixels.shape[1:]),
        ("the classes", images.class_names, expected.class_names),
    ):
        if ours != theirs:
            raise ZooError(
                f"'{path}' has {what} {_listed(ours)}, but '{first}' {_listed(theirs)}; "
                "only sources of one kind can be joined."
            )


def _listed(values: tuple[Any, ...]) -> str:
    if not values:
        return "without names"
    shown = [str(value) for value in values[:12]]
    return ", ".join(shown) + (", ..." if len(values) > 12 else "")


def _read(source: Path, split: StoredPart) -> Images:
    """Return the images of one source, whatever its layout."""
    if not source.exists():
        raise ZooError(f"There is no '{source}'; name {LAYOUTS}.")
    if source.suffix == ".npz":
        dataset, whole = read_arrays(f"{ARRAYS}{source}", ANY_THREAT)
        pixels = whole.pixels.permute(0, 2, 3, 1).contiguous().numpy()
        name = "" if dataset.name.startswith(ARRAYS) else dataset.name
        return Images(pixels, whole.labels.numpy(), dataset.class_names, name, dataset.note)
    try:
        files = _files(source)
    except UNREADABLE as error:
        raise ZooError(f"Cannot read '{source}': {reason_of(error)}; copy it again.") from error
    batches = cifar_batches(source, files, split)
    if batches is not None:
        pixels, labels = batches
        known = dataset_info("cifar10")
        return Images(pixels, labels, known.class_names, known.name, UNCOMPARED)
    if not files:
        raise ZooError(f"'{source}' holds no images of a known layout; name {LAYOUTS}.")
    return _class_folders(source, files, split)


def _files(source: Path) -> Files:
    """Return the files of a folder or an archive that may be images or batches, by their path."""
    if source.is_dir():
        paths = (path for path in source.rglob("*") if path.is_file())
        inner = {path.relative_to(source).as_posix(): path for path in paths}
        return {name: path.read_bytes() for name, path in inner.items() if _wanted(name)}
    if not source.name.endswith(ARCHIVES):
        raise ZooError(f"'{source}' is no known kind of file; name {LAYOUTS}.")
    if source.suffix == ".zip":
        with zipfile.ZipFile(source) as archive:
            return {name: archive.read(name) for name in archive.namelist() if _wanted(name)}
    files = {}
    with tarfile.open(source) as packed:
        for member in packed:
            file = packed.extractfile(member) if member.isreg() and _wanted(member.name) else None
            if file is not None:
                files[member.name.removeprefix("./")] = file.read()
    return files


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    if any(part.startswith((".", "__MACOSX")) for part in path.parts):  # what systems leave there
        return False
    return path.suffix.lower() in SUFFIXES or is_cifar_batch(path.name)


def _class_folders(source: Path, files: Files, split: StoredPart) -> Images:
    """Return images that lie in one folder a class; the sorted names of these are the classes."""
    paths = [PurePosixPath(source.resolve().name, path) for path in sorted(files)]
    roots = {path.parent.parent for path in paths}
    if len(roots) > 1:
        roots = {root for root in roots if root.name == split}
    if len(roots) != 1 or PurePosixPath() in roots:
        raise ZooError(
            f"'{source}' holds images outside of class folders, or these in several places; "
            "it must hold one folder of images a class, or these within train/ and test/."
        )
    (root,) = roots
    chosen = [path for path in paths if path.parent.parent == root]
    names = tuple(sorted({path.parent.name for path in chosen}))
    labels = np.array([names.index(path.parent.name) for path in chosen], np.int64)
    contents = [files[path.relative_to(path.parts[0]).as_posix()] for path in chosen]
    return Images(_decoded(source, chosen, contents), labels, names)


def _decoded(source: Path, paths: Sequence[PurePosixPath], contents: Sequence[bytes]) -> np.ndarray:
    """Return images in grey if all of them are, else in colour."""
    from PIL import Image

    images = []
    with progress(len(paths), f"Decoding {source.name}") as bar:
        for path, content in zip(paths, contents, strict=True):
            try:
                with Image.open(io.BytesIO(content)) as image:
                    images.append(image.convert("L" if image.mode in ("1", "L") else "RGB"))
            except (*UNREADABLE, SyntaxError, Image.DecompressionBombError) as error:
                raise ZooError(
                    f"Cannot decode '{path}' in '{source}': {reason_of(error)}; replace the file."
                ) from error
            (width, height), first = images[-1].size, images[0].size
            if (width, height) != first or width != height:
                raise ZooError(
                    f"'{path}' in '{source}' has {width}x{height} pixels, the first image "
                    f"{first[0]}x{first[1]}; all must be squares of one size."
                )
            bar.advance(1)
    if all(image.mode == "L" for image in images):
        return np.stack([np.asarray(image) for image in images])[..., None]
    return np.stack([np.asarray(image.convert("RGB")) for image in images])
