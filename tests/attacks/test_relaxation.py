"""The cheaper judge: what it breaks is broken, at a fraction of AutoAttack's passes."""

from functools import lru_cache

import pytest
import torch
from helpers.small_nets import DIGITS, digits, robust_net
from torch import nn

from robnet_zoo import evaluate
from robnet_zoo.attacks import cr, get_attack
from robnet_zoo.attacks.verdicts import distances
from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.record import read
from robnet_zoo.runtime.errors import ZooError

N = 96


@lru_cache
def record(attack, batch_size=256, threat_model=DIGITS, seed=0, n=N):
    """Return what one attack does to the small network."""
    report = evaluate(
        robust_net(), digits(n), [attack], threat_model, batch_size=batch_size, seed=seed
    )
    return report.attacks[0]


def passes(result):
    return result.forwards + result.backwards


@pytest.mark.parametrize("threat_model", [DIGITS, DIGITS.at("0.8", "L2")], ids=str)
def test_what_it_breaks_is_misclassified_within_the_ball(threat_model):
    net, (images, labels) = robust_net(), digits(N)
    adversarial = cr(net, images, labels, threat_model)
    wrong = net(adversarial).argmax(1) != labels
    moved = distances(adversarial, images, threat_model.norm)
    assert (moved <= threat_model.epsilon.value + 1e-6).all()
    assert ((adversarial >= 0) & (adversarial <= 1)).all()
    assert (
        "".join("01"[not flag] for flag in wrong.tolist())
        == record("cr", threat_model=threat_model).verdicts
    )
    mistakes = net(images).argmax(1) != labels
    assert mistakes.any()
    assert torch.equal(adversarial[mistakes | ~wrong], images[mistakes | ~wrong])
    assert 10 < int((wrong & ~mistakes).sum()) < N


def test_verdicts_do_not_depend_on_the_batch_size_or_on_other_images():
    whole = record("cr")
    assert record("cr", batch_size=16).verdicts == whole.verdicts
    assert record("cr", n=50).verdicts == whole.verdicts[:50]
    assert passes(record("cr", batch_size=16)) == passes(whole)


@pytest.mark.parametrize("threat_model", [DIGITS, DIGITS.at("0.8", "L2")], ids=str)
def test_it_breaks_what_pgd_breaks(threat_model):
    found, other = (record(name, threat_model=threat_model) for name in ("cr", "pgd20"))
    spared = [a > b for a, b in zip(found.verdicts, other.verdicts, strict=True)]
    assert sum(spared) <= 2
    assert found.robust.correct <= other.robust.correct


def test_it_is_as_hard_as_autoattack_for_an_eighth_of_the_passes():
    found, judge = record("cr"), record("autoattack")
    assert found.robust.correct <= judge.robust.correct + 1
    assert 8 * passes(found) < passes(judge)


def test_the_scale_of_the_logits_does_not_matter():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = robust_net()

        def forward(self, images):
            return self.net(images) / 1024

    report = evaluate(Scaled(), digits(N), ["cr"], DIGITS)
    assert report.attacks[0].robust.correct <= record("cr").robust.correct + 1


def test_two_classes_are_enough():
    class Parity(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = robust_net()

        def forward(self, images):
            logits = self.net(images)
            return torch.stack([logits[:, ::2].amax(1), logits[:, 1::2].amax(1)], 1)

    images, labels = digits(N)
    report = evaluate(Parity(), (images, labels % 2), ["cr", "pgd20"], DIGITS)
    assert report.attack("cr").robust.correct <= report.attack("pgd20").robust.correct + 1


def test_nothing_is_left_to_attack_where_everything_breaks():
    assert record("cr", threat_model=DIGITS.at("0.9"), n=32).robust.correct == 0


def test_fewer_targets_and_restarts_cost_less():
    quick = record(get_attack("cr", targets=1, restarts=1))
    assert passes(quick) < passes(record("cr"))
    assert quick.settings["restarts"] == 1
    for setting, value in (("restarts", 0), ("targets", 0), ("cycle", 2), ("steps", 20)):
        with pytest.raises(ZooError, match=f"{setting} {value} is out of range"):
            get_attack("cr", **{setting: value})


def test_the_plain_alternative_leaves_broken_images_alone(tmp_path):
    plain = record("pgd-margin")
    assert plain.settings["loss"] == "margin"
    assert plain.last is None
    assert plain.robust.correct <= record("pgd20").robust.correct
    out = tmp_path / "record.json"
    arguments = ["--model", "racl.digits", "--attack", "pgd-margin", "--restarts", "2", "--n", "1"]
    assert main([*arguments, "--out", str(out)]) == 0
    written = read(out).attacks[0].settings
    assert (written["restarts"], written["early_exit"]) == (2, True)
