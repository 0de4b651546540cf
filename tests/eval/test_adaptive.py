"""Defences that hide their gradients fall to attacks adapted to them; draws judge random ones."""

import importlib.util
import random
import re

import pytest
import torch
from helpers.documents import ROOT
from helpers.small_nets import DIGITS, digits, robust_net
from msgspec import UNSET
from torch import nn
from torch.nn import functional as F

from robnet_zoo.eval import evaluate, get_attack, record
from robnet_zoo.eval.draws import summarise
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import wilson

N = 64
spec = importlib.util.spec_from_file_location("adaptive", ROOT / "examples/adaptive_attacks.py")
adaptive = importlib.util.module_from_spec(spec)
spec.loader.exec_module(adaptive)


class Noisy(nn.Module):
    """Noise from each of the three global generators, or from one of its own."""

    def __init__(self, own=False):
        super().__init__()
        self.own = torch.Generator() if own else None

    def forward(self, images):
        noise = torch.randn(images.shape, generator=self.own)
        return images + 0.3 * noise + random.uniform(-0.05, 0.05)


class Resized(nn.Module):
    """Images enlarged to a random size and cropped at a random place (after Xie et al. 2018)."""

    def forward(self, images):
        side = random.randint(8, 10)
        top, left = (int(torch.randint(side - 7, ())) for _ in range(2))
        big = F.interpolate(images, (side, side), mode="bilinear", align_corners=False)
        return big[:, :, top : top + 8, left : left + 8]


def judge(model, attacks=("pgd5",), n=N, **settings):
    return evaluate(model, digits(n), list(attacks), DIGITS, **settings)


def noisy(own=False):
    return nn.Sequential(Noisy(own), robust_net())


def verdicts(report):
    return {attack.name: (attack.verdicts, attack.draws) for attack in report.attacks}


def checks(report):
    return {check.name: check for check in report.checks}


@pytest.fixture(scope="module")
def cases():
    return {case.defence: case for case in adaptive.cases(adaptive.train())}


@pytest.fixture(scope="module")
def bare(cases):
    """The accuracy of the network without a defence under the same attack."""
    net = cases["pixels rounded to 8 levels"].adapted["surrogate"]
    return judge(net, ["pgd20"], n=100).totals.robust.accuracy


@pytest.mark.parametrize(
    "defence",
    ["pixels rounded to 8 levels", "projection by optimisation", "logits times 1000"],
)
def test_hidden_gradients_stop_the_plain_attack_and_not_the_adapted(cases, bare, defence):
    clean, plain, adapted = adaptive.measure(cases[defence])
    assert plain is None or plain > 0.8
    assert adapted < bare + 0.06
    row = next(
        line
        for line in (ROOT / "docs/trust.md").read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {defence} |")
    )
    documented = [float(number) / 100 for number in re.findall(r"(\d+) %", row)]
    measured = [rate for rate in (clean, plain, adapted) if rate is not None]
    assert documented == pytest.approx(measured, abs=0.04)
    assert ("refused" in row) == (plain is None)


def test_noise_that_drowns_the_gradient_falls_to_its_average(cases):
    model = cases["random ripples of 0.02"].model
    few, many = (judge(model, ["pgd20"], n=32, draws=3, eot=eot) for eot in (1, 15))
    assert many.totals.robust.correct + 4 < few.totals.robust.correct
    assert "--eot" in checks(few)["steady-gradient"].detail
    assert not checks(few)["steady-gradient"].passed and checks(many)["loss-rises"].passed


def test_a_surrogate_lends_its_gradient_and_no_verdict():
    net, rounded = robust_net(), nn.Sequential(adaptive.Rounded(), robust_net())
    plain, adapted = judge(net, surrogate=net), judge(rounded, surrogate=net)
    assert verdicts(plain) == verdicts(judge(net, folded=False))
    assert adapted.clean == judge(rounded).clean
    assert adapted.settings.surrogate.state_sha256 == plain.model.state_sha256
    note = checks(adapted)["true-gradient"]
    assert note.passed and note.detail.startswith("The gradient is the surrogate's")
    assert " on 64 of 64 images" in note.detail
    assert not {"gradient-path", "loss-rises", "unbounded-attack"} & {
        check.name for check in adapted.failed_checks
    }


