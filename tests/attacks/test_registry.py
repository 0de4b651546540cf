"""Attacks by name, what they declare, and attacks from outside the package."""

from dataclasses import dataclass

import pytest
import torch
from helpers.fitted import save_fitted
from helpers.small_nets import DIGITS, digits, robust_net

from robnet_zoo import attacks, evaluate
from robnet_zoo.attacks import Attack, AttackOutput, Traits, get_attack, register_attack, registry
from robnet_zoo.attacks.base import changed
from robnet_zoo.attacks.naming import full_name
from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.record import read
from robnet_zoo.runtime.errors import ZooError

ATTACKS = ["fgsm", "bim5", "mifgsm", "pgd20", "deepfool", "cw", "apgd-ce", "apgd-t", "fab-t"]


@pytest.fixture
def table(monkeypatch):
    """The table of attacks, as it was again afterwards."""
    monkeypatch.setattr(registry, "ATTACKS", dict(registry.ATTACKS))
    return registry.ATTACKS


@dataclass(frozen=True, kw_only=True)
class Signs(Attack):
    """Random signs: the best of some corners of the ball."""

    name: str = "signs"
    tries: int = 10

    @property
    def traits(self):
        return Traits(gradients=False, norms=("Linf",))

    def cost(self):
        return self.tries

    def run(self, model, batch, threat_model):
        generator = torch.Generator().manual_seed(batch.seed + batch.number)
        adversarial = batch.images.clone()
        for _ in range(self.tries):
            signs = torch.rand(batch.images.shape, generator=generator).round() * 2 - 1
            moved = (batch.images + threat_model.epsilon.value * signs).clamp(0, 1)
            broken = model.predict(moved) != batch.labels
            adversarial[broken] = moved[broken]
        return AttackOutput(adversarial=adversarial)


def test_an_attack_from_outside_is_used_like_any_other(table, tmp_path):
    assert register_attack(Signs) is Signs
    images, labels = digits(300)
    report = evaluate(robust_net(), (images, labels), ["signs", "pgd20"], DIGITS)
    result = report.attack("signs")
    assert report.attack("pgd20").robust.correct < result.robust.correct
    assert result.robust.correct < report.clean.accuracy.correct
    assert result.settings == {"name": "signs", "tries": 10}
    found = attacks.signs(robust_net(), images, labels, DIGITS)
    robust = robust_net()(found).argmax(1) == labels
    assert "".join("01"[flag] for flag in robust.int().tolist()) == result.verdicts
    assert get_attack("signs", tries=2).tries == 2
    save_fitted(tmp_path / "racl.digits", "racl")
    model, out = f"local-dir:{tmp_path / 'racl.digits'}", tmp_path / "record.json"
    arguments = ["--model", model, "--attack", "signs,fgsm", "--n", "32", "--out", str(out)]
    assert main(arguments) == 0
    assert [result.name for result in read(out).attacks] == ["signs", "fgsm"]


def test_an_attack_without_gradients_may_judge_what_has_none(table):
    register_attack(Signs)

    class Blind(torch.nn.Module):
        def forward(self, images):
            return robust_net()(images.detach())

    assert evaluate(Blind(), digits(16), ["signs"], DIGITS).attacks[0].name == "signs"
    with pytest.raises(ZooError, match="'pgd2' needs gradients"):
        evaluate(Blind(), digits(16), ["pgd2"], DIGITS)
    with pytest.raises(ZooError, match="'signs' does not work under L2; it works under Linf"):
        evaluate(robust_net(), digits(16), ["signs"], DIGITS.at("0.8", "L2"))


def named(name):
    """Return the attack under another name."""
    body = {"name": name, "__annotations__": {"name": str}}
    return dataclass(frozen=True, kw_only=True)(type("Named", (Signs,), body))


@pytest.mark.parametrize("name", ["pgd20", "bim", "square", "pgd7", "autoattack"])
def test_a_name_that_is_taken_is_refused(table, name):
    with pytest.raises(ZooError, match="already; choose another"):
        register_attack(named(name))


