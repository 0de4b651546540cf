"""What attacks see of a model with a surrogate, or of one that draws."""

import pytest
import torch
from helpers.small_nets import DIGITS, digits, robust_net
from torch import nn

from robnet_zoo.attacks import Bpda, Eot, get_attack
from robnet_zoo.attacks.adaptive import Adaptive
from robnet_zoo.attacks.model import AttackedModel

IMAGES, LABELS = digits(24)


class Noisy(nn.Module):
    def forward(self, images):
        return images + 0.1 * torch.randn_like(images)


class Rounded(nn.Module):
    def forward(self, images):
        return (images * 7).round() / 7


def gradient(model, images):
    leaf = images.clone().requires_grad_()
    logits = model(leaf)
    return logits.detach(), torch.autograd.grad(logits.square().sum(), leaf)[0]


def test_bpda_has_the_models_logits_and_the_surrogates_gradient():
    net = robust_net()
    rounded = nn.Sequential(Rounded(), net)
    logits, found = gradient(Bpda(rounded, net), IMAGES)
    assert torch.equal(logits, rounded(IMAGES))
    leaf = IMAGES.clone().requires_grad_()
    (expected,) = torch.autograd.grad((net(leaf) * 2 * logits).sum(), leaf)
    torch.testing.assert_close(found, expected)


def test_a_random_step_draws_the_same_for_model_and_surrogate():
    net, noise = robust_net(), Noisy()
    model = nn.Sequential(noise, net)
    torch.manual_seed(0)
    logits, found = gradient(Bpda(model, model), IMAGES)
    torch.manual_seed(0)
    again, expected = gradient(Eot(model, 1), IMAGES)
    assert torch.equal(logits, again)
    torch.testing.assert_close(found, expected)


def test_eot_is_the_mean_of_draws_and_of_their_gradients():
    model = nn.Sequential(Noisy(), robust_net())
    logits, found = gradient(Eot(model, 5, seed=3), IMAGES)
    again, _ = gradient(Eot(model, 5, seed=3), IMAGES)
    assert torch.equal(logits, again)
    assert not torch.equal(logits, Eot(model, 5, seed=4)(IMAGES))
    seeds = torch.randint(2**31, (5,), generator=torch.Generator().manual_seed(3))
    leaf, draws = IMAGES.clone().requires_grad_(), []
    for seed in seeds.tolist():
        torch.manual_seed(seed)
        draws.append(model(leaf))
    mean = torch.stack(draws).mean(0)
    torch.testing.assert_close(logits, mean.detach())
    torch.testing.assert_close(found, torch.autograd.grad(mean.square().sum(), leaf)[0])


def test_draws_leave_the_global_generators_alone():
    model = AttackedModel(nn.Sequential(Noisy(), robust_net()), 16, adaptive=Adaptive(draws=3))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, second = model.draw(IMAGES), model.draw(IMAGES)
    assert torch.equal(first, second) and not torch.equal(first[0], first[1])
    assert torch.equal(before, torch.get_rng_state())


def test_passes_count_every_draw():
    model = AttackedModel(
        nn.Sequential(Noisy(), robust_net()), 16, adaptive=Adaptive(eot=4, draws=3)
    )
    gradient(model, IMAGES)
    assert (model.forwards, model.backwards) == (4 * 24, 4 * 24)
    model.predict(IMAGES)
    assert model.forwards == 4 * 24 + 3 * 24


@pytest.mark.parametrize(
    ("classes", "majority", "mean"),
    [
        ((0, 0, 1), 0, 0),
        ((0, 1, 2), -1, 0),
        ((0, 0, 1, 1), -1, 0),
        ((1, 1, 1, 0), 1, 1),
    ],
)
def test_a_majority_is_more_than_half(classes, majority, mean):
    sizes = torch.tensor([3.0, 2.0, 1.0])
    logits = torch.stack([sizes * nn.functional.one_hot(torch.tensor([k]), 3) for k in classes])
    assert Adaptive(draws=len(classes)).verdict(logits).item() == majority
    assert Adaptive(draws=len(classes), decide="mean").verdict(logits).item() == mean


def test_no_majority_where_logits_are_no_numbers():
    logits = torch.zeros(3, 1, 4)
    logits[:2] = torch.nan
    assert Adaptive(draws=3).verdict(logits).item() == -1
    assert Adaptive(draws=3, decide="mean").verdict(logits).item() == -1


def test_an_attack_called_by_itself_takes_a_surrogate():
    net = robust_net()
    rounded = nn.Sequential(Rounded(), net)
    attack = get_attack("pgd10")
    plain, adapted = (
        (rounded(attack(model, IMAGES, LABELS, DIGITS)).argmax(1) == LABELS).sum()
        for model in (rounded, Bpda(rounded, net))
    )
    assert adapted < plain
