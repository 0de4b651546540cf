"""The ARNAS search: its steps, its command, its resumption and its objectives."""

import dataclasses
import json
import os
import signal

import pytest
import torch

from robnet_zoo import create_model
from robnet_zoo.genotypes import read_genotype
from robnet_zoo.runtime.signals import Stopped
from robnet_zoo.search.__main__ import main
from robnet_zoo.search.arnas.objectives import size
from robnet_zoo.search.arnas.recipe import RECIPES
from robnet_zoo.search.arnas.search import ArnasSearch
from robnet_zoo.search.core.mgda import least_norm_weights
from robnet_zoo.search.core.spaces import ARNAS_OPERATIONS
from robnet_zoo.search.run.data import load_search_data
from robnet_zoo.search.run.loop import StepContext, run_search

RECIPE = dataclasses.replace(RECIPES["smoke"], images=32, batch_size=8, attack_steps=1)
CONTEXT = StepContext(0, 0, 0, RECIPE.lr, "cpu")


@pytest.fixture(scope="module")
def data():
    return load_search_data(RECIPE)


def first_batches(data):
    return [stream.at(0, 0) for stream in data.streams]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of two smoke searches made by the command."""
    folder = tmp_path_factory.mktemp("arnas")
    given = ["--smoke", "--searches", "2", "--set", "images=32", "--epochs", "1"]
    assert main(["arnas", *given, "--out", str(folder), "--device", "cpu"]) == 0
    return folder


def test_the_command_leaves_a_buildable_genotype_and_all_that_repeats_the_search(finished):
    folder = finished / "seed0"
    genotype = read_genotype(folder / "genotype.json")
    assert genotype.status == "searched here"
    assert set(genotype.cells) == {"accurate", "robust", "reduce"}
    net = create_model(f"cells:{folder / 'genotype.json'}", channels=4, layers=4, in_channels=1)
    assert net(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert {path.name for path in folder.iterdir()} >= {
        "cells.png",
        "cells.svg",
        "history.csv",
        "recipe.toml",
        "record.json",
        "trace.png",
    }
    record = json.loads((folder / "record.json").read_text())
    assert record["recipe"]["order"] == "second"
    assert record["found"]["efficient_epochs"] == [1]
    assert 0 <= record["last"]["natural_share"] <= 1


def test_several_searches_give_the_statistics_of_their_operations(finished):
    lines = (finished / "choices.csv").read_text().splitlines()[1:]
    rows = [line.split(",") for line in lines]
    assert [operation for _, operation, *_ in rows[:7]] == list(ARNAS_OPERATIONS)
    for role in ("accurate", "robust", "reduce"):
        assert sum(int(count) for cell, _, count, _ in rows if cell == role) == 2 * 8
    chosen = [read_genotype(finished / f"seed{seed}" / "genotype.json") for seed in (0, 1)]
    skips = sum(op == "skip_connect" for one in chosen for op, _ in one.cells["robust"].edges)
    assert ["robust", "skip_connect", str(skips), f"{skips / 16:.4f}"] in rows
    assert (finished / "choices.png").stat().st_size > 0


def test_a_stopped_search_goes_on_bitwise(tmp_path):
    recipe = dataclasses.replace(RECIPE, images=16)  # a step an epoch
    data = load_search_data(recipe)
    whole = ArnasSearch(recipe, data)
    rows = run_search(whole, data, recipe, tmp_path / "whole")

    halted = ArnasSearch(recipe, data)
    take_step = halted.step

    def step(context, *batches):
        os.kill(os.getpid(), signal.SIGTERM)
        return take_step(context, *batches)

    halted.step = step
    with pytest.raises(Stopped):
        run_search(halted, data, recipe, tmp_path / "halted")
    resumed = ArnasSearch(recipe, data)
    again = run_search(resumed, data, recipe, tmp_path / "halted", resume=True)
    assert len(rows) == len(again) == 2

    assert all(map(torch.equal, whole.architecture, resumed.architecture))
    states = whole.supernet.state_dict(), resumed.supernet.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert [row["natural"] for row in rows] == [row["natural"] for row in again]


@pytest.mark.parametrize("order", ["first", "second"])
def test_the_common_direction_lowers_every_objective(data, order):
    search = ArnasSearch(dataclasses.replace(RECIPE, order=order, parameters_weight=0.5), data)
    batch, held = first_batches(data)
    attacked, attacked_held = search.attack_both(CONTEXT, batch, held)
    objectives = search.objectives(held, attacked_held)
    assert list(objectives) == ["natural", "adversarial", "parameters"]
    training = search.classification(attacked)
    gradients = search.gradients(list(objectives.values()), training, RECIPE.lr)
    rows = torch.stack([each.gradient for each in gradients])
    mixture = least_norm_weights(rows).to(rows) @ rows
    assert (rows @ mixture > 0).all()


def test_the_third_objective_takes_part_in_the_step(data):
    search = ArnasSearch(dataclasses.replace(RECIPE, parameters_weight=1e-4), data)
    before = size(search.supernet)({}, search.architecture).item()
    figures = search.step(CONTEXT, *first_batches(data))
    shares = [figures[f"{name}_share"] for name in ("natural", "adversarial", "parameters")]
    assert float(sum(shares)) == pytest.approx(1, abs=1e-6)
    assert float(figures["parameters"]) == pytest.approx(before, rel=1e-5)
    assert shares[2] > 0.9  # the shortest gradient by far: it decides
    assert size(search.supernet)({}, search.architecture).item() < before


@pytest.mark.parametrize(("mixing", "shares"), [("even", [0.5, 0.5]), ("adversarial", [0.0, 1.0])])
def test_gradients_can_be_mixed_with_fixed_weights(data, mixing, shares):
    search = ArnasSearch(dataclasses.replace(RECIPE, mixing=mixing), data)
    batch, held = first_batches(data)
    attacked, attacked_held = search.attack_both(CONTEXT, batch, held)
    objectives = list(search.objectives(held, attacked_held).values())
    gradients = search.gradients(objectives, search.classification(attacked), RECIPE.lr)
    expected = sum(share * each.gradient for share, each in zip(shares, gradients, strict=True))
    moves = []
    search.arch_optimizer.step = moves.append
    figures = search.step(CONTEXT, batch, held)
    assert [float(figures[f"{name}_share"]) for name in ("natural", "adversarial")] == shares
    torch.testing.assert_close(moves[0], expected)


def test_size_is_that_of_the_operations_chosen(data):
    search = ArnasSearch(RECIPE, data)
    largest = ARNAS_OPERATIONS.index("sep_conv_5x5")
    one_hot = [torch.full_like(scores, -1e9) for scores in search.architecture]
    for scores in one_hot:
        scores[:, largest] = 0
    assert float(size(search.supernet)({}, one_hot)) == pytest.approx(1)
    for scores in one_hot:
        scores[:] = -1e9
        scores[:, ARNAS_OPERATIONS.index("avg_pool_3x3")] = 0
    assert float(size(search.supernet)({}, one_hot)) == 0


def test_an_attack_strengthens_both_batches_and_leaves_the_search_as_it_was(data):
    search = ArnasSearch(dataclasses.replace(RECIPE, attack_steps=3), data)
    before = [weight.detach().clone() for weight in search.supernet.parameters()]
    pairs = zip(first_batches(data), search.attack_both(CONTEXT, *first_batches(data)), strict=True)
    for batch, attacked in pairs:
        moved = (attacked.images - batch.images).abs()
        assert 0 < moved.max() <= data.threat.epsilon.value + 1e-6
        assert attacked.images.min() >= 0
        assert attacked.images.max() <= 1
    assert all(map(torch.equal, before, search.supernet.parameters()))
    assert all(scores.grad is None for scores in search.architecture)


def test_a_placement_without_accurate_cells_still_gives_a_whole_genotype(data):
    search = ArnasSearch(dataclasses.replace(RECIPE, placement="RRR", multiples=(1, 2, 4)), data)
    assert search.supernet.space.roles == ("robust", "reduce")
    assert [slot.multiple for slot in search.supernet.space.slots] == [1, 2, 4, 4]
    genotype = search.genotype("one-type")
    assert genotype.cells["accurate"] == genotype.cells["robust"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("placement=AXR", "Placement 'AXR'"),
        ("multiples=1,2", "Multiples [1, 2]"),
        ("order=third", "order=third"),
        ("mixing=odd", "mixing=odd"),
        ("adversarial_weight=0", "adversarial_weight=0.0"),
    ],
)
def test_wrong_settings_are_named_in_one_sentence(setting, message, tmp_path, capsys):
    assert main(["arnas", "--smoke", "--set", setting, "--out", str(tmp_path / "x")]) == 2
    assert message in capsys.readouterr().err
