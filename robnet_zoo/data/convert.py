"""Images in the usual layouts made into the .npz file that `arrays:FILE.npz` reads.

Sources are CIFAR-10 as its authors distribute it (pickled or binary, unpacked or not), folders of
images, one a class, loose or in an archive, and .npz files. Nothing is unpacked to disk, and of a
pickle only numbers, texts, lists and byte arrays are read: no code of it runs.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np

from robnet_zoo.data.arrays import read_arrays
from robnet_zoo.data.dataset import ARRAYS, Dataset
from robnet_zoo.data.folders import SUFFIXES
from robnet_zoo.data.registry import dataset_info
from robnet_zoo.data.splits import ArraySplit
from robnet_zoo.runtime.console import progress
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path, check_writable

BATCHES = {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)}
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
LAYOUTS = (
    "CIFAR-10's batches (data_batch_1, ..., or .bin), folders of images, one a class "
    f"({', '.join(SUFFIXES)}), either also in an archive ({', '.join(ARCHIVES)}), or FILE.npz"
)
RECORD_BYTES = 1 + 3 * 32 * 32  # of CIFAR-10's binary version: a class, then the pixels
ANY_THREAT = "cifar10"  # reading arrays asks for a threat model; none is stored
# What the readers of archives and pickles raise for files that are cut or altered.
UNREADABLE = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError),
    *(MemoryError, OverflowError, RecursionError, RuntimeError, NotImplementedError),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError),
)

Part = Literal["train", "test"]
Files = dict[str, bytes]


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
    split: Part = "train",
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
    found = [_read(path, split) for path in sources]
    if not any(len(images.labels) for images in found):
        raise ZooError(f"There is no image in {_told(tuple(sources))}; name {LAYOUTS}.")
    for path, images in zip(sources, found, strict=True):
        _refuse_misfit(path, images, sources[0], found[0])
    values: dict[str, Any] = {
        "x": np.concatenate([images.pixels for images in found]),
        "y": np.concatenate([images.labels for images in found]),
    }
    if found[0].class_names:
        values["class_names"] = np.array(found[0].class_names)
    if name is None and all(images.name == found[0].name for images in found):
        name = found[0].name
    if note is None:
        note = "; ".join(dict.fromkeys(images.note for images in found if images.note))
    values |= {key: np.array(text) for key, text in (("name", name), ("note", note)) if text}
    with atomic_path(out) as temporary:
        with temporary.open("wb") as file:
            np.savez(file, **values)
        return read_arrays(f"{ARRAYS}{temporary}", ANY_THREAT)


def _refuse_misfit(path: Path, images: Images, first: Path, expected: Images) -> None:
    for what, ours, theirs in (
        ("images of", images.pixels.shape[1:], expected.pixels.shape[1:]),
        ("the classes", images.class_names, expected.class_names),
    ):
        if ours != theirs:
            raise ZooError(
                f"'{path}' has {what} {_told(ours)}, but '{first}' {_told(theirs)}; "
                "only sources of one kind can be joined."
            )


def _told(values: tuple[Any, ...]) -> str:
    if not values:
        return "without names"
    shown = [str(value) for value in values[:12]]
    return ", ".join(shown) + (", ..." if len(values) > 12 else "")


def _read(source: Path, split: Part) -> Images:
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
        raise ZooError(f"Cannot read '{source}': {_reason(error)}; copy it again.") from error
    names = {PurePosixPath(path).name: path for path in files}
    for ending, decode in (("", _pickled), (".bin", _binary)):
        if any(f"{batch}{ending}" in names for part in BATCHES.values() for batch in part):
            return _cifar10(source, files, names, [f"{b}{ending}" for b in BATCHES[split]], decode)
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
    found = {}
    with tarfile.open(source) as packed:
        for member in packed:
            file = packed.extractfile(member) if member.isreg() and _wanted(member.name) else None
            if file is not None:
                found[member.name.removeprefix("./")] = file.read()
    return found


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    if any(part.startswith((".", "__MACOSX")) for part in path.parts):  # what systems leave there
        return False
    batches = (*BATCHES["train"], *BATCHES["test"])
    return path.suffix.lower() in SUFFIXES or path.name.removesuffix(".bin") in batches


def _cifar10(
    source: Path,
    files: Files,
    names: dict[str, str],
    batches: Sequence[str],
    decode: Callable[[bytes], tuple[np.ndarray, np.ndarray]],
) -> Images:
    """Return the images of CIFAR-10's batches."""
    missing = [batch for batch in batches if batch not in names]
    if missing:
        raise ZooError(f"'{source}' lacks {', '.join(missing)}; it must hold {', '.join(batches)}.")
    known = dataset_info("cifar10")
    pixels, labels = [], []
    for batch in batches:
        try:
            rows, classes = decode(files[names[batch]])
            pixels.append(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
            labels.append(classes)
            if len(pixels[-1]) != len(classes):
                raise ValueError(f"it has {len(pixels[-1])} images and {len(classes)} labels")
            if classes.size and not 0 <= classes.min() <= classes.max() < known.num_classes:
                raise ValueError(
                    f"its labels range from {classes.min()} to {classes.max()} instead of 0 to "
                    f"{known.num_classes - 1}"
                )
        except UNREADABLE as error:
            raise ZooError(
                f"'{batch}' in '{source}' is no batch of CIFAR-10: {_reason(error)}; copy it again."
            ) from error
    note = "in CIFAR-10's layout, not compared with the published files"
    return Images(
        np.concatenate(pixels), np.concatenate(labels), known.class_names, known.name, note
    )


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


def _class_folders(source: Path, files: Files, split: Part) -> Images:
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

    found = []
    with progress(len(paths), f"Decoding {source.name}") as bar:
        for path, content in zip(paths, contents, strict=True):
            try:
                with Image.open(io.BytesIO(content)) as image:
                    found.append(image.convert("L" if image.mode in ("1", "L") else "RGB"))
            except (*UNREADABLE, SyntaxError, Image.DecompressionBombError) as error:
                raise ZooError(
                    f"Cannot decode '{path}' in '{source}': {_reason(error)}; replace the file."
                ) from error
            (width, height), first = found[-1].size, found[0].size
            if (width, height) != first or width != height:
                raise ZooError(
                    f"'{path}' in '{source}' has {width}x{height} pixels, the first image "
                    f"{first[0]}x{first[1]}; all must be squares of one size."
                )
            bar.advance(1)
    if all(image.mode == "L" for image in found):
        return np.stack([np.asarray(image) for image in found])[..., None]
    return np.stack([np.asarray(image.convert("RGB")) for image in found])


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
