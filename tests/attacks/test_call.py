"""The plain call: tensors in, adversarial images out."""

from dataclasses import dataclass, field

import pytest
import torch
from helpers.small_nets import DIGITS, build_net, digits, robust_net

import robnet_zoo
from robnet_zoo import attacks, create_model
from robnet_zoo.attacks import Attack, AttackOutput, Suite, Traits, get_attack
from robnet_zoo.attacks.verdicts import into_ball, within
from robnet_zoo.eval import evaluate
from robnet_zoo.runtime.errors import ZooError

L2 = DIGITS.at("0.8", "L2")


@dataclass(frozen=True, kw_only=True)
class Recorded(Attack):
    """An attack that keeps what it makes for the harness."""

    attack: Attack
    made: list = field(default_factory=list)

    @property
    def traits(self):
        return self.attack.traits

    def settings(self, threat_model):
        return self.attack.settings(threat_model)

    def run(self, model, batch, threat_model):
        output = self.attack.run(model, batch, threat_model)
        self.made.append((batch.indices, output.adversarial.detach()))
        return output


@pytest.mark.parametrize("threat_model", [DIGITS, L2], ids=str)
@pytest.mark.parametrize(
    ("name", "settings", "n"),
    [
        ("fgsm", {}, 400),
        ("pgd3", {"restarts": 2}, 400),
        ("mifgsm2", {"targeted": True}, 40),
        ("pgd5", {"early_exit": True}, 40),
        ("apgd-ce", {"steps": 3}, 400),
        ("apgd-t", {"steps": 2}, 40),
        ("fab-t", {"steps": 2}, 40),
        ("square", {"queries": 20}, 400),
        ("deepfool", {}, 40),
        ("cw", {"steps": 20}, 40),
    ],
)
def test_it_returns_what_the_harness_judges(name, settings, n, threat_model):
    attack, (images, labels) = get_attack(name, **settings), digits(n)
    recorded = Recorded(name=name, attack=attack)
    report = evaluate(robust_net(), (images, labels), [recorded], threat_model, seed=3)
    expected = images.clone()
    for indices, made in recorded.made:
        moved = into_ball(made, images[indices], threat_model) if attack.traits.minimal else made
        expected[indices] = moved
    found = attack(robust_net(), images, labels, threat_model, seed=3)
    assert torch.equal(found, expected)
    assert within(found, images, threat_model).all()
    broken = robust_net()(found).argmax(1) != labels
    verdicts = report.attacks[0].last_verdicts or report.attacks[0].verdicts
    assert broken.any()
    assert [flag == "0" for flag in verdicts] == broken.tolist()


def test_settings_seed_and_batch_size():
    attack, (images, labels) = attacks.pgd3, digits(40)
    found = attack(robust_net(), images, labels, DIGITS, restarts=2)
    again = get_attack("pgd3", restarts=2)(robust_net(), images, labels, "digits", batch_size=7)
    assert torch.equal(found, again)
    assert not torch.equal(found, attack(robust_net(), images, labels, "digits"))
    assert not torch.equal(found, attack(robust_net(), images, labels, "digits", seed=1))


def test_a_suites_parts_attack_what_still_stands():
    parts = (get_attack("square", queries=40), get_attack("apgd-ce", steps=3))
    suite, (images, labels) = Suite(name="mix", parts=parts), digits(150)
    found = suite(robust_net(), images, labels, DIGITS)
    report = evaluate(robust_net(), (images, labels), [suite], DIGITS)
    assert min(part.broken for part in report.attacks[0].parts) > 0
    right = robust_net()(found).argmax(1) == labels
    assert "".join("01"[flag] for flag in right.int().tolist()) == report.attacks[0].verdicts
    first = parts[0](robust_net(), images, labels, DIGITS)
    broken = robust_net()(first).argmax(1) != labels
    assert torch.equal(found[broken], first[broken])


def test_the_zoos_networks_may_be_attacked_in_their_folded_form():
    torch.manual_seed(0)
    net, (images, _) = create_model("racl", channels=4, layers=3, in_channels=1), digits(40)
    labels = net.eval()(images).argmax(1)
    report = evaluate(net, (images, labels), ["pgd3", "apgd-ce"], DIGITS)
    assert report.settings.folded
    for name, result in zip(("pgd3", "apgd-ce"), report.attacks, strict=True):
        found = get_attack(name)(net, images, labels, DIGITS)
        expected = result.last or result.robust
        with torch.no_grad():
            assert int((net(found).argmax(1) == labels).sum()) == expected.correct


