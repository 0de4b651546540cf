"""One-shot scores against stand-alone training: the right numbers, and nothing done twice."""

from __future__ import annotations

import csv
import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from scipy.stats import spearmanr

from robnet_zoo.data import Dataset, load_split, register_dataset
from robnet_zoo.data.registry import ROWS
from robnet_zoo.data.splits import part_of
from robnet_zoo.runtime.statistics import proportion
from robnet_zoo.search.__main__ import main
from robnet_zoo.search.robnet.analysis.one_shot import Judged, OnTest, findings_of
from robnet_zoo.search.robnet.codes import density, random_codes
from robnet_zoo.search.robnet.table import Studied
from robnet_zoo.threat_models import get_threat_model

TRAINED, TESTED = 80, 30  # images
NAME = "few-digits"


def judged(number, before, robust, on_test, alone, chosen=False):
    """Return a candidate; `on_test` and `alone` of 100 images are robust."""
    codes = random_codes(random.Random(number))
    counts = (OnTest(proportion(100, 100), proportion(count, 100)) for count in (on_test, alone))
    return Judged(Studied(number, codes, 1.0, before, robust), chosen, *counts)


def test_the_chosen_candidate_stands_apart_where_it_was_not_drawn():
    drawn = [judged(n, 0.1 * n, 0.5 + 0.01 * n, 50 - n, 20 + n) for n in range(5)]
    best = judged(9, 0.0, 0.9, 50, 10, chosen=True)
    found = findings_of([*drawn, best], extra=True, held_out=200)

    alone = found["fine_tuned_and_stand_alone"]
    assert alone["architectures"] == 6
    assert alone["without_chosen"]["architectures"] == 5
    assert alone["without_chosen"]["spearman"] == pytest.approx(1)
    assert alone["without_chosen"]["kendall"] == pytest.approx(1)
    assert alone["kendall"] == pytest.approx((10 - 5) / 15)  # it is last where it was first
    assert found["held_out_and_test"]["without_chosen"]["spearman"] == pytest.approx(-1)
    densities = [density(each.studied.codes) for each in (*drawn, best)]
    expected = spearmanr(densities, [20, 21, 22, 23, 24, 10]).statistic
    assert found["density_and_stand_alone"]["spearman"] == pytest.approx(expected)

    chosen = found["chosen"]
    assert (chosen["number"], chosen["drawn_among_the_first"]) == (9, 0)
    held_out, on_test, trained = (
        chosen[name] for name in ("fine_tuned_held_out", "fine_tuned_test", "stand_alone_test")
    )
    assert (held_out["rank"], on_test["rank"], trained["rank"]) == (1, 1, 6)
    assert (held_out["correct"], held_out["n"]) == (180, 200)
    assert held_out["low"] < 0.9 < held_out["high"]
    assert held_out["lead"] == pytest.approx(0.9 - 0.52)
    assert trained["lead"] == pytest.approx(0.10 - 0.22)


def test_a_chosen_candidate_that_was_drawn_is_one_of_the_sample():
    drawn = [judged(n, 0.1 * n, 0.5, 50, 20 + n, chosen=n == 4) for n in range(5)]
    found = findings_of(drawn, extra=False, held_out=200)
    assert "without_chosen" not in found["inherited_and_stand_alone"]
    assert found["inherited_and_stand_alone"]["spearman"] == pytest.approx(1)
    assert found["fine_tuned_and_stand_alone"]["spearman"] is None  # all have the same score
    assert found["chosen"]["drawn_among_the_first"] == 1


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study on a few of the digits."""
    digits, _ = load_split("digits", "test")
    few = Dataset(NAME, 10, 1, 8, digits.class_names, get_threat_model("digits"), "", flip=False)

    def read(part, root, download):
        _, images = load_split("digits", "test" if part == "test" else "train")
        count = TESTED if part == "test" else TRAINED
        return part_of(images.subset(torch.arange(count)), part)

    register_dataset(few, read)
    folder = tmp_path_factory.mktemp("study")
    tiny = ["--smoke", "--dataset", NAME, "--device", "cpu", "--set", "batch_size=16"]
    tiny += ["--set", "epsilon=0.05", "--architectures", "4"]
    assert main(["robnet", *tiny, "--out", str(folder)]) == 0
    yield folder
    del ROWS[NAME]


def standalone(folder: Path, out: Path, *more: str) -> int:
    options = ["--architectures", "3", "--epochs", "1", "--device", "cpu", *more]
    return main(["robnet", "standalone", str(folder), "--out", str(out), *options])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_candidates_are_judged_on_test_images_and_nothing_is_done_twice(study, tmp_path, capsys):
    assert standalone(study, tmp_path) == 0
    rows = table(tmp_path / "standalone.csv")
    studied = {row["number"]: row for row in table(study / "study.csv")}
    record = json.loads((tmp_path / "standalone.json").read_text())
    chosen = json.loads((study / "record.json").read_text())["found"]["best"]["number"]
    assert [row["number"] for row in rows if row["chosen"] == "1"] == [str(chosen)]
    assert {row["number"] for row in rows} >= {"0", "1"}
    assert record["test"]["images"] == TESTED
    assert record["threat_model"]["epsilon"] == "0.05"
    assert record["fine_tuned_again"] == {"equal": 3, "candidates": 3, "largest_difference": 0}
    for row in rows:
        of_study = studied[row["number"]]
        assert row["code"] == of_study["code"]
        assert row["inherited_held_out"] == of_study["robust_before"]
        assert row["fine_tuned_held_out"] == of_study["robust"]
        for kind in ("fine-tuned", "stand-alone"):
            path = tmp_path / kind / f"candidate-{row['number']}" / "evaluation.json"
            evaluation = json.loads(path.read_text())
            assert evaluation["data"]["n"] == TESTED
            accuracy = evaluation["totals"]["robust"]["accuracy"]
            column = f"{kind.replace('-', '_')}_test"
            assert float(row[column]) == pytest.approx(accuracy, abs=1e-6)
            clean = evaluation["clean"]["accuracy"]["accuracy"]
            assert float(row[f"{column}_clean"]) == pytest.approx(clean, abs=1e-6)
    assert (tmp_path / "standalone.png").stat().st_size > 10_000
    assert f"{chosen} (chosen)" in capsys.readouterr().out

    # a second time only what is missing is done
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/candidate-*/*")}
    lost = tmp_path / "fine-tuned" / "candidate-0" / "evaluation.json"
    lost.unlink()
    assert standalone(study, tmp_path) == 0
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/candidate-*/*")}
    assert {path for path in done if path.parent != lost.parent and after[path] != done[path]} == (
        set()
    )
    assert table(tmp_path / "standalone.csv") == rows
    assert standalone(study, tmp_path, "--seed", "1") == 2
    assert "choose another --out" in capsys.readouterr().err


def test_what_cannot_be_judged_is_refused_before_any_work(study, tmp_path, capsys):
    other = tmp_path / "study"
    shutil.copytree(study, other)
    record = json.loads((study / "record.json").read_text())

    def refused(folder, message, *more, **changes):
        changed = record | {"recipe": record["recipe"] | changes}
        (other / "record.json").write_text(json.dumps(changed))
        assert standalone(folder, tmp_path / "out", *more) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    refused(tmp_path, "Cannot read")
    refused(other, "the study has 4", "--architectures", "5")
    refused(other, "takes 3 or more", "--architectures", "2")
    refused(other, "seed=0, the study seed=1", seed=1)
    refused(other, "no test images", dataset="arrays:own.npz", threat_model="digits")
    refused(other, "no checkpoint", "--supernet", str(tmp_path))
