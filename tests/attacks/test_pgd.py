"""The inner maximisation: step for step with two libraries, and its promises."""

import eagerpy
import foolbox
import pytest
import torch
import torchattacks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robnet_zoo.attacks.losses import margin
from robnet_zoo.attacks.noise import noise_for
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.runtime.errors import ZooError

ROUNDING = 1e-6


def small_network(seed: int = 0) -> nn.Sequential:
    """A network with batch norm whose input gradients are far from zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.Tanh(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(8 * 16, 10),
        )
        network[1].running_mean.normal_()
    return network.eval()


def batch(size: int = 6, seed: int = 1):
    source = torch.Generator().manual_seed(seed)
    images = torch.rand(size, 3, 8, 8, generator=source)
    return images, torch.randint(10, (size,), generator=source)


def iterates(adversary: Adversary, model, images, labels):
    """Every iterate of an ascent from the clean images."""
    adversarial, velocity = adversary.begin(images), None
    for _ in range(adversary.steps):
        adversarial, velocity, _ = adversary.ascend(model, adversarial, images, labels, velocity)
        yield adversarial


EPSILON, STEP, STEPS = 8 / 255, 2 / 255, 7
LIBRARY = {  # our settings, and the library's attack of so many steps on a model
    "torchattacks-pgd": (
        {},
        lambda model, k: torchattacks.PGD(model, EPSILON, STEP, k, random_start=False),
    ),
    "torchattacks-bim": ({}, lambda model, k: torchattacks.BIM(model, EPSILON, STEP, k)),
    "torchattacks-mifgsm": (
        {"momentum": 0.9},
        lambda model, k: torchattacks.MIFGSM(model, EPSILON, STEP, k, decay=0.9),
    ),
    "torchattacks-pgdl2": (
        {"norm": "L2", "epsilon": 0.5, "step_size": 0.15},
        lambda model, k: torchattacks.PGDL2(model, 0.5, 0.15, k, random_start=False),
    ),
    "foolbox-linf": (
        {},
        lambda model, k: with_foolbox(
            foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=k, random_start=False), model, EPSILON
        ),
    ),
    "foolbox-l2": (
        {"norm": "L2", "epsilon": 0.5, "step_size": 0.15},
        lambda model, k: with_foolbox(
            foolbox.attacks.L2PGD(abs_stepsize=0.15, steps=k, random_start=False), model, 0.5
        ),
    ),
}


def with_foolbox(attack, model, epsilon):
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
    return lambda images, labels: attack.run(wrapped, images, labels, epsilon=epsilon)


@pytest.mark.parametrize("name", LIBRARY)
def test_every_iterate_equals_the_library(name):
    changes, library = LIBRARY[name]
    given_ = {"epsilon": EPSILON, "step_size": STEP, "steps": STEPS, "start": "clean"} | changes
    images, labels = batch()
    ours = iterates(Adversary(**given_), small_network(), images, labels)
    for k, adversarial in enumerate(ours, start=1):
        theirs = library(small_network(), k)(images, labels)
        torch.testing.assert_close(adversarial, theirs, atol=1e-6, rtol=0, msg=f"step {k}")


def test_fgsm_equals_two_libraries():
    images, labels = batch()
    fgsm = Adversary(epsilon=EPSILON, step_size=EPSILON, steps=1, start="clean")
    ours = fgsm(small_network(), images, labels)
    theirs = torchattacks.FGSM(small_network(), EPSILON)(images, labels)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    other = with_foolbox(foolbox.attacks.LinfFastGradientAttack(), small_network(), EPSILON)
    torch.testing.assert_close(ours, other(images, labels), atol=1e-6, rtol=0)


def test_targeted_equals_torchattacks_and_moves_towards_the_target():
    images, labels = batch()
    targets = (labels + 3) % 10
    pgd = Adversary(epsilon=EPSILON, step_size=STEP, steps=STEPS, start="clean", targeted=True)
    ours = pgd(small_network(), images, targets)
    attack = torchattacks.PGD(small_network(), EPSILON, STEP, STEPS, random_start=False)
    attack.set_mode_targeted_by_label(quiet=True)
    torch.testing.assert_close(ours, attack(images, targets), atol=1e-6, rtol=0)
    model = small_network()
    before, after = (margin(model(x), targets) for x in (images, ours))
    assert (after < before).all()


def test_same_random_start_equals_foolbox():
    class Foolbox(foolbox.attacks.LinfPGD):
        def get_random_start(self, x0, epsilon):
            return x0 + epsilon * eagerpy.astensor(noise)

    images, labels = batch()
    noise = noise_for(range(len(images)), images.shape[1:], seed=3, attack="pgd")
    attack = Foolbox(abs_stepsize=STEP, steps=STEPS, random_start=True)
    theirs = with_foolbox(attack, small_network(), EPSILON)(images, labels)
    pgd = Adversary(epsilon=EPSILON, step_size=STEP, steps=STEPS)
    ours = pgd(small_network(), images, labels, noise=noise)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_n_fgsm_follows_its_formula():
    """De Jorge et al. 2022: x + noise + step sign(gradient there), kept in [0,1] alone."""
    images, labels = batch()
    noise = noise_for(range(len(images)), images.shape[1:], seed=0, attack="n-fgsm")
    n_fgsm = Adversary(
        epsilon=EPSILON, step_size=EPSILON, steps=1, start_size=2 * EPSILON, project=False
    )
    ours = n_fgsm(small_network(), images, labels, noise=noise)
    noisy = (images + 2 * EPSILON * noise).clamp(0, 1).requires_grad_()
    loss = nn.functional.cross_entropy(small_network()(noisy), labels)
    (gradient,) = torch.autograd.grad(loss, noisy)
    expected = (noisy.detach() + EPSILON * gradient.sign()).clamp(0, 1)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)
    assert (ours - images).abs().max() > EPSILON + ROUNDING


@settings(max_examples=40, deadline=None)
@given(
    norm=st.sampled_from(["Linf", "L2"]),
    start=st.sampled_from(["clean", "uniform", "gaussian"]),
    epsilon=st.floats(1e-3, 4),
    share=st.floats(0.05, 3),
    steps=st.integers(1, 6),
    momentum=st.sampled_from([None, 1.0]),
    loss=st.sampled_from(["ce", "margin"]),
    seed=st.integers(0, 2**40),
)
def test_every_iterate_stays_in_the_ball(norm, start, epsilon, share, steps, momentum, loss, seed):
    adversary = Adversary(
        epsilon=epsilon,
        step_size=share * epsilon,
        steps=steps,
        norm=norm,
        start=start,
        momentum=momentum,
        loss=loss,
    )
    images, labels = batch(3)
    images.round_(decimals=1)  # many pixels on the border of [0,1]
    source = torch.Generator().manual_seed(seed)
    adversarial, velocity = adversary.begin(images, adversary.draw_noise(images, source)), None
    for step in range(steps + 1):
        size = (adversarial - images).flatten(1)
        size = size.abs().amax(1) if norm == "Linf" else size.norm(dim=1)
        assert size.max() <= epsilon + ROUNDING, f"step {step}"
        assert adversarial.min() >= 0 and adversarial.max() <= 1
        adversarial, velocity, _ = adversary.ascend(
            small_network(), adversarial, images, labels, velocity
        )


@pytest.mark.parametrize(("norm", "step"), [("Linf", 0.02), ("L2", 0.3)])
@pytest.mark.parametrize("momentum", [None, 1.0])
def test_an_image_moves_the_same_in_any_batch(norm, step, momentum):
    images, labels = batch()
    adversary = Adversary(
        epsilon=4 * step, step_size=step, steps=5, norm=norm, start="clean", momentum=momentum
    )
    together = adversary(small_network(), images, labels)
    for index in range(len(images)):
        alone = adversary(small_network(), images[index, None], labels[index, None])
        torch.testing.assert_close(alone[0], together[index], atol=1e-6, rtol=0)


def test_flat_losses_give_no_nan():
    """A confident image has gradients of exactly zero; it must stay, and stay a number."""
    images, labels = batch()
    for norm in ("Linf", "L2"):
        adversary = Adversary(
            epsilon=0.1, step_size=0.1, steps=2, norm=norm, start="clean", momentum=1.0
        )
        found = adversary(lambda x: 0 * x.flatten(1)[:, :10], images, labels)
        torch.testing.assert_close(found, images, atol=1e-6, rtol=0)


def test_l2_steps_survive_tiny_gradients():
    """A gradient whose squares vanish in float32 still gives a full step."""
    images, labels = batch()
    adversary = Adversary(epsilon=1.0, step_size=0.1, steps=1, norm="L2", start="clean")
    faint = adversary(lambda x: 1e-25 * x.flatten(1)[:, :10], images * 0 + 0.5, labels)
    moved = (faint - 0.5).flatten(1).norm(dim=1)
    torch.testing.assert_close(moved, torch.full((6,), 0.1), atol=1e-5, rtol=0)


def test_ascent_returns_the_logits_it_left_from():
    model = small_network()
    images, labels = batch()
    adversary = Adversary(epsilon=EPSILON, step_size=STEP, steps=1, start="clean")
    torch.testing.assert_close(
        adversary.ascend(model, images, images, labels).logits, model(images).detach()
    )


def test_inputs_are_left_as_they_were():
    model = small_network()
    images, labels = batch()
    kept = images.clone()
    adversary = Adversary(epsilon=EPSILON, step_size=STEP, steps=1, start="clean", momentum=1.0)
    first = adversary.ascend(model, adversary.begin(images), images, labels)
    copies = [first.adversarial.clone(), first.velocity.clone()]
    adversary.ascend(model, first.adversarial, images, labels, first.velocity)
    assert torch.equal(images, kept)
    assert torch.equal(first.adversarial, copies[0]) and torch.equal(first.velocity, copies[1])


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_every_loss_is_raised(norm):
    model = small_network()
    images, labels = batch(16)
    size = 8 / 255 if norm == "Linf" else 0.5

    def confidence(logits, labels):
        return -logits.softmax(1).gather(1, labels[:, None])[:, 0]

    for loss, target in (("ce", labels), ("margin", labels), (confidence, labels)):
        adversary = Adversary(epsilon=size, step_size=size / 4, steps=7, norm=norm, loss=loss)
        found = adversary(model, images, target, generator=torch.Generator().manual_seed(0))
        assert (margin(model(found), labels) > margin(model(images), labels)).all()


def test_kl_divergence_from_the_clean_logits_grows():
    model = small_network()
    images, _ = batch(16)
    clean = model(images).detach()
    trades = Adversary(epsilon=EPSILON, step_size=STEP, steps=7, start="gaussian", loss="kl")
    adversarial, velocity = (
        trades.begin(images, noise_for(range(16), (3, 8, 8), seed=0, attack="t", start="gaussian")),
        None,
    )
    divergences = []
    for _ in range(7):
        adversarial, velocity, logits = trades.ascend(model, adversarial, images, clean, velocity)
        p = clean.softmax(1)
        divergences.append((p * (p.log() - logits.log_softmax(1))).sum(1))
    assert (divergences[0] < 1e-3).all()
    assert (torch.stack(divergences).diff(dim=0) > 0).all()


def test_unclipped_start_leaves_the_pixel_range_until_the_first_step():
    """RobNet's training code takes the first gradient outside [0,1]."""
    images = torch.zeros(2, 3, 8, 8)
    noise = -torch.ones_like(images)
    settings_ = {"epsilon": 0.1, "step_size": 0.05, "steps": 1}
    assert Adversary(**settings_).begin(images, noise).min() == 0
    free = Adversary(**settings_, clip_start=False)
    assert free.begin(images, noise).max() == pytest.approx(-0.1)
    assert free(small_network(), images, torch.zeros(2).long(), noise=noise).min() >= 0


