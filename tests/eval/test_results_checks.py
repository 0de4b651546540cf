"""Results that look like robustness and are none are caught by name, in records made of numbers."""

import dataclasses

import pytest
from helpers.made_records import attack, make
from msgspec.structs import replace

from robnet_zoo.eval.checks import Card, check_results, check_sweep
from robnet_zoo.eval.record import Part, Queries, proportion_of

N = 1000
PGD = {"step_value": 2 / 255, "loss": "ce", "momentum": None, "restarts": 1, "targeted": False}


def verdicts(robust):
    return "1" * robust + "0" * (N - robust)


def result(name, robust, last=None, any_trace=None, **settings):
    steps = int(name[3:]) if name.startswith("pgd") else 1
    gradient = {**PGD, "steps": steps} if name.startswith(("fgsm", "pgd")) else {}
    return attack(
        name,
        robust,
        N,
        last,
        any_trace or (),
        settings={"name": name, **gradient, **settings},
        max_perturbation=8 / 255,
    )


def suite(*broken):
    names = ("apgd-ce", "apgd-t", "fab-t", "square")
    left, parts = 800, []
    for name, count in zip(names, broken, strict=True):
        parts.append(
            Part(name=name, attacked=left, broken=count, seconds=1.0, forwards=1, backwards=1)
        )
        left -= count
    return replace(result("autoattack", left), parts=tuple(parts))


def square(robust):
    return replace(
        result("square", robust, queries=5000),
        queries=Queries(budget=5000, broken=1, mean=1.0, median=1.0),
    )


def report_of(*attacks, clean=800, epsilon="8/255"):
    made = make(clean=clean, n=N)
    total = min([clean, *(result.robust.correct for result in attacks)])
    return replace(
        made,
        data=replace(made.data, name="cifar10", available=N),
        threat_model=replace(
            made.threat_model, name="cifar10", epsilon=epsilon, epsilon_value=eval(epsilon)
        ),
        clean=replace(made.clean, predictions=tuple(i % 10 for i in range(N))),
        attacks=attacks,
        totals=replace(
            made.totals, robust=proportion_of(verdicts(total)), verdicts=verdicts(total)
        ),
        checks=(),
    )


def results_of(*attacks, **settings):
    return {check.name: check for check in check_results(report_of(*attacks), **settings)}


def failed(checks):
    return [name for name, check in checks.items() if check.verdict == "failed"]


def test_sound_results_pass_every_check():
    attacks = (
        result("fgsm", 580),
        result("pgd7", 536),
        result("pgd20", 525, last=527),
        result("pgd100", 523, last=526, any_trace=(800,) * 21 + (525,) * 60 + (523,) * 20),
        square(570),
        replace(
            result("transfer:vgg19:pgd20", 700, source="vgg19"),
            on_source=proportion_of(verdicts(100)),
        ),
        suite(278, 40, 2, 1),
    )
    checks = results_of(*attacks, num_classes=10, card=CARD)
    assert not failed(checks)
    assert [name for name, check in checks.items() if check.verdict == "skipped"] == []


CARD = Card(data="cifar10", split="test", n=N, accuracy=0.8004)
TRACE = (800,) * 61 + (600,) * 20 + (540,) * 20
WEAK = {
    "steps too short": ("step-length", [result("pgd20", 600, step_value=0.001)]),
    "steps too few": ("step-length", [result("pgd5", 600)]),
    "steps that still break": ("converged", [result("pgd100", 540, any_trace=TRACE)]),
    "20 steps are not 100": ("converged", [result("pgd20", 600), result("pgd100", 560)]),
    "more steps are weaker": ("more-steps", [result("pgd20", 500), result("pgd100", 520)]),
    "FGSM is stronger": ("more-steps", [result("fgsm", 500), result("pgd20", 520)]),
    "the last iterate is weaker": ("last-iterate", [result("pgd20", 500, last=560)]),
    "cross-entropy is blind": (
        "losses-agree",
        [result("pgd20", 700), result("apgd-t", 500, loss="dlr-targeted", steps=100)],
    ),
    "cross-entropy is blind in a suite": ("losses-agree", [suite(100, 150, 0, 0)]),
    "square is stronger": ("black-box", [result("pgd20", 520), square(510)]),
    "square is stronger in a suite": ("black-box", [suite(280, 20, 0, 5)]),
    "transfer is stronger": (
        "black-box",
        [result("pgd20", 520), result("transfer:vgg19", 500, source="vgg19")],
    ),
    "an image too far": ("perturbation", [replace(result("cw", 520), over_epsilon=1)]),
    "all too far": ("perturbation", [replace(result("cw", 520), max_perturbation=0.1)]),
}


