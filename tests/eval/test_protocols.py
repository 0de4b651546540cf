import csv
import json
import shutil

import pytest
from helpers.fitted import save_fitted

from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.studies.protocol.plan import plan_cell, step_of, threat_of
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import get_threat_model
from robnet_zoo.zoo import protocols
from robnet_zoo.zoo.weights import read_weights


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Weights for digits: RACL with its copy and its natural twin, and PC-DARTS."""
    base = tmp_path_factory.mktemp("weights")
    for seed, name in enumerate(("racl.digits", "racl.digits-copy", "racl.digits-natural")):
        save_fitted(base / name, "racl", seed)
    save_fitted(base / "pc_darts.digits", "pc_darts")
    return base


def at_hand(base):
    return {path.name: path for path in base.iterdir()}


def cell(name, row, column):
    """Return a protocol, and its row and column of these names."""
    protocol = protocols.load(name)
    (found_row,) = (one for one in protocol.rows if one.name == row)
    (found_column,) = (one for one in protocol.columns if one.name == column)
    return protocol, found_row, found_column


class TestPlans:
    def test_weights_for_the_papers_data_come_first(self, folders):
        found = {**at_hand(folders), "racl.cifar10": folders / "racl.digits"}
        one = plan_cell(*cell("racl-table1", "RACL", "PGD-20"), found)
        assert (one.run.weights, one.attack) == ("racl.cifar10", "pgd20")
        one = plan_cell(*cell("racl-table1", "RACL", "natural PGD-10"), found)
        assert one.run.weights == "racl.digits-natural"

    def test_digits_stand_in_for_a_table_on_one_data_set_only(self, folders):
        assert plan_cell(*cell("racl-table1", "RACL", "FGSM"), at_hand(folders)).run
        one = plan_cell(*cell("racl-table4", "RACL", "MNIST"), at_hand(folders))
        assert one.run is None
        assert one.missing == "no weights racl.mnist or racl.mnist-mini"

    def test_copies_and_other_models_are_sources(self, folders):
        found = at_hand(folders)
        one = plan_cell(*cell("arnas-blackbox", "RACL", "PGD-20 from a copy"), found)
        assert one.attack == f"transfer:local-dir:{folders}/racl.digits-copy:pgd20"
        one = plan_cell(*cell("racl-table3", "RACL", "from PC-DARTS"), found)
        assert one.attack == f"transfer:local-dir:{folders}/pc_darts.digits:pgd10"
        one = plan_cell(*cell("racl-table3", "RACL", "from NASNet"), found)
        assert one.missing == "no weights nasnet_a.digits"

    def test_sizes_are_scaled_to_the_data_that_stands_in(self, folders):
        weights = read_weights(folders / "racl.digits")
        protocol, _, column = cell("racl-figure3", "RACL", "PGD-20 at 0.02")
        scaled = threat_of(protocol, column, weights)
        assert scaled.epsilon.value == pytest.approx(0.02 * 0.15 / (8 / 255), rel=1e-3)
        assert scaled.step.value == pytest.approx(scaled.epsilon.value / 4, rel=1e-3)
        protocol, _, column = cell("racl-figure3", "RACL", "PGD-20")
        assert threat_of(protocol, column, weights) == get_threat_model("digits")
        protocol, _, column = cell("dsrna-game", "PC-DARTS", "AutoAttack L2")
        found = threat_of(protocol, column, weights)
        relative = 0.15 / (8 / 255) * (64 / 3072) ** 0.5
        assert (found.norm, found.epsilon.value) == ("L2", pytest.approx(0.5 * relative, rel=1e-3))

    def test_a_step_is_a_part_of_epsilon(self):
        assert step_of("epsilon/10", get_threat_model("digits")).value == pytest.approx(0.015)
        with pytest.raises(ZooError, match="is not a number"):
            step_of("a tenth", get_threat_model("digits"))


class TestCommand:
    def run(self, folders, name, out, *options):
        options = ["--weights", str(folders), "--n", "16", *options]
        return main(["--protocol", name, "--out", str(out), *options])

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ROBNET_ZOO_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("robnet_zoo.zoo.weights.EMBEDDED", tmp_path / "none")
        monkeypatch.setattr("robnet_zoo.zoo.weights.CHECKOUT", tmp_path / "none")

    def test_published_and_measured_stand_side_by_side(self, folders, tmp_path, capsys):
        assert self.run(folders, "racl-table5", tmp_path) == 0
        told = capsys.readouterr().out
        for text in (
            "RACL, Table 5",
            "83.89",
            "everywhere: data set digits instead of cifar10",
            "everywhere: 16 images instead of 10,000",
            "everywhere: epsilon 0.15 instead of 8/255",
            "everywhere: 4 channels instead of 36",
            "everywhere: 3 layers instead of 20",
            "everywhere: trained by recipe least squares instead of PGD-7",
            "skipped, the cell was not published: without confidence learning, eta 0.9, rho 0.01",
        ):
            assert text in told.replace("\n", " ").replace("  ", " ") or text in told
        with (tmp_path / "racl-table5.csv").open() as file:
            rows = list(csv.DictReader(file))
        measured = [row for row in rows if row["measured"]]
        assert [row["column"] for row in measured] == ["clean", "FGSM", "MIM", "PGD-10"]
        record = json.loads((tmp_path / measured[-1]["record"]).read_text())
        results = {result["name"]: result for result in record["attacks"]}
        assert float(measured[0]["measured"]) == pytest.approx(
            100 * record["clean"]["accuracy"]["accuracy"], abs=0.01
        )
        assert float(measured[3]["measured"]) == pytest.approx(
            100 * results["pgd10"]["last"]["accuracy"], abs=0.01
        )
        assert [row["missing"] for row in rows[:4]] == ["the cell was not published"] * 4
        stored = json.loads((tmp_path / "racl-table5.json").read_text())
        assert stored["rows"][-1]["cells"][3]["published"] == 53.29

    def test_without_weights_the_published_table_is_written(self, folders, tmp_path, capsys):
        assert self.run(folders, "robnet-table1", tmp_path) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "skipped, no weights yet: ResNet-18" in shown
        assert "Nothing was measured" in shown
        with (tmp_path / "robnet-table1.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["published"] for row in rows[:2]] == ["78.38", "49.81"]
        assert not any(row["measured"] for row in rows)

    def test_images_that_are_not_here_cost_a_row_and_not_the_table(
        self, folders, tmp_path, capsys, monkeypatch
    ):
        monkeypatch.setenv("ROBNET_ZOO_DATA", str(tmp_path / "nothing"))
        weights = tmp_path / "weights"
        shutil.copytree(folders / "racl.digits", weights / "racl.digits")
        for name in ("racl.cifar10", "darts_v2.cifar10"):
            shutil.copytree(folders / "racl.digits", weights / name)
            config = json.loads((weights / name / "config.json").read_text())
            config |= {"name": name, "dataset": "cifar10"}
            (weights / name / "config.json").write_text(json.dumps(config))
        out = tmp_path / "out"
        assert self.run(weights, "racl-table1", out) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "racl.cifar10 was passed over, for its images are not here" in shown
        assert "skipped, no images of cifar10 for darts_v2.cifar10: DARTS" in shown
        assert "cifar10 is not at hand" in shown
        with (out / "racl-table1.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {row["weights"] for row in rows if row["measured"]} == {"racl.digits"}

    def test_a_run_that_fails_is_skipped_with_its_reason(self, folders, tmp_path, capsys):
        assert self.run(folders, "racl-table5", tmp_path, "--n", "1000") == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "racl.digits was skipped: n 1000 is out of range" in shown
        with (tmp_path / "racl-table5.csv").open() as file:
            assert "n 1000 is out of range" in list(csv.DictReader(file))[-1]["missing"]

    def test_natural_twins_and_transfer_are_measured(self, folders, tmp_path, capsys):
        assert self.run(folders, "racl-table3", tmp_path) == 0
        with (tmp_path / "racl-table3.csv").open() as file:
            found = {(row["row"], row["column"]): row for row in csv.DictReader(file)}
        assert float(found["RACL", "from PC-DARTS"]["measured"]) >= float(
            found["RACL", "from RACL"]["measured"]
        )
        assert found["RACL", "from DARTS"]["missing"] == "no weights darts_v2.digits"
        told = capsys.readouterr().out
        assert "skipped, no weights yet: AmoebaNet, NASNet, DARTS" in told

    @pytest.mark.parametrize(
        ("name", "options", "told"),
        [
            ("racl-tabel1", (), "did you mean racl-table"),
            ("racl-table5", ("--eps", "0.1"), "--eps does not go with --protocol"),
            ("racl-table5", ("--model", "racl"), "--model does not go with --protocol"),
        ],
    )
    def test_mistakes_are_said_in_one_sentence(
        self, folders, tmp_path, capsys, name, options, told
    ):
        assert self.run(folders, name, tmp_path, *options) == 2
        message = capsys.readouterr().err
        assert told in message
        assert message.count("\n") == 1

    def test_a_folder_without_weights_is_refused(self, tmp_path, capsys):
        assert self.run(tmp_path, "racl-table5", tmp_path / "out") == 2
        assert "holds no weights" in capsys.readouterr().err

    def test_a_place_that_cannot_be_written_is_refused(self, folders, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        assert self.run(folders, "racl-table5", tmp_path / "file") == 2
        assert "Cannot write" in capsys.readouterr().err
