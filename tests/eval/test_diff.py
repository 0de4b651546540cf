import json

import pytest
import torch
from helpers.fitted import save_fitted
from helpers.made_records import make
from helpers.small_nets import DIGITS, digits, robust_net
from msgspec.structs import replace

from robnet_zoo.eval import evaluate, get_attack, record
from robnet_zoo.eval.inputs import RunMetadata
from robnet_zoo.eval.record.fields import bits
from robnet_zoo.eval.studies.comparison import contrast
from robnet_zoo.eval.studies.diff.case import Case
from robnet_zoo.eval.studies.diff.pgd import PgdPair
from robnet_zoo.eval.studies.diff.suites import SuitePair
from robnet_zoo.eval.studies.diff.tools import explain_accuracy, explain_tool
from robnet_zoo.eval.target import EvalTarget
from robnet_zoo.runtime.errors import ZooError

N = 80
L2 = DIGITS.at("0.8", "L2")


def case(model, n=N, threat_model=DIGITS):
    images, labels = digits(n)
    return Case(
        model=model,
        images=images,
        labels=labels,
        threat_model=threat_model,
        seed=3,
        batch_size=48,
    )


def pair(attack, tool, threat_model=DIGITS, kind=PgdPair, n=N, **settings):
    tool_settings = {key: str(value) for key, value in settings.items()}
    return kind(attack, tool, case(robust_net(), n, threat_model), tool_settings)


def target():
    from robnet_zoo.data import load_split

    dataset, split = load_split("digits", "test")
    return EvalTarget(
        model=robust_net(),
        dataset=dataset,
        split=split,
        threat_model=DIGITS,
        metadata=RunMetadata(model="small"),
    )


def explained(attack, tool, n=N, **settings):
    return explain_tool(target(), attack, tool, n=n, tool_settings=settings)


@pytest.mark.parametrize("threat_model", [DIGITS, L2], ids=["Linf", "L2"])
@pytest.mark.parametrize(
    "attack", [get_attack("pgd6", restarts=2), get_attack("bim4")], ids=["pgd", "bim"]
)
def test_our_side_is_the_attack_that_evaluations_run(attack, threat_model):
    ours = pair(attack, "foolbox", threat_model)
    judged = evaluate(robust_net(), digits(N), [attack], threat_model, seed=3)
    assert bits(ours.run(ours.ours)) == judged.attacks[0].verdicts


@pytest.mark.parametrize(
    ("attack", "tool", "threat_model"),
    [
        ("pgd6", "torchattacks", DIGITS),
        ("pgd6", "torchattacks", L2),
        ("pgd6", "foolbox", DIGITS),
        ("pgd6", "foolbox", L2),
        ("bim6", "torchattacks", DIGITS),
        ("bim6", "foolbox", L2),
        ("mifgsm6", "torchattacks", DIGITS),
        ("fgsm", "foolbox", L2),
    ],
)
def test_with_all_of_a_tools_settings_our_verdicts_are_the_tools(attack, tool, threat_model):
    both = pair(get_attack(attack), tool, threat_model)
    theirs = both.run_tool(seed=3, batch_size=48)
    with_theirs = both.run(both.theirs)
    assert sum(one != other for one, other in zip(theirs, with_theirs, strict=True)) <= 1
    assert 0 < sum(theirs) < N


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"steps": "8", "step_size": "0.002"}, {"step size"}),
        ({"steps": "8", "step_size": "0.0375", "epsilon": "0.08"}, {"epsilon"}),
        ({"steps": "1", "step_size": "0.0375"}, {"steps"}),
    ],
)
def test_the_setting_that_makes_the_difference_is_named(settings, cause):
    found = explained("pgd8", "torchattacks", **settings)
    assert found.differing > 5
    assert found.together.differing <= 1
    named = {change.setting for change in found.cause.changes} - {"random numbers"}
    assert named == cause
    assert all(f"{setting} is" in found.conclusion for setting in cause)
    (single,) = [it for it in found.singles if it.changes[-1].setting == min(cause)]
    assert single.differing <= 2


def test_tools_that_do_the_same_are_said_to_agree():
    found = explained("bim5", "foolbox", n=30, steps="5", step_size="0.0375")
    assert found.conclusion == "The verdicts agree on every image."
    assert found.seed_noise == 0


@pytest.mark.parametrize("tool", ["torchattacks", "pyautoattack"])
def test_auto_pgd_of_the_tools_is_ours_with_their_settings(tool):
    both = pair(get_attack("apgd-ce", steps=20), tool, kind=SuitePair, n=40)
    if tool == "torchattacks":
        assert (both.theirs.apgd_steps, both.theirs.apgd_restarts) == (10, 1)
    else:
        assert both.theirs.apgd_restarts == 5
        both = pair(get_attack("apgd-ce"), tool, kind=SuitePair, n=20)
    theirs = both.run_tool(seed=3, batch_size=48)
    with_theirs = both.run(both.theirs)
    assert sum(one != other for one, other in zip(theirs, with_theirs, strict=True)) <= 1
    assert any(theirs)


