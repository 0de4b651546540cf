"""Indicators: what each counts or measures, how they are held against accuracy, and the command."""

import csv
import dataclasses
import json
import math
from itertools import islice

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from robnet_zoo import create_model
from robnet_zoo.genotypes import Cell, CellGenotype, published, read_genotype
from robnet_zoo.runtime.console import progress
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.search.__main__ import main
from robnet_zoo.search.indicators import all_indicators  # noqa: F401
from robnet_zoo.search.indicators.benchmark import tiny_robustbench
from robnet_zoo.search.indicators.candidate import Candidate
from robnet_zoo.search.indicators.measure import (
    known_labels,
    load_trial,
    measure_all,
    read_values,
)
from robnet_zoo.search.indicators.probe import start_probe
from robnet_zoo.search.indicators.registry import INDICATORS, indicator
from robnet_zoo.search.indicators.report import read_columns
from robnet_zoo.search.indicators.settings import TrialSettings
from robnet_zoo.search.indicators.statistics import (
    associations,
    detectable_tau,
    holm,
    partial_taus,
    repeat,
    signs,
    weighted_taus,
)
from robnet_zoo.search.indicators.tables import placed_table, predictions_table
from robnet_zoo.threat_models import get_threat_model


def measure(name, looked_at):
    return INDICATORS[name].measure(looked_at)


def of(operation, sources=(0, 1) * 4):
    cell = Cell(tuple((operation, source) for source in sources), (2, 3, 4, 5))
    genotype = CellGenotype("x", "control", "test", {"normal": cell, "reduce": cell})
    return Candidate(genotype=genotype, channels=4, layers=3, in_channels=1, image_size=8)


def probe(candidate, seed=0):
    draws = torch.Generator().manual_seed(7)
    shape = (6, candidate.in_channels, candidate.image_size, candidate.image_size)
    images = torch.rand(shape, generator=draws)
    return start_probe(candidate, images, torch.arange(6), get_threat_model("digits"), seed)


def test_counts_of_a_published_cell():
    racl = Candidate(genotype=published("racl"), channels=36, layers=20)
    assert measure("parameters", racl) == 3_571_174
    assert measure("macs", racl) == 549_979_776
    counted = {
        name: measure(name, racl)
        for name in ("convolutions", "separable_normal", "dilated_reduction", "pools", "skips")
    }
    assert counted == {
        "convolutions": 12,
        "separable_normal": 5,
        "dilated_reduction": 2,
        "pools": 1,
        "skips": 3,
    }
    # the edges of its cells that join a state to the next: three of sixteen, two with convolutions
    assert measure("direct_convolutions", racl) + measure("skip_edge_convolutions", racl) == 12


def test_arnas_counts_are_means_over_its_two_kinds_of_normal_cells():
    arnas = published("arnas")
    candidate = Candidate(genotype=arnas, layers=20)
    edges = {role: arnas.cells[role].edges for role in ("accurate", "robust")}
    skips = {role: sum(name == "skip_connect" for name, _ in each) for role, each in edges.items()}
    accurate, robust = 12, 6  # of the 18 normal cells
    expected = (accurate * skips["accurate"] + robust * skips["robust"]) / 18
    assert measure("skips_normal", candidate) == pytest.approx(expected)


def test_depth_and_width_of_a_chain_and_of_a_fan():
    chain = of("sep_conv_3x3", (0, 1, 1, 2, 2, 3, 3, 4))
    fan = of("sep_conv_3x3")
    assert [measure("depth", each) for each in (chain, fan)] == [8, 2]
    assert [measure("width", each) for each in (chain, fan)] == [6, 16]
    assert measure("convolution_depth", of("skip_connect", (0, 1, 1, 2, 2, 3, 3, 4))) == 0
    assert measure("density", chain) == pytest.approx(8 / 14)


def test_losses_agree_with_each_other():
    looked_at = probe(of("sep_conv_3x3"))
    natural, adversarial = (
        measure(f"{kind}_loss", looked_at) for kind in ("natural", "adversarial")
    )
    assert adversarial > natural
    assert measure("loss_gap", looked_at) == pytest.approx(adversarial - natural)
    leaf = looked_at.images.clone().requires_grad_()
    total = torch.nn.functional.cross_entropy(
        looked_at.network(leaf), looked_at.labels, reduction="sum"
    )
    (slope,) = torch.autograd.grad(total, leaf)
    expected = float(slope.abs().sum((1, 2, 3)).mean())
    assert measure("input_gradient", looked_at) == pytest.approx(expected, rel=1e-5)


def test_lipschitz_scores_add_up_the_nodes():
    skips = of("skip_connect")
    # every node of both cells reads two states through operations of constant 1
    assert measure("lipschitz_uniform", skips) == pytest.approx(8 * math.log(2))
    pools = of("avg_pool_3x3")
    reduction = 4 * math.log(2 / math.sqrt(2))
    assert measure("lipschitz_uniform", pools) == pytest.approx(4 * math.log(2) + reduction)
    normal_cells, reductions = 1, 2
    expected = normal_cells * 4 * math.log(2) + reductions * reduction
    assert measure("lipschitz_measured", probe(pools)) == pytest.approx(expected)


