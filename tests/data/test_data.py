"""Reading data sets: layouts, splits, checks, and what is said when files are not there."""

import hashlib
import io
import pickle
import socket
import tarfile
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import datasets

from robnet_zoo.data import dataset_info, list_datasets, load_split, public, to_float
from robnet_zoo.data.splits import ArraySplit, hold_out
from robnet_zoo.runtime import console
from robnet_zoo.runtime.errors import ZooError

PARTS = ("train", "validation", "test")


def contents(split) -> set[bytes]:
    images = split.images(torch.arange(len(split)))
    return {image.numpy().tobytes() for image in images}


# What is known by name


def test_every_name_is_described_without_torch_or_files(run_python):
    program = (
        "import sys; from robnet_zoo.data import dataset_info, list_datasets\n"
        "rows = [dataset_info(name) for name in list_datasets()]\n"
        "assert all(len(r.class_names) in (0, r.num_classes) for r in rows)\n"
        "assert all(r.threat_model.name == r.name for r in rows)\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    run_python(program)
    assert set(list_datasets()) == {
        *("digits", "cifar10", "cifar100", "svhn", "mnist", "tiny-imagenet", "imagenet")
    }


def test_another_threat_model_can_be_named():
    assert dataset_info("digits", "mnist").threat_model.epsilon.text == "76.5/255"
    with pytest.raises(ZooError, match="threat model 'minst'; did you mean mnist"):
        dataset_info("digits", "minst")


def test_unknown_names_are_refused():
    with pytest.raises(ZooError, match="data set 'CIFAR10'; did you mean cifar10"):
        load_split("CIFAR10", "test")
    with pytest.raises(ZooError, match="split 'val'; known are test, train, validation"):
        load_split("digits", "val")


# Splits


def test_digits_are_the_real_scans_in_three_stratified_parts():
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    scans = {}
    for value, label in zip(values.reshape(-1, 8, 8), labels, strict=True):
        scans[np.floor(value * 255 / 16 + 0.5).astype(np.uint8).tobytes()] = label
    together = 0
    for name, count in zip(PARTS, (1147, 200, 450), strict=True):
        dataset, split = load_split("digits", name)
        assert len(split) == count
        images = split.images(torch.arange(count))
        assert images.shape == (count, dataset.in_channels, dataset.image_size, dataset.image_size)
        assert images.dtype == torch.uint8 and split.labels.dtype == torch.int64
        assert [scans[image.numpy().tobytes()] for image in images] == split.labels.tolist()
        shares = split.labels.bincount(minlength=10) / count
        assert (shares - torch.from_numpy(np.bincount(labels) / 1797)).abs().max() < 1 / count
        together += len(contents(split))
    assert together == len(scans) == 1797  # no scan in two parts


def test_the_digits_test_set_is_pinned():
    """Published records name it: it may not change unnoticed."""
    _, split = load_split("digits", "test")
    assert split.fingerprint.startswith("481843bf")


@pytest.mark.parametrize("count", [2, 19, 500, 20_000, 50_000])
def test_the_validation_part_is_held_out_of_training(count):
    training, validation = hold_out(count)
    assert sorted([*training.tolist(), *validation.tolist()]) == list(range(count))
    assert len(validation) == min(2000, max(1, count // 10))
    assert torch.equal(validation, hold_out(count)[1])
    assert abs(validation.double().mean() / count - 0.5) < 0.1 or count < 500


def test_subsets_keep_order_and_labels_and_change_the_fingerprint():
    _, split = load_split("digits", "validation")
    some = split.subset(torch.tensor([5, 3, 3]))
    assert torch.equal(some.labels, split.labels[[5, 3, 3]])
    assert torch.equal(some.images(torch.tensor([0, 2])), split.images(torch.tensor([5, 3])))
    assert some.fingerprint != split.fingerprint == split.to("cpu").fingerprint
    relabelled = ArraySplit(split.pixels, split.labels.flip(0))
    assert relabelled.fingerprint != split.fingerprint


def test_pixels_become_exact_fractions():
    images = torch.arange(256, dtype=torch.uint8)
    floats = to_float(images)
    assert floats.dtype == torch.float32
    assert torch.equal(floats, torch.tensor([value / 255 for value in range(256)]))
    assert torch.equal((floats * 255).round().to(torch.uint8), images)


# A user's arrays


def save(path: Path, **arrays) -> str:
    np.savez(path, **arrays)
    return f"arrays:{path}"


def colour(count: int = 30, size: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def test_arrays_are_read_as_written(tmp_path):
    images, labels = colour(), np.arange(30, dtype=np.int32) % 4
    name = save(tmp_path / "own.npz", x=images, y=labels)
    dataset, split = load_split(name, "test", threat_model="cifar10")
    assert (dataset.num_classes, dataset.in_channels, dataset.image_size) == (4, 3, 8)
    assert dataset == dataset_info(name, "cifar10")
    assert dataset.threat_model.epsilon.text == "8/255"
    found = split.images(torch.tensor([7, 2]))
    assert np.array_equal(found.permute(0, 2, 3, 1).numpy(), images[[7, 2]])
    assert split.labels.tolist() == labels.tolist()
    parts = [load_split(name, part, threat_model="cifar10")[1] for part in PARTS]
    assert [len(part) for part in parts] == [27, 3, 30]
    assert contents(parts[0]) | contents(parts[1]) == contents(parts[2])


def test_grey_arrays_and_class_names(tmp_path):
    names = ["circle", "square", "star"]
    images = colour()[..., 0]
    name = save(tmp_path / "grey.npz", x=images, y=np.zeros(30, int), class_names=names)
    dataset, split = load_split(name, "test", threat_model="mnist")
    assert dataset.class_names == tuple(names) and dataset.num_classes == 3
    assert split.images(torch.tensor([4])).shape == (1, 1, 8, 8)


def test_arrays_need_a_threat_model(tmp_path):
    name = save(tmp_path / "own.npz", x=colour(), y=np.zeros(30, int))
    with pytest.raises(ZooError, match=r"needs a threat model; .*--threat-model.*cifar10"):
        load_split(name, "test")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": colour()}, "lacks the array.* y"),
        ({"images": colour(), "labels": np.zeros(30, int)}, "lacks the array.* x, y"),
        ({"x": colour() / 255, "y": np.zeros(30, int)}, "dtype float64; it must be uint8"),
        ({"x": colour()[:, :, :5], "y": np.zeros(30, int)}, r"shape \(30, 8, 5, 3\)"),
        ({"x": colour().transpose(0, 3, 1, 2), "y": np.zeros(30, int)}, r"must be \(N, H, W, C\)"),
        ({"x": colour().reshape(30, -1), "y": np.zeros(30, int)}, r"shape \(30, 192\)"),
        ({"x": colour()[:0], "y": np.zeros(0, int)}, "x is empty"),
        ({"x": colour(), "y": np.zeros(30)}, "y has dtype float64"),
        ({"x": colour(), "y": np.zeros(29, int)}, r"y has shape \(29,\); it must be \(30,\)"),
        ({"x": colour(), "y": np.zeros((30, 1), int)}, r"y has shape \(30, 1\)"),
        ({"x": colour(), "y": np.arange(30) - 1}, "y ranges from -1 to 28"),
        ({"x": colour(), "y": np.arange(30) * 10**9}, "must lie between 0 and"),
        ({"x": colour(), "y": np.arange(30), "class_names": ["a", "b"]}, "between 0 and 1"),
        ({"x": np.array([{}] * 30), "y": np.zeros(30, int)}, "no intact .npz file of plain arrays"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path, arrays, said):
    name = save(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ZooError, match=said):
        load_split(name, "test", threat_model="cifar10")


class Unpickled:
    """Leaves a file behind when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_files_that_are_no_npz_are_refused_and_never_unpickled(tmp_path):
    mark = tmp_path / "mark"
    pickled = pickle.dumps(Unpickled(mark))
    with io.BytesIO() as file:
        np.save(file, np.zeros(3))
        single = file.getvalue()
    for content in (b"", b"PK", b"hello", single, pickled):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(ZooError, match=r"Cannot read .*numpy\.savez"):
            dataset_info(f"arrays:{tmp_path / 'bad.npz'}", "cifar10")
    name = save(tmp_path / "object.npz", x=np.array([Unpickled(mark)], object), y=np.zeros(1, int))
    with pytest.raises(ZooError, match="plain arrays"):
        dataset_info(name, "cifar10")
    assert not mark.exists()
    with pytest.raises(ZooError, match=r"no file '.*none\.npz'"):
        dataset_info(f"arrays:{tmp_path / 'none.npz'}", "cifar10")
    with pytest.raises(ZooError, match="Is a directory"):
        dataset_info(f"arrays:{tmp_path}", "cifar10")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_altered_archives_are_refused_or_read_whole(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "altered.npz"
    name = save(path, x=colour(4, 4), y=np.arange(4))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), "cut"):
        del content[data.draw(st.integers(0, len(content) - 1), "length") :]
    else:
        for _ in range(data.draw(st.integers(1, 4), "changes")):
            content[data.draw(st.integers(0, len(content) - 1), "at")] ^= data.draw(
                st.integers(1, 255), "by"
            )
    path.write_bytes(content)
    try:
        _, split = load_split(name, "test", threat_model="cifar10")
    except ZooError:
        return
    assert contents(split) == {image.transpose(2, 0, 1).tobytes() for image in colour(4, 4)}
    assert split.labels.tolist() == [0, 1, 2, 3]


# What torchvision reads


def test_cifar10_is_read_from_its_own_layout(tmp_path, monkeypatch):
    """Six small batches in the published layout, with their own sums in place of the official."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (60, 3, 32, 32), np.uint8)
    files = [name for name, _ in (*datasets.CIFAR10.train_list, *datasets.CIFAR10.test_list)]
    sums = []
    for index, name in enumerate(files):
        part = slice(10 * index, 10 * index + 10)
        batch = {"data": images[part].reshape(10, -1), "labels": list(range(10))}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a"] * 10}))
    for name in [*files, "batches.meta"]:
        sums.append([name, hashlib.md5((folder / name).read_bytes()).hexdigest()])
    with pytest.raises(ZooError, match="data_batch_1' differs from the published cifar10"):
        load_split("cifar10", "test", root=tmp_path, download=False)
    monkeypatch.setattr(datasets.CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", sums[5:6])
    monkeypatch.setattr(
        datasets.CIFAR10,
        "meta",
        {"filename": "batches.meta", "key": "label_names", "md5": sums[6][1]},
    )
    monkeypatch.setenv("ROBNET_ZOO_DATA", str(tmp_path))
    dataset, test = load_split("cifar10", "test", download=False)
    assert np.array_equal(test.images(torch.arange(10)).numpy(), images[50:])
    assert test.labels.tolist() == list(range(10)) and dataset.class_names[3] == "cat"
    training = [load_split("cifar10", part, download=False)[1] for part in PARTS[:2]]
    assert [len(part) for part in training] == [45, 5]
    assert contents(training[0]) | contents(training[1]) == {x.tobytes() for x in images[:50]}


def test_svhn_is_read_from_its_own_layout(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 5), np.uint8)
    path = tmp_path / "test_32x32.mat"
    scipy.io.savemat(path, {"X": images, "y": np.array([[10], [1], [2], [9], [10]])})
    with pytest.raises(ZooError, match="differs from the published svhn"):
        load_split("svhn", "test", root=tmp_path, download=False)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(datasets.SVHN, "split_list", {"test": ["", path.name, md5]})
    _, split = load_split("svhn", "test", root=tmp_path, download=False)
    assert split.labels.tolist() == [0, 1, 2, 9, 0]
    assert np.array_equal(
        split.images(torch.tensor([3]))[0].numpy(), images[..., 3].transpose(2, 0, 1)
    )


@pytest.mark.parity
def test_real_mnist_is_read(tmp_path, shared):
    with tarfile.open(shared("data/mnist-raw.tar.xz")) as archive:
        archive.extractall(tmp_path)  # our own archive; Python 3.11.2 knows no filters
    dataset, test = load_split("mnist", "test", root=tmp_path, download=False)
    assert len(test) == 10_000
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert test.images(torch.arange(2)).shape == (2, dataset.in_channels, 28, 28)
    assert round(to_float(test.images(torch.arange(10_000))).mean().item(), 4) == 0.1325
    assert len(load_split("mnist", "validation", root=tmp_path, download=False)[1]) == 2000
    path = tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ZooError, match="t10k-labels-idx1-ubyte' differs from the published mnist"):
        load_split("mnist", "test", root=tmp_path, download=False)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "mnist"])
def test_missing_files_are_told_with_the_way_out(tmp_path, name):
    with pytest.raises(ZooError) as refused:
        load_split(name, "test", root=tmp_path, download=False)
    for part in (str(tmp_path), "http", "--data", "ROBNET_ZOO_DATA", "--dataset digits"):
        assert part in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_silent_network_is_given_up_soon_and_clearly(tmp_path, monkeypatch, capsys):
    """A proxy that takes the call and never answers is the slowest way not to have a network."""
    monkeypatch.setattr(public, "TIMEOUT", 0.3)
    monkeypatch.setattr(urllib.request, "_opener", None)  # which has read the environment
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name, value in (("https_proxy", proxy), ("http_proxy", proxy), ("no_proxy", "")):
            monkeypatch.setenv(name, value)
        assert console.run(lambda: load_split("mnist", "test", root=tmp_path)) == 2
        server.settimeout(0)
        server.accept()  # it was called
    assert socket.getdefaulttimeout() is None
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    assert "downloading failed" in err and "--dataset digits" in err


# Folders of images


def write_image(path: Path, size: tuple[int, int], value: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colour_ = value if mode == "L" else (value, 100, 50)
    Image.new(mode, size, colour_).save(path, format="PNG" if path.suffix == ".png" else "JPEG")


def imagenet(root: Path) -> Path:
    for part, count in (("train", 5), ("val", 2)):
        for label, wnid in enumerate(("n01", "n02")):
            for index in range(count):
                path = root / "imagenet" / part / wnid / f"{index}.png"
                write_image(path, (300 + 20 * index, 280), 100 * label + 10 * index)
    return root / "imagenet"


def test_imagenet_folders_are_decoded_on_demand(tmp_path):
    folder = imagenet(tmp_path)
    write_image(folder / "val" / "n02" / "grey.jpeg", (224, 500), 200, mode="L")
    (folder / "val" / "n02" / "notes.txt").write_text("no image")
    dataset, split = load_split("imagenet", "test", root=tmp_path)
    assert (dataset.num_classes, dataset.class_names) == (2, ("n01", "n02"))
    assert split.labels.tolist() == [0, 0, 1, 1, 1]
    images = split.images(torch.tensor([4, 0, 3]))
    assert images.shape == (3, 3, 224, 224) and images.dtype == torch.uint8
    assert images[1, :, 0, 0].tolist() == [0, 100, 50]
    assert images[2, :, 5, 7].tolist() == [110, 100, 50]
    assert (images[0].int() - 200).abs().max() <= 2
    some = split.subset(torch.tensor([3, 0]))
    assert some.labels.tolist() == [1, 0] and some.images(torch.tensor([0]))[0, 0, 0, 0] == 110
    assert some.fingerprint != split.fingerprint == split.to("cpu").fingerprint
    parts = [load_split("imagenet", part, root=tmp_path)[1] for part in PARTS[:2]]
    assert [len(part) for part in parts] == [9, 1]
    assert not set(parts[0].paths) & set(parts[1].paths)


def test_imagenet_images_are_cropped_at_the_centre(tmp_path):
    """A cross through the middle of a 512 x 1024 image stays in the middle; the rim goes."""
    canvas = np.zeros((512, 1024, 3), np.uint8)
    canvas[:, 508:516] = canvas[252:260] = 255
    canvas[:, :100] = canvas[:, -100:] = 77
    path = tmp_path / "imagenet" / "val" / "n01" / "a.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(canvas).save(path)
    _, split = load_split("imagenet", "test", root=tmp_path)
    image = split.images(torch.tensor([0]))[0, 0]
    assert image[20].argmax() in (111, 112) and image[:, 20].argmax() in (111, 112)
    assert (image == 77).sum() == 0
    assert torch.equal(image, image.flip(0)) and torch.equal(image, image.flip(1))


def test_broken_and_strange_image_folders_are_refused(tmp_path):
    with pytest.raises(ZooError, match=r"imagenet/train' is missing or empty.*--dataset digits"):
        load_split("imagenet", "train", root=tmp_path)
    folder = imagenet(tmp_path)
    broken = folder / "val" / "n01" / "0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    _, split = load_split("imagenet", "test", root=tmp_path)
    with pytest.raises(ZooError, match=r"Cannot decode '.*0\.png'"):
        split.images(torch.tensor([0]))
    write_image(folder / "val" / "n77" / "0.png", (300, 300), 0)
    with pytest.raises(ZooError, match=r"n77.*must name the same classes"):
        load_split("imagenet", "test", root=tmp_path)


def tiny(root: Path) -> Path:
    folder = root / "tiny-imagenet-200"
    for label, wnid in enumerate(("n01", "n02")):
        for index in range(10):
            path = folder / "train" / wnid / "images" / f"{wnid}_{index}.JPEG"
            write_image(path, (64, 64), 120 * label + index)
    lines = []
    for index, wnid in enumerate(("n02", "n01", "n02")):
        write_image(folder / "val" / "images" / f"val_{index}.JPEG", (64, 64), 50 * index, "L")
        lines.append(f"val_{index}.JPEG\t{wnid}\t0\t0\t62\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return folder


def test_tiny_imagenet_is_decoded_once_and_kept(tmp_path):
    folder = tiny(tmp_path)
    dataset, split = load_split("tiny-imagenet", "test", root=tmp_path)
    assert dataset.class_names == ("n01", "n02") and dataset.num_classes == 2
    assert split.labels.tolist() == [1, 0, 1]
    (folder / "val" / "images" / "val_2.JPEG").unlink()
    image = split.images(torch.tensor([2]))[0]
    assert image.shape == (3, 64, 64) and (image.int() - 100).abs().max() <= 2
    training, validation = (load_split("tiny-imagenet", p, root=tmp_path)[1] for p in PARTS[:2])
    assert (len(training), len(validation)) == (18, 2)
    for part in (training, validation):  # class 1 is bright red, class 0 dark
        assert torch.equal((part.pixels[:, 0, 0, 0] > 60).long(), part.labels)


def test_a_tiny_imagenet_that_does_not_fit_together_is_refused(tmp_path):
    with pytest.raises(ZooError, match=r"tiny-imagenet is not at hand.*val_annotations"):
        load_split("tiny-imagenet", "test", root=tmp_path)
    folder = tiny(tmp_path)
    annotations = folder / "val" / "val_annotations.txt"
    good = annotations.read_text()
    for line in ("val_0.JPEG n01", "val_0.JPEG\tn99\t0"):
        annotations.write_text(line + "\n")
        with pytest.raises(ZooError, match="names no image and class"):
            load_split("tiny-imagenet", "test", root=tmp_path)
    annotations.write_text(good)
    write_image(folder / "val" / "images" / "val_1.JPEG", (32, 64), 0)
    with pytest.raises(ZooError, match=r"val_1.JPEG': it has 32x64 pixels instead of 64x64"):
        load_split("tiny-imagenet", "test", root=tmp_path)
    annotations.unlink()
    with pytest.raises(ZooError, match="tiny-imagenet is not at hand"):
        load_split("tiny-imagenet", "test", root=tmp_path)