def test_a_surrogate_of_a_random_model_is_averaged_too():
    net, steps = robust_net(), (Noisy(), adaptive.Rounded())
    defended, surrogate = nn.Sequential(*steps, net), nn.Sequential(steps[0], net)
    plain, adapted = (
        judge(defended, draws=3, eot=5, n=32, surrogate=chosen) for chosen in (None, surrogate)
    )
    assert adapted.totals.robust.correct < plain.totals.robust.correct - 4
    assert checks(adapted)["loss-rises"].passed
    assert adapted.settings.adaptation == (
        "gradients of the surrogate Sequential, attacks average 5 draws, verdicts by the majority "
        "of 3 draws"
    )


def test_a_useless_surrogate_is_noticed():
    stranger = robust_net()
    for parameter in stranger.parameters():
        parameter.data.neg_()
    report = judge(robust_net(), surrogate=stranger)
    assert {"loss-rises", "unbounded-attack"} & {check.name for check in report.failed_checks}


def test_draws_repeat_with_the_seed_alone(tmp_path):
    attacks = ["pgd5", get_attack("apgd-ce", steps=5)]
    how = {"draws": 3, "eot": 2, "n": 40}
    first = judge(noisy(), attacks, out=tmp_path / "a.json", **how)
    again = judge(noisy(), attacks[::-1], batch_size=16, **how)
    assert verdicts(first) == verdicts(again) and first.clean == again.clean
    other = judge(noisy(), attacks, seed=1, **how)
    assert verdicts(first) != verdicts(other) and first.clean != other.clean
    assert record.read(tmp_path / "a.json") == first
    assert first == judge(noisy(), attacks, out=tmp_path / "a.json", resume=True, **how)
    with pytest.raises(ZooError, match="surrogate or draws"):
        judge(noisy(), attacks, out=tmp_path / "a.json", resume=True, **how | {"draws": 4})


def test_an_image_is_robust_where_most_draws_are_right():
    report = judge(noisy(), draws=4)
    attack = report.attack("pgd5")
    right = [list(map(int, draw)) for draw in attack.draws.verdicts]
    most = [sum(image) > 2 for image in zip(*right, strict=True)]
    assert [verdict == "1" for verdict in attack.last_verdicts] == most
    assert any(sum(image) == 2 for image in zip(*right, strict=True))  # a tie is no majority
    assert attack.draws.low < attack.draws.accuracy < attack.draws.high
    assert attack.draws.accuracy == pytest.approx(sum(map(sum, right)) / 4 / N)
    assert report.settings.draws == 4 and report.settings.decide == "majority"


def test_a_randomised_model_needs_draws():
    failed = {check.name: check.detail for check in judge(noisy()).failed_checks}
    assert "--draws 10" in failed["deterministic"] and "--eot 10" in failed["deterministic"]
    drawn = checks(judge(noisy(), draws=3, decide="mean"))
    assert "judged by the mean of 3 draws" in drawn["deterministic"].detail
    assert drawn["deterministic"].passed and drawn["true-gradient"].passed
    assert drawn["batch-independent"].skipped
    own = checks(judge(noisy(own=True), draws=3))["deterministic"]
    assert not own.passed and "global generators" in own.detail


def test_too_few_averaged_draws_are_named():
    few, many = (
        checks(judge(nn.Sequential(Resized(), robust_net()), draws=3, eot=eot, n=32))
        for eot in (1, 20)
    )
    assert "--eot" in few["steady-gradient"].detail and not few["steady-gradient"].passed
    assert many["steady-gradient"].passed
    assert checks(judge(robust_net()))["steady-gradient"].skipped


