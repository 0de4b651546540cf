"""Images in the usual layouts become the .npz file that training takes."""

import io
import os
import pickle
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from robnet_zoo.cli.main import main
from robnet_zoo.data import dataset_info, load_split
from robnet_zoo.data.convert import convert_images
from robnet_zoo.runtime.errors import ZooError

CIFAR10 = dataset_info("cifar10").class_names
TRAIN = [f"data_batch_{n}" for n in range(1, 6)]


def python_2_pickle(rows, labels):
    """Return a batch as the authors wrote it: protocol 2 of Python 2, in which texts are bytes."""
    batch = pickle.dumps({"data": rows, "labels": labels}, 2)
    assert b"_codecs" in batch
    return batch


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """CIFAR-10 in the pickled and the binary layout, with four images a batch."""
    folder = tmp_path_factory.mktemp("cifar")
    python, binary = folder / "cifar-10-batches-py", folder / "binary" / "cifar-10-batches-bin"
    python.mkdir()
    binary.mkdir(parents=True)
    source = np.random.default_rng(0)
    images = {}
    for name in (*TRAIN, "test_batch"):
        rows = source.integers(0, 256, (4, 3072), np.uint8)
        labels = source.integers(0, 10, 4)
        images[name] = rows.reshape(4, 3, 32, 32).transpose(0, 2, 3, 1), labels
        (python / name).write_bytes(python_2_pickle(rows, labels.tolist()))
        records = np.concatenate([labels[:, None].astype(np.uint8), rows], axis=1)
        (binary / f"{name}.bin").write_bytes(records.tobytes())
    (python / "batches.meta").write_bytes(b"is not read")
    for path, name in ((python, "cifar-10-python"), (binary, "cifar-10-binary")):
        with tarfile.open(folder / f"{name}.tar.gz", "w:gz") as packed:
            packed.add(path, path.name)
    return folder, images