def test_indicators_leave_the_network_as_it_was():
    looked_at = probe(of("dil_conv_3x3"))
    before = {name: value.clone() for name, value in looked_at.network.state_dict().items()}
    for each in INDICATORS.values():
        if each.stage in ("network", "narrow"):
            assert math.isfinite(each.measure(looked_at)), each.name
    after = looked_at.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not looked_at.network.training
    assert all(weight.grad is None for weight in looked_at.network.parameters())


def test_a_tighter_bound_gives_less_away():
    looked_at = probe(of("sep_conv_3x3"))
    names = ("interval_slack", "mixed_slack", "zonotope_slack", "linear_slack")
    # of the two images that the first two look at, both others look at the first
    first = dataclasses.replace(looked_at, images=looked_at.images[:1], labels=looked_at.labels[:1])
    slacks = [measure(name, first) for name in names]
    assert slacks == sorted(slacks, reverse=True)
    assert slacks[0] > slacks[-1] + 1


def test_tiny_robustbench_is_whole():
    benchmark = tiny_robustbench()
    robust = [cell.robust_best for cell in benchmark.cells]
    assert len(robust) == 223
    assert (min(robust), max(robust)) == (37.46, 43.84)
    assert len({str(genotype.cells) for genotype in benchmark.genotypes().values()}) == 223


def test_associations_find_what_is_there_and_no_more():
    rng = np.random.default_rng(0)
    size, noise = rng.normal(size=150), rng.normal(size=150)
    target = size + 0.5 * rng.normal(size=150)
    columns = {"size": size, "copy": size + 0.3 * rng.normal(size=150), "noise": noise}
    found = associations({**columns, "constant": np.ones(150)}, target, known=["size"])
    assert set(found) == {"size", "copy", "noise"}
    for name, each in found.items():
        assert each.tau == pytest.approx(float(kendalltau(columns[name], target).statistic))
        assert each.low < each.tau < each.high
    assert found["size"].low > 0.4
    assert found["copy"].p_corrected < 1e-6 < 0.05 < found["noise"].p_corrected
    assert found["size"].partial is None
    # beside the size itself, its noisy copy tells little more
    assert abs(found["copy"].partial) < 0.3 * found["copy"].tau


