import shutil
import sys
from dataclasses import replace

import pytest
import torch
import torchattacks
from helpers.small_nets import DIGITS, build_net, digits, fit, robust_net, seeded_net
from torch import nn

from robnet_zoo import create_model
from robnet_zoo.attacks.batch import AttackBatch
from robnet_zoo.attacks.methods.gradient import GradientAttack
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.eval import evaluate, get_attack
from robnet_zoo.runtime.errors import ZooError


def judge(attacks, n=96, model=None, threat_model=DIGITS, **options):
    return evaluate(model or robust_net(), digits(n), attacks, threat_model, **options)


def survivors(attack, net, images, labels):
    return int((net(attack(images, labels)).argmax(1) == labels).sum())


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("fgsm", lambda net: torchattacks.FGSM(net, eps=0.15)),
        ("bim10", lambda net: torchattacks.BIM(net, eps=0.15, alpha=0.0375, steps=10)),
        ("pgd20", lambda net: torchattacks.PGD(net, eps=0.15, alpha=0.0375, steps=20)),
        ("mifgsm10", lambda net: torchattacks.MIFGSM(net, eps=0.15, alpha=0.0375, steps=10)),
    ],
)
def test_robust_accuracy_agrees_with_torchattacks(name, build):
    net, (images, labels) = robust_net(), digits(256)
    expected = []
    for seed in range(5):  # of a random start, which is not ours
        torch.manual_seed(seed)
        expected.append(survivors(build(net), net, images, labels))
    found = judge([name], n=256).attack(name)
    assert min(expected) - 1 <= found.last.correct <= max(expected) + 1


def test_l2_agrees_with_torchattacks():
    net, (images, labels) = robust_net(), digits(256)
    threat_model = DIGITS.at("0.8", "L2")
    library = torchattacks.PGDL2(net, eps=0.8, alpha=0.2, steps=20, random_start=False)
    found = judge(["bim20"], n=256, threat_model=threat_model).attack("bim20")
    assert abs(found.last.correct - survivors(library, net, images, labels)) <= 1
    assert 0.79 < found.max_perturbation <= 0.8 + 1e-6


def test_a_long_run_contains_the_short_ones():
    long = judge(["pgd20"]).attack("pgd20")
    for steps in (1, 5, 20):
        short = judge([f"pgd{steps}"]).attack(f"pgd{steps}")
        assert short.robust.correct == long.trace.any[steps]
        assert short.last.correct == long.trace.last[steps]


def test_verdicts_trace_and_first_broken_steps_agree():
    report = judge(["pgd20"])
    found = report.attack("pgd20")
    for verdict, step in zip(found.verdicts, found.first_broken, strict=True):
        assert (verdict == "1") == (step is None)
    for steps, robust in enumerate(found.trace.any):
        assert robust == sum(step is None or step > steps for step in found.first_broken)
    assert all(a <= b for a, b in zip(found.trace.any, found.trace.last, strict=True))
    assert found.trace.any[-1] == found.robust.correct < report.clean.accuracy.correct


def test_clean_mistakes_are_not_robust_and_listed():
    report = judge(["fgsm"], n=256)
    mistakes = report.totals.clean_mistakes
    assert len(mistakes) == 256 - report.clean.accuracy.correct > 0
    assert all(report.attack("fgsm").verdicts[index] == "0" for index in mistakes)
    assert report.attack("fgsm").robust.n == report.totals.robust.n == 256


def test_the_total_is_what_survives_every_attack():
    report = judge(["fgsm", "pgd5", "mifgsm5"])
    together = [
        "1" if set(flags) == {"1"} else "0"
        for flags in zip(*(a.verdicts for a in report.attacks), strict=True)
    ]
    assert report.totals.verdicts == "".join(together)
    assert sum(one.robust for one in report.totals.per_class) == report.totals.robust.correct


def test_early_exit_gives_the_same_worst_case_for_less():
    thorough = judge(["pgd20"]).attack("pgd20")
    quick = judge([replace(get_attack("pgd20"), early_exit=True)]).attack("pgd20")
    assert quick.verdicts == thorough.verdicts
    assert quick.first_broken == thorough.first_broken
    assert quick.trace.any == thorough.trace.any
    assert quick.last is None
    assert quick.forwards < 0.8 * thorough.forwards


@pytest.mark.parametrize("early_exit", [False, True])
def test_restarts_only_break_more(early_exit):
    one, three = (
        judge([get_attack("pgd3", restarts=restarts, early_exit=early_exit)], n=256).attack("pgd3")
        for restarts in (1, 3)
    )
    assert all(a >= b for a, b in zip(one.verdicts, three.verdicts, strict=True))
    assert three.robust.correct < one.robust.correct


def test_targeted_attacks_aim_at_another_class_drawn_for_each_image():
    attack, (images, labels) = get_attack("pgd20", targeted=True), digits(96)
    model = AttackedModel(robust_net(), 96)
    whole = AttackBatch(number=0, indices=torch.arange(96), images=images, labels=labels, seed=0)
    part = AttackBatch(
        number=0, indices=torch.arange(90, 96), images=images[90:], labels=labels[90:], seed=0
    )
    targets = attack._targets(model, whole)
    assert (targets != labels).all()
    assert len(targets.unique()) == 10
    assert torch.equal(targets[90:], attack._targets(model, part))
    threat_model = DIGITS.at("0.4")
    reached = model.predict(attack.run(model, whole, threat_model).adversarial) == targets
    aimless = (
        model.predict(get_attack("pgd20").run(model, whole, threat_model).adversarial) == targets
    )
    assert reached.sum() > 2 * aimless.sum()


