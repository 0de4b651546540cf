"""Attacks of torchattacks by name, judged like every other."""

from inspect import signature

import numpy as np
import pytest
import torch
import torchattacks
from helpers.small_nets import DIGITS, digits, robust_net
from torch import nn

from robnet_zoo.attacks import AttackBatch, AttackedModel, Traits, get_attack, registry
from robnet_zoo.attacks.methods.transfer import Source, Transfer, split
from robnet_zoo.eval import evaluate
from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.record import read, write
from robnet_zoo.runtime.errors import ZooError

L2 = DIGITS.at("0.8", "L2")


def block(n):
    images, labels = digits(n)
    right = robust_net()(images).argmax(1) == labels
    images, labels = images[right], labels[right]
    return AttackBatch(
        number=3, indices=torch.arange(len(labels)), images=images, labels=labels, seed=7
    )


@pytest.mark.parametrize("name", ["VMIFGSM", "DIFGSM", "PGD", "Pixle"])
def test_images_are_those_of_the_library_called_directly(name):
    batch, own = block(12), {} if name == "Pixle" else {"steps": 4}
    size = {} if name == "Pixle" else {"eps": 0.15, "alpha": 0.0375}
    library = getattr(torchattacks, name)(AttackedModel(robust_net(), 64), **size, **own)
    torch.manual_seed(10)
    np.random.seed(10)
    expected = library(batch.images, batch.labels)
    attack = get_attack(f"torchattacks:{name}", **own)
    found = attack.run(AttackedModel(robust_net(), 64), batch, DIGITS).adversarial
    assert torch.equal(found, expected)
    assert not torch.equal(found, batch.images)


def test_they_are_judged_like_every_other_and_the_record_repeats_them(tmp_path):
    names = ["NIFGSM", "SINIFGSM", "FFGSM", "APGD", "DeepFool"]
    attacks = [get_attack(f"torchattacks:{name}") for name in names]
    attacks[-1] = get_attack("torchattacks:DeepFool", steps=5)
    report = evaluate(robust_net(), digits(32), attacks, DIGITS)
    write(report, tmp_path / "record.json")
    for name, result in zip(names, read(tmp_path / "record.json").attacks, strict=True):
        assert result.name == f"torchattacks:{name}"
        assert result.robust.correct < report.clean.accuracy.correct
        assert 0.1 < result.max_perturbation <= 0.15 + 1e-6
        assert result.over_epsilon == 0
        takes = signature(getattr(torchattacks, name).__init__).parameters.keys()
        missing = takes - result.settings.keys()
        assert missing <= {"self", "model", "seed", "verbose", "n_restarts"}
        assert result.settings["library"] == "torchattacks"
        assert (result.median_distance is not None) == (name == "DeepFool")
    assert report.attack("torchattacks:FFGSM").settings["alpha"] == pytest.approx(1.25 * 0.15)
    assert report.attack("torchattacks:NIFGSM").settings["alpha"] == 0.0375
    assert report.attack("torchattacks:APGD").settings["restarts"] == 1


def test_the_threat_model_sets_size_norm_and_step():
    l2 = get_attack("torchattacks:PGDL2", steps=3)
    report = evaluate(robust_net(), digits(24), [l2], L2)
    assert 0.5 < report.attacks[0].max_perturbation <= 0.8 + 1e-6
    assert report.attacks[0].settings["eps"] == 0.8
    longer = get_attack("torchattacks:PGDL2", alpha="1/2").settings(L2)
    assert (longer["alpha"], longer["eps"]) == (0.5, 0.8)
    assert get_attack("torchattacks:APGD").settings(L2)["norm"] == "L2"
    for name, threat_model, works in [("PGDL2", DIGITS, "L2"), ("BIM", L2, "Linf")]:
        with pytest.raises(ZooError, match=f"'torchattacks:{name}' does not work .* under {works}"):
            evaluate(robust_net(), digits(8), [f"torchattacks:{name}"], threat_model)


