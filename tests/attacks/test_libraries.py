import sys
from dataclasses import dataclass, replace

import pytest
import torch
import torchattacks
from helpers.small_nets import DIGITS, digits, robust_net
from msgspec import structs
from pyautoattack import AutoAttack
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import nn

from robnet_zoo.attacks.base import Attack, Suite
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.logit_cache import LogitCache
from robnet_zoo.attacks.model import BATCH_MULTIPLE, AttackedModel
from robnet_zoo.eval import evaluate, get_attack
from robnet_zoo.runtime.errors import ZooError

L2 = DIGITS.at("0.8", "L2")


def in_full_batches(net):
    """Return the network for a library: some CPUs give an image other bits in a batch of 10."""
    return AttackedModel(net, 256)


def correct_block(n, number=0, seed=0):
    """Return a block of images that the network classifies correctly."""
    images, labels = digits(n)
    right = robust_net()(images).argmax(1) == labels
    return AttackBatch(
        number=number,
        indices=torch.arange(n)[right],
        images=images[right],
        labels=labels[right],
        seed=seed,
    )


@pytest.mark.parametrize("threat_model", [DIGITS, L2], ids=["Linf", "L2"])
@pytest.mark.parametrize(
    ("attack", "build"),
    [
        (get_attack("apgd-ce", steps=20), lambda net, o: APGDAttack(net, n_iter=20, **o)),
        (
            get_attack("apgd-t", steps=10),
            lambda net, o: APGDAttack_targeted(net, n_iter=10, n_target_classes=9, **o),
        ),
        (
            get_attack("fab-t", steps=5),
            lambda net, o: FABAttack_PT(net, n_iter=5, targeted=True, n_target_classes=9, **o),
        ),
        (
            get_attack("square", queries=50),
            lambda net, o: SquareAttack(net, n_queries=50, resc_schedule=False, **o),
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_images_are_bit_for_bit_the_librarys(attack, build, threat_model):
    block = correct_block(40, number=3, seed=7)
    size, norm = threat_model.epsilon.value, threat_model.norm
    options = {"eps": size, "norm": norm, "seed": 10, "device": "cpu"}
    library = build(in_full_batches(robust_net()), options)
    library = library.perturb(block.images.clone(), block.labels.clone())
    found = attack.run(AttackedModel(robust_net(), 256), block, threat_model).adversarial
    assert torch.equal(found, library)
    assert (robust_net()(found).argmax(1) != block.labels).any()


def test_autoattack_is_the_authors_standard_version():
    """With their settings; what its parts find in turn is seen at fewer steps."""
    net, (images, labels) = in_full_batches(robust_net()), digits(24)
    options = {"device": "cpu", "eps": 0.15, "norm": "Linf", "seed": 5}
    library = AutoAttack(net, version="standard", **options)
    suite = get_attack("autoattack")
    assert [part.name for part in suite.parts] == library.attacks_to_run
    ce, targeted, fab, square = suite.parts
    for part, theirs in ((ce, library.apgd), (targeted, library.apgd_targeted), (fab, library.fab)):
        assert (part.steps, part.restarts) == (theirs.n_iter, theirs.n_restarts)
        assert part is ce or part.target_classes == theirs.n_target_classes
    assert (ce.loss, ce.eot, targeted.eot) == ("ce", library.apgd.eot_iter, 1)
    assert square.queries == library.square.n_queries

    library.apgd = APGDAttack(net, n_iter=10, n_restarts=1, **options)
    library.apgd_targeted = APGDAttack_targeted(net, n_iter=10, n_target_classes=9, **options)
    library.fab.n_iter, library.square.n_queries = 5, 200
    fewer = [{"steps": 10}, {"steps": 10}, {"steps": 5}, {"queries": 200}]
    parts = (replace(part, **less) for part, less in zip(suite.parts, fewer, strict=True))
    trace = sys.gettrace()
    _, classes = library.run_standard_evaluation(images, labels, batch_size=256)
    sys.settrace(trace)
    suite = replace(suite, parts=tuple(parts))
    report = evaluate(robust_net(), (images, labels), [suite], DIGITS, seed=5)
    expected = "".join("1" if same else "0" for same in classes == labels)
    assert report.attacks[0].verdicts == expected
    assert "0" in expected
    assert "1" in expected


def test_a_suite_spares_what_is_broken_and_ends_like_its_parts():
    parts = (get_attack("apgd-ce", steps=5), get_attack("fab-t", steps=3), get_attack("pgd20"))
    report = evaluate(robust_net(), digits(150), [Suite(name="mix", parts=parts)], DIGITS)
    found, standing = report.attacks[0], report.clean.accuracy.correct
    for part, attack in zip(found.parts, parts, strict=True):
        assert (part.name, part.attacked) == (attack.name, standing)
        standing -= part.broken
    assert standing == found.robust.correct
    assert found.parts[2].broken > 0
    alone = evaluate(robust_net(), digits(150), [parts[2]], DIGITS).attacks[0]
    assert all(suite <= one for suite, one in zip(found.verdicts, alone.verdicts, strict=True))


def test_square_asks_the_model_about_an_image_once_and_finds_the_same():
    block, attack = correct_block(40), get_attack("square", queries=150)
    model = AttackedModel(robust_net(), 64)
    found = attack.run(model, block, DIGITS)
    library = SquareAttack(
        in_full_batches(robust_net()), n_queries=150, resc_schedule=False, eps=DIGITS.epsilon.value,
        norm="Linf", seed=0, device="cpu",
    )  # fmt: skip
    assert torch.equal(found.adversarial, library.perturb(block.images.clone(), block.labels))
    assert model.forwards < 0.8 * found.queries.sum()


@pytest.mark.parametrize(("n", "size"), [(40, "0.04"), (1, "0.002")])
def test_square_looks_ahead_in_fewer_passes_to_the_librarys_images_and_counts(n, size):
    torch.manual_seed(3)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 8 * 6, 4)
    net = nn.Sequential(*layers).requires_grad_(False)
    images = torch.rand(n, 3, 10, 8)
    labels = net(images).argmax(1)
    options = {
        "eps": float(size),
        "norm": "Linf",
        "seed": 2,
        "device": "cpu",
        "resc_schedule": False,
    }
    library = SquareAttack(in_full_batches(net), n_queries=300, **options)
    library.init_hyperparam(images)
    torch.manual_seed(2)
    queries, points = library.attack_single_run(images, labels)
    broken = in_full_batches(net)(points).argmax(1) != labels
    block = AttackBatch(number=2, indices=torch.arange(n), images=images, labels=labels, seed=0)
    passes = []
    net.register_forward_hook(lambda *_: passes.append(1))
    taken = {}
    for room in (16, 256):
        passes.clear()
        found = get_attack("square", queries=300).run(
            AttackedModel(net, room), block, DIGITS.at(size)
        )
        assert torch.equal(found.queries, queries)
        assert torch.equal(found.adversarial[broken], points[broken])
        assert torch.equal(found.adversarial[~broken], images[~broken])
        taken[room] = len(passes)
    assert n == 1 or taken[256] < 0.7 * taken[16]
    assert taken[256] < 0.5 * queries.max()
    assert broken.any()
    assert n == 1 or not broken.all()


def test_answers_from_memory_count_as_progress():
    block, seen = correct_block(40), []
    model = AttackedModel(robust_net(), 64, lambda passes, remembered: seen.append(passes))
    queries = get_attack("square", queries=150).run(model, block, DIGITS).queries.sum()
    assert queries <= sum(seen) < 1.5 * queries
    assert model.forwards < 0.8 * queries


def test_square_without_queries_is_refused():
    with pytest.raises(ZooError, match="queries 0 is out of range"):
        get_attack("square", queries=0)


class OnOtherCpus(nn.Module):
    """A network as some CPUs compute it: unless batches are full, an image's bits are others."""

    def __init__(self):
        super().__init__()
        self.net = robust_net()

    def forward(self, images):
        logits = self.net(images)
        return logits if len(images) % BATCH_MULTIPLE == 0 else logits.nextafter(logits + 1)


def test_what_is_forgotten_is_asked_again():
    net = OnOtherCpus()
    cache = LogitCache(AttackedModel(net, 64), capacity=20)
    images, _ = digits(48)
    logits, passed = net(images), []
    for part in (slice(10), slice(10), slice(10, 40), slice(10)):
        before = cache.model.forwards
        assert torch.equal(cache(images[part]), logits[part])
        passed.append(cache.model.forwards - before)
    assert passed == [10, 0, 30, 10]


def test_square_counts_the_queries_of_broken_images():
    attack = get_attack("square", queries=200)
    report = evaluate(robust_net(), digits(96), [attack], DIGITS)
    found = report.attacks[0]
    assert found.queries.budget == 200
    assert found.queries.broken == report.clean.accuracy.correct - found.robust.correct > 0
    assert 1 <= found.queries.median <= found.queries.mean <= 201
    assert found.backwards == 0


@pytest.mark.parametrize("name", ["deepfool", "cw"])
def test_minimal_attacks_are_judged_at_epsilon(name):
    verdicts = []
    for size in ("0.3", "0.8", "3"):
        report = evaluate(robust_net(), digits(48), [name], DIGITS.at(size, "L2"))
        found = report.attacks[0]
        assert found.max_perturbation <= float(size) + 1e-6
        assert found.over_epsilon == 0
        assert 0.3 < found.median_distance < 3
        verdicts.append(found.robust.correct)
    assert report.clean.accuracy.correct >= verdicts[0] > verdicts[1] > verdicts[2]


@pytest.mark.parametrize("n", [24, 1])
def test_deepfool_steps_as_torchattacks_does(n):
    block, net = correct_block(n), in_full_batches(robust_net())
    library = torchattacks.DeepFool(net, steps=20)(block.images, block.labels)
    attack = get_attack("deepfool", steps=20)
    found = attack.run(AttackedModel(robust_net(), 16), block, L2).adversarial
    torch.testing.assert_close(found, library, atol=1e-4, rtol=0)
    logits = net(found)
    fooled = logits.argmax(1) != block.labels
    best = logits.topk(2).values
    on_the_boundary = best[:, 0] - best[:, 1] < 1e-3
    agree = fooled == (net(library).argmax(1) != block.labels)
    assert (agree | on_the_boundary).all()
    assert fooled.any()


def test_cw_steps_as_torchattacks_does():
    class Raised(nn.Module):
        def forward(self, images):
            return robust_net()(images) + 100  # the library takes a logit below 0 for 0

    block = correct_block(24)
    block = replace(block, images=0.01 + 0.98 * block.images)  # it never moves black and white
    settings = {"c": 2.0, "kappa": 0.5, "steps": 30, "lr": 0.03}
    library = torchattacks.CW(in_full_batches(Raised()), **settings)(block.images, block.labels)
    attack = get_attack("cw", **settings)
    found = attack.run(AttackedModel(Raised(), 16), block, L2).adversarial
    fooled = robust_net()(found).argmax(1) != block.labels
    assert torch.equal(fooled, robust_net()(library).argmax(1) != block.labels)
    assert 0 < fooled.sum() < len(fooled)
    torch.testing.assert_close(found, library, atol=1e-3, rtol=0)


def test_cw_finds_the_same_for_an_image_by_itself():
    block = correct_block(24)
    attack = get_attack("cw", steps=40)
    found = attack.run(AttackedModel(robust_net(), 256), block, L2).adversarial
    first = replace(block, images=block.images[:1], labels=block.labels[:1])
    alone = attack.run(AttackedModel(robust_net(), 256), first, L2).adversarial
    torch.testing.assert_close(alone, found[:1], atol=1e-3, rtol=0)


def test_cw_moves_pixels_that_are_exactly_black():
    block = correct_block(24)
    found = get_attack("cw").run(AttackedModel(robust_net(), 256), block, L2).adversarial
    fooled = robust_net()(found).argmax(1) != block.labels
    assert fooled.any()
    assert found[fooled][block.images[fooled] == 0].max() > 0.05


@dataclass(frozen=True, kw_only=True)
class Cheat(Attack):
    """An attack that leaves the ball, or the range of pixels, or returns no numbers at all."""

    shift: float

    def run(self, model, batch, threat_model):
        return AttackOutput(adversarial=batch.images + self.shift)


def test_images_outside_the_threat_model_are_never_broken():
    attacks = [Cheat(name="far", shift=1.0), Cheat(name="nan", shift=float("nan"))]
    report = evaluate(robust_net(), digits(32), attacks, DIGITS)
    for found in report.attacks:
        assert found.robust == report.clean.accuracy
        assert found.over_epsilon == report.clean.accuracy.correct
    assert report.attack("far").max_perturbation == pytest.approx(1)


def test_a_model_that_loses_its_numbers_is_not_robust():
    class Overflowing(nn.Module):
        def forward(self, images):
            logits = robust_net()(images)
            return torch.where(images.amax((1, 2, 3))[:, None] > 0.98, torch.nan, logits)

    images, labels = digits(32)
    report = evaluate(Overflowing(), (0.9 * images, labels), ["pgd10"], DIGITS)
    plain = evaluate(robust_net(), (0.9 * images, labels), ["pgd10"], DIGITS)
    assert report.clean.accuracy == plain.clean.accuracy
    assert report.totals.robust.correct < plain.totals.robust.correct


@pytest.mark.parametrize(
    ("attack", "module", "extra"),
    [
        ("square", "pyautoattack", "eval"),
        ("torchattacks:VNIFGSM", "torchattacks", "torchattacks"),
    ],
)
def test_a_missing_library_is_told_with_the_command_that_installs_it(
    monkeypatch, attack, module, extra
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ZooError, match=rf"'{attack}' needs {module}.*robnet-zoo\[{extra}\]"):
        evaluate(robust_net(), digits(8), [attack], DIGITS)


def test_randomised_models_are_judged_the_same_again():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = robust_net()

        def forward(self, images):
            return self.net(images + 0.1 * torch.randn_like(images))

    suite = get_attack("autoattack-rand")
    short = replace(suite, parts=tuple(replace(part, steps=3, eot=2) for part in suite.parts))
    first, again = (evaluate(Noisy(), digits(64), [short], DIGITS) for _ in range(2))
    assert first.totals == structs.replace(again.totals, seconds=first.totals.seconds)
    assert first.totals.robust.correct < first.clean.accuracy.correct
