"""The L1 ball: which attacks know it, and how sizes are measured and kept in it."""

import pytest
import torch
from helpers.small_nets import DIGITS, digits, robust_net
from pyautoattack.autopgd_base import APGDAttack
from pyautoattack.fab_pt import FABAttack_PT

from robnet_zoo.attacks import AttackBatch, AttackedModel
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.attacks.verdicts import distances, into_ball, within
from robnet_zoo.eval import evaluate, get_attack
from robnet_zoo.eval.__main__ import main
from robnet_zoo.runtime.errors import ZooError

L1 = DIGITS.at("2", "L1")


def test_sizes_are_sums_of_changes():
    images = torch.full((2, 1, 2, 2), 0.5)
    moved = images + torch.tensor([0.1, -0.2]).view(2, 1, 1, 1)
    assert distances(moved, images, "L1").tolist() == pytest.approx([0.4, 0.8])
    half = DIGITS.at("0.4", "L1")
    assert within(moved, images, half).tolist() == [True, False]
    kept = into_ball(moved, images, half)
    assert torch.equal(kept[0], moved[0])
    torch.testing.assert_close(kept[1], images[1] - 0.1)


@pytest.mark.parametrize(
    ("attack", "build"),
    [
        (
            get_attack("apgd-ce", steps=10),
            lambda net, o: APGDAttack(net, n_iter=10, use_largereps=True, **o),
        ),
        (
            get_attack("fab-t", steps=3),
            lambda net, o: FABAttack_PT(net, n_iter=3, targeted=True, n_target_classes=9, **o),
        ),
    ],
    ids=["apgd-ce", "fab-t"],
)
def test_images_are_the_librarys(attack, build):
    images, labels = digits(20)
    net = AttackedModel(robust_net(), 256)
    right = net(images).argmax(1) == labels
    images, labels = images[right], labels[right]
    block = AttackBatch(
        number=3, indices=torch.arange(len(labels)), images=images, labels=labels, seed=7
    )
    library = build(net, {"eps": 2.0, "norm": "L1", "seed": 10, "device": "cpu"})
    expected = library.perturb(images.clone(), labels.clone())
    with torch.enable_grad():
        assert torch.equal(attack.run(net, block, L1).adversarial, expected)
    assert (net(expected).argmax(1) != labels).any()


def test_attacks_under_l1_stay_in_the_ball_and_the_checks_see_the_model():
    attacks = [get_attack("apgd-ce", steps=10), get_attack("square", queries=100), "deepfool"]
    report = evaluate(robust_net(), digits(48), attacks, L1)
    for result in report.attacks:
        assert 1.9 < result.max_perturbation <= 2 + 2e-6
        assert result.over_epsilon == 0
    correct = [result.robust.correct for result in report.attacks]
    assert correct[0] < min(correct[1:]) <= max(correct[1:]) < report.clean.accuracy.correct
    checks = {check.name: check.verdict for check in report.checks}
    assert checks["loss-rises"] == checks["beats-noise"] == "passed"


def test_autoattack_under_l1_has_its_authors_settings():
    parts = get_attack("autoattack").fitted(L1, 10).parts
    assert [part.name for part in parts] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert (parts[0].restarts, parts[1].restarts, parts[1].target_classes) == (5, 1, 5)
    assert get_attack("autoattack").fitted(DIGITS, 10) == get_attack("autoattack")


def test_what_does_not_know_l1_says_so():
    with pytest.raises(ZooError, match="'pgd20' does not work under L1; it works under Linf and"):
        evaluate(robust_net(), digits(8), ["pgd20"], L1)
    with pytest.raises(ZooError, match="does not work under L1; use Linf or L2, or attack with"):
        Adversary(epsilon=2, step_size=1, steps=1, norm="L1")


def test_the_command_line_takes_the_norm(capsys):
    assert main(["--model", "racl.digits", "--attack", "pgd5", "--norm", "L1", "--eps", "2"]) == 2
    assert "'pgd5' does not work under L1" in capsys.readouterr().err
