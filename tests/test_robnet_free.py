"""The FSP-guided, cell-free search: candidates measured, the far-moved ones rejected."""

import random
from dataclasses import replace

import pytest
import torch

from robnet_zoo.errors import ZooError
from robnet_zoo.search.data import load_search_data
from robnet_zoo.search.robnet.codes import random_codes
from robnet_zoo.search.robnet.figures import make_figure
from robnet_zoo.search.robnet.finetune import inherited, score
from robnet_zoo.search.robnet.free import measure_candidates, reject
from robnet_zoo.search.robnet.fsp import deep_distance
from robnet_zoo.search.robnet.recipe import RECIPES
from robnet_zoo.search.robnet.supernet import build_supernet
from robnet_zoo.search.robnet.table import Measured

RECIPE = replace(RECIPES["smoke"], space="free", flows=10, score_steps=2, batch_size=16)


def draw(number):
    return random_codes(random.Random(f"candidate {number}"), RECIPE.layers)


@pytest.fixture(scope="module")
def data():
    loaded = load_search_data(RECIPE, streams=("weights",))
    return replace(loaded, validation=loaded.validation.subset(torch.arange(20)))


@pytest.fixture(scope="module")
def supernet(data):
    return build_supernet(RECIPE, data)


@pytest.fixture(scope="module")
def searched(supernet, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("free")
    return measure_candidates(supernet, data, RECIPE, draw, folder), folder


def test_candidates_have_the_scores_of_the_study_and_a_distance_a_cell(searched, supernet, data):
    measured, _ = searched
    assert [one.number for one in measured] == list(range(10))
    for one in measured[:2]:
        found = score(inherited(supernet, one.codes, data, RECIPE), data, RECIPE)
        assert (one.clean_before, one.robust_before) == pytest.approx(found)
    for one in measured:
        assert one.codes == draw(one.number)
        assert len(one.distances) == RECIPE.layers and min(one.distances) > 0


def test_an_interrupted_search_goes_on_where_it_stood(searched, supernet, data, tmp_path):
    measured, folder = searched
    lines = (folder / "candidates.csv").read_text().splitlines(keepends=True)
    # a mark in a line that is there already: it must be kept, not measured again
    marked = lines[1].split(",")
    marked[6] = "0.123"  # clean_before
    (tmp_path / "candidates.csv").write_text("".join([lines[0], ",".join(marked), *lines[2:8]]))
    again = measure_candidates(supernet, data, RECIPE, draw, tmp_path)
    assert again[0].clean_before == 0.123
    assert again[1:] == measured[1:]


def test_candidates_of_another_search_are_refused(searched, supernet, data):
    _, folder = searched
    with pytest.raises(ZooError, match="another search"):
        measure_candidates(supernet, data, RECIPE, lambda number: draw(number + 1), folder)


def test_the_candidates_whose_deep_cells_move_least_are_kept(searched):
    measured, _ = searched
    kept = reject(measured, 4)
    limit = max(deep_distance(torch.tensor(one.distances)) for one in kept)
    others = [one for one in measured if one not in kept]
    assert len(kept) == 4 and len(others) == 6
    assert all(deep_distance(torch.tensor(one.distances)) > limit for one in others)

    codes = draw(0)
    shallow = Measured(0, codes, 0.5, 0.4, (90.0, 90.0, 1.0))  # only the last of 3 cells is deep
    deep = Measured(1, codes, 0.5, 0.4, (1.0, 1.0, 2.0))
    assert reject([deep, shallow], 1) == [shallow]


@pytest.mark.parametrize("keep", [0, 10, 11])
def test_a_search_that_would_reject_nothing_is_refused(searched, keep):
    with pytest.raises(ZooError, match="10 candidates"):
        reject(searched[0], keep)


def test_the_figure_of_the_distances_is_made_from_the_search(searched, tmp_path):
    found = make_figure("fsp", [searched[1]], tmp_path)
    assert set(found) == {"cell_0", "cell_1", "cell_2"}
    assert found["cell_2"]["architectures"] == 10
    assert (tmp_path / "fsp.png").stat().st_size > 10_000
