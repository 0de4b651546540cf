"""The DSRNA search: its metrics, its steps, its command and its resumption."""

import contextlib
import dataclasses
import io
import json
import os
import signal

import pytest
import torch
from helpers.random_nets import RandomNet, random_batch

from robnet_zoo import create_model
from robnet_zoo.certify import certified_margin
from robnet_zoo.certify.jacobian import row_norms
from robnet_zoo.genotypes import read_genotype
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.signals import Stopped
from robnet_zoo.search.__main__ import main
from robnet_zoo.search.core.spaces import TARGETS
from robnet_zoo.search.dsrna.metrics import (
    certified_lower_bound,
    jacobian_norm_bound,
    size_of_slack,
)
from robnet_zoo.search.dsrna.recipe import RECIPES
from robnet_zoo.search.dsrna.search import DsrnaSearch
from robnet_zoo.search.run.data import SearchBatch, load_search_data
from robnet_zoo.search.run.loop import StepContext, run_search

RECIPE = dataclasses.replace(RECIPES["smoke"], warmup=0, metric="jacobian")


@pytest.fixture(scope="module")
def data():
    return load_search_data(RECIPE)


def context(epoch=0):
    return StepContext(0, epoch, 0, RECIPE.lr, "cpu")


def batches(data):
    return [stream.at(0, 0) for stream in data.streams]