def test_model_gradients_and_random_state_are_untouched():
    model = small_network().train()
    model[1].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    modes = [module.training for module in model.modules()]
    images, labels = batch()
    state = torch.get_rng_state()
    adversary = Adversary(epsilon=EPSILON, step_size=STEP, steps=3)
    with torch.no_grad():  # a caller who evaluates need not switch gradients on
        found = adversary(model, images, labels, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert all(p.grad is None for name, p in model.named_parameters() if name != "0.weight")
    assert not found.requires_grad and images.grad is None


def test_autocast_keeps_images_in_float32():
    images, labels = batch()
    adversary = Adversary(epsilon=EPSILON, step_size=STEP, steps=3, start="clean", momentum=1.0)
    exact = adversary(small_network(), images, labels)
    with torch.autocast("cpu", torch.bfloat16):
        step = adversary.ascend(small_network(), images, images, labels)
        found = adversary(small_network(), images, labels)
    assert found.dtype == step.velocity.dtype == torch.float32
    assert step.logits.dtype == torch.bfloat16
    assert (found - images).abs().max() <= EPSILON + ROUNDING
    assert ((found - images).sign() == (exact - images).sign()).float().mean() > 0.9


def test_same_generator_same_images():
    images, labels = batch()
    adversary = Adversary(epsilon=EPSILON, step_size=STEP, steps=1)
    one, two, other = (
        adversary(small_network(), images, labels, generator=torch.Generator().manual_seed(seed))
        for seed in (5, 5, 6)
    )
    assert torch.equal(one, two) and not torch.equal(one, other)


@pytest.mark.parametrize("start", ["uniform", "gaussian"])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_noise_depends_on_the_index_alone(start, norm):
    def draw(indices, **changes):
        given_ = {"seed": 1, "attack": "pgd", "start": start, "norm": norm} | changes
        return noise_for(indices, (1, 4, 4), **given_)

    together = draw(range(20))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(draw(order), together[order])
    assert torch.equal(torch.cat([draw([i]) for i in range(20)]), together)
    assert draw([]).shape == (0, 1, 4, 4)
    distinct = {tuple(image.flatten().tolist()) for image in together}
    for changes in ({"seed": 2}, {"attack": "fgsm"}, {"restart": 1}):
        distinct |= {tuple(image.flatten().tolist()) for image in draw(range(20), **changes)}
    assert len(distinct) == 80


def test_noise_is_pinned():
    """Verdicts of old records must be repeatable: the stream may not change unnoticed."""
    found = noise_for([0, 7], (1, 1, 2), seed=0, attack="pgd20", restart=0)
    torch.testing.assert_close(
        found.flatten(), torch.tensor([-0.5776635, -0.4727331, 0.8790668, -0.4349864])
    )


def test_noise_has_the_stated_distribution():
    shape = (1, 2, 2)
    linf = noise_for(range(20_000), shape, seed=0, attack="a").flatten(1)
    assert linf.min() >= -1 and linf.max() <= 1
    torch.testing.assert_close(linf.mean(0), torch.zeros(4), atol=0.02, rtol=0)
    torch.testing.assert_close(linf.var(0), torch.full((4,), 1 / 3), atol=0.01, rtol=0)
    ball = noise_for(range(20_000), shape, seed=0, attack="a", norm="L2").flatten(1).norm(dim=1)
    assert ball.max() <= 1 + ROUNDING
    for radius in (0.5, 0.8):  # uniform in a ball of four dimensions
        assert (ball < radius).float().mean() == pytest.approx(radius**4, abs=0.01)
    normal = noise_for(range(20_000), shape, seed=0, attack="a", start="gaussian").flatten(1)
    torch.testing.assert_close(normal.var(0), torch.ones(4), atol=0.05, rtol=0)
    pgd = Adversary(epsilon=1, step_size=1, steps=1, norm="L2")
    drawn = pgd.draw_noise(torch.empty(20_000, *shape), torch.Generator().manual_seed(0))
    share = (drawn.flatten(1).norm(dim=1) < 0.8).float().mean()
    assert share == pytest.approx(0.8**4, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"norm": "L3"}, "norm 'L3'"),
        ({"start": "zero"}, "start 'zero'"),
        ({"loss": "cee"}, "did you mean ce"),
        ({"epsilon": 0}, "epsilon 0"),
        ({"step_size": float("nan")}, "step_size nan"),
        ({"start_size": -1}, "start_size -1"),
        ({"steps": 0}, "steps 0"),
    ],
)
def test_bad_settings_are_refused(changes, said):
    with pytest.raises(ZooError, match=said):
        Adversary(**({"epsilon": 0.1, "step_size": 0.1, "steps": 1} | changes))


def test_a_random_start_without_randomness_is_refused():
    adversary = Adversary(epsilon=0.1, step_size=0.1, steps=1)
    with pytest.raises(ZooError, match="needs noise or a generator"):
        adversary(small_network(), *batch())
