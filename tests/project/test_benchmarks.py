"""The benchmarks at their smallest, and the page that is made from their records."""

import json
import socket
import time
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from helpers.fitted import save_fitted

from benchmarks import (
    autoattack,
    bounds,
    evaluation,
    gpu,
    limits,
    measure,
    memory,
    page,
    search,
    start,
    supernet,
    training,
)
from benchmarks.plain import plain
from benchmarks.targets import untrained
from robnet_zoo.search.dsrna.recipe import RECIPES

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow

HERE = ["--device", "cpu", "--threads", "1"]
SMALL = ["--model", "racl", "--channels", "4", "--layers", "3", "--batch-size", "2"]
ONCE = [*HERE, "--rounds", "1"]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Run the benchmarks; return their records by file name."""
    folder = tmp_path_factory.mktemp("records")
    weights = save_fitted(folder / "racl.fitted").folder
    trained = ["--model", f"local-dir:{weights}"]
    steps = ["--steps", "2"]
    runs = {
        "evaluation-racl": (evaluation, [*SMALL, *steps, *ONCE, "--n", "3"]),
        "evaluation-fitted": (evaluation, [*trained, "--steps", "5", *ONCE, "--n", "24"]),
        "autoattack-fitted": (autoattack, [*trained, *ONCE, "--n", "6"]),
        "training-racl": (training, [*SMALL, *steps, *ONCE]),
        "limits-racl": (limits, [*SMALL, *ONCE, "--size", "64"]),
    }
    for name, (benchmark, options) in runs.items():
        benchmark.main([*options, "--out", str(folder / f"{name}-cpu.json")])
    return {path.stem[:-4]: json.loads(path.read_text()) for path in folder.glob("*-cpu.json")}


def test_a_speedup_is_the_median_of_the_ratios_within_rounds():
    seconds = {"plain": [3.0, 8.0, 100.0], "robnet_zoo": [1.0, 2.0, 50.0]}
    found = measure.comparison(seconds, "plain")["speedup"]
    assert found == {"median": 3.0, "lowest": 2.0, "highest": 4.0}


def test_rounds_alternate_and_those_that_warm_up_do_not_count():
    turns = []
    contenders = {"a": lambda: turns.append("a"), "b": lambda: turns.append("b") or 7.0}
    seconds = measure.alternate(contenders, 2, "cpu", warm_up=1)
    assert turns == ["a", "b"] * 3
    assert seconds["b"] == [7.0, 7.0] and all(taken < 1 for taken in seconds["a"])


def test_records_say_how_they_were_made_and_not_where(records):
    for record in records.values():
        assert record["format"] == measure.FORMAT
        assert record["environment"]["processor"]
        text = json.dumps(record)
        assert socket.gethostname() not in text and str(Path.home()) not in text
        assert "/tmp" not in text and str(Path.cwd()) not in text


def test_both_sides_compute_the_same_gradients(records):
    record = records["evaluation-racl"]
    assert set(record["gradients"]["computed"].values()) == {3 * 2}
    assert record["gradients"]["folded"]
    assert record["gradients"]["speedup"]["median"] > 0
    assert record["verdicts"] is None  # of an untrained network


def test_verdicts_are_those_of_the_unfolded_network(records):
    found = records["evaluation-fitted"]["verdicts"]
    assert found["judged_differently"] == found["in_the_models_favour"] == 0
    robust = found["robust_accuracy"]
    assert robust["robnet_zoo"] == robust["unfolded"] <= robust["torchattacks"] < 1


def test_autoattack_leaves_no_more_images_than_the_reference(records):
    record = records["autoattack-fitted"]
    assert record["robust_accuracy"]["robnet_zoo"] <= record["robust_accuracy"]["pyautoattack"]
    assert all(taken > 0 for taken in record["seconds"]["pyautoattack"])


def test_epochs_follow_from_the_rate(records):
    record = records["training-racl"]
    for name, rate in record["images_per_second"].items():
        assert record["epochs_in_25_minutes"][name] == pytest.approx(rate * 1500 / 48_000)


def test_the_profile_finds_every_kind_of_operator(records):
    record = records["limits-racl"]
    assert all(rate > 1e6 for rate in record["ceilings"].values())
    plain_form, folded = record["forms"]["plain"], record["forms"]["folded"]
    expected = {"depthwise convolution", "pointwise convolution", "batch norm", "ReLU"}
    assert expected < plain_form["operators"].keys()
    assert "batch norm" not in folded["operators"]
    assert folded["bytes_an_image"] < plain_form["bytes_an_image"]
    operations = plain_form["operations_per_second"] * plain_form["milliseconds_an_image"] / 1e3
    assert operations == pytest.approx(4 * record["multiply_adds_an_image"])


def test_traffic_counts_what_is_read_and_written_once():
    x = torch.rand(10, 10)
    with limits.Traffic() as traffic:
        (x.t() + 1).relu()
    assert traffic.bytes == 4 * x.nbytes  # two operators, one read and one write each


def test_the_plain_form_gives_the_logits_of_the_network():
    options = Namespace(model="robnet_free", channels=4, layers=None)
    chosen = untrained(options, 2, "cpu")
    with torch.no_grad():
        torch.testing.assert_close(plain(chosen.model)(chosen.images), chosen.model(chosen.images))


def test_every_search_takes_both_of_its_steps(tmp_path):
    tiny = [
        "--recipe",
        "digits",
        "--layers",
        "3",
        "--batch-size",
        "2",
        "--side",
        "8",
        "--steps",
        "1",
    ]
    supernet.main([*tiny, *ONCE, "--out", str(tmp_path / "supernet-cpu.json")])
    searches = json.loads((tmp_path / "supernet-cpu.json").read_text())["searches"]
    assert set(searches) == set(supernet.ALGORITHMS)
    assert all(result["speedup"]["median"] > 0 for result in searches.values())


def test_the_supernet_is_timed_beside_single_networks():
    options = Namespace(channels=4, layers=3, batch_size=4, steps=1, rounds=2)
    seconds, densities = search.time_steps(options, "cpu")
    assert set(seconds) == {"switches", "single", "multiplied"}
    assert all(len(taken) == len(densities) == 2 for taken in seconds.values())


def test_a_step_of_training_needs_more_memory_than_python_alone():
    options = Namespace(model="racl", channels=4, layers=3, batch_size=2, device="cpu", threads=1)
    assert 1e8 < memory.in_own_process("training", "robnet_zoo", options) < 1e10


def test_the_package_answers_sooner_than_torch(tmp_path):
    start.main([*ONCE, "--out", str(tmp_path / "start-cpu.json")])
    seconds = json.loads((tmp_path / "start-cpu.json").read_text())["median_seconds"]
    assert seconds["robnet-zoo list"] < seconds["import torch"] < seconds["450 digits classified"]


def test_the_page_shows_the_records():
    assert page.main(["--check"]) == 0


def test_tables_hold_the_numbers_of_the_records(records, tmp_path, monkeypatch):
    for name, record in records.items():
        (tmp_path / f"{name}-cpu.json").write_text(json.dumps(record))
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    speedup = records["evaluation-racl"]["gradients"]["speedup"]["median"]
    assert f"`racl` | {page.hardware(records['evaluation-racl'])}" in page.evaluation()
    assert f"**{speedup:.2f}**" in page.evaluation()
    assert "racl.fitted" in page.verdicts() and "racl.fitted" in page.autoattack()
    assert page.limits().count("\n") == 2 + len(records["limits-racl"]["forms"])
    assert page.memory() == "No record yet.\n"


def part(name="no_such_benchmark", **changes):
    return gpu.Part(**{"name": name, "seconds": 60, "arguments": "", "tiny": "", **changes})


def test_a_run_on_a_gpu_ends_with_the_parts_that_may_be_skipped():
    compiled = ["--compile" in part.arguments for part in gpu.PARTS]
    needy = ["torchattacks" in part.needs for part in gpu.PARTS]
    assert sorted(compiled) == compiled  # they come last
    parts = [needs for needs, late in zip(needy, compiled, strict=True) if not late]
    assert sorted(parts) == parts
    assert sum(part.seconds for part in gpu.PARTS[: len(parts)]) <= 300


def test_a_part_that_cannot_run_is_told_and_no_more(tmp_path):
    wrong = part().run("cpu", False, tmp_path, 60)
    assert "failed with exit code 1" in wrong
    lacking = part(needs=("json", "no_such_package")).run("cpu", False, tmp_path, 60)
    assert lacking == "no_such_benchmark: skipped, it needs no_such_package"
    assert part().run("cpu", False, tmp_path, 1) == "no_such_benchmark: skipped, no time is left"


def test_a_part_is_stopped_at_its_limit_with_all_that_it_started(tmp_path):
    ended = tmp_path / "ended"
    assert gpu.call(["sh", "-c", f"(sleep 1; touch {ended}) & wait"], 0.5) is None
    time.sleep(1)
    assert not ended.exists()
    assert "stopped after 0 s" in part("evaluation-slow", seconds=0).run("cpu", False, tmp_path, 60)


def test_no_part_begins_when_the_time_is_over(tmp_path, capsys):
    assert gpu.main(["--device", "cpu", "--seconds", "0", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(gpu.PARTS)
    assert all(": skipped, " in line for line in lines)
    assert not list(tmp_path.iterdir())


def test_the_page_on_dsrna_says_how_large_its_bounds_are():
    record = json.loads((ROOT / "benchmarks/results/bounds.json").read_text())["recipes"]
    page = " ".join((ROOT / "docs/search/dsrna.md").read_text().split())
    paper = record["paper"]
    assert f"{paper['steps']:,} steps with {paper['values'] / 1e6:.1f} million values" in page
    assert f"{paper['coefficients_gib']:.2f} GiB" in page
    counted = bounds.counted(RECIPES["digits"])
    assert counted == pytest.approx(record["digits"], rel=0.05)  # torch's own steps may change
