"""Variants of a search, each with its seeds, in one table; nothing is done twice."""

import json
from pathlib import Path

import pytest
from helpers.training import write_arrays

from robnet_zoo.genotypes import CellGenotype, genotype_to_dict
from robnet_zoo.runtime.files import write_json
from robnet_zoo.search.__main__ import main
from robnet_zoo.search.ablate.agreement import agreement, mean_agreement, mean_of_pairs
from robnet_zoo.search.ablate.controls import make_controls
from robnet_zoo.search.ablate.table import write_ablation
from robnet_zoo.search.core.spaces import ARNAS_OPERATIONS, arnas_space, darts_space

PLAN = """
search = "racl"
recipe = "smoke"
seeds = 1
controls = ["pc_darts", "random:1"]
attacks = ["pgd2"]
n = 20

[training]
settings = {{ epochs = 1, steps = 1, early_steps = 1 }}
channels = 4
layers = 3

[variants]
"Rho 0" = {{ {common}, rho = 0.0 }}
"""
SMALL = {"epochs": 1, "warmup": 0, "batch_size": 8, "images": 16, "channels": 8}


def plan(tmp_path, **changes):
    data = {"dataset": write_arrays(tmp_path), "threat_model": "digits"}
    settings = {**data, **SMALL, **changes}
    path = tmp_path / "plan.toml"
    common = ", ".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    path.write_text(PLAN.format(common=common))
    return str(path)


def test_variants_are_searched_trained_and_set_side_by_side(tmp_path, capsys):
    arguments = ["ablate", plan(tmp_path), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    page = (tmp_path / "out" / "table.md").read_text()
    assert page in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "ablation.json").read_text())
    rows = record["rows"]
    assert {row: value["cells"] for row, value in rows.items()} == {
        "Rho 0": ["rho-0-s0"],
        "pc_darts": ["pc_darts"],
        "random:1": ["random-0"],
    }
    compared = json.loads((tmp_path / "out" / "cells" / "comparison.json").read_text())["cells"]
    for row, (name,) in ((row, value["cells"]) for row, value in rows.items()):
        assert rows[row]["accuracy"]["pgd2"]["mean"] == pytest.approx(
            compared[name]["results"]["pgd2"]["accuracy"]
        )
    searched = tmp_path / "out" / "searches" / "rho-0-s0"
    assert json.loads((searched / "record.json").read_text())["recipe"]["rho"] == 0
    found = record["found"]["rho-0-s0"]
    assert not found["constraint_met"]
    assert 0 < found["lead"]["normal"]["least"] <= found["lead"]["normal"]["mean"]
    assert found["preference"]["normal"] == {"spearman": None, "p_value": None, "n": 7}  # one epoch
    before = (searched / "genotype.json").stat().st_mtime_ns
    assert main(arguments) == 0
    assert (searched / "genotype.json").stat().st_mtime_ns == before


def test_random_controls_are_of_the_space_and_repeat():
    space = darts_space()
    drawn = make_controls("random:20", space, seed=0)
    assert drawn == make_controls("random:20", space, seed=0)
    assert drawn != make_controls("random:20", space, seed=1)
    assert drawn[:3] == make_controls("random:3", space, seed=0)
    edges = [edge for each in drawn for cell in each.cells.values() for edge in cell.edges]
    assert {operation for operation, _ in edges} == set(ARNAS_OPERATIONS)  # all but "none"
    nodes = [node for each in drawn for cell in each.cells.values() for node in cell.nodes]
    assert all(first[1] < second[1] for first, second in nodes)
    assert {source for _, source in edges} == set(range(5))


def test_a_control_of_one_operation_has_it_on_all_edges():
    (pools,) = make_controls("all:avg_pool_3x3", arnas_space(), seed=0)
    assert set(pools.cells) == {"accurate", "robust", "reduce"}
    operations = {operation for cell in pools.cells.values() for operation, _ in cell.edges}
    assert operations == {"avg_pool_3x3"}


def test_agreement_counts_edges_by_operation_and_state():
    space = darts_space()
    drawn, other = make_controls("random:2", space, seed=0)
    assert agreement(drawn, drawn) == 1
    assert agreement(drawn, other) == agreement(other, drawn) < 0.5
    (pools,) = make_controls("all:avg_pool_3x3", space, seed=0)
    (convolutions,) = make_controls("all:sep_conv_3x3", space, seed=0)
    assert agreement(pools, convolutions) == 0
    half = CellGenotype(
        "half", "control", "", {**pools.cells, "normal": convolutions.cells["normal"]}
    )
    assert agreement(pools, half) == 0.5
    assert mean_agreement([pools, half, convolutions]) == pytest.approx((0.5 + 0 + 0.5) / 3)
    assert mean_agreement([pools]) is None
    assert mean_of_pairs([pools, half], [half, half]) == 0.75
    assert mean_of_pairs([None], [half]) is None


