"""The picture of an attack shows what it was given, and says how much it magnifies."""

import itertools

import numpy as np
import pytest

from robnet_zoo.plotting.attacked import AttackedImage, attacked_figure


def probabilities(count, best, value=0.9):
    rates = np.full(count, (1 - value) / (count - 1))
    rates[best] = value
    return rates


def attacked(classes=10, channels=1, change=0.1):
    image = np.full((8, 8, channels), 0.5, np.float32)
    adversarial = image.copy()
    adversarial[0, 0] += change
    return AttackedImage(
        network="racl.digits, trained against Linf 0.15",
        image=image,
        adversarial=adversarial,
        before=probabilities(classes, 3),
        after=probabilities(classes, 8, 0.6),
    )


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def test_titles_say_the_classes_and_the_magnification():
    figure = attacked_figure([attacked()], list("0123456789"), "pgd20")
    assert titles(figure)[:3] == [
        "image\n3 (90.0 %)",
        "perturbation\n5 times magnified",
        "attacked image\n8 (60.0 %)",
    ]
    _, change, _, bars = figure.axes
    shown = change.images[0].get_array()
    assert shown[0, 0] == pytest.approx(1.0)
    assert shown[1, 1] == pytest.approx(0.5)
    assert [bar.get_width() for bar in bars.patches][3] == pytest.approx(90)
    assert [bar.get_width() for bar in bars.patches][18] == pytest.approx(60)


def test_rows_share_the_magnification_and_no_change_is_said():
    rows = [attacked(change=0.25), attacked(change=0.05), attacked(change=0)]
    changes = titles(attacked_figure(rows, list("0123456789"), "pgd20"))[1::4]
    assert changes == ["perturbation\n2 times magnified"] * 2 + ["perturbation\nnone"]
    alone = attacked_figure([attacked(change=0)], list("0123456789"), "pgd20")
    assert titles(alone)[1] == "perturbation\nnone"


def test_of_many_classes_the_likeliest_are_shown_and_titles_stay_apart():
    names = [f"a very long name of class {number} with $" for number in range(100)]
    figure = attacked_figure([attacked(100, 3)] * 2, names, "pgd20")
    figure.draw_without_rendering()
    bars = figure.axes[3]
    assert len(bars.get_yticklabels()) == 6
    assert [bar.get_width() for bar in bars.patches][:2] == pytest.approx([90, 100 * 0.4 / 99], 1)
    boxes = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
