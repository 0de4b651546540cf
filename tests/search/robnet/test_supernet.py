"""RobNet's supernet: one drawn architecture is attacked and trained at each step."""

from __future__ import annotations

import copy
import dataclasses
import random

import pytest
import torch

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.robnet.codes import random_codes
from robnet_zoo.search.robnet.finetune import judge
from robnet_zoo.search.robnet.inherit import subnetwork
from robnet_zoo.search.robnet.recipe import RECIPES
from robnet_zoo.search.robnet.supernet import SupernetTraining, build_supernet, training_adversary
from robnet_zoo.search.run.data import SearchData, load_search_data
from robnet_zoo.search.run.loop import StepContext

RECIPE = dataclasses.replace(RECIPES["smoke"], images=32, batch_size=8, weight_decay=0.0)


@pytest.fixture(scope="module")
def data() -> SearchData:
    return load_search_data(RECIPE, streams=("weights",))


def context(index: int) -> StepContext:
    return StepContext(RECIPE.seed, 0, index, 0.1, "cpu")


@pytest.mark.parametrize("space", ["cell", "free"])
def test_a_step_trains_the_drawn_architecture_and_nothing_else(
    data: SearchData, space: str
) -> None:
    recipe = dataclasses.replace(RECIPE, space=space)
    training = SupernetTraining(recipe, data)
    before = {name: value.clone() for name, value in training.supernet.named_parameters()}
    training.step(context(0), data.streams[0].at(0, 0))
    moved = {
        name
        for name, value in training.supernet.named_parameters()
        if not torch.equal(value, before[name])
    }
    codes = random_codes(random.Random("0/0/0"), recipe.cells, recipe.keep)
    convs = {
        (cell, edge)
        for cell in range(recipe.layers)
        for edge, code in enumerate(codes[cell % len(codes)])
        if code[1] == "1"
    }
    trained = {
        (int(name.split(".")[1]), int(name.split(".")[3]))
        for name in moved
        if ".operations.0." in name
    }
    assert trained and trained <= convs
    assert len({training.step(context(i), data.streams[0].at(0, i))["density"] for i in (1, 2)}) > 1


def test_training_goes_on_bitwise_from_its_state(data: SearchData) -> None:
    whole = SupernetTraining(RECIPE, data)
    whole.step(context(0), data.streams[0].at(0, 0))
    later = SupernetTraining(dataclasses.replace(RECIPE, seed=5), data)
    later.recipe = RECIPE
    later.load(copy.deepcopy(whole.state()))
    for training in (whole, later):
        training.step(context(1), data.streams[0].at(0, 1))
    theirs = later.supernet.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in whole.supernet.state_dict().items())


def test_the_adversary_grows_to_its_full_size(data: SearchData) -> None:
    training = SupernetTraining(dataclasses.replace(RECIPE, warmup=0.5, epochs=2), data)
    scales = [training.scale(StepContext(0, e, i, 0.1, "cpu")) for e in range(2) for i in range(4)]
    assert scales == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    half = training_adversary(RECIPE, data.threat, 0.5)
    assert half.epsilon == pytest.approx(data.threat.epsilon.value / 2)


def test_a_candidates_scores_depend_on_its_code_alone(data: SearchData) -> None:
    supernet = build_supernet(RECIPE, data).eval()
    one, other = (random_codes(random.Random(seed)) for seed in (0, 1))
    first = judge(supernet, one, data, RECIPE)
    judge(supernet, other, data, RECIPE)
    torch.manual_seed(99)
    again = judge(supernet, one, data, RECIPE)
    assert dataclasses.replace(again, seconds=first.seconds) == first


def test_without_training_fine_tuning_changes_nothing_but_statistics(data: SearchData) -> None:
    recipe = dataclasses.replace(RECIPE, finetune_epochs=0)
    scores = judge(build_supernet(recipe, data), random_codes(random.Random(0)), data, recipe)
    assert scores.robust == scores.robust_before


def test_a_subnetwork_keeps_to_the_supernets_device_and_mode(data: SearchData) -> None:
    own = subnetwork(build_supernet(RECIPE, data).eval(), random_codes(random.Random(0)))
    assert not own.training
    assert {parameter.device.type for parameter in own.parameters()} == {"cpu"}


@pytest.mark.parametrize(
    ("setting", "value"), [("keep", 0.0), ("architectures", 0), ("warmup", 1.0)]
)
def test_a_setting_out_of_range_is_refused(setting: str, value: float) -> None:
    with pytest.raises(ZooError, match=setting):
        dataclasses.replace(RECIPE, **{setting: value})
