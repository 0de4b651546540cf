"""The FSP-guided, cell-free search: candidates measured, the far-moved ones rejected."""

import random
from dataclasses import replace

import pytest
import torch

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.robnet.analysis.figures import make_figure
from robnet_zoo.search.robnet.codes import deep_distance, random_codes
from robnet_zoo.search.robnet.finetune import inherited, score
from robnet_zoo.search.robnet.free import measure_candidates, reject
from robnet_zoo.search.robnet.recipe import RECIPES
from robnet_zoo.search.robnet.storage import open_study
from robnet_zoo.search.robnet.supernet import build_supernet
from robnet_zoo.search.robnet.table import Measured, read_candidates
from robnet_zoo.search.run.data import load_search_data

SIZE = {"space": "free", "architectures": 5, "fsp_candidates": 10}
RECIPE = replace(RECIPES["smoke"], **SIZE, score_steps=2, batch_size=16)


def draw(number):
    return random_codes(random.Random(f"candidate {number}"), RECIPE.layers)


@pytest.fixture(scope="module")
def data():
    loaded = load_search_data(RECIPE, streams=("weights",))
    return replace(loaded, validation=loaded.validation.subset(torch.arange(20)))


@pytest.fixture(scope="module")
def supernet(data):
    return build_supernet(RECIPE, data)


def search(supernet, data, folder, fsp_candidates=RECIPE.fsp_candidates, draw=draw):
    recipe = replace(RECIPE, architectures=1, fsp_candidates=fsp_candidates)
    return measure_candidates(open_study(folder, {}), supernet, data, recipe, draw, folder)


@pytest.fixture(scope="module")
def searched(supernet, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("free")
    return search(supernet, data, folder), folder


def test_candidates_have_the_scores_of_the_study_and_a_distance_a_cell(searched, supernet, data):
    measured, _ = searched
    assert [one.number for one in measured] == list(range(10))
    for one in measured[:2]:
        findings = score(inherited(supernet, one.codes, data, RECIPE), data, RECIPE)
        assert (one.clean_before, one.robust_before) == pytest.approx(findings)
    for one in measured:
        assert one.codes == draw(one.number)
        assert len(one.distances) == RECIPE.layers and min(one.distances) > 0


def test_the_table_holds_what_was_measured(searched):
    measured, folder = searched
    read = read_candidates(folder)
    assert [one.codes for one in read] == [one.codes for one in measured]
    for one, other in zip(read, measured, strict=True):
        assert one.distances == pytest.approx(other.distances, rel=1e-5)


def test_a_search_that_goes_on_measures_nothing_twice(searched, supernet, data, tmp_path):
    measured, _ = searched
    first = search(supernet, data, tmp_path, fsp_candidates=3)
    drawn = []

    def draw_and_note(number):
        drawn.append(number)
        return draw(number)

    both = search(supernet, data, tmp_path, fsp_candidates=5, draw=draw_and_note)
    assert drawn == [3, 4]
    assert both[:3] == first and both == measured[:5]
    assert len(read_candidates(tmp_path)) == 5


def test_the_candidates_whose_deep_cells_move_least_are_kept(searched):
    measured, _ = searched
    kept = reject(measured, 4)
    limit = max(deep_distance(one.distances) for one in kept)
    others = [one for one in measured if one not in kept]
    assert len(kept) == 4 and len(others) == 6
    assert all(deep_distance(one.distances) > limit for one in others)

    codes = draw(0)
    shallow = Measured(0, codes, 0.5, 0.4, (90.0, 90.0, 1.0))  # only the last of 3 cells is deep
    deep = Measured(1, codes, 0.5, 0.4, (1.0, 1.0, 2.0))
    assert reject([deep, shallow], 1) == [shallow]


def test_the_control_keeps_all_candidates(searched):
    assert set(reject(searched[0], 10)) == set(searched[0])
    assert replace(RECIPE, architectures=10).fsp_candidates == 10


@pytest.mark.parametrize("keep", [0, 11])
def test_more_candidates_than_there_are_cannot_be_kept(searched, keep):
    with pytest.raises(ZooError, match="10 candidates"):
        reject(searched[0], keep)


def test_the_figure_of_the_distances_is_made_from_the_search(searched, tmp_path):
    findings = make_figure("fsp", [searched[1]], tmp_path)
    assert set(findings) == {"cell_0", "cell_1", "cell_2", "deep"}
    assert findings["cell_2"]["architectures"] == 10
    assert findings["deep"] == findings["cell_2"]  # of 3 cells one is deep
    assert (tmp_path / "fsp.png").stat().st_size > 10_000