@pytest.mark.parametrize("name", ["", "a,b", "two words", "Signs", "certify", "transfer"])
def test_a_name_that_cannot_be_written_is_refused(table, name):
    with pytest.raises(ZooError, match=f"cannot be named '{name}'"):
        register_attack(named(name))


def test_what_is_no_attack_is_refused(table):
    class Other:
        name = "other"

    @dataclass(frozen=True, kw_only=True)
    class Still(Attack):
        name: str = "still"

    @dataclass(frozen=True, kw_only=True)
    class Nameless(Attack):
        def run(self, model, batch, threat_model):
            return AttackOutput(adversarial=batch.images)

    for attack in (Other, Still, "pgd20", Other()):
        with pytest.raises(ZooError, match="is no attack; derive a frozen dataclass"):
            register_attack(attack)
    with pytest.raises(ZooError, match="needs a default for every field, its name too"):
        register_attack(Nameless)


@pytest.mark.parametrize("name", [*ATTACKS, "square"])
def test_a_record_is_read_by_what_its_attack_declares(name):
    attack = get_attack(name)
    assert registry.declared(name, attack.settings(DIGITS)) == attack.traits
    assert registry.declared(name, {}) == attack.traits


def test_the_settings_decide_where_an_attack_leaves_it_open():
    settings = get_attack("pgd20", early_exit=True).settings(DIGITS)
    assert registry.declared("pgd20", settings | {"loss": "margin"}).loss == "margin"
    assert registry.declared("apgd-dlr", {"loss": "dlr", "steps": 100}).loss == "margin"
    assert registry.declared("somebodys", {"loss": "ce"}) == Traits(loss="ce")
    assert registry.declared("somebodys", {"queries": 100}) == Traits(gradients=False)
    assert registry.declared("transfer:vgg19:pgd10", {}) == Traits(gradients=False)
    assert registry.declared("autoattack", {"parts": []}) == Traits()


@pytest.mark.parametrize("plain", ["fgsm", "pgd20", "mifgsm", "bim7"])
def test_a_targeted_attack_says_so_in_its_name(plain):
    name = f"{plain}-targeted"
    attack = registry.get_attack(plain, targeted=True)
    assert (attack.name, attack.targeted) == (name, True)
    assert registry.get_attack(name) == registry.get_attack(name, targeted=True) == attack
    assert changed(registry.get_attack(plain), {"targeted": True}) == attack
    assert changed(attack, {"targeted": False}) == registry.get_attack(plain)
    assert registry.declared(name, {"loss": "margin"}).loss == "margin"


@pytest.mark.parametrize("name", ["square-targeted", "autoattack-targeted", "-targeted"])
def test_attacks_without_targets_have_no_such_name(name):
    with pytest.raises(ZooError, match=r"no setting 'targeted'|Unknown attack"):
        registry.get_attack(name)


def test_older_records_of_targeted_attacks_are_named_as_such():
    assert full_name("pgd20", {"targeted": True}) == "pgd20-targeted"
    assert full_name("pgd20-targeted", {"targeted": True}) == "pgd20-targeted"
    assert full_name("pgd20", {"targeted": False}) == "pgd20"
    assert full_name("pgd20", {}) == "pgd20"
    base = {"base": {"targeted": True}}
    assert full_name("transfer:vgg19:pgd20", base) == "transfer:vgg19:pgd20-targeted"


def test_headings_and_the_order_of_tables():
    names = ["autoattack", "pgd100", "unknown", "square", "pgd20-targeted"]
    names += ["pgd20", "mifgsm", "fgsm", "bim5"]
    expected = "FGSM, BIM-5, MI-FGSM, PGD-20, PGD-20 targeted, PGD-100, Square, AutoAttack, unknown"
    ordered = sorted(names, key=registry.table_order)
    assert ", ".join(map(registry.heading, ordered)) == expected


def test_restarts_are_for_attacks_that_start_at_random():
    for name in [*ATTACKS, "square"]:
        if get_attack(name).traits.restarts:
            assert get_attack(name, restarts=3).restarts == 3
        else:
            with pytest.raises(ZooError, match="restarts"):
                get_attack(name, restarts=3)