@pytest.mark.parametrize(
    "source",
    [
        *("", "cifar-10-batches-py", "cifar-10-python.tar.gz"),
        *("binary", "binary/cifar-10-batches-bin", "cifar-10-binary.tar.gz"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_cifar_10_is_read_in_every_layout(cifar, tmp_path, source, split):
    folder, images = cifar
    if not source:  # the parent folder, without what else the fixture put there
        shutil.copytree(folder / "cifar-10-batches-py", tmp_path / "parent" / "cifar-10-batches-py")
        folder = tmp_path / "parent"
    out = tmp_path / "made" / "cifar10.npz"
    convert_images(out, [folder / source], split=split)
    batches = TRAIN if split == "train" else ["test_batch"]
    with np.load(out, allow_pickle=False) as made:
        assert (made["x"].dtype, made["y"].dtype) == (np.uint8, np.int64)
        assert np.array_equal(made["x"], np.concatenate([images[b][0] for b in batches]))
        assert np.array_equal(made["y"], np.concatenate([images[b][1] for b in batches]))
        assert tuple(made["class_names"]) == CIFAR10
        assert str(made["name"]) == "cifar10"
        assert "not compared with the published files" in str(made["note"])
    dataset, _ = load_split(f"arrays:{out}", "test", threat_model="cifar10")
    assert (dataset.num_classes, dataset.image_size, dataset.in_channels) == (10, 32, 3)


def test_real_pickles_of_python_2_and_of_new_numpy_are_read(tmp_path):
    """Byte strings without `_codecs.encode`, as Python 2 writes them, and numpy._core."""
    rows = np.arange(2 * 3072).astype(np.uint8).reshape(2, 3072)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    head = (
        b"\x80\x02}q\x01(U\x04dataq\x02c%s\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85q\x05"
    )
    head += b"U\x01bq\x06\x87q\x07Rq\x08(K\x01K\x02M\x00\x0c\x86q\x09"
    head += b"cnumpy\ndtype\nq\x0aU\x02u1q\x0bK\x00"
    head += (
        b"K\x01\x87q\x0cRq\x0d(K\x03U\x01|q\x0eNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
    )
    for module in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        content = head % module + len(rows.tobytes()).to_bytes(4, "little") + rows.tobytes()
        content += b"tbU\x06labels](K\x03K\x09eu."
        (folder / "test_batch").write_bytes(content)
        _, images = convert_images(tmp_path / "out.npz", [folder], split="test")
        assert images.labels.tolist() == [3, 9]
        assert np.array_equal(images.pixels.numpy().reshape(2, 3072), rows)


class Hostile:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "content",
    [
        Hostile(os.mkdir, "harmed"),
        {"data": Hostile(eval, "open('harmed', 'w')"), "labels": [0]},
        {"data": np.array([Hostile(os.mkdir, "harmed")], dtype=object), "labels": [0]},
        {"data": np.zeros((1, 3072), np.uint8), "labels": np.array([1])},
        {"data": np.zeros((1, 3072)), "labels": [1]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1]},
        {"data": np.zeros((1, 3071), np.uint8), "labels": [1]},
        {"data": np.zeros((1, 3072), np.uint8), "labels": [10]},
        {"data": np.zeros((1, 3072), np.uint8), "labels": ["cat"]},
        {"labels": [1]},
        [1, 2],
    ],
)
def test_pickles_of_anything_else_are_refused_and_run_no_code(
    tmp_path, monkeypatch, content, protocol
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(ZooError, match=r"'test_batch' in .* is no batch of CIFAR-10: .*copy it"):
        convert_images(tmp_path / "out.npz", [folder], split="test")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_refused_name_is_told(tmp_path):
    (tmp_path / "test_batch").write_bytes(pickle.dumps(Hostile(os.system, "true")))
    with pytest.raises(ZooError, match=rf"it asks for {os.system.__module__}\.system, which is"):
        convert_images(tmp_path / "out.npz", [tmp_path], split="test")


def picture(value, size=(4, 4), mode="RGB", kind="PNG"):
    file = io.BytesIO()
    Image.new(mode, size, value if mode == "L" else (value, 0, 0)).save(file, kind)
    return file.getvalue()


PETS = {
    "dog/b.png": picture(1),
    "cat/2.png": picture(2),
    "cat/10.PNG": picture(3),
    "cat/.hidden.png": b"no image",
    "__MACOSX/cat/._2.png": b"no image",
    "cat/readme.txt": b"no image",
}


def place(files, at):
    """Write files as a folder or an archive, whichever the name says."""
    if at.name.endswith(".zip"):
        with zipfile.ZipFile(at, "w") as packed:
            for name, content in files.items():
                packed.writestr(name, content)
    elif ".tar" in at.name or at.name.endswith(".tgz"):
        with tarfile.open(at, "w:gz" if at.name.endswith("gz") else "w") as packed:
            for name, content in files.items():
                member = tarfile.TarInfo(f"./{name}")
                member.size = len(content)
                packed.addfile(member, io.BytesIO(content))
    else:
        for name, content in files.items():
            (at / name).parent.mkdir(parents=True, exist_ok=True)
            (at / name).write_bytes(content)
    return at


@pytest.mark.parametrize("name", ["pets", "pets.zip", "pets.tar", "pets.tar.gz", "pets.tgz"])
@pytest.mark.parametrize("within", ["", "root/"])
def test_class_folders_are_read_in_order(tmp_path, name, within):
    source = place({within + path: content for path, content in PETS.items()}, tmp_path / name)
    dataset, images = convert_images(tmp_path / "out.npz", [source], name="pets", note="mine")
    assert dataset.class_names == ("cat", "dog")
    assert (dataset.name, dataset.note) == ("pets", "mine")
    assert images.labels.tolist() == [0, 0, 1]
    assert images.pixels[:, 0, 0, 0].tolist() == [3, 2, 1]
    assert images.pixels.shape == (3, 3, 4, 4)


@pytest.mark.parametrize(("split", "value"), [("train", 5), ("test", 6)])
def test_a_folder_with_train_and_test_gives_the_split(tmp_path, split, value):
    files = {"set/train/a/1.png": picture(5), "set/test/a/1.png": picture(6)}
    source = place(files, tmp_path / "both.zip")
    _, images = convert_images(tmp_path / "out.npz", [source], split=split)
    assert images.pixels[:, 0, 0, 0].tolist() == [value]


def test_grey_images_keep_one_channel_unless_some_have_colour(tmp_path):
    grey = place({"a/1.png": picture(9, mode="L"), "b/1.png": picture(8, mode="L")}, tmp_path / "g")
    _, images = convert_images(tmp_path / "out.npz", [grey])
    assert images.pixels[:, :, 0, 0].tolist() == [[9], [8]]
    place({"b/2.jpg": picture(200, kind="JPEG")}, grey)
    _, images = convert_images(tmp_path / "out.npz", [grey])
    assert images.pixels[:2, :, 0, 0].tolist() == [[9, 9, 9], [8, 8, 8]]


def test_arrays_are_joined_in_the_order_given(tmp_path):
    first, second = tmp_path / "1.npz", tmp_path / "2.npz"
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    np.savez(first, x=pixels, y=[0, 1], name="toys", note="some")
    np.savez(second, x=pixels[:1] + 1, y=[2], name="toys", note="others")
    dataset, images = convert_images(tmp_path / "out.npz", [second, first])
    assert images.labels.tolist() == [2, 0, 1]
    assert images.pixels[0, 0, 0, 0] == 1
    assert (dataset.name, dataset.note, dataset.num_classes) == ("toys", "others; some", 3)
    np.savez(second, x=pixels, y=[0, 1], class_names=["a", "b"])
    with pytest.raises(ZooError, match=r"2.npz' has the classes a, b, but .* without names; only"):
        convert_images(tmp_path / "out.npz", [first, second])
    np.savez(second, x=pixels[..., :1], y=[0, 1])
    with pytest.raises(ZooError, match=r"has images of 4, 4, 1, but '.*1.npz' 4, 4, 3; only"):
        convert_images(tmp_path / "other.npz", [first, second])
    assert not (tmp_path / "other.npz").exists()


@pytest.mark.parametrize(
    ("name", "files", "complaint"),
    [
        ("no", {"a.txt": b""}, "holds no images of a known layout; name CIFAR-10's batches"),
        ("no", {"1.png": picture(1)}, "outside of class folders"),
        ("no", {"a/1.png": picture(1), "b/c/1.png": picture(1)}, "outside of class folders"),
        ("no", {"a/1.png": picture(1), "a/2.png": picture(1, (5, 5))}, "2.png' .* has 5x5 pixels"),
        ("no", {"a/1.png": picture(1, (4, 5))}, "has 4x5 pixels, .* squares of one size"),
        ("no", {"a/1.png": picture(1)[:50]}, "Cannot decode 'no/a/1.png' in"),
        ("no", {"data_batch_1": b""}, "lacks data_batch_2, data_batch_3, data_batch_4, data_ba"),
        ("no", {f"{n}.bin": b"\0" * 3074 for n in TRAIN}, "3074 bytes are no multiple of 3073"),
        ("no", {f"{n}.bin": b"\x0a" * 3073 for n in TRAIN}, "labels range from 10 to 10"),
        ("no", {f"{n}.bin": b"" for n in TRAIN}, "There is no image in"),
        ("no", dict.fromkeys(TRAIN, b""), "'data_batch_1' in .* is no batch of CIFAR-10"),
        ("no", dict.fromkeys(TRAIN, b"\x80\x04]"), "'data_batch_1' in .* is no batch of CIFAR-10"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, name, files, complaint):
    source = place(files, tmp_path / name)
    with pytest.raises(ZooError, match=complaint):
        convert_images(tmp_path / "out.npz", [source])
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.npz"])
def test_damaged_files_are_told(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 nothing of the kind")
    with pytest.raises(ZooError, match=f"Cannot read '.*{name}'"):
        convert_images(tmp_path / "out.npz", [tmp_path / name])
    whole = tmp_path / "whole.tar.gz"
    place({"a/1.png": os.urandom(5000)}, whole)
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(ZooError, match=r"Cannot read '.*whole\.tar\.gz': .*; copy it again"):
        convert_images(tmp_path / "out.npz", [whole])


def test_wrong_paths_are_told(tmp_path):
    with pytest.raises(ZooError, match=r"There is no '.*missing'; name CIFAR-10's"):
        convert_images(tmp_path / "out.npz", [tmp_path / "missing"])
    with pytest.raises(ZooError, match=r"'.*out.bin' is no name of an \.npz file; write FILE\.npz"):
        convert_images(tmp_path / "out.bin", [tmp_path])
    (tmp_path / "file.txt").touch()
    with pytest.raises(ZooError, match=r"file.txt' is no known kind of file; name"):
        convert_images(tmp_path / "out.npz", [tmp_path / "file.txt"])
    with pytest.raises(ZooError, match="Cannot write"):
        convert_images(tmp_path / "file.txt" / "out.npz", [tmp_path])


def test_the_command_says_what_it_wrote(cifar, tmp_path, capsys):
    folder, _ = cifar
    out = tmp_path / "out.npz"
    source = folder / "cifar-10-batches-py"
    assert main(["data", str(out), str(source), "--split", "test", "--note", "four of them"]) == 0
    _, images = load_split(f"arrays:{out}", "test", threat_model="cifar10")
    assert capsys.readouterr().out.splitlines() == [
        f"written: {out}, 4 images of 32x32x3",
        f"10 classes ({', '.join(CIFAR10)})",
        f"sha256 of the images and classes: {images.fingerprint}",
        f"train on it with --dataset arrays:{out}",
    ]
    assert main(["data", str(out), str(tmp_path / "missing")]) == 2
    assert capsys.readouterr().err.startswith("error: There is no ")
