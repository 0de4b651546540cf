import copy

import numpy as np
import pytest
import torch
from torch import nn

from robnet_zoo.train.awp import perturbed
from robnet_zoo.train.batch_norm import statistics_momentum
from robnet_zoo.train.ema import pair, update_average
from robnet_zoo.train.losses import TrainBatch, training_loss
from robnet_zoo.train.recipes import get_recipe, override

CLEAN = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], dtype=torch.float64)
ATTACKED = torch.tensor([[0.5, 1.0, -0.5], [0.3, -0.2, 0.1]], dtype=torch.float64)
LABELS = torch.tensor([0, 2])


def loss_of(name, **changes):
    """Return the loss of a network that maps "images" straight to the logits above."""
    recipe = override(get_recipe("standard"), {"loss": name, "label_smoothing": "0"} | changes)
    return training_loss(recipe, lambda logits: logits, TrainBatch(CLEAN, ATTACKED, LABELS))


def softmax(logits):
    powers = np.exp(logits.numpy())
    return powers / powers.sum(1, keepdims=True)


def test_pgd_at_is_cross_entropy_on_the_attacked_images():
    loss, logits = loss_of("pgd-at")
    own = softmax(ATTACKED)[[0, 1], LABELS]
    assert float(loss) == pytest.approx(-np.log(own).mean())
    assert torch.equal(logits, ATTACKED.float())


def test_label_smoothing_spreads_the_target():
    loss, _ = loss_of("pgd-at", label_smoothing="0.1")
    logs = np.log(softmax(ATTACKED))
    expected = -(0.9 * logs[[0, 1], LABELS] + 0.1 * logs.mean(1)).mean()
    assert float(loss) == pytest.approx(expected)


def test_trades_is_clean_cross_entropy_and_beta_times_the_divergence():
    clean, attacked = softmax(CLEAN), softmax(ATTACKED)
    divergence = (clean * np.log(clean / attacked)).sum(1).mean()
    loss, _ = loss_of("trades", beta="6")
    assert float(loss) == pytest.approx(-np.log(clean[[0, 1], LABELS]).mean() + 6 * divergence)


def test_mart_weighs_the_divergence_by_the_doubt_about_clean_images():
    clean, attacked = softmax(CLEAN), softmax(ATTACKED)
    own, others = attacked[[0, 1], LABELS], [attacked[0, 1:].max(), attacked[1, :2].max()]
    boosted = (-np.log(own) - np.log(1.0001 - np.array(others))).mean()
    divergence = (clean * np.log(clean / attacked)).sum(1)
    doubt = 1 - clean[[0, 1], LABELS]
    loss, _ = loss_of("mart", beta="5")
    assert float(loss) == pytest.approx(boosted + 5 * (divergence * doubt).mean(), rel=1e-6)


def test_trades_pulls_clean_and_attacked_logits_together():
    clean, attacked = CLEAN.clone().requires_grad_(), ATTACKED.clone().requires_grad_()
    recipe = override(get_recipe("best"), {"beta": "1000"})
    loss, _ = training_loss(recipe, lambda logits: logits, TrainBatch(clean, attacked, LABELS))
    loss.backward()
    towards = CLEAN.log_softmax(1) - ATTACKED.log_softmax(1)
    assert (attacked.grad * towards).sum() < 0  # descent moves the attacked logits that way


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3))


def backward(network, images, labels):
    network.zero_grad()
    loss = nn.functional.cross_entropy(network(images), labels)
    loss.backward()
    return float(loss.detach())


def test_weight_perturbation_raises_the_loss_by_its_size_and_is_undone_to_the_bit():
    network = small_network()
    images, labels = torch.rand(8, 1, 8, 8), torch.arange(8) % 3
    loss = backward(network, images, labels)
    before = {name: value.clone() for name, value in network.named_parameters()}
    with perturbed(network, 0.05):
        for name, value in network.named_parameters():
            moved = float((value - before[name]).detach().norm())
            expected = 0.05 * float(before[name].detach().norm()) if value.dim() > 1 else 0.0
            assert moved == pytest.approx(expected, rel=1e-4), name
        assert backward(network, images, labels) > loss
    for name, value in network.named_parameters():
        assert torch.equal(value, before[name])


def test_frozen_statistics_leave_batch_norm_as_it_was():
    network = small_network()
    with statistics_momentum(network, 0.0):
        network(torch.rand(8, 1, 8, 8) + 5)
    assert torch.equal(network[1].running_mean, torch.zeros(4))
    assert torch.equal(network[1].running_var, torch.ones(4))
    network(torch.rand(8, 1, 8, 8) + 5)
    assert not torch.equal(network[1].running_mean, torch.zeros(4))


def test_the_average_follows_its_formula_for_weights_and_statistics():
    network = small_network()
    average = copy.deepcopy(network)
    pairs = pair(average, network)
    expected = {name: value.clone() for name, value in network.state_dict().items()}
    for step in range(1, 30):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        network(torch.rand(8, 1, 8, 8))
        update_average(pairs, 0.7, step)
        decay = min(0.7, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, expected[name], atol=1e-5), name
    assert int(average.state_dict()["1.num_batches_tracked"]) == 29
