"""The trial of the checks: what its changes keep, how cases are counted, and what a kill leaves."""

import json

import pytest
import torch
from helpers.documents import ROOT

from benchmarks.checks import counting, gradients, tables
from benchmarks.checks.__main__ import main, trial
from benchmarks.checks.changes import CHANGES, NamedChange
from benchmarks.checks.data import test_digits as digits
from benchmarks.checks.honest import HONEST, TRAININGS
from benchmarks.checks.kept import Kept
from benchmarks.checks.networks import ADVERSARIALLY, NETWORKS, NORMALLY, THIRD, trained
from benchmarks.checks.trial import Subject, judge_honest
from robnet_zoo.runtime.errors import ZooError

RECORD = json.loads((ROOT / "benchmarks/results/checks-cpu.json").read_text())


def logits(change, network, images):
    model = change.apply(trained(NETWORKS[network]))
    assert not any(module.training for module in model.modules())
    return model(images)


# ---- changes


@pytest.mark.parametrize("network", NETWORKS)
def test_changes_give_logits_and_keep_the_decisions_that_they_are_to_keep(network):
    images = digits(64)[0].requires_grad_()  # some changes look whether a gradient is asked for
    unchanged = trained(NETWORKS[network])(images).argmax(1)
    for change in CHANGES:
        found = logits(change, network, images)
        assert found.shape == (64, 10) and found.isfinite().all(), change.name
        agreement = float((found.argmax(1) == unchanged).float().mean())
        assert agreement > 0.9 or not change.keeps_decisions, change.name


@pytest.mark.parametrize("network", NETWORKS)
def test_false_gradients_change_no_logit(network):
    images = digits(65)[0].requires_grad_()
    unchanged = trained(NETWORKS[network])(images)
    names = {*gradients.FIRST, *gradients.SECOND}
    for change in CHANGES:
        if change.name in names:
            torch.testing.assert_close(logits(change, network, images), unchanged, msg=change.name)


def test_names_are_of_one_change_or_network_each():
    assert len({change.name for change in CHANGES}) == len(CHANGES)
    assert len({network.name for network in HONEST}) == len(HONEST)


def test_a_network_is_trained_once_and_never_shared():
    first, second = trained(THIRD), trained(THIRD)
    first[0].weight.data.zero_()
    assert second[0].weight.abs().sum() > 0
    torch.testing.assert_close(trained(THIRD).state_dict(), second.state_dict())


# ---- cases


def row(change, lift, false, failed=(), which="first", network=NORMALLY, error=""):
    return {
        "change": change,
        "set": which,
        "network": network,
        "clean": 99.0,
        "robust": 50.0 + lift,
        "lift": lift,
        "false": false,
        "failed_checks": list(failed),
        "error": error,
    }


CASES = [
    row("a", 3.0, 3.0),
    row("b", 40.0, 2.5),  # robustness: images of the unchanged network break little
    row("c", 2.5, 40.0),
    row("d", 12.0, 9.5, ["survivors"]),
    row("e", 10.0, 31.0, network=ADVERSARIALLY),
    {**row("f", 0.0, 0.0, error="ZooError: no"), "lift": None, "false": None, "robust": None},
    row("g", 7.0, 7.0, ["logit-scale"], which="second"),
]


def test_a_false_lift_is_both_a_lift_and_broken():
    lifts = {case["change"]: counting.false_lift(case) for case in CASES}
    assert lifts == {"a": 3.0, "b": 2.5, "c": 2.5, "d": 9.5, "e": 10.0, "f": 0.0, "g": 7.0}
    first = counting.of_set(CASES, "first")
    counts = [counting.count(first, points) for points in (3, 5, 10)]
    assert [(each.cases, each.named, each.missed) for each in counts] == [
        (3, 1, 2),
        (2, 1, 1),
        (1, 0, 1),
    ]
    assert [case["change"] for case in counting.missed(first)] == ["e", "a"]


