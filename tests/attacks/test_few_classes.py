"""Models of two and three classes: which attacks are defined for them, and what is said."""

from dataclasses import replace

import pytest
import torch
from helpers.small_nets import DIGITS, digits, robust_net
from torch import nn

from robnet_zoo.attacks import Suite
from robnet_zoo.eval import evaluate, get_attack
from robnet_zoo.runtime import console
from robnet_zoo.runtime.errors import ZooError


class FewClasses(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.net, self.classes = robust_net(), classes

    def forward(self, images):
        return self.net(images)[:, : self.classes]


def few(n, classes):
    images, labels = digits(n)
    return images[labels < classes], labels[labels < classes]


def short(suite):
    """Return the suite with few steps."""
    own = {"square": {"queries": 20}, "fab-t": {"steps": 2}}
    parts = tuple(replace(part, **own.get(part.name, {"steps": 3})) for part in suite.parts)
    return replace(suite, parts=parts)


def test_fewer_classes_mean_fewer_targets():
    attacks = [get_attack("apgd-t", steps=5), get_attack("fab-t", steps=5)]
    report = evaluate(FewClasses(4), few(60, 4), attacks, DIGITS)
    cost = attacks[0].cost() / 9 * 3
    passes = report.attacks[0].forwards + report.attacks[0].backwards
    assert passes <= 1.3 * cost * report.clean.accuracy.correct
    assert report.totals.robust.correct < report.clean.accuracy.correct


@pytest.mark.parametrize(("name", "classes", "least"), [("apgd-t", 3, 4), ("fab-t", 1, 2)])
def test_too_few_classes_are_refused(name, classes, least):
    with pytest.raises(ZooError, match=f"needs at least {least} classes and this model has"):
        evaluate(FewClasses(classes), few(60, classes), [name], DIGITS)


@pytest.mark.parametrize(
    ("suite", "classes", "parts", "told"),
    [
        ("autoattack", 3, "apgd-ce apgd-dlr fab-t square", "apgd-dlr takes its place"),
        ("autoattack", 2, "apgd-ce pgd-margin fab-t square", "pgd-margin takes its place"),
        ("autoattack-rand", 2, "apgd-ce", "it is left out"),
    ],
)
def test_the_parts_of_autoattack_that_are_defined_run_and_the_record_says_so(
    suite, classes, parts, told
):
    model, data = FewClasses(classes), few(60, classes)
    report = evaluate(model, data, [short(get_attack(suite))], DIGITS.at("0.5"))
    (result,) = report.attacks
    settings = result.settings["parts"]
    assert " ".join(part["name"] for part in settings) == parts
    assert result.robust.correct < report.clean.accuracy.correct
    (warning,) = report.warnings
    needs = 4 if suite == "autoattack" else 3
    assert warning.startswith(f"{suite}: apgd-")
    assert warning.endswith(f"needs at least {needs} classes and this model has {classes}: {told}.")
    if "pgd-margin" in parts:
        assert settings[1]["loss"] == "margin"


def test_under_l1_two_classes_leave_three_parts():
    fitted = get_attack("autoattack").fitted(DIGITS.at("2", "L1"), 2)
    assert [part.name for part in fitted.parts] == ["apgd-ce", "fab-t", "square"]
    assert "it is left out" in fitted.notes[0]


def test_the_plain_call_says_it_too():
    images, labels = few(40, 3)
    with pytest.warns(UserWarning, match="apgd-dlr takes its place"):
        found = short(get_attack("autoattack"))(FewClasses(3), images, labels, DIGITS)
    assert (FewClasses(3)(found).argmax(1) != labels).any()


def test_a_command_says_it_in_one_line(capsys):
    images, labels = few(20, 3)

    def command():
        short(get_attack("autoattack"))(FewClasses(3), images, labels, DIGITS)

    assert console.run(command) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: autoattack: apgd-t needs at least 4 classes")


def test_a_suite_of_ones_own_is_run_as_it_is():
    suite = Suite(name="mine", parts=(get_attack("apgd-t", steps=2),))
    with pytest.raises(ZooError, match="needs at least 4 classes"):
        evaluate(FewClasses(3), few(60, 3), [suite], DIGITS)


def test_resumed_evaluations_know_the_fitted_suite(tmp_path):
    suite, out = short(get_attack("autoattack")), tmp_path / "record.json"
    first = evaluate(FewClasses(3), few(40, 3), [suite], DIGITS, out=out)
    again = evaluate(FewClasses(3), few(40, 3), [suite], DIGITS, out=out, resume=True)
    assert again == first
    assert torch.tensor(again.clean.predictions).max() < 3
