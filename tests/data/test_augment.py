import pytest
import torch
import torch.nn.functional as F

from robnet_zoo.data.augment import augment
from robnet_zoo.train.recipes import get_recipe, override


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def images_of(count=64, side=32):
    return torch.randint(1, 256, (count, 3, side, side), generator=draw(9), dtype=torch.uint8)


def recipe(**changes):
    return override(get_recipe("standard"), {name: str(value) for name, value in changes.items()})


def crop_of(image, moved):
    """Return (top, left, flipped) of the crop of the padded image that `moved` is, or None."""
    padded = F.pad(image, (4, 4, 4, 4))
    for top in range(9):
        for left in range(9):
            crop = padded[:, top : top + 32, left : left + 32]
            for flipped in (False, True):
                if torch.equal(crop.flip(2) if flipped else crop, moved):
                    return top, left, flipped
    return None


def test_every_image_is_a_crop_of_its_padded_self_or_of_its_mirror_image():
    images = images_of()
    moved = augment(images, recipe(), draw(), flip=True)
    assert moved.dtype == torch.uint8
    found = [crop_of(*pair) for pair in zip(images, moved, strict=True)]
    assert None not in found
    assert {top for top, _, _ in found} == {left for _, left, _ in found} == set(range(9))
    assert 16 < sum(flipped for _, _, flipped in found) < 48


def test_nothing_is_mirrored_unless_asked():
    images = images_of(16)
    moved = augment(images, recipe(), draw(), flip=False)
    assert not any(crop_of(*pair)[2] for pair in zip(images, moved, strict=True))


def test_digits_of_eight_pixels_are_not_moved():
    images = images_of(16, side=8)
    assert torch.equal(augment(images, recipe(), draw(), flip=False), images)


def test_cutout_blanks_one_square_cut_at_the_border():
    images = images_of(256)
    moved = augment(images, recipe(crop=0, cutout=0.5), draw(), flip=False)
    for image, holed in zip(images, moved, strict=True):
        blank = (holed == 0).all(0)
        rows, columns = blank.any(1).nonzero()[:, 0], blank.any(0).nonzero()[:, 0]
        assert blank[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert 8 <= len(rows) <= 16
        assert 8 <= len(columns) <= 16
        assert torch.equal(holed[:, ~blank], image[:, ~blank])
    whole = ((moved == 0).all(1).sum((1, 2)) == 256).float().mean()
    assert 0.1 < whole < 0.5  # (17 / 32)^2 of all centres keep the square inside


@pytest.mark.parametrize("part", [slice(0, 16), slice(16, 64)])
def test_an_image_fares_the_same_in_a_part_of_the_batch(part):
    images = images_of()
    setting = recipe(cutout=0.5)
    whole = augment(images, setting, draw(), flip=True)
    alone = augment(images[part], setting, draw(), flip=True, rows=part, total=64)
    assert torch.equal(alone, whole[part])
