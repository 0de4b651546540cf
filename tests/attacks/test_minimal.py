"""FMN and DDN, against the exact distances of a linear classifier and against other attacks."""

import sys

import pytest
import torch
from helpers.small_nets import DIGITS, digits, robust_net
from torch import nn

from robnet_zoo.attacks.methods.minimal import adv_lib
from robnet_zoo.attacks.verdicts import ORDERS
from robnet_zoo.eval import evaluate
from robnet_zoo.eval.studies.security import security_curve
from robnet_zoo.runtime.errors import ZooError

pytest.importorskip("adv_lib", reason='needs: pip install --no-deps "adv-lib>=0.2.8,<0.3"')
BALLS = {"Linf": DIGITS, "L2": DIGITS.at("0.8", "L2"), "L1": DIGITS.at("2", "L1")}


@pytest.fixture(scope="module")
def linear():
    """A linear classifier, grey images around 0.5 and its classes of them."""
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).requires_grad_(False).eval()
    with torch.no_grad():
        weight = 0.1 * torch.randn(5, 64, generator=generator)
        net[1].weight.copy_(weight - weight.mean(1, keepdim=True))  # blind to brightness
        net[1].bias.copy_(torch.tensor([0.04, 0.02, 0.0, -0.02, -0.04]))
    images = 0.5 + 0.05 * torch.randn(60, 1, 8, 8, generator=generator).clamp(-3, 3)
    return net, images, net(images).argmax(1)


def exact(net, images, labels, norm):
    """Return each image's distance to the nearest boundary: lead / dual norm of the slopes."""
    logits, weight = net(images), net[1].weight
    leads = logits.gather(1, labels[:, None]) - logits
    dual = {"Linf": 1, "L2": 2, "L1": torch.inf}[norm]
    slopes = torch.linalg.vector_norm(weight[labels][:, None] - weight, ord=dual, dim=2)
    return (leads / slopes).scatter(1, labels[:, None], torch.inf).amin(1)


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_fmn_finds_the_exact_distances_of_a_linear_classifier(linear, norm):
    net, images, labels = linear
    report = evaluate(net, (images, labels), ["fmn"], BALLS[norm])
    found = torch.tensor(report.attacks[0].distances)
    expected = exact(net, images, labels, norm)
    assert expected.max() > 2 * expected.median() > 0
    assert expected.max() < 0.35  # within the box, even where L1 moves one pixel alone
    ratio = (found / expected)[expected > 0.2 * expected.median()]  # nearer ones drown in rounding
    assert 0.999 < ratio.min() <= ratio.quantile(0.9) < 1.02
    assert ratio.max() < 1.3  # the likeliest other class need not be the nearest
    assert len(ratio) > 40


def test_ddn_comes_close_to_them(linear):
    net, images, labels = linear
    report = evaluate(net, (images, labels), ["ddn", "fmn", "deepfool"], BALLS["L2"])
    expected = exact(net, images, labels, "L2")
    far = expected > 0.05
    ddn, fmn, deepfool = (torch.tensor(result.distances)[far] for result in report.attacks)
    assert (expected[far] < 1.001 * ddn).all()
    assert (ddn / expected[far]).median() < 1.25  # a step is never shorter than 0.01
    torch.testing.assert_close(fmn, deepfool, rtol=0.05, atol=0)
    with pytest.raises(ZooError, match="'ddn' does not work under Linf; it works under L2"):
        evaluate(net, (images, labels), ["ddn"], DIGITS)


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_what_lies_within_epsilon_is_broken_as_it_is(norm):
    report = evaluate(robust_net(), digits(96), ["fmn", "deepfool"], BALLS[norm])
    fmn, deepfool = report.attacks
    epsilon = BALLS[norm].epsilon.value
    assert None not in fmn.distances  # it finds an image's neighbour every time
    near = [distance <= epsilon for distance in fmn.distances]
    assert not any(ok and robust for ok, robust in zip(near, fmn.flags, strict=True))
    assert sum(near) > 0.9 * fmn.flags.count(False)
    assert fmn.max_perturbation <= epsilon + 2e-6
    assert fmn.over_epsilon == 0
    assert fmn.median_distance < deepfool.median_distance
    mistakes = report.totals.clean_mistakes
    assert [i for i, distance in enumerate(fmn.distances) if distance == 0] == list(mistakes)
    assert fmn.robust.correct < deepfool.robust.correct


def test_one_run_gives_the_curve_that_a_sweep_gives():
    report = evaluate(robust_net(), digits(64), ["fmn", "pgd5"], DIGITS)
    result = report.attack("fmn")
    curve = security_curve(report, result)
    at = dict(curve)
    assert at[0.0] == report.clean.accuracy
    assert at[0.15] == result.robust
    assert curve[-1][1].correct == 0
    counts = [rate.correct for _, rate in curve]
    assert counts == sorted(counts, reverse=True)
    for size in ("0.1", "0.2"):
        swept = evaluate(robust_net(), digits(64), ["fmn"], DIGITS.at(size)).attacks[0]
        ((_, rate),) = security_curve(report, result, [float(size)])
        assert 0 <= rate.correct - swept.robust.correct <= 2  # those that scaling broke
    assert security_curve(report, report.attack("pgd5")) == []


def test_a_missing_library_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "adv_lib", None)
    for name in [name for name in sys.modules if name.startswith("adv_lib.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ZooError, match=r"'fmn' needs adv_lib.*pip install --no-deps .adv-lib"):
        evaluate(robust_net(), digits(8), ["fmn"], DIGITS)
    assert "visdom" not in sys.modules


def test_its_server_of_plots_is_not_needed(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] in ("adv_lib", "visdom")]:
        monkeypatch.delitem(sys.modules, name)
    assert adv_lib("fmn").fmn.__module__ == "adv_lib.attacks.fast_minimum_norm"
    assert ORDERS.keys() == BALLS.keys()
