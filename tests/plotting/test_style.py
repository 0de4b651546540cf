import pytest
from PIL import Image

from robnet_zoo.plotting import style


def test_colours_start_again_where_there_are_not_enough():
    colours = style.palette(len(style.PALETTE) + 1)
    assert colours[0] == colours[-1] == style.PALETTE[0]


@pytest.mark.parametrize(("crop", "size"), [(False, (300, 150)), (True, (150, 150))])
def test_a_figure_is_cropped_only_where_asked_for(tmp_path, crop, size):
    with style.canvas(2, 1) as figure:
        figure.text(0.5, 0.5, "x")
    style.save(figure, tmp_path / "x.png", crop=crop)
    with Image.open(tmp_path / "x.png") as image:
        assert all(own <= most for own, most in zip(image.size, size, strict=True))
        assert (image.size == size) is not crop


def test_svg_is_always_the_same_and_its_words_are_words(tmp_path):
    files = [tmp_path / f"{number}" / "line.svg" for number in range(2)]
    for file in files:
        file.parent.mkdir()
        with style.canvas(2, 1) as figure:
            figure.add_subplot(title="word").plot([0, 1], label="line")
        style.save(figure, file)
    first, second = (file.read_text() for file in files)
    assert first == second
    assert ">word</text>" in first
    assert "<title>line</title>" in first
    assert "prefers-color-scheme:dark" in first
    assert 'style="fill: #ffffff"' not in first  # no ground


def test_an_element_takes_the_colour_of_its_page():
    with style.canvas(2, 1) as figure:
        figure.text(0.5, 0.5, "word")
    element = style.svg_element(figure, "salt")
    assert element.startswith('<svg class="plot" role="img" viewBox=')
    assert "<title>salt</title>" in element
    assert "currentColor" in element
    assert style.INK not in element
    assert ">word</text>" in element


def test_a_long_title_is_broken_before_its_brackets():
    title = "racl.digits under FGSM, PGD-20, PGD-100 and AutoAttack (digits, Linf 0.15, n = 450)"
    with style.canvas(6.4, 3) as figure:
        assert style.wrapped(title, figure).split("\n") == [
            "racl.digits under FGSM, PGD-20, PGD-100 and AutoAttack",
            "(digits, Linf 0.15, n = 450)",
        ]
        assert style.wrapped("PGD-20 (digits)", figure) == "PGD-20 (digits)"
    with style.canvas(3, 3) as figure:
        assert max(map(len, style.wrapped(title, figure).split("\n"))) <= 32