@pytest.mark.parametrize(
    ("attack", "tool", "settings", "message"),
    [
        ("mifgsm5", "foolbox", {}, "no counterpart of 'mifgsm5' under Linf; .*pgdN"),
        ("cw", "torchattacks", {}, "no counterpart of 'cw' that diff knows"),
        ("pgd5", "pyautoattack", {}, "use --tool torchattacks or foolbox"),
        ("autoattack", "foolbox", {}, "use --tool torchattacks or pyautoattack"),
        ("pgd5", "foolbox", {"stepz": "5"}, "Unknown setting of the tool 'stepz'.*steps"),
        ("pgd5", "foolbox", {"judged": "any"}, "Unknown setting of the tool 'judged'"),
        ("pgd5", "foolbox", {"step_size": "x"}, "step_size 'x' is not a number"),
        ("pgd5", "foolbox", {"steps": "x"}, "Setting of the tool 'steps=x' is not understood"),
    ],
)
def test_what_a_tool_has_not_gets_one_sentence(attack, tool, settings, message):
    with pytest.raises(ZooError, match=message):
        explained(attack, tool, n=4, **settings)


def test_an_accuracy_from_elsewhere_is_traced_to_the_setting_that_gives_it():
    weak = evaluate(robust_net(), digits(N), ["pgd1"], DIGITS)
    theirs = weak.totals.robust.accuracy
    found = explain_accuracy(target(), "pgd20", theirs, n=N)
    assert found.ours.accuracy < theirs
    (change,) = found.guesses[0].changes
    assert (change.setting, change.theirs, found.guesses[0].distance) == ("steps", 1, 0)
    assert "steps is 1 in place of 20" in found.conclusion
    for attack, accuracy, message in (
        ("square", 0.5, "cannot vary 'square'"),
        ("pgd2", 47.3, "Accuracy 4730 is out of range"),
    ):
        with pytest.raises(ZooError, match=message):
            explain_accuracy(target(), attack, accuracy, n=4)


def test_records_of_the_same_weights_show_every_setting_that_differs():
    first, second = make(pgd20=100), make(pgd20=80, fgsm=150, epsilon="0.2")
    second = replace(second, settings=replace(second.settings, seed=4))
    both = contrast(first, second, ("a.json", "b.json"))
    assert [row.name for row in both.rows] == ["clean", "pgd20", "all attacks"]
    assert both.rows[1].only_first == tuple(range(80, 100))
    assert {note.partition(":")[0] for note in both.notes} == {"epsilon", "step", "seed", "attacks"}
    assert "epsilon: 0.15 against 0.2" in both.notes
    with pytest.raises(ZooError, match="different weights"):
        contrast(first, make(pgd20=80, sha="b" * 64), ("a", "b"))


def test_records_of_another_function_with_the_same_weights_are_noted():
    net = robust_net()
    records = [
        evaluate(model, digits(20), ["fgsm"], DIGITS)
        for model in (net, torch.nn.Sequential(net, torch.nn.Softmax(1)))
    ]
    alike = [replace(it, model=replace(it.model, state_sha256="a" * 64)) for it in records]
    assert contrast(*alike, ("a", "b")).notes[0].startswith("function: the same parameters")
    assert contrast(alike[0], alike[0], ("a", "b")).notes == ()


def test_the_command_explains_tools_and_records(run_eval, tmp_path):
    folder = tmp_path / "racl.digits"
    save_fitted(folder)
    base = ("--model", f"local-dir:{folder}", "--attack", "pgd3")
    told = ("--eps", "0.05", "--n", "20", "--set", "steps=3", "--set", "step_size=1/80")
    code, out, _ = run_eval("diff", *base, "--tool", "torchattacks", *told, "--out", "d.json")
    assert code == 0
    for text in ("torchattacks.PGD(model, eps=0.05, alpha=0.0125, steps=3,", "verdicts differ on"):
        assert text in out
    written = json.loads((tmp_path / "d.json").read_text())
    assert written["together"]["differing"] <= 1
    for name, count in (("a", 100), ("b", 90)):
        record.write(make(pgd20=count), tmp_path / f"{name}.json")
    code, out, _ = run_eval("diff", "a.json", "b.json", "--list")
    assert code == 0
    assert "pgd20, A only: 90, 91," in out
    assert run_eval("diff", *base, "--accuracy", "90", "--n", "10", "--out", "g.json")[0] == 0
    assert json.loads((tmp_path / "g.json").read_text())["accuracy"] == 0.9
    for words in (("a.json",), ("a.json", "b.json", *base), base, ()):
        code, out, err = run_eval("diff", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "two records" in err


def test_the_models_state_and_the_generator_are_left_as_they_were():
    net = robust_net().train()
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    both = PgdPair(get_attack("pgd2"), "foolbox", case(net, n=8))
    both.run_tool(seed=0, batch_size=8)
    both.run(both.theirs)
    assert net.training
    assert torch.equal(torch.rand(1), wanted)