def test_partial_tau_of_three_is_kendalls():
    rng = np.random.default_rng(1)
    x, y, z = rng.normal(size=(3, 60))
    y, x = y + z, x + z
    xy, xz, yz = (float(kendalltau(*pair).statistic) for pair in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    once = np.ones((1, 60))
    assert partial_taus([signs(x), signs(y), signs(z)], once)[0] == pytest.approx(expected)


def test_weights_count_cells_as_often_as_resampling_draws_them():
    rng = np.random.default_rng(2)
    x, y = rng.integers(4, size=30).astype(float), rng.normal(size=30)
    drawn = rng.integers(30, size=30)
    weights = np.bincount(drawn, minlength=30)[None].astype(float)
    expected = float(kendalltau(x[drawn], y[drawn]).statistic)
    assert weighted_taus(signs(x), signs(y), weights)[0] == pytest.approx(expected)


def test_holm_corrects_the_smallest_most():
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert corrected == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


def test_what_two_measurements_do_not_share_is_noise():
    rng = np.random.default_rng(3)
    cells, first, second = rng.normal(size=(3, 400))
    found = repeat(cells + first / 2, cells + second / 2 + 7)  # noise is a fifth of the variance
    assert found.noise == pytest.approx(0.2, abs=0.05)
    assert found.noise_low < 0.2 < found.noise_high
    # the cells themselves are what a perfect indicator would know
    reached = float(kendalltau(cells, cells + first / 2).statistic)
    assert found.reachable == pytest.approx(reached, abs=0.05)
    same = repeat(cells, cells)
    assert (same.tau, same.noise, same.reachable) == (1, 0, 1)


def test_more_cells_show_less_and_more_hypotheses_need_more():
    assert detectable_tau(223) == pytest.approx(0.126, abs=0.001)
    assert detectable_tau(1000) < detectable_tau(223) < detectable_tau(223, hypotheses=60)


def test_the_command_measures_once_and_reports(tmp_path, capsys):
    asked = ["indicators", "--out", str(tmp_path / "out"), "--cells", "10", "--stages", "cell"]
    asked += ["--also", "racl,nasnet_a,lrnas"]
    assert main(asked) == 0
    page = (tmp_path / "out" / "table.md").read_text()
    assert page in capsys.readouterr().out
    with (tmp_path / "out" / "indicators.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert float(rows[0]["robust_last"]) == tiny_robustbench().cells[0].robust_last
    record = json.loads((tmp_path / "out" / "indicators.json").read_text())
    assert "density" in record["same_everywhere"]
    convolutions = [float(row["convolutions"]) for row in rows]
    robust = [float(row["robust_last"]) for row in rows]
    tau = record["indicators"]["convolutions"]["tau"]
    assert tau == pytest.approx(float(kendalltau(convolutions, robust).statistic))
    with (tmp_path / "out" / "placed.csv").open() as file:
        placed = {row["cell"]: row for row in csv.DictReader(file)}
    assert list(placed) == ["racl", "nasnet_a", "lrnas"]
    racl = 12  # convolutions
    below = sum(value < racl for value in convolutions) + convolutions.count(racl) / 2
    assert float(placed["racl"]["convolutions"]) == pytest.approx(10 * below)
    predicted = predictions_table(tmp_path / "out" / "indicators.json").splitlines()
    assert predicted[2].startswith("| linear (ridge) | parameters and convolutions | 2 | ")
    line = placed_table(tmp_path / "out" / "indicators.json").splitlines()[2].split(" | ")
    strongest = max(record["indicators"], key=lambda name: abs(record["indicators"][name]["tau"]))
    assert line[:2] == ["| racl", f"{float(placed['racl'][strongest]):.0f}"]
    kept = tmp_path / "out" / "cells" / "random-000.json"
    before = kept.stat().st_mtime_ns
    assert main(asked) == 0
    assert kept.stat().st_mtime_ns == before
    assert main([*asked, "--set", "seeds=3"]) == 2
    assert "other settings" in capsys.readouterr().err


def test_networks_are_measured_at_the_start_and_after_training(tmp_path):
    settings = TrialSettings(channels=2, layers=3, images=4, steps=2, batch_size=8, repeats=1)
    genotypes = dict(islice(tiny_robustbench().genotypes().items(), 2))
    stages = ("cell", "narrow", "network", "trained")
    trial = load_trial(settings, known_labels(stages), "cpu", None)
    few = dataclasses.replace(trial, held_out=trial.held_out.subset(torch.arange(16)))
    with progress(2, "measuring") as bar:
        measure_all(genotypes, few, tmp_path, ProcessGroup(), bar)
    first, second = (read_values(tmp_path / f"{name}.json") for name in genotypes)
    looks = {"cell", "narrow-0", "network-0", "network-1", "trained-0", "trained-1"}
    assert set(first) == looks | {"seconds"}
    assert set(first["seconds"]) == looks
    assert set(second) == set(first) - {"trained-1"}
    assert first["network-0"]["synflow"] != first["network-1"]["synflow"]
    assert first["narrow-0"]["linear_slack"] < first["narrow-0"]["zonotope_slack"]
    assert first["trained-0"]["trained_synflow"] != first["network-0"]["synflow"]
    assert 0 <= first["trained-0"]["trained_robust_accuracy"] <= 1
    columns = read_columns(tmp_path, list(genotypes))
    mean = (first["network-0"]["snip"] + first["network-1"]["snip"]) / 2
    assert columns["snip"][0] == pytest.approx(mean)
    assert columns["trained_snip"][1] == second["trained-0"]["trained_snip"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stages", "cells"], "cells"),
        (["--cells", "3"], "3"),
        (["--set", "images=0"], "images=0"),
    ],
)
def test_wrong_input_is_one_sentence(tmp_path, capsys, arguments, said):
    assert main(["indicators", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_an_indicator_of_ones_own_is_one_function():
    with pytest.raises(Exception, match="already"):
        indicator("skips", stage="cell", meaning="the same again")(lambda candidate: 0.0)
    try:
        indicator("own", stage="cell", meaning="always one")(lambda candidate: 1.0)
        assert measure("own", of("skip_connect")) == 1
    finally:
        INDICATORS.pop("own", None)


def test_the_random_search_takes_the_best_of_its_cells(tmp_path, capsys):
    asked = ["random", "--budget", "12", "--indicator", "convolutions", "--seed", "3"]
    assert main([*asked, "--out", str(tmp_path / "most")]) == 0
    assert main([*asked, "--least", "--out", str(tmp_path / "least")]) == 0
    counted = []
    for folder in ("most", "least"):
        genotype = read_genotype(tmp_path / folder / "genotype.json")
        assert genotype.status == "searched here"
        counted.append(measure("convolutions", Candidate(genotype=genotype)))
        with (tmp_path / folder / "candidates.csv").open() as file:
            values = [float(row["convolutions"]) for row in csv.DictReader(file)]
        assert len(values) == 12
        assert counted[-1] == (max(values) if folder == "most" else min(values))
    assert counted[0] > counted[1]
    record = json.loads((tmp_path / "most" / "record.json").read_text())
    assert record["chosen"]["value"] == counted[0]
    path = tmp_path / "most" / "genotype.json"
    assert create_model(f"cells:{path}", channels=4, layers=3)(torch.rand(1, 3, 8, 8)).shape == (
        1,
        10,
    )
    assert main(["random", "--out", str(tmp_path / "x"), "--indicator", "fps_distance"]) == 2
    assert "fsp_distance" in capsys.readouterr().err
    assert not (tmp_path / "x" / "settings.json").exists()  # the right name may follow
