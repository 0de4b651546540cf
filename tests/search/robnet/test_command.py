"""`python -m robnet_zoo.search robnet`: the whole method, and its stages."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from helpers.processes import run_joined

from robnet_zoo import create_model
from robnet_zoo.genotypes import RobNetGenotype, read_genotype
from robnet_zoo.search.__main__ import main
from robnet_zoo.search.robnet.codes import convolutions, from_text, to_text
from robnet_zoo.search.robnet.finished import read_finished

pytestmark = pytest.mark.slow

TINY = ["--smoke", "--device", "cpu", "--set", "images=32", "--set", "batch_size=16"]
QUICK = ["--set", "finetune_epochs=0", "--set", "settle_batches=0"]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "study.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cell")
    assert main(["robnet", *TINY, *QUICK, "--architectures", "10", "--out", str(folder)]) == 0
    return folder


def test_one_command_leaves_a_network_that_can_be_built(trained: Path) -> None:
    genotype = read_genotype(trained / "genotype.json")
    assert isinstance(genotype, RobNetGenotype)
    assert genotype.status == "searched here"
    best = max(rows(trained), key=lambda row: (float(row["robust"]), float(row["clean"])))
    assert genotype.cells == from_text(best["code"])
    name = f"cells:{trained / 'genotype.json'}"
    model = create_model(name, channels=4, layers=3, in_channels=1)
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert sum(p.numel() for p in model.parameters()) == int(best["parameters"])
    for file in ("recipe.toml", "record.json", "history.csv", "cells.png", "analysis/density.png"):
        assert (trained / file).stat().st_size > 0


def test_the_written_recipe_repeats_the_study(trained: Path, tmp_path: Path) -> None:
    recipe = str(trained / "recipe.toml")
    assert main(["robnet", "--recipe", recipe, "--device", "cpu", "--out", str(tmp_path)]) == 0
    kept = [key for key in rows(trained)[0] if key != "seconds"]
    assert [[row[key] for key in kept] for row in rows(tmp_path)] == [
        [row[key] for key in kept] for row in rows(trained)
    ]


def test_a_study_goes_on_with_more_architectures(trained: Path) -> None:
    before = rows(trained)
    study = ["robnet", "study", "--supernet", str(trained), "--device", "cpu"]
    assert main([*study, "--architectures", "11"]) == 0
    after = rows(trained)
    assert after[:10] == before
    assert len({row["code"] for row in after}) == 11


def test_a_budget_is_kept_in_another_study_of_the_supernet(trained: Path, tmp_path: Path) -> None:
    study = ["robnet", "study", "--supernet", str(trained), "--device", "cpu"]
    assert main([*study, "--budget", "small"]) == 2  # the folder's study has another budget
    assert main([*study, "--budget", "small", "--out", str(tmp_path)]) == 0
    assert all(convolutions(from_text(row["code"])) <= 7 for row in rows(tmp_path))


def test_a_cell_free_search_rejects_by_fsp_distance(tmp_path: Path) -> None:
    options = ["--space", "free", "--architectures", "10", "--set", "fsp_candidates=12"]
    assert main(["robnet", *TINY, *QUICK, *options, "--out", str(tmp_path)]) == 0
    with (tmp_path / "candidates.csv").open(newline="") as file:
        drawn = list(csv.DictReader(file))
    nearest = sorted(drawn, key=lambda row: float(row["deep_distance"]))[:10]
    assert [row["code"] for row in rows(tmp_path)] == [row["code"] for row in nearest]
    kept = [row["code"] for row in drawn if row in nearest]  # in the order of their drawing again
    assert [to_text(each.codes) for each in read_finished(tmp_path).drawn] == kept
    assert len(read_genotype(tmp_path / "genotype.json").cells) == 3


def test_joined_processes_train_one_supernet_and_share_the_study(tmp_path: Path) -> None:
    command = ["-m", "robnet_zoo.search", "robnet", *TINY, *QUICK]
    result = run_joined(2, [*command, "--architectures", "4", "--out", str(tmp_path)])
    assert result.returncode == 0, result.stderr
    with (tmp_path / "history.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 1
    assert [int(row["number"]) for row in rows(tmp_path)] == [0, 1, 2, 3]


def test_a_study_needs_a_supernet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robnet", "study", "--supernet", str(tmp_path)]) == 2
    assert "There is no checkpoint" in capsys.readouterr().err


def test_a_study_changes_no_setting_of_the_supernet(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["robnet", "study", "--supernet", str(trained), "--set", "channels=8"]) == 2
    assert "channels" in capsys.readouterr().err
