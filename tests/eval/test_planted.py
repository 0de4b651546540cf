"""What is planted in a network is caught by name, and honest networks raise no alarm."""

import pytest
import timm
import torch
from helpers import planted
from helpers.fitted import fit_head
from helpers.planted import Ensemble, Planted, Remembering, Wavy
from helpers.small_nets import (
    DIGITS,
    TWO_STEPS,
    digits,
    fit,
    natural_net,
    robust_net,
    seeded_net,
)
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, ResNet

from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.eval.checks import check_model
from robnet_zoo.eval.evaluation import evaluate
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.threat_models import get_threat_model
from robnet_zoo.zoo import create_model

NETS = {"natural": natural_net, "robust": robust_net}


def failed(checks):
    return {check.name: check.detail for check in checks if check.verdict == "failed"}


def alarms(model, images=None, labels=None, threat_model=DIGITS, **settings):
    own = digits(64)
    images, labels = (own[0], own[1]) if images is None else (images, labels)
    return failed(check_model(model, images, labels, threat_model, **settings))


# ---- what is planted


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", planted.BEFORE)
def test_what_is_planted_before_a_network_is_caught(name, net):
    before, check = planted.BEFORE[name]
    assert check in alarms(Planted(NETS[net](), before))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", planted.BEHIND)
def test_what_is_planted_behind_a_network_is_caught(name, net):
    behind, check = planted.BEHIND[name]
    assert check in alarms(Planted(NETS[net](), behind=behind))


@pytest.mark.parametrize("how", ["no_grad", "scaled"])
def test_an_ensemble_that_hides_a_member_is_caught(how):
    assert "whole-gradient" in alarms(Ensemble(robust_net(), natural_net(), how))
    assert "whole-gradient" in alarms(Ensemble(natural_net(), robust_net(), how))


@pytest.mark.parametrize("net", NETS)
def test_waves_on_activations_are_caught(net):
    assert "local-linearity" in alarms(Wavy(NETS[net]()))


def survivors(model, attack="pgd20", n=200):
    record = evaluate(model, digits(n), [attack], DIGITS)
    return {check.name: check for check in record.checks}["survivors"]


@pytest.mark.parametrize("name", planted.SURVIVED)
def test_what_lifts_a_verdict_by_the_size_of_logits_shows_in_what_survives(name):
    check = survivors(Planted(robust_net(), behind=planted.SURVIVED[name]))
    assert check.verdict == "failed"
    assert "quote attacks that know no scale (apgd-t, autoattack)" in check.detail


@pytest.mark.parametrize("net", NETS)
def test_what_survives_on_an_honest_network_survives_the_margin_too(net):
    check = survivors(NETS[net]())
    assert check.verdict == "passed"
    assert "5 PGD steps on the margin break" in check.detail


def test_survivors_of_weak_attacks_and_of_few_images_are_not_judged():
    divided = Planted(robust_net(), behind=planted.SURVIVED["divided by 5"])
    assert survivors(divided, "pgd7", 30).detail == "There is no strong attack in the run."
    assert survivors(divided, n=16).verdict == "skipped"


@pytest.mark.parametrize("name", planted.HIDDEN)
def test_what_hides_from_the_checks_shows_behind_the_attacks(name):
    model = Planted(robust_net(), planted.HIDDEN[name])
    assert not alarms(Planted(robust_net(), planted.HIDDEN[name]))
    detail = failed(evaluate(model, digits(96), ["pgd20"], DIGITS).checks)["same-function"]
    assert "0 of 8 images have other logits than before, and 8 other gradients" in detail


def test_remembered_logits_are_caught():
    assert "whole-gradient" in alarms(Remembering(natural_net()).eval())


TABLE = {
    "half of the image detached": "50 % of the pixels have no gradient in any image",
    "high frequencies detached": "attack a surrogate with the whole gradient",
    "clamp": "take it out of the forward pass",
    "divided by 1000": "return them as they were before they were divided",
    "sigmoid": "look like sigmoid outputs",
    "normalised": "every row has the same norm",
}


@pytest.mark.parametrize("name", TABLE)
def test_an_evaluation_names_what_lifts_a_verdict_and_what_to_do(name):
    before, check = planted.BEFORE.get(name, (None, None))
    behind, check = planted.BEHIND.get(name, (None, check))
    model = Planted(robust_net(), before, behind)
    record = evaluate(model, digits(64), ["pgd20"], DIGITS)
    assert TABLE[name] in failed(record.checks)[check]