def robustness(search, data):
    weights = dict(search.supernet.named_parameters())
    return search.robustness(context(), weights, search.architecture, batches(data)[1], {})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of a smoke search made by the command."""
    folder = tmp_path_factory.mktemp("dsrna") / "found"
    with contextlib.redirect_stdout(io.StringIO()) as told:
        assert main(["dsrna", "--smoke", "--out", str(folder), "--device", "cpu"]) == 0
    assert f"compare cells:{folder / 'genotype.json'} racl" in told.getvalue()
    return folder


def test_the_command_leaves_a_buildable_genotype_and_all_that_repeats_the_search(finished):
    genotype = read_genotype(finished / "genotype.json")
    assert genotype.status == "searched here"
    assert set(genotype.cells) == {"normal", "reduce"}
    assert all(
        operation != "none" for cell in genotype.cells.values() for operation, _ in cell.edges
    )
    net = create_model(f"cells:{finished / 'genotype.json'}", channels=4, layers=3, in_channels=1)
    assert net(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    names = {path.name for path in finished.iterdir()}
    assert names >= {"cells.png", "cells.svg", "history.csv", "recipe.toml", "record.json"}
    record = json.loads((finished / "record.json").read_text())
    assert record["recipe"]["metric"] == "combined"
    assert record["last"]["certified"] < 5
    assert record["last"]["jacobian"] < 0
    cost = record["found"]
    assert cost["bound_values"] > cost["bound_steps"] > 14 * 7  # an operation is a step or more


@pytest.mark.parametrize("metric", ["cb", "jacobian", "combined"])
def test_each_metric_leaves_its_own_terms_in_the_log(data, metric):
    search = DsrnaSearch(dataclasses.replace(RECIPE, metric=metric, order="first"), data)
    before = [scores.detach().clone() for scores in search.architecture]
    figures = search.step(context(), *batches(data))
    assert ("certified" in figures) == (metric != "jacobian")
    assert ("jacobian" in figures) == (metric != "cb")
    assert not any(map(torch.equal, before, search.architecture))
    assert search.supernet.training


@pytest.mark.parametrize("order", ["first", "second"])
def test_with_a_large_gamma_the_step_makes_the_architecture_more_robust(data, order):
    recipe = dataclasses.replace(
        RECIPE, gamma=1e4, order=order, architecture_lr=1e-3, estimator="exact"
    )
    search = DsrnaSearch(recipe, data)
    batch, held = batches(data)
    gradient = search.outer_gradient(context(), batch, held, {}).gradient
    before = robustness(search, data).item()
    parts = gradient.split([scores.numel() for scores in search.architecture])
    with torch.no_grad():
        for scores, part in zip(search.architecture, parts, strict=True):
            scores.sub_(0.1 * part.view_as(scores) / gradient.norm())
    assert robustness(search, data).item() > before


def test_the_warm_up_sees_the_loss_alone(data):
    recipe = dataclasses.replace(RECIPE, warmup=1, order="first")
    results = [
        DsrnaSearch(dataclasses.replace(recipe, gamma=gamma), data).outer_gradient(
            context(epoch), *batches(data), {}
        )
        for gamma, epoch in ((0.01, 0), (100.0, 0), (100.0, 1))
    ]
    assert torch.equal(results[0].gradient, results[1].gradient)
    assert not torch.allclose(results[1].gradient, results[2].gradient)


def test_a_stopped_search_goes_on_bitwise(data, tmp_path):
    whole = DsrnaSearch(RECIPE, data)
    rows = run_search(whole, data, RECIPE, tmp_path / "whole")
    halted = DsrnaSearch(RECIPE, data)
    take_step = halted.step

    def step(at, *parts):
        os.kill(os.getpid(), signal.SIGTERM)
        return take_step(at, *parts)

    halted.step = step
    with pytest.raises(Stopped):
        run_search(halted, data, RECIPE, tmp_path / "halted")
    resumed = DsrnaSearch(RECIPE, data)
    again = run_search(resumed, data, RECIPE, tmp_path / "halted", resume=True)
    assert all(map(torch.equal, whole.architecture, resumed.architecture))
    states = whole.supernet.state_dict(), resumed.supernet.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert [row["jacobian"] for row in rows] == [row["jacobian"] for row in again]


def test_the_mixture_sums_to_one_over_operations_and_over_each_nodes_edges(data):
    search = DsrnaSearch(RECIPE, data)
    scores = [torch.randn(2, 14, 8), torch.randn(2, 14)]
    for cell in search.mixture(scores).values():
        torch.testing.assert_close(cell.operations.sum(1), torch.ones(14))
        for node in range(4):
            edges = [edge for edge in range(14) if TARGETS[edge] == node]
            assert cell.edges[edges].sum().item() == pytest.approx(1)


def test_cells_keep_the_edges_whose_operation_and_edge_weigh_most(data):
    search = DsrnaSearch(RECIPE, data)
    names = search.supernet.space.operations
    with torch.no_grad():  # the reduction cell stays as it was drawn: ties are refused
        search.architecture[0][0].zero_()
        search.architecture[1][0].zero_()
        search.architecture[0][0, :, names.index("sep_conv_3x3")] = 1.0
        search.architecture[0][0, :, names.index("none")] = 9.0
        search.architecture[1][0, [2, 4]] = 3.0  # into the second node, from states 0 and 2
    edges = search.genotype("found").cells["normal"].edges
    assert edges[2:4] == (("sep_conv_3x3", 0), ("sep_conv_3x3", 2))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_the_radius_gives_away_about_the_slack(norm):
    model, (images, labels) = RandomNet(11, 3), random_batch(12)
    how = {"norm": norm, "bound": "mixed"}
    size = size_of_slack(model, SearchBatch(images, labels), 0.5, 10.0, **how)
    clean = certified_margin(model, images, labels, 0.0).mean()
    left = certified_lower_bound(model, SearchBatch(images, labels), size, **how)
    assert (clean - left).item() == pytest.approx(0.5, rel=0.4)


def test_the_jacobian_metric_bounds_what_small_perturbations_do():
    model, (images, _) = RandomNet(13, 3), random_batch(14)
    size, draws = 1e-6, torch.Generator().manual_seed(0)
    noise = size * torch.randn(images.shape, generator=draws, dtype=images.dtype).sign()
    change = -(model(images + noise) - model(images)).abs().mean()
    found = {
        estimator: jacobian_norm_bound(
            model, images, size, draws, norm="Linf", estimator=estimator, estimates=count
        )
        for estimator, count in (("exact", 1), ("projection", 2000), ("top", 3))
    }
    assert change >= found["exact"] * (1 + 1e-3)
    torch.testing.assert_close(found["top"], found["exact"])  # all three classes
    torch.testing.assert_close(found["exact"], -size * row_norms(model, images).mean())
    assert found["projection"] < found["exact"] * 0.97


def test_a_radius_that_bounds_nothing_is_refused():
    model, (images, labels) = RandomNet(15, 5).float(), random_batch(16)
    batch = SearchBatch(images.float(), labels)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1e12)
    with pytest.raises(ZooError, match="not finite"):
        certified_lower_bound(model, batch, 0.5, norm="Linf", bound="mixed")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimator": "top", "estimates": 11}, "estimates=11 are more than the 10 classes"),
        ({"bound_size": 1.5}, "bound_size=1.5 is more than pixels"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused_before_the_search(data, changes, message):
    with pytest.raises(ZooError, match=message):
        DsrnaSearch(dataclasses.replace(RECIPE, **changes), data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["metric=robust"], "metric"),
        (["estimator=some"], "estimator"),
        (["bound=tight"], "bound"),
        (["gamma=0"], "gamma"),
        (["slack=-1"], "slack"),
        (["bound_images=0"], "bound_images"),
        (["attack_steps=3"], "attack_steps"),
    ],
)
def test_settings_out_of_range_are_named(tmp_path, capsys, change, words):
    code = main(["dsrna", "--smoke", "--out", str(tmp_path / "x"), "--set", *change])
    assert code == 2
    assert words in capsys.readouterr().err