def test_the_interval_of_draws_covers_images_and_draws():
    alike = summarise(["1" * 60 + "0" * 40] * 10)  # draws add nothing to 100 images
    assert (alike.low, alike.high) == wilson(0.6, 100)
    shared = summarise(["1" * 100] * 6 + ["0" * 100] * 4)  # images add nothing to 10 draws
    assert shared.low < 0.35 and shared.high > 0.8


def half_margin(logits, labels):
    own = logits.gather(1, labels[:, None])[:, 0]
    return (logits.scatter(1, labels[:, None], -torch.inf).amax(1) - own) / 2


def mean_loss(logits, labels):
    return F.cross_entropy(logits, labels)


def detached_loss(logits, labels):
    return half_margin(logits.detach(), labels)


def endless_loss(logits, labels):
    return half_margin(logits, labels) * torch.nan


def broken_loss(logits, labels):
    return F.cross_entropy(logits, labels[:, None])


def sum_loss(logits, labels):
    return logits.sum(1)


def test_a_useless_loss_is_named_once_and_the_model_is_not_blamed_for_it():
    attacks = [get_attack(name, loss=sum_loss) for name in ("fgsm", "pgd20")]
    report = judge(robust_net(), [*attacks, "square"])
    assert [check.name for check in report.failed_checks] == ["strong-attack"]
    assert "pgd20 raises a loss of its own" in report.failed_checks[0].detail
    assert report.failed_checks[0].detail.endswith("not to be quoted; add autoattack.")


def test_a_loss_of_ones_own_is_raised_and_recorded(tmp_path):
    own = judge(robust_net(), loss=half_margin, out=tmp_path / "a.json").attack("pgd5")
    assert own.settings["loss"] == f"{__name__}:half_margin" and own.settings["loss_sha256"]
    margin = judge(robust_net(), loss="margin").attack("pgd5")
    assert margin.settings["loss"] == "margin" and "loss_sha256" not in margin.settings
    assert own.verdicts == margin.verdicts
    assert record.read(tmp_path / "a.json").attack("pgd5") == own


@pytest.mark.parametrize(
    ("message", "attack", "settings"),
    [
        ("must be a function at the top of a module", "pgd5", {"loss": lambda x, y: x[:, 0]}),
        ("must return one value an image", "pgd5", {"loss": mean_loss}),
        ("does not depend on the logits", "pgd5", {"loss": detached_loss}),
        (r"not a number \(NaN\) for 1[0-9] of 1[0-9] images", "pgd5", {"loss": endless_loss}),
        (
            "broken_loss' cannot be computed: .*adaptive.py, line",
            "pgd5",
            {"loss": broken_loss},
        ),
        ("Unknown loss 'entropy'", "pgd5", {"loss": "entropy"}),
        ("raises a loss of its own", "apgd-ce", {"loss": "margin"}),
        ("averages 20 draws a step of its own", "autoattack-rand", {"eot": 2}),
        ("draws 0 is out of range", "pgd5", {"draws": 0}),
        ("Unknown rule for a verdict 'vote'", "pgd5", {"draws": 2, "decide": "vote"}),
        ("compile does not go with", "pgd5", {"draws": 2, "compile": "default"}),
        ("surrogate's 'weight' is float16", "pgd5", {"surrogate": nn.Linear(2, 2).half()}),
        ("surrogate must return logits of shape", "pgd5", {"surrogate": nn.Flatten()}),
    ],
)
def test_what_cannot_be_done_is_refused(message, attack, settings):
    with pytest.raises(ZooError, match=message):
        judge(robust_net(), [attack], n=16, **settings)


def test_a_plain_record_says_nothing_of_adaptation():
    report = judge(robust_net(), n=16)
    settings = report.settings
    assert {settings.surrogate, settings.eot, settings.draws, settings.decide} == {UNSET}
    assert report.clean.draws is UNSET and report.attacks[0].draws is UNSET
    assert settings.adaptation == ""
