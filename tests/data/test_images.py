"""Pictures of every kind become a network's input, or are refused in one sentence."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from robnet_zoo.data.folders import centre_crop
from robnet_zoo.data.images import fit, read_picture
from robnet_zoo.runtime.errors import ZooError

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
AS_FLOATS = torch.from_numpy(PIXELS).permute(2, 0, 1) / 255


def saved(image, path, **options):
    image.save(path, **options)
    return read_picture(path)


def test_a_picture_of_the_right_size_keeps_its_pixels(tmp_path):
    image = Image.fromarray(PIXELS)
    floats = (PIXELS / np.float32(255)).astype(np.float32)
    for picture in (PIXELS, floats, image, saved(image, tmp_path / "a.png")):
        assert torch.equal(fit(picture, 8, 3), AS_FLOATS)


def test_colour_becomes_grey_and_grey_fills_three_channels(tmp_path):
    grey = np.array(Image.fromarray(PIXELS).convert("L"))
    assert torch.allclose(fit(PIXELS, 8, 1), torch.from_numpy(grey)[None] / 255, atol=0.51 / 255)
    filled = fit(saved(Image.fromarray(grey), tmp_path / "a.png"), 8, 3)
    assert filled.shape == (3, 8, 8)
    assert torch.equal(filled[0], torch.from_numpy(grey) / 255)
    assert torch.equal(filled[0], filled[2])


def test_of_other_sizes_the_centre_is_scaled():
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200
    assert torch.allclose(fit(wide, 4, 1), torch.tensor(200 / 255))
    chequers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert (fit(chequers, 8, 1)[:, 1:-1, 1:-1] - 0.5).abs().max() < 0.01  # antialiased
    assert fit(PIXELS[:1, :1], 32, 3).shape == (3, 32, 32)
    assert fit(np.zeros((1, 500), np.uint8), 8, 1).shape == (1, 8, 8)


def test_imagenet_pictures_are_cropped_as_its_evaluation_does(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (512, 520, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    expected = torch.from_numpy(centre_crop(tmp_path / "a.png").copy()).permute(2, 0, 1) / 255
    difference = (fit(noise, 224, 3, 224 / 256) - expected)[:, 1:-1, 1:-1]
    assert difference.abs().max() < 1.6 / 255


def test_files_are_upright_on_white_and_of_eight_bits(tmp_path):
    turned = Image.fromarray(PIXELS)
    exif = turned.getexif()
    exif[0x0112] = 6  # stored lying on its side
    assert np.array_equal(saved(turned, tmp_path / "a.png", exif=exif), np.rot90(PIXELS, -1))
    clear = np.dstack([PIXELS, np.zeros((8, 8), np.uint8)])
    assert (saved(Image.fromarray(clear), tmp_path / "b.png") == 255).all()
    deep = (np.arange(64, dtype=np.uint16).reshape(8, 8) * 1028).astype(np.uint16)
    assert np.array_equal(
        saved(Image.fromarray(deep), tmp_path / "c.png"), np.arange(64).reshape(8, 8) * 4
    )
    assert saved(Image.fromarray(PIXELS).quantize(4), tmp_path / "d.gif").shape == (8, 8, 3)


def cut_png():
    file = io.BytesIO()
    Image.fromarray(PIXELS).resize((64, 64)).save(file, "PNG")
    return file.getvalue()[:-3000]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "There is no file"),
        (b"", "is no image"),
        (b"a text, not a picture", "is no image; give a file of PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no image"),  # would run code
        (cut_png(), "Cannot read"),
        (b"P5 9000 9000 255\n", "too large (9000x9000 pixels); the limit is 64 megapixels"),
        (b"P5 90000 90000 255\n", "too large (hundreds of megapixels)"),
    ],
    ids=["missing", "empty", "text", "program", "cut", "large", "gigantic"],
)
def test_what_is_no_picture_is_refused(tmp_path, content, says):
    path = tmp_path / "picture.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ZooError) as caught:
        read_picture(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        ("cat.png", "A str is no picture"),
        (np.zeros((8, 8, 4), np.uint8), r"shape \(8, 8, 4\) is no picture"),
        (np.zeros((0, 8), np.uint8), "is no picture"),
        (np.full((8, 8), 2.0), r"must hold floats in \[0,1\]"),
        (np.full((8, 8), np.nan), r"must hold floats in \[0,1\]"),
        (np.zeros((8, 8), np.int64), "int64 must hold floats"),
        (Image.new("F", (8, 8)), "'F' have no fixed colours; convert it to RGB"),
    ],
)
def test_other_objects_are_refused(picture, says):
    with pytest.raises(ZooError, match=says):
        fit(picture, 8, 1)


def test_without_pillow_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ZooError, match=r"pip install \"robnet-zoo\[eval\]"):
        read_picture(tmp_path / "a.png")
    assert fit(PIXELS, 8, 3).shape == (3, 8, 8)  # arrays need none