def test_uint8_images_and_images_that_are_wrong_already():
    images, labels = digits(300)
    net = robust_net()
    wrong = net(images).argmax(1) != labels
    found = attacks.fgsm(net, (images * 255).round().to(torch.uint8), labels, DIGITS)
    assert wrong.any()
    assert found.dtype == torch.float32
    assert torch.allclose(found[wrong], images[wrong], atol=1 / 255)
    assert within(found, (images * 255).round() / 255, DIGITS).all()


def test_everything_is_left_as_it_was():
    net, (images, labels) = robust_net().train(), digits(20)
    net[1].eval()
    net[0].weight.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    given = images.clone()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with torch.no_grad():
        for name in ("pgd2", "cw", "fab-t"):
            get_attack(name, steps=2)(net, images, labels, DIGITS)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(images, given)
    assert (net.training, net[1].training) == (True, False)
    assert [p.requires_grad for p in net.parameters()] == [False] + [True] * 7
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


@dataclass(frozen=True, kw_only=True)
class Cheat(Attack):
    """An attack that leaves the ball."""

    def run(self, model, batch, threat_model):
        return AttackOutput(adversarial=1 - batch.images)


def test_what_leaves_the_threat_model_comes_back_clean():
    images, labels = digits(20)
    assert torch.equal(Cheat(name="cheat")(robust_net(), images, labels, DIGITS), images)


@dataclass(frozen=True, kw_only=True)
class OnlyLinf(Cheat):
    @property
    def traits(self):
        return Traits(norms=("Linf",))


IMAGES, LABELS = torch.rand(4, 1, 8, 8), torch.zeros(4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 2 * torch.ones(4, 1, 8, 8)}, r"Pixels must lie in \[0,1\]"),
        ({"images": torch.full((4, 1, 8, 8), 255)}, "Images are int64; give uint8, or floats"),
        ({"images": torch.full((4, 1, 8, 8), torch.nan)}, "not a number"),
        ({"images": torch.full((4, 1, 8, 8), 2.0)}, r"Pixels must lie in \[0,1\]"),
        ({"images": torch.rand(4, 8, 8)}, r"images \(N, C, H, W\)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"images \(N, C, H, W\)"),
        ({"labels": torch.zeros(3)}, r"labels \(N,\)"),
        ({"labels": torch.full((4,), 10)}, "label 10"),
        ({"threat_model": "cifar"}, "did you mean cifar10"),
        ({"seed": -1}, "seed -1"),
        ({"batch_size": 0}, "batch size 0"),
        ({"steps": 0}, "steps 0"),
        ({"speed": 3}, "no setting 'speed'; it has early_exit"),
        ({"model": build_net().half()}, "float16; verdicts need float32"),
        ({"model": torch.nn.Conv2d(1, 1, 3)}, "must return logits"),
        ({"attack": OnlyLinf(name="flat"), "threat_model": L2}, "does not work under L2"),
    ],
)
def test_mistakes_are_refused_in_a_sentence(change, message):
    given = {"model": robust_net(), "images": IMAGES, "labels": LABELS, "threat_model": "digits"}
    given |= change
    attack = given.pop("attack", attacks.pgd2)
    with pytest.raises(ZooError, match=message):
        attack(**given)


@pytest.mark.parametrize("room", [robnet_zoo, attacks])
def test_attacks_are_imported_by_name(room):
    assert (room.pgd37.name, room.pgd37.steps) == ("pgd37", 37)
    assert room.apgd_t == get_attack("apgd-t")
    assert room.square.queries == 5000
    assert [part.name for part in room.autoattack.parts][1:] == ["apgd-t", "fab-t", "square"]
    with pytest.raises(AttributeError, match="has no attribute 'pdg20'"):
        room.pdg20  # noqa: B018


def test_names_cost_no_torch_until_an_attack_is_used(run_python):
    out, _ = run_python(
        "import sys, robnet_zoo, robnet_zoo.attacks\n"
        "assert not hasattr(robnet_zoo, 'nothing') and not hasattr(robnet_zoo.attacks, 'nothing')\n"
        "print('torch' in sys.modules)\n"
        "from robnet_zoo.attacks import autoattack, cw, deepfool, square\n"
        "from robnet_zoo.attacks import autoattack, square\n"
        "print(autoattack.name, callable(square), 'torch' in sys.modules)\n"
    )
    assert out.split() == ["False", "autoattack", "True", "True"]