def test_a_network_that_says_one_class_is_caught():
    constant = Planted(
        natural_net(), behind=lambda z: 0.01 * z + 9 * F.one_hot(z.new_tensor(3).long(), 10)
    )
    assert failed(evaluate(constant, digits(200), ["pgd20"], DIGITS).checks)


def test_a_clamp_is_caught_where_no_pixel_is_at_a_bound():
    """Attacks put pixels there that are near."""
    images = digits(64)[0] * 0.96 + 0.02
    clamp = Planted(robust_net(), planted.BEFORE["clamp"][0])
    assert set(alarms(clamp, images, digits(64)[1])) == {"bound-gradient"}


# ---- what is honest


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", planted.HARMLESS)
def test_what_is_harmless_raises_no_alarm(name, net):
    assert not alarms(planted.HARMLESS[name](NETS[net]()))


def narrow_resnet():
    """Return torchvision's ResNet with a stem for small images and 8 to 32 channels."""
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)
    net.inplanes = 8
    net.conv1, net.bn1 = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
    net.maxpool = nn.Identity()
    for name, (width, stride) in enumerate([(8, 1), (16, 2), (16, 1), (32, 2)], 1):
        setattr(net, f"layer{name}", net._make_layer(BasicBlock, width, 1, stride=stride))
    net.fc = nn.Linear(32, 10)
    return net


@pytest.mark.parametrize("adversary", [None, TWO_STEPS], ids=["normal", "adversarial"])
def test_a_torchvision_resnet_raises_no_alarm(adversary):
    net = fit(seeded_net(1, narrow_resnet), 2, seed=1, rate=3e-3, adversary=adversary)
    images, labels = digits(100)
    assert (net(images).argmax(1) == labels).float().mean() > 0.85
    assert not alarms(net)
    assert not alarms(net, images, labels, DIGITS.at("1.0", "L2"))
    assert set(alarms(Planted(net, planted.BEFORE["clamp"][0]))) == {"bound-gradient"}


@pytest.mark.parametrize(
    ("name", "size"),
    [("test_resnet", {}), ("test_vit", {"img_size": 8, "patch_size": 2})],
)
def test_a_timm_network_raises_no_alarm(name, size):
    net = seeded_net(0, lambda: timm.create_model(name, in_chans=1, num_classes=10, **size))
    assert not alarms(fit_head(net).eval())


def test_a_network_of_the_zoo_and_its_folded_form_raise_no_alarm():
    model = create_model("dsrna_cb.digits", pretrained=True).eval()
    images, labels = digits(16)
    folded = AttackedModel(model, 16, attack_model=fold(model, image_size=8))
    assert not alarms(model, images, labels, attack_model=folded)


def test_a_network_for_cifar10_raises_no_alarm(root):
    folder = root / "weights" / "racl.cifar10-mini"
    if not folder.exists():
        pytest.skip("there are no weights beside the package")
    model = create_model(f"local-dir:{folder}").eval()
    images = F.interpolate(digits(16)[0], 32, mode="bilinear").expand(-1, 3, -1, -1)
    with torch.no_grad():
        labels = model(images).argmax(1)
    assert not alarms(model, images, labels, get_threat_model("cifar10"))


def test_a_folded_form_with_another_gradient_is_refused():
    model = robust_net()
    for change in (planted.BEFORE["a blurred gradient"][0], lambda x, m: x + 0.01):
        other = AttackedModel(model, 64, attack_model=Planted(model, change))
        assert "folded-form" in alarms(model, attack_model=other)
    noisy = AttackedModel(
        model, 64, attack_model=Planted(model, lambda x, m: x + 1e-7 * torch.sin(1e3 * x))
    )
    assert not alarms(model, attack_model=noisy)


@pytest.mark.parametrize("change", [lambda z: z + 1e5, lambda z: z / 1e3, lambda z: 40 * z])
def test_tolerances_go_by_the_spread_of_logits(change):
    """Randomness of a hundredth is seen whatever the size of the logits is."""
    model = Planted(robust_net(), lambda x, m: x + 0.003 * torch.randn_like(x), change)
    assert "deterministic" in alarms(model)
    assert not {"deterministic", "batch-independent", "gradient-mode"} & set(
        alarms(Planted(robust_net(), behind=change))
    )
