"""The RACL search on a handful of digits: its steps, its choices, its files, its resumption."""

import csv
import dataclasses
import json
import math

import pytest
import torch

from robnet_zoo import create_model
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.__main__ import main
from robnet_zoo.search.core.spaces import DARTS_OPERATIONS, EDGES
from robnet_zoo.search.racl.distribution import Distribution
from robnet_zoo.search.racl.recipe import RECIPES
from robnet_zoo.search.racl.search import RaclSearch
from robnet_zoo.search.run.data import load_search_data
from robnet_zoo.search.run.loop import StepContext, run_search

TINY = dataclasses.replace(RECIPES["smoke"], images=32, batch_size=8, epochs=2, warmup=1)


def start(**changes):
    recipe = dataclasses.replace(TINY, **changes)
    data = load_search_data(recipe)
    return RaclSearch(recipe, data), data, recipe


def take_step(search, data, epoch=1, index=0):
    batches = [stream.at(epoch, index) for stream in data.streams]
    return search.step(StepContext(0, epoch, index, 0.1, "cpu"), *batches)


def distribution(deviation=0.1):
    return Distribution(("normal", "reduce"), 8, deviation, torch.Generator().manual_seed(0))


def test_samples_have_the_distribution_that_the_moments_are_computed_from():
    asked = distribution()
    with torch.no_grad():
        asked.means[0] += 0.5
        asked.scales[0] += 1.0
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        alphas = torch.stack([asked.sample(asked.noise(draws))[0] for _ in range(4000)]).log()
    torch.testing.assert_close(alphas.mean(0), asked.alpha.mean.detach(), atol=0.02, rtol=0)
    torch.testing.assert_close(alphas.var(0), asked.alpha.variance.detach(), atol=0, rtol=0.12)


def test_the_start_is_near_the_uniform_mixture():
    cells = distribution().cells(None)
    assert set(cells) == {"normal", "reduce"}
    operations, edges = cells["reduce"]
    torch.testing.assert_close(operations, torch.full((EDGES, 8), 1 / 8), atol=1e-3, rtol=0)
    # the first node has two incoming edges, the last one five
    assert edges[0].item() == pytest.approx(1 / 2, abs=3e-3)
    assert edges[-1].item() == pytest.approx(1 / 5, abs=3e-3)


def learned(search):
    return [
        tensor for arch_optimizer in search.arch_optimizers for tensor in arch_optimizer.learned
    ]


def test_normalised_samples_sum_to_one():
    asked = distribution(0.5)
    noise = asked.noise(torch.Generator().manual_seed(0))
    operations, edges = asked.cells(noise, normalise=True)["normal"]
    torch.testing.assert_close(operations.sum(1), torch.ones(EDGES))
    sums = torch.stack([part.sum() for part in edges.split([2, 3, 4, 5])])
    torch.testing.assert_close(sums, torch.ones(4))


def test_the_mode_passes_over_an_operation_that_the_search_is_unsure_of():
    asked = distribution(1.0)
    with torch.no_grad():
        asked.means[0][0, 0, 4] += 0.5
        asked.scales[0][0, 0, 4] += 1.0
        asked.means[0][0, 0, 5] += 0.4
    draws = torch.Generator()
    assert asked.worth("median", draws)[0, 0].argmax() == 4
    assert asked.worth("mode", draws)[0, 0].argmax() == 5


def test_sigma_and_mu_both_learn_and_the_weights_too():
    search, data, _ = start()
    before = [one.detach().clone() for one in learned(search)]
    weight = search.supernet.classifier.weight.detach().clone()
    take_step(search, data)
    assert all((one != old).any() for one, old in zip(learned(search), before, strict=True))
    assert (search.supernet.classifier.weight != weight).any()


def test_the_warm_up_leaves_the_architecture_alone():
    search, data, _ = start()
    before = [one.detach().clone() for one in learned(search)]
    take_step(search, data, epoch=0)
    assert all((one == old).all() for one, old in zip(learned(search), before, strict=True))
    assert search.theta == 0
    assert search.end_epoch(0)["c"] is None


def first_constraint(**changes):
    search, data, _ = start(architecture_lr=1e-12, target_drop=2.5, **changes)
    take_step(search, data)
    return search.end_epoch(1) | {"log_target": search.log_target}


def test_the_target_lies_below_the_first_score_and_eta_asks_for_more():
    low, high = first_constraint(eta=0.7), first_constraint(eta=0.9)
    assert low["log_target"] == high["log_target"]
    for row, quantile in ((low, 0.5244005127), (high, 1.2815515655)):
        assert row["mu"] - row["log_target"] == pytest.approx(2.5, abs=1e-6)
        assert row["c"] == pytest.approx(2.5 + quantile * row["sigma"], abs=1e-6)
        assert row["theta"] == pytest.approx(1e-3 * row["c"], abs=1e-8)