def test_tables_count_and_name_what_is_missed():
    unchanged = [{"network": name, "robust": 50.0, "false": 1.5} for name in NETWORKS]
    record = {"cases": CASES, "unchanged": unchanged}
    shown = tables.counts(record)
    assert "| first | 6 | 6 | 3 points or more | 3 | 1 | 2 |" in shown
    assert "| second | 1 | 1 | 10 points or more | 0 | 0 | 0 |" in shown
    assert "network trained normally, such images break 1.5 points as well" in shown
    assert "1 case could not be judged." in shown
    missed = tables.missed_cases(record).splitlines()
    assert missed[2:] == [
        "| e | first | trained adversarially | 50.0 | 60.0 | +10.0 | 31.0 |",
        "| a | first | trained normally | 50.0 | 53.0 | +3.0 | 3.0 |",
    ]


def test_alarms_on_honest_networks_are_named():
    network = {**row("", 0.0, 0.0), "network": "net", "training": NORMALLY}
    quiet = {**network, "failed_at_other_sizes": {"L2 1.0": []}}
    loud = {**network, "failed_at_other_sizes": {"L2 1.0": ["beats-noise"]}}
    refused = {**quiet, "network": "other", "error": "ZooError: no", "failed_at_other_sizes": {}}
    record = {"honest": [quiet, loud, refused], "settings": {"attack": "pgd100"}}
    last = tables.honest(record).splitlines()[-1]
    assert "| 3 | 99.0 to 99.0 | 50.0 to 50.0 |" in last
    assert "`beats-noise` on net, trained normally; other, trained normally: ZooError: no" in last
    assert last.count("beats-noise") == 1


def test_what_images_of_the_unchanged_network_break_is_false():
    subject = Subject(NORMALLY, 32)
    unchanged = subject.judge()
    tried = {change.name: change for change in CHANGES}
    case = subject.try_change(tried["logits x 100"], unchanged)
    assert case["lift"] > 60 and case["false"] > 60
    assert case["lift"] == case["robust"] - unchanged["robust"]
    assert "logit-scale" in case["failed_checks"]
    exact = subject.try_change(tried["a false gradient on grey levels"], unchanged)
    assert exact["failed_checks"] == [] and exact["clean"] == unchanged["clean"]
    assert unchanged["false"] <= unchanged["robust"] and unchanged["lift"] is None


def test_a_case_that_cannot_be_judged_says_why_and_no_more():
    def fail(network):
        raise ValueError("no such layer\nand more")

    change = NamedChange(name="broken", set="first", apply=fail, keeps_decisions=True)
    case = Subject(NORMALLY, 16).try_change(change, {"robust": 50.0})
    assert case["error"] == "ValueError: no such layer"
    assert case["change"] == "broken" and counting.false_lift(case) == 0


def test_an_honest_network_is_judged_at_three_sizes():
    network = next(each for each in HONEST if each.name == "linear")
    found = judge_honest(network, NORMALLY, 192)
    assert found["error"] == "" and found["clean"] > 90
    assert list(counting.alarms(found)) == ["as usual", "L2 1.0", "Linf 0.05"]


# ---- runs


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    out, key = tmp_path / "checks.json", {"n": 16, "losses": ("ce", "margin")}
    assert Kept(out, key).once("a", lambda: {"seconds": 1.0}) == {"seconds": 1.0}
    again = Kept(out, key)
    assert again.once("a", pytest.fail) == {"seconds": 1.0}
    assert Kept(out, {"n": 32}).rows == {}
    again.remove()
    assert not list(tmp_path.iterdir())


def test_a_part_of_the_trial_judges_what_is_asked_for(tmp_path):
    kept = Kept(tmp_path / "checks.json", {})
    found = trial(kept, 16, ["a false gradient on grey"])
    assert [case["network"] for case in found["cases"]] == [NORMALLY, ADVERSARIALLY]
    assert len(found["unchanged"]) == 2 and found["honest"] == []
    assert found == trial(kept, 16, ["a false gradient on grey"])  # nothing is judged again


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--n", "100"], "give 192 images or more"),
        (["--only", "linear"], "name a file by --out"),
    ],
)
def test_a_run_that_would_make_no_record_is_refused(options, told):
    with pytest.raises(ZooError, match=told):
        main(options)


def test_the_record_is_of_today_s_changes_and_networks():
    assert {case["change"] for case in RECORD["cases"]} == {change.name for change in CHANGES}
    assert {row["network"] for row in RECORD["honest"]} == {network.name for network in HONEST}
    assert len(RECORD["cases"]) == len(CHANGES) * len(NETWORKS)
    assert len(RECORD["honest"]) == len(HONEST) * len(TRAININGS)