def test_modes_and_random_states_are_left_as_they_were():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.drop = robust_net(), nn.Dropout(0.5)

        def forward(self, images):
            return self.net(self.drop(images))

    net = Net().train()
    net.net.eval()
    states = torch.get_rng_state(), np.random.get_state()[1]
    images, labels = digits(8)
    get_attack("torchattacks:Pixle", restarts=1)(net, images, labels, DIGITS)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert (net.training, net.net.training, net.drop.training) == (True, False, True)


def test_targeted_ones_say_so():
    attack = get_attack("torchattacks:PGD-targeted", steps=3)
    assert attack == get_attack("torchattacks:PGD", steps=3, targeted=True)
    report = evaluate(robust_net(), digits(24), [attack, "torchattacks:PGD"], DIGITS)
    aimed, other = report.attacks
    assert report.attack_names == ["torchattacks:PGD-targeted", "torchattacks:PGD"]
    assert other.robust.correct < aimed.robust.correct


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("vmifgms", {}, "did you mean VMIFGSM"),
        ("LGV", {}, "'torchattacks:LGV' cannot be judged by itself: it trains"),
        ("MultiAttack", {}, "cannot be judged by itself"),
        ("VMIFGSM", {"restarts": 2}, "has no setting 'restarts'; it has N, alpha, beta, decay"),
        ("APGD", {"targeted": True}, "has no setting 'targeted'"),
        ("VMIFGSM", {"eps": 0.1}, "has no setting 'eps'"),
    ],
)
def test_what_it_does_not_have_is_told(name, settings, said):
    with pytest.raises(ZooError, match=said):
        get_attack(f"torchattacks:{name}", **settings)


def test_what_fails_in_the_library_is_one_sentence(capsys):
    with pytest.raises(ZooError, match="'torchattacks:TIFGSM' fails in torchattacks"):
        evaluate(robust_net(), digits(8), ["torchattacks:TIFGSM"], DIGITS)  # is for colours only
    command = ["--model", "racl.digits", "--attack", "torchattacks:PGD", "--restarts", "3"]
    assert main(command) == 2
    assert "'torchattacks:PGD' has no setting 'restarts'" in capsys.readouterr().err


def test_a_record_is_read_by_what_its_attack_declares():
    for name in ("VMIFGSM", "PGDL2", "APGD", "DeepFool", "Square", "Pixle"):
        attack = get_attack(f"torchattacks:{name}")
        threat_model = DIGITS if "Linf" in attack.traits.norms else L2
        assert registry.declared(attack.name, attack.settings(threat_model)) == attack.traits
    assert get_attack("torchattacks:Square").traits == Traits(gradients=False, restarts=True)


def test_they_transfer(tmp_path, monkeypatch):
    monkeypatch.setenv("ROBNET_ZOO_CACHE", str(tmp_path))
    name = "transfer:local-dir:runs/copy:torchattacks:VMIFGSM"
    assert split(name) == ("local-dir:runs/copy", "torchattacks:VMIFGSM")
    base = get_attack("torchattacks:VMIFGSM", steps=3)
    attack = Transfer(name="transfer:self", source=Source("self", robust_net()), base=base)
    white, own = evaluate(robust_net(), digits(32), [base, attack], DIGITS).attacks
    assert own.verdicts == white.verdicts
    assert own.on_source.correct == white.robust.correct
    again = evaluate(robust_net(), digits(32), [attack], DIGITS).attacks[0]
    assert again.verdicts == own.verdicts
    changed = Transfer(
        name="transfer:self",
        source=Source("self", robust_net()),
        base=get_attack("torchattacks:VNIFGSM", steps=3),
    )
    evaluate(robust_net(), digits(32), [changed], DIGITS)
    assert len(list((tmp_path / "adversarial").iterdir())) == 2
    with pytest.raises(ZooError, match="'torchattacks:CW' cannot be transferred"):
        get_attack("transfer:racl.digits:torchattacks:CW")