def test_cells_of_a_type_are_surer_than_they_should_be_when_taken_for_independent():
    shared, printed = (
        first_constraint(covariance=kind, normalise="nothing") for kind in ("shared", "independent")
    )
    assert shared["mu"] == pytest.approx(printed["mu"], abs=1e-6)
    assert shared["sigma"] > 1.2 * printed["sigma"]


def test_a_heavy_constraint_is_met_and_then_the_probability_is_eta_or_more():
    search, data, _ = start(rho=10.0, architecture_lr=0.05, target_drop=0.2)
    take_step(search, data)
    row = search.end_epoch(1)
    assert row["c"] <= 0
    assert row["probability"] >= 0.9


def test_without_confidence_learning_nothing_is_random():
    search, data, _ = start(deviation=0.0)
    take_step(search, data)
    row = search.end_epoch(1)
    assert row["sigma"] < 1e-100
    assert row["probability"] == 0
    assert all((scale == 0).all() for scale in search.distribution.scales)
    sample = search.distribution.cells(search.distribution.noise(torch.Generator()))
    torch.testing.assert_close(sample["normal"], search.distribution.cells(None)["normal"])


def test_attack_steps_train_the_weights_on_other_images():
    losses = []
    for steps in (0, 2):
        search, data, _ = start(attack_steps=steps)
        losses.append(float(take_step(search, data, epoch=0)["loss"]))
    assert losses[1] > losses[0]


def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path):
    search, data, recipe = start()
    whole = run_search(search, data, recipe, tmp_path / "whole")

    killed, data, recipe = start()
    step, count = killed.step, 0

    def failing(*arguments):
        nonlocal count
        count += 1
        if count == 4:
            raise InterruptedError
        return step(*arguments)

    killed.step = failing
    with pytest.raises(InterruptedError):
        run_search(killed, data, recipe, tmp_path / "killed", save_every=0)
    resumed, data, recipe = start()
    rows = run_search(resumed, data, recipe, tmp_path / "killed", resume=True)

    for row in (*whole, *rows):
        del row["seconds"], row["images_per_second"]
    assert rows == whole
    assert resumed.genotype("x") == search.genotype("x")
    for one, other in zip(learned(resumed), learned(search), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(torch.stack(resumed.trajectory), torch.stack(search.trajectory))
    state, wanted = resumed.supernet.state_dict(), search.supernet.state_dict()
    assert all(torch.equal(state[key], wanted[key]) for key in wanted)


def test_the_preference_is_for_operations_of_small_constants():
    search, _, _ = start()
    operations = len(search.space.operations)
    constants = torch.linspace(-1, 1, operations)  # "none", the first, does not count
    search.log_lambda = constants.expand_as(search.log_lambda)
    begin = torch.zeros(2, len(search.space.roles), EDGES, operations)
    moved = begin.clone()
    moved[0, 0], moved[0, 1] = -constants, constants
    moved[0, :, :, 0] = 9
    search.trajectory = [begin, moved]
    normal, reduce = (search.preference()[role] for role in ("normal", "reduce"))
    assert (normal["spearman"], reduce["spearman"]) == pytest.approx((-1, 1))
    assert normal["n"] == operations - 1
    assert normal["p_value"] < 0.01


def test_the_command_leaves_a_genotype_that_the_zoo_can_build(tmp_path, capsys):
    out = tmp_path / "found"
    options = ["--smoke", "--epochs", "1", "--batch-size", "8", "--set", "images=16"]
    assert main(["racl", *options, "--set", "warmup=0", "--out", str(out)]) == 0
    assert "constraint" in capsys.readouterr().out
    genotype = json.loads((out / "genotype.json").read_text())
    assert genotype["status"] == "searched here"
    used = {name for cell in genotype["cells"].values() for name, _ in cell["edges"]}
    assert used <= set(DARTS_OPERATIONS) - {"none"}
    model = create_model(f"cells:{out}/genotype.json", channels=4, layers=3, in_channels=1)
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    record = json.loads((out / "record.json").read_text())
    assert record["found"]["constraint_met"] == (record["last"]["c"] <= 0)
    assert record["found"]["mean_log_lambda"]["max_pool_3x3"] == 0
    with (out / "operation_weights.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert len(row) == 1 + 2 * 2 * EDGES * 8
    assert float(row["normal c_{k-2}-0 skip_connect mu"]) == pytest.approx(
        math.log(1 / 16), abs=0.1
    )
    assert float(row["reduce 2-3 sep_conv_3x3 sigma"]) == pytest.approx(0.1 * math.sqrt(2), rel=0.1)
    for name in ("constraint.png", "operation_weights.png", "cells.png"):
        assert (out / name).stat().st_size > 5000


@pytest.mark.parametrize(
    ("name", "value"), [("eta", 1.0), ("partial", 0), ("rho", -1.0), ("architecture_lr", 0.0)]
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ZooError, match=name):
        dataclasses.replace(TINY, **{name: value})
