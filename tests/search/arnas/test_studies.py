"""What an ARNAS search rests on: designs of the space, and orders of the gradient."""

import csv
import json

import pytest
import torch

from robnet_zoo.genotypes import published
from robnet_zoo.models.count import count_parameters
from robnet_zoo.models.networks import build_network
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.__main__ import main
from robnet_zoo.search.arnas.designs import build, parse_design
from robnet_zoo.search.arnas.recipe import RECIPES
from robnet_zoo.search.arnas.trace import efficient
from robnet_zoo.search.core.supernet import Supernet
from robnet_zoo.search.run.data import load_search_data

SMOKE = ["--smoke", "--set", "images=32", "--epochs", "1", "--device", "cpu"]


def test_the_paper_recipe_has_the_authors_supernet():
    recipe = RECIPES["paper"]
    with torch.device("meta"):
        supernet = Supernet(recipe.space(), channels=recipe.channels)
    assert count_parameters(supernet) == 1_882_930
    first = ["accurate", "accurate", "reduce"]
    assert [slot.role for slot in supernet.space.slots] == [*first, *first, "robust", "robust"]
    assert [slot.multiple for slot in supernet.space.slots] == [1, 1, 2, 2, 2, 2, 2, 2]


def test_the_papers_design_is_the_zoos_network_and_others_are_not():
    recipe, genotype = RECIPES["smoke"], published("arnas")
    data = load_search_data(recipe)
    sizes = {"channels": recipe.channels, "layers": recipe.layers, "in_channels": 1}
    shapes = {k: v.shape for k, v in build_network(genotype, **sizes).state_dict().items()}
    ours = build(genotype, parse_design("A1A2R2"), recipe, data)
    assert {name: weight.shape for name, weight in ours.state_dict().items()} == shapes
    wider = build(genotype, parse_design("A1A2R4"), recipe, data)
    assert count_parameters(wider) > count_parameters(ours)
    turned = build(genotype, parse_design("R1R2A2"), recipe, data)
    assert {name: weight.shape for name, weight in turned.state_dict().items()} != shapes


@pytest.mark.parametrize("text", ["A1A2", "A1A2X2", "A1A2R0", "1A2A2R"])
def test_a_design_that_is_none_is_refused(text):
    with pytest.raises(ZooError):
        parse_design(text)


def test_the_study_of_designs_writes_a_row_for_each(tmp_path):
    given = ["arnas", "designs", *SMOKE, "--designs", "A1A2R2 R1R1A1", "--out", str(tmp_path)]
    assert main(given) == 0
    with (tmp_path / "designs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["design"] for row in rows] == ["A1A2R2", "R1R1A1"]
    for row in rows:
        assert float(row["pgd20"]) <= float(row["clean"])
        assert int(row["n"]) == 450
    assert int(rows[0]["macs"]) > int(rows[1]["macs"])
    record = json.loads((tmp_path / "designs.json").read_text())
    assert record["recipe"]["epochs"] == 1
    assert [row["pgd20"] for row in record["designs"]] == [row["pgd20"] for row in rows]


def test_a_genotype_without_robust_cells_cannot_be_placed(tmp_path, capsys):
    assert main(["arnas", "designs", *SMOKE, "--genotype", "racl", "--out", str(tmp_path)]) == 2
    assert "no accurate and robust cells" in capsys.readouterr().err


@pytest.mark.slow
def test_orders_are_compared_at_the_start(tmp_path):
    given = [
        "arnas",
        "orders",
        *SMOKE,
        "--set",
        "attack_steps=1",
        "--set",
        "batch_size=8",
        "--out",
        str(tmp_path),
    ]
    assert main(given) == 0
    record = json.loads((tmp_path / "orders.json").read_text())
    for objective in ("natural", "adversarial"):
        findings = record["measured"]["start"][objective]
        assert -1 <= findings["first_cosine"] <= 1
        assert findings["second_fall"] > 0
        assert findings["second_seconds"] > findings["first_seconds"]


def test_efficient_epochs_are_those_that_no_other_beats():
    losses = [(2.0, 2.0), (1.0, 3.0), (1.5, 1.5), (1.0, 2.9), (3.0, 1.0)]
    rows = [{"natural": natural, "adversarial": attacked} for natural, attacked in losses]
    assert efficient(rows) == [2, 3, 4]
