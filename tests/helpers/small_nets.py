"""A small network that is somewhat robust on digits, trained in seconds, and its test images."""

from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional as F

from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.data import load_split, to_float
from robnet_zoo.threat_models import get_threat_model

DIGITS = get_threat_model("digits")


def build_net():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


@contextmanager
def one_thread():
    """Compute with one thread: with more, gradients by weights have other bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def fit(net, epochs, *, seed, adversary=None, rate=1e-2):
    """Train a network on digits, against an adversary if there is one; in eval mode then."""
    _, split = load_split("digits", "train")
    images, labels = to_float(split.images(torch.arange(len(split)))), split.labels
    optimizer = torch.optim.Adam(net.parameters(), rate)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels), generator=generator).split(64):
            seen = images[batch]
            if adversary is not None:
                seen = adversary(net.eval(), seen, labels[batch], generator=generator)
            optimizer.zero_grad()
            F.cross_entropy(net.train()(seen), labels[batch]).backward()
            optimizer.step()
    return net.eval()


TWO_STEPS = Adversary(epsilon=0.15, step_size=0.1, steps=2)


@lru_cache
def trained_state():
    """Return the weights of a network trained for four epochs against two-step PGD."""
    return fit(seeded_net(0), 4, seed=0, adversary=TWO_STEPS).state_dict()


@lru_cache
def natural_state():
    """Return the weights of a network trained for six epochs without an attack."""
    return fit(seeded_net(1), 6, seed=1).state_dict()


def seeded_net(seed, build=build_net):
    """Return an untrained network whose weights are drawn from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def robust_net():
    """Return a fresh copy of the adversarially trained network, in eval mode."""
    net = build_net()
    net.load_state_dict(trained_state())
    return net.eval()


def natural_net():
    """Return a fresh copy of the normally trained network, in eval mode."""
    net = build_net()
    net.load_state_dict(natural_state())
    return net.eval()


@lru_cache
def digits(n):
    """Return the first n test images as floats in [0,1], and their labels."""
    _, split = load_split("digits", "test")
    return to_float(split.images(torch.arange(n))), split.labels[:n]
