"""Results that look like robustness and are none are caught by name, in records made of numbers."""

import dataclasses

import pytest
from helpers.made_records import attack, make
from msgspec.structs import replace

from robnet_zoo.eval.checks import Card, check_results, check_sweep
from robnet_zoo.eval.record.fields import proportion_of
from robnet_zoo.eval.record.results import ClassTotals, Part, Queries

N = 1000
PGD = {"step_value": 2 / 255, "loss": "ce", "momentum": None, "restarts": 1, "targeted": False}


def verdicts(robust):
    return "1" * robust + "0" * (N - robust)


def result(name, robust, last=None, any_trace=None, backwards=None, **settings):
    steps = int(name.removesuffix("-targeted")[3:]) if name.startswith("pgd") else 1
    gradient = {**PGD, "steps": steps} if name.startswith(("fgsm", "pgd")) else {}
    return attack(
        name,
        robust,
        N,
        last,
        any_trace or (),
        settings={"name": name, **gradient, **settings},
        max_perturbation=8 / 255,
        backwards=settings.get("steps", steps) * N if backwards is None else backwards,
    )


def part(name, attacked, broken, backwards):
    return Part(
        name=name, attacked=attacked, broken=broken, seconds=1.0, forwards=1, backwards=backwards
    )


def suite(*broken):
    names = ("apgd-ce", "apgd-t", "fab-t", "square")
    left, parts = 800, []
    for name, count in zip(names, broken, strict=True):
        parts.append(part(name, left, count, 10**6))
        left -= count
    settings = [{"name": name, "steps": 100} for name in names]
    return replace(result("autoattack", left, parts=settings), parts=tuple(parts))


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
            made.totals,
            robust=proportion_of(verdicts(total)),
            verdicts=verdicts(total),
            per_class=tuple(
                ClassTotals(label=label, name=str(label), n=N // 10, clean=0, robust=0)
                for label in range(10)
            ),
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
    sizes = {"image_size": 32, "usual_size": 32}
    checks = results_of(*attacks, num_classes=10, card=CARD, **sizes)
    assert not failed(checks)
    assert [name for name, check in checks.items() if check.verdict == "skipped"] == []


CARD = Card(data="cifar10", split="test", n=N, accuracy=0.8004)
TRACE = (800,) * 61 + (600,) * 20 + (540,) * 20
WEAK = {
    "steps too short": (
        "step-length",
        [result("pgd20", 600, step_value=0.001), result("pgd50", 600)],
    ),
    "steps too few": ("step-length", [result("pgd5", 600), suite(200, 0, 0, 0)]),
    "steps that still break": ("converged", [result("pgd100", 540, any_trace=TRACE)]),
    "20 steps are not 100": ("converged", [result("pgd20", 600), result("pgd100", 560)]),
    "more steps are weaker": ("more-steps", [result("pgd20", 500), result("pgd100", 520)]),
    "AutoAttack is weaker": ("more-steps", [result("pgd20", 500), suite(280, 8, 0, 0)]),
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
    "an image too far": ("perturbation", [replace(result("pgd20", 520), over_epsilon=1)]),
    "all too far": ("perturbation", [replace(result("pgd20", 520), max_perturbation=0.1)]),
}


@pytest.mark.parametrize("case", WEAK)
def test_weak_attacks_are_caught(case):
    name, attacks = WEAK[case]
    checks = results_of(*attacks)
    assert failed(checks) == [name]
    assert ": " in checks[name].detail


OWN = {"loss": "mine:loss", "loss_sha256": "a"}
ALONE = [result("fgsm", 560, **OWN), result("pgd20", 700, last=760, **OWN)]


@pytest.mark.parametrize(
    ("attacks", "alarms"),
    [
        (ALONE, ["strong-attack"]),
        ([*ALONE, result("pgd100", 750, **OWN)], ["strong-attack"]),
        ([*ALONE, square(500)], ["strong-attack"]),
        ([*ALONE, result("pgd100", 500), square(499)], []),
        # one that breaks more than what is strong tells of the model all the same
        ([result("pgd20", 400, **OWN), suite(250, 50, 0, 0)], ["more-steps"]),
    ],
)
def test_what_a_loss_of_ones_own_misses_is_not_held_against_the_model(attacks, alarms):
    assert failed(results_of(*attacks)) == alarms


def skipped(checks):
    return {name for name, check in checks.items() if check.verdict == "skipped"}


def test_a_check_with_nothing_to_look_at_says_so():
    asked = results_of()
    always = {"worst-case", "known-classes", "clean-accuracy", "epsilon"}
    assert set(asked) - skipped(asked) == always
    assert all(check.detail.endswith(".") for check in asked.values())
    weak = results_of(result("fgsm", 500), square(400))  # one step is too weak
    assert "black-box" in skipped(weak)
    targeted = result("pgd20", 700, targeted=True)
    assert "more-steps" in skipped(results_of(result("fgsm", 500), targeted))
    assert "black-box" in skipped(results_of(targeted, square(600)))


def test_few_images_are_held_against_nobody():
    assert not failed(results_of(result("pgd20", 500), square(498)))
    assert failed(results_of(result("pgd20", 500), square(497))) == ["black-box"]


def cut(report, n):
    """Return a record of the first n images of each attack, as if there were no more."""
    cut_attacks = [
        replace(one, verdicts=one.verdicts[:n], robust=proportion_of(one.verdicts[:n]))
        for one in report.attacks
    ]
    clean = report.clean
    return replace(
        report,
        data=replace(report.data, n=n),
        clean=replace(
            clean, verdicts=clean.verdicts[:n], accuracy=proportion_of(clean.verdicts[:n])
        ),
        attacks=tuple(cut_attacks),
    )


def test_a_few_images_are_too_few_to_compare_attacks_on():
    def verdict(n, *robust):
        attacks = [result("pgd20", robust[0]), square(robust[1])]
        checks = check_results(cut(report_of(*attacks), n))
        return {check.name: check for check in checks}["black-box"].verdict

    assert verdict(12, 8, 8) == verdict(12, 8, 7) == "skipped"
    assert verdict(12, 8, 6) == "failed"  # two of twelve are no accident
    assert verdict(48, 8, 7) == "passed"
    assert verdict(48, 8, 6) == "failed"


WORTHLESS = {
    "one step": (result("fgsm", 500), "fgsm takes 1 step"),
    "pgd1": (result("pgd1", 788), "pgd1 takes 1 step"),
    "19 steps": (result("pgd19", 540), "pgd19 takes 19 steps"),
    "one step twenty times": (result("pgd1", 700, restarts=20, backwards=20 * N), "takes 1 step"),
    "steps that never happened": (result("pgd20", 700, backwards=9 * 700), "takes 9 steps"),
    "small steps": (result("pgd100", 750, step_value=0.1 / 255), "reach 1.25 epsilon in all"),
    "a smaller ball": (
        replace(result("pgd20", 750), max_perturbation=1 / 255),
        "moves no image by more than 0.12 epsilon",
    ),
    "one other class": (
        result("pgd100-targeted", 700, targeted=True),
        "pgd100-targeted aims at one other class",
    ),
    "one other class, in older records": (
        result("pgd100", 700, targeted=True),
        "pgd100-targeted aims at one other class",
    ),
    "deepfool": (result("deepfool", 750, steps=50), "looks for the smallest change"),
    "cw": (result("cw", 750, steps=100), "cw looks for the smallest change"),
    "an unknown one of that kind": (
        replace(result("own", 750, steps=100), median_distance=0.5),
        "own looks for the smallest change",
    ),
    "square": (square(600), "square follows no gradients"),
    "transfer": (
        result("transfer:vgg19:pgd20", 600, source="vgg19", backwards=0),
        "follows no gradients",
    ),
    "an unknown one without gradients": (
        result("own", 700, steps=100, backwards=0),
        "own follows no gradients",
    ),
    "a loss of its own": (
        result("pgd20", 700, loss="mine:loss", loss_sha256="a"),
        "pgd20 raises a loss of its own",
    ),
    "apgd of five steps": (result("apgd-ce", 600, steps=5), "apgd-ce takes 5 steps"),
    "a suite of weak ones": (
        replace(
            result("own-suite", 600, parts=[{"steps": 1}, {"queries": 5000}]),
            parts=(part("fgsm", 800, 100, 800), part("square", 700, 100, 0)),
        ),
        "no part of own-suite is strong",
    ),
}


@pytest.mark.parametrize("case", WORTHLESS)
def test_a_number_behind_which_no_strong_attack_stands_is_refused(case):
    attack, said = WORTHLESS[case]
    check = results_of(attack)["strong-attack"]
    assert check.verdict == "failed"
    assert said in check.detail
    assert "not to be quoted" in check.detail
    assert results_of(attack, result("pgd20", 500))["strong-attack"].verdict == "passed"


@pytest.mark.parametrize(
    "attack",
    [
        result("pgd20", 500),
        result("pgd100", 500, early_exit=True, backwards=100 * 500 + 2000),
        result("apgd-t", 500, loss="dlr-targeted", steps=100),
        result("fab-t", 500, steps=100),
        result("mifgsm20", 500, steps=20, step_value=2 / 255),
        result("own", 500, backwards=64 * 500),  # settings do not say how many steps
        suite(200, 50, 5, 0),
        result("fgsm", 0),  # nothing is left to be quoted
    ],
    ids=lambda attack: attack.name,
)
def test_strong_attacks_are_known(attack):
    assert results_of(attack)["strong-attack"].verdict == "passed"


def test_a_black_box_that_hardly_asked_proves_nothing():
    lazy = replace(square(600), queries=Queries(budget=20, broken=1, mean=1.0, median=1.0))
    assert "black-box" in skipped(results_of(result("pgd20", 500), lazy))
    blunt = replace(
        result("transfer:vgg19:pgd20", 790, source="vgg19"), on_source=proportion_of(verdicts(950))
    )
    assert "black-box" in skipped(results_of(result("pgd20", 500), blunt))
    assert results_of(result("pgd20", 500), lazy, square(600))["black-box"].verdict == "passed"
    lucky = replace(lazy, robust=proportion_of(verdicts(400)), verdicts=verdicts(400))
    assert "black-box" in failed(results_of(result("pgd20", 500), lucky))


def test_draws_that_a_gradient_averages_are_no_steps():
    made = report_of(result("own", 500, backwards=20 * 500))
    assert settings_check("strong-attack", made).verdict == "passed"
    drawn = replace(made, settings=replace(made.settings, eot=4))
    assert "own takes 5 steps" in settings_check("strong-attack", drawn).detail


def test_a_suite_without_a_white_box_is_not_one():
    blind = replace(
        result("own-suite", 600, parts=[{"queries": 5000}]), parts=(part("square", 800, 200, 0),)
    )
    assert {"black-box", "losses-agree"} <= skipped(results_of(blind, square(500)))


def settings_check(name, report, **known):
    return {check.name: check for check in check_results(report, **known)}[name]


def test_a_model_that_guesses_is_named():
    strong = result("pgd20", 90)
    guessing = settings_check("clean-accuracy", report_of(strong, clean=117))
    assert guessing.verdict == "failed"
    assert "guessing gives 10.0 %" in guessing.detail
    assert settings_check("clean-accuracy", report_of(strong, clean=130)).verdict == "passed"
    of_four = settings_check("clean-accuracy", report_of(strong, clean=260), num_classes=4)
    assert "guessing gives 25.0 %" in of_four.detail
    assert of_four.verdict == "failed"
    made = report_of(strong, clean=800)
    largest = replace(made.totals.per_class[0], n=790)
    uneven = replace(made, totals=replace(made.totals, per_class=(largest, *made.totals.per_class)))
    assert "guessing gives 79.0 %" in settings_check("clean-accuracy", uneven).detail
    assert settings_check("clean-accuracy", uneven).verdict == "failed"
    sorted_data = replace(made, totals=replace(made.totals, per_class=(largest,)))
    assert "the data are sorted" in settings_check("clean-accuracy", sorted_data).detail


@pytest.mark.parametrize(
    ("epsilon", "said"),
    [
        ("0.5/255", "less than one grey level"),
        ("3/255", "0.38 times the 8/255 that is usual for cifar10"),
        ("4/255", None),
        ("8/255", None),
        ("16/255", None),
        ("17/255", "2.1 times"),
        ("128/255", "turns any image grey"),
    ],
)
def test_sizes_far_from_the_usual_one_are_named(epsilon, said):
    found = settings_check("epsilon", report_of(result("pgd20", 500), epsilon=epsilon))
    assert found.verdict == ("failed" if said else "passed")
    assert (said or "that is usual for cifar10") in found.detail


def test_a_size_has_nothing_to_compare_with_on_data_of_ones_own_or_in_a_sweep():
    made = report_of(result("pgd20", 500), epsilon="30/255")
    own = replace(made, data=replace(made.data, name="tensors"))
    assert settings_check("epsilon", own).verdict == "passed"
    in_l2 = replace(made, threat_model=replace(made.threat_model, norm="L2", epsilon_value=0.003))
    assert settings_check("epsilon", in_l2).verdict == "failed"  # under one level of one pixel
    assert settings_check("epsilon", made, swept=True).verdict == "skipped"


@pytest.mark.parametrize(
    ("given", "usual", "verdict"),
    [(32, 32, "passed"), (64, 32, "failed"), (32, None, "skipped"), (None, 32, "skipped")],
)
def test_images_of_another_size_are_named(given, usual, verdict):
    sizes = {"image_size": given, "usual_size": usual}
    found = settings_check("image-size", report_of(result("pgd20", 500)), **sizes)
    assert found.verdict == verdict


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
    assert "card" in skipped(results_of(card=dataclasses.replace(CARD, data="svhn")))


@pytest.mark.parametrize(
    ("change", "passes"),  # 80 % of 1,000 images were right
    [
        ({"n": 10_000, "accuracy": 0.84}, True),
        ({"n": 10_000, "accuracy": 0.86}, False),
        ({"n": 10_000, "accuracy": 0.70}, False),
        ({"n": 100, "accuracy": 0.70}, True),
        ({"split": "train", "accuracy": 0.99}, False),
        ({"split": "train", "accuracy": 0.60}, True),  # as on images that it was trained on
    ],
)
def test_the_card_is_held_against_other_images_with_an_interval(change, passes):
    assert ("card" not in failed(results_of(card=dataclasses.replace(CARD, **change)))) == passes


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
    assert [one.passed for one in sweep(**{"8/255": 500, "0.5": 110})] == [True, True]
    (_, grey) = sweep(**{"8/255": 500, "0.5": 111})
    assert "11 of 1000 images more than the largest class's 100 are robust" in grey.detail
    assert not grey.passed
