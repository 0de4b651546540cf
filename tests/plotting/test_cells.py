import itertools

import pytest

from robnet_zoo.genotypes import published, published_names
from robnet_zoo.plotting.cells import cell_figure, draw, panels
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.architectures import ARCHITECTURES

FEW = [name for name in published_names() if name != "robnet_free"]


def drawn(name):
    longest = max((known.paper.short for known in ARCHITECTURES.values()), key=len)
    return cell_figure(panels(published(name)), name, f"{longest} · reconstructed genotype")


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_every_edge_is_labelled_with_its_operation():
    shown = texts(drawn("racl"))
    assert shown.count("sep conv 3x3") == 4 + 3  # normal and reduction cell
    assert shown.count("sep conv 5x5") == 1 + 2
    assert shown.count("skip") == 3
    assert shown.count("dil conv 3x3") == 2
    assert shown.count("avg pool 3x3") == 1


def test_robnet_edges_are_labelled_by_code():
    shown = texts(drawn("robnet_large"))
    assert shown.count("conv + id") == 8
    assert shown.count("sep conv") == 5
    assert shown.count("identity") == 1


@pytest.mark.parametrize("name", FEW)
def test_no_label_covers_another(name):
    figure = drawn(name)
    figure.draw_without_rendering()
    for axes in figure.axes:
        frames = [(text, text.get_bbox_patch() or text) for text in axes.texts]
        boxes = [(text, frame.get_window_extent()) for text, frame in frames]
        for (one, box), (other, neighbour) in itertools.combinations(boxes, 2):
            assert not box.overlaps(neighbour), f"{one.get_text()} covers {other.get_text()}"


@pytest.mark.parametrize("name", [*FEW, "robnet_free"])
def test_everything_lies_within_the_page(name):
    figure = drawn(name)
    figure.draw_without_rendering()
    page = figure.bbox
    for text in [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]:
        box = text.get_window_extent()
        assert page.x0 <= box.x0 and box.x1 <= page.x1, text.get_text()
        assert page.y0 <= box.y0 and box.y1 <= page.y1, text.get_text()
    legend = figure.legends[0].get_window_extent()
    assert page.x0 <= legend.x0 and legend.x1 <= page.x1
    assert legend.y1 <= min(axes.get_window_extent().y0 for axes in figure.axes)


@pytest.mark.parametrize(
    ("name", "cells"), [("racl", 2), ("arnas", 3), ("robnet_small", 1), ("robnet_free", 20)]
)
def test_every_distinct_cell_is_drawn(name, cells):
    assert len(drawn(name).axes) == cells


def test_the_reduction_cells_of_robnet_free_are_marked():
    titles = [text for text in texts(drawn("robnet_free")) if "reduction" in text]
    assert titles == ["cell 6 (reduction)", "cell 13 (reduction)"]


@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_files_are_written_whole_and_always_the_same(tmp_path, suffix, start):
    paths = [tmp_path / f"{number}.{suffix}" for number in range(2)]
    for path in paths:
        draw(published("racl"), path, "racl")
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(start)
    assert first == second
    assert sorted(tmp_path.iterdir()) == paths


def test_other_file_types_are_refused(tmp_path):
    with pytest.raises(ZooError, match=r"\.svg or \.png"):
        draw(published("racl"), tmp_path / "racl.gif", "racl")


def test_an_unwritable_path_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="Cannot write"):
        draw(published("racl"), tmp_path / "file" / "racl.svg", "racl")
