"""The comparison of cells: one recipe for all, tables of what was measured, nothing done twice."""

import csv
import json

import pytest
from helpers.training import write_arrays

from robnet_zoo.genotypes import CellGenotype, genotype_to_dict, published
from robnet_zoo.search.__main__ import main


@pytest.fixture
def own_cell(tmp_path):
    genotype = published("pc_darts")
    own = CellGenotype("my-cell", "searched here", "a test", genotype.cells)
    path = tmp_path / "genotype.json"
    path.write_text(json.dumps(genotype_to_dict(own)))
    return f"cells:{path}"


def compare(tmp_path, *cells, more=(), **changes):
    settings = {"steps": 1, "early_steps": 1} | changes
    options = ["--epochs", "1", "--channels", "4", "--layers", "3", "--attack", "pgd2", "--n", "20"]
    options += [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    data = ["--dataset", write_arrays(tmp_path), "--threat-model", "digits"]
    return main(["compare", *cells, *data, *options, *more, "--out", str(tmp_path / "out")])


def test_cells_are_trained_attacked_and_set_side_by_side(tmp_path, own_cell, capsys):
    assert compare(tmp_path, "racl", own_cell) == 0
    out = tmp_path / "out"
    rows = {row["cell"]: row for row in csv.DictReader((out / "table.csv").open())}
    assert rows["racl"]["genotype"] == "published"
    assert rows["my-cell"]["genotype"] == "searched here"
    page = (out / "table.md").read_text()
    assert page in capsys.readouterr().out
    for name, row in rows.items():
        evaluation = json.loads((out / name / "evaluation.json").read_text())
        assert evaluation["data"]["n"] == 20
        assert float(row["clean"]) == evaluation["clean"]["accuracy"]["accuracy"]
        assert float(row["pgd2"]) == evaluation["attacks"][0]["robust"]["accuracy"]
        assert f"| {name} |" in page
    assert (out / "accuracy.png").stat().st_size > 5000
    record = json.loads((out / "comparison.json").read_text())
    assert record["cells"].keys() == rows.keys()

    # a second time nothing is trained; another cell joins; other settings are refused
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/run/*")}
    assert compare(tmp_path, "racl", own_cell) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/run/*")} == before
    assert {row["cell"]: row for row in csv.DictReader((out / "table.csv").open())} == rows
    assert compare(tmp_path, "racl", steps=2) == 2
    assert "choose another --out" in capsys.readouterr().err


def test_certificates_join_the_table_and_bound_what_the_attack_leaves(tmp_path, capsys):
    more = ("--eps", "0.04", "--certify", "2", "--channels", "2")
    assert compare(tmp_path, "dsrna_cb", more=more) == 0
    out = tmp_path / "out"
    (row,) = csv.DictReader((out / "table.csv").open())
    found = json.loads((out / "dsrna_cb" / "certificate.json").read_text())
    assert found["data"]["n"] == 2
    assert found["threat_model"]["epsilon"] == "0.04"
    assert (
        float(row["certified 0.01"]) == sum(r >= 0.01 for r in found["radii"]["Linf"]["each"]) / 2
    )
    assert float(row["certified 0.01"]) <= float(row["pgd20 0.01"]) <= 1
    (radii,) = found["radii"].values()  # of the threat model's norm alone
    assert float(row["radius Linf"]) == pytest.approx(radii["mean"], abs=1e-4)
    error = abs(radii["each"][0] - radii["each"][1]) / 2
    assert float(row["radius Linf_standard_error"]) == pytest.approx(error, abs=1e-4)
    assert "first 2 of the images" in (out / "table.md").read_text()
    assert (out / "certified.png").stat().st_size > 5000

    # a second time nothing is certified anew
    before = (out / "dsrna_cb" / "certificate.json").stat().st_mtime_ns
    assert compare(tmp_path, "dsrna_cb", more=more) == 0
    assert (out / "dsrna_cb" / "certificate.json").stat().st_mtime_ns == before
    assert compare(tmp_path, "dsrna_cb", more=(*more, "--certify", "1")) == 2
    assert "2 images or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cells", "message"),
    [(["racle"], "did you mean racl"), (["racl", "racl"], "Two cells are named 'racl'")],
)
def test_mistakes_are_named_before_any_training(tmp_path, capsys, cells, message):
    assert compare(tmp_path, *cells) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