def test_the_margin_loss_breaks_images_too():
    attack = GradientAttack(name="margin", steps=20, start="uniform", loss="margin")
    report = judge([attack, "pgd20"])
    assert abs(report.attacks[0].robust.correct - report.attacks[1].robust.correct) <= 5


@pytest.mark.parametrize("batch_size", [7, 32, 100])
def test_verdicts_do_not_depend_on_the_batch_size(batch_size):
    def found(size):
        report = judge(["pgd20", "apgd-ce", "mifgsm"], n=150, batch_size=size)
        return [(a.verdicts, a.last_verdicts, a.first_broken, a.trace) for a in report.attacks]

    assert found(batch_size) == found(256)


def test_verdicts_do_not_depend_on_the_other_attacks_or_images():
    alone = judge(["pgd10"], n=60).attack("pgd10")
    among = judge(["fgsm", "mifgsm", "pgd10"], n=96).attack("pgd10")
    assert among.verdicts[:60] == alone.verdicts
    assert among.first_broken[:60] == alone.first_broken


def test_the_seed_decides():
    first, again, other = (judge(["pgd2"], n=256, seed=seed).attack("pgd2") for seed in (0, 0, 1))
    assert first.first_broken == again.first_broken != other.first_broken


class Partial(nn.Module):
    """A network of which one part stays in training mode on purpose."""

    def __init__(self):
        super().__init__()
        self.net = robust_net()
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        return self.dropout(self.net(images))


def test_the_caller_finds_everything_as_it_was():
    model = Partial().eval()
    model.dropout.train()
    model.net[0].weight.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    trace = sys.gettrace()
    before = torch.get_rng_state()
    attacks = ["pgd2", get_attack("fab-t", steps=2), "cw", get_attack("square", queries=5)]
    report = judge(attacks, n=16, model=model)
    assert torch.equal(torch.get_rng_state(), before)
    assert report.clean.accuracy == judge(["fgsm"], n=16).clean.accuracy  # dropout was off
    assert sys.gettrace() is trace
    assert model.dropout.training
    assert not model.net.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 7
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


class Greedy(nn.Module):
    """A network on a device with memory for few images."""

    def __init__(self, most):
        super().__init__()
        self.net, self.most = robust_net(), most

    def forward(self, images):
        if len(images) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return self.net(images)


def test_the_batch_is_halved_until_it_fits():
    report = judge(["pgd5", "apgd-ce"], model=Greedy(40))
    plain = judge(["pgd5", "apgd-ce"])
    assert [a.verdicts for a in report.attacks] == [a.verdicts for a in plain.attacks]
    assert report.settings.batch_size == 32
    assert "batch size halved to 32" in report.warnings[-1]
    with pytest.raises(ZooError, match="too little memory"):
        judge(["fgsm"], model=Greedy(4))


@pytest.mark.parametrize("name", ["racl", "robnet_small", "arnas", "nasnet_a"])
def test_an_image_gets_the_same_bits_in_any_batch(name):
    net = create_model(name, channels=4, layers=3, in_channels=1).eval()
    found = []
    for batch_size in (7, 32, 256):
        images = digits(100)[0].clone().requires_grad_()
        logits = AttackedModel(net, batch_size)(images)
        found.append((logits, torch.autograd.grad(logits.square().sum(), images)[0]))
    for logits, gradients in found[1:]:
        assert torch.equal(logits, found[0][0])
        assert torch.equal(gradients, found[0][1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n 0 is out of range; there are 96"),
        ({"n": -3}, "n -3"),
        ({"n": 97}, "n 97"),
        ({"seed": -1}, "seed -1"),
        ({"batch_size": 0}, "batch size 0"),
        ({"attacks": ["pgd0"]}, "0 steps"),
        ({"attacks": ["pdg20"]}, "did you mean pgd20"),
        ({"attacks": ["fgsm", "fgsm"]}, "named twice"),
        ({"attacks": []}, "no attack"),
        ({"threat_model": "cifar"}, "did you mean cifar10"),
        ({"data": (torch.rand(4, 8, 8), torch.zeros(4))}, r"images \(N, C, H, W\)"),
        ({"data": (2 * torch.ones(4, 1, 8, 8), torch.zeros(4))}, r"Pixels must lie in \[0,1\]"),
        ({"data": (torch.rand(4, 1, 8, 8), torch.full((4,), 10))}, "label 10"),
        ({"model": build_net().half()}, "float16"),
        ({"model": nn.Conv2d(1, 1, 3)}, "must return logits"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_a_sentence(change, message):
    given = {"model": robust_net(), "data": digits(96), "attacks": ["fgsm"], "threat_model": DIGITS}
    with pytest.raises(ZooError, match=message):
        evaluate(**{**given, **change})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("fgsm", {"restarts": 3}, "starts at the clean image"),
        ("deepfool", {"restarts": 3}, "no setting 'restarts'; it has overshoot, steps"),
        ("autoattack", {"restarts": 3}, "no setting 'restarts'"),
        ("apgd-t", {"targeted": True}, "no setting 'targeted'"),
        ("pgd20", {"restarts": 0}, "restarts 0"),
    ],
)
def test_settings_that_an_attack_lacks_are_refused(name, settings, message):
    with pytest.raises(ZooError, match=message):
        get_attack(name, **settings)


def layers():
    """Return few layers: most of the time is the compiler's, for each."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_a_compiled_evaluation_finds_the_same():
    net = fit(seeded_net(0, layers), 2, seed=0)
    plain, compiled = (
        evaluate(net, digits(40), ["pgd5"], DIGITS, batch_size=16, compile=mode)
        for mode in (None, "default")
    )
    assert compiled.settings.compile == "default"
    assert compiled.attacks[0].first_broken == plain.attacks[0].first_broken
    assert len(set(plain.attacks[0].first_broken)) > 3