@pytest.mark.parametrize("case", WEAK)
def test_weak_attacks_are_caught(case):
    name, attacks = WEAK[case]
    checks = results_of(*attacks)
    assert failed(checks) == [name]
    assert ": " in checks[name].detail


def skipped(checks):
    return {name for name, check in checks.items() if check.verdict == "skipped"}


def test_a_check_with_nothing_to_look_at_says_so():
    asked = results_of()
    assert set(asked) - skipped(asked) == {"worst-case", "known-classes"}
    assert all(check.detail.endswith(".") for check in asked.values())
    weak = results_of(result("fgsm", 500), square(400))  # one step is too weak
    assert "black-box" in skipped(weak)
    targeted = result("pgd20", 700, targeted=True)
    assert "more-steps" in skipped(results_of(result("fgsm", 500), targeted))
    assert "black-box" in skipped(results_of(targeted, square(600)))


def test_few_images_are_held_against_nobody():
    assert not failed(results_of(result("pgd20", 500), square(498)))
    assert failed(results_of(result("pgd20", 500), square(497))) == ["black-box"]


def test_verdicts_that_do_not_add_up_are_caught():
    sound = report_of(result("pgd20", 500), suite(280, 10, 0, 0))
    averaged = replace(sound, totals=replace(sound.totals, verdicts=verdicts(505)))
    renamed = replace(sound, clean=replace(sound.clean, accuracy=proportion_of(verdicts(801))))
    wrong_part = replace(
        sound,
        attacks=(
            suite(280, 10, 0, 0),
            replace(suite(280, 10, 0, 0), parts=suite(280, 9, 0, 0).parts),
        ),
    )
    for broken, who in ((averaged, "all attacks"), (renamed, "clean"), (wrong_part, "autoattack")):
        (check,) = (one for one in check_results(broken) if one.name == "worst-case")
        assert not check.passed
        assert who in check.detail


def test_predictions_of_other_classes_are_caught():
    assert not results_of(num_classes=9)["known-classes"].passed
    report = report_of()
    report = replace(report, clean=replace(report.clean, predictions=(-1,) * N))
    assert not check_results(report)[1].passed


def test_the_card_counts_for_its_own_images_only():
    assert results_of(card=CARD)["card"].passed
    other = results_of(card=dataclasses.replace(CARD, accuracy=0.801))["card"]
    assert not other.passed
    assert "80.00 %, and the weights' card says 80.10 %" in other.detail
    for change in ({"n": 10_000}, {"split": "train"}, {"data": "svhn"}):
        assert "card" in skipped(results_of(card=dataclasses.replace(CARD, **change)))


def test_sweeps_must_fall_and_reach_nothing():
    def sweep(**robust):
        return check_sweep(
            [report_of(result("pgd20", left), epsilon=size) for size, left in robust.items()],
            "pgd20",
        )

    sound = sweep(**{"8/255": 500, "4/255": 650, "255/255": 3})
    assert [(one.name, one.passed) for one in sound] == [
        ("epsilon-monotone", True),
        ("epsilon-unbounded", True),
    ]
    verdicts = [one.verdict for one in sweep(**{"4/255": 650, "8/255": 680})]
    assert verdicts == ["failed", "skipped"]
    assert [one.passed for one in sweep(**{"8/255": 500, "255/255": 50})] == [True, False]