GROUPS = """
search = "racl"
recipe = "smoke"
attacks = ["pgd2"]
n = 20

[training]
settings = { epochs = 1, steps = 1, early_steps = 1 }
channels = 4
layers = 3

[groups]
"drawn" = [GENOTYPES]
"""


def test_cells_of_other_searches_are_a_row(tmp_path):
    drawn = make_controls("random:2", darts_space(), seed=5)
    files = [tmp_path / f"{genotype.name}.json" for genotype in drawn]
    for path, genotype in zip(files, drawn, strict=True):
        write_json(path, genotype_to_dict(genotype))
    path = tmp_path / "plan.toml"
    path.write_text(GROUPS.replace("GENOTYPES", ", ".join(f'"cells:{file}"' for file in files)))
    assert main(["ablate", str(path), "--out", str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out" / "ablation.json").read_text())
    (row,) = record["rows"].values()
    assert row["cells"] == ["random-0", "random-1"]
    assert row["agreement"] == agreement(*drawn)
    compared = json.loads((tmp_path / "out" / "cells" / "comparison.json").read_text())["cells"]
    robust = [compared[name]["results"]["pgd2"]["accuracy"] for name in row["cells"]]
    assert row["accuracy"]["pgd2"]["mean"] == pytest.approx(sum(robust) / 2)


@pytest.mark.parametrize("names", [[], ["cells:missing.json"], ["pc_dart"]])
def test_a_wrong_group_is_refused_before_any_work(tmp_path, capsys, names):
    path = tmp_path / "plan.toml"
    path.write_text(GROUPS.replace("GENOTYPES", ", ".join(f'"{name}"' for name in names)))
    assert main(["ablate", str(path), "--out", str(tmp_path / "out")]) == 2
    assert (names[0].removeprefix("cells:") if names else "drawn") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("control", ["random:0", "random:many", "all:none", "all:x", "pc_dart"])
def test_a_wrong_control_is_refused_before_any_search(tmp_path, capsys, control):
    path = Path(plan(tmp_path))
    path.write_text(path.read_text().replace("random:1", control))
    assert main(["ablate", str(path), "--out", str(tmp_path / "out")]) == 2
    assert control.removeprefix("all:") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"eta": -1}, "eta"), ({"sigma": 1}, "sigma"), ({"name": "x"}, "name")],
)
def test_a_wrong_variant_is_refused_before_any_search(tmp_path, capsys, changes, said):
    assert main(["ablate", plan(tmp_path, **changes), "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_table_has_means_intervals_and_differences(tmp_path):
    rates = {"a0": 0.70, "a1": 0.72, "a2": 0.74, "b0": 0.60, "b1": 0.60, "b2": 0.63}
    cells = {
        name: {
            "results": {"pgd20": {"accuracy": rate, "n": 50}},
            "radii": {"radius L2": {"mean": rate / 10, "standard_error": 0.001}},
        }
        for name, rate in rates.items()
    }
    rows = {"base": ["a0", "a1", "a2"], "other": ["b0", "b1", "b2"]}
    compared = {
        "attacks": ["pgd20"],
        "cells": cells,
        "settings": {"dataset": "digits"},
        "environment": {},
    }
    write_ablation(tmp_path, {}, rows, compared, {}, {"base": 0.25, "other": None}, {"other": 0.5})
    base, other = (
        row["accuracy"]["pgd20"]
        for row in json.loads((tmp_path / "ablation.json").read_text())["rows"].values()
    )
    # Student's t with two degrees of freedom: 4.303 standard errors of 0.02 / sqrt(3)
    assert base["mean"] == pytest.approx(0.72)
    assert base["high"] - base["mean"] == pytest.approx(4.3027 * 0.02 / 3**0.5, rel=1e-4)
    assert "difference" not in base
    assert other["difference"] == pytest.approx(-0.11)
    assert 0.0001 < other["p_value"] < 0.01
    assert (tmp_path / "ablation.png").stat().st_size > 5000
    table = (tmp_path / "table.md").read_text()
    assert "61.0 [56.7, 65.3], -11.0 (p < 0.01) | 0.0610 [0.0567, 0.0653], -0.0110" in table
    assert "| 25 % |  |" in table
    assert "|  | 50 % |" in table
