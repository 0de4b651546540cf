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


@lru_cache
@one_thread()
def trained_state():
    """Return the weights of a network trained for four epochs against two-step PGD."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build_net()
    _, split = load_split("digits", "train")
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    adversary = Adversary(epsilon=0.15, step_size=0.1, steps=2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        for batch in torch.randperm(len(split), generator=generator).split(64):
            images, labels = to_float(split.images(batch)), split.labels[batch]
            attacked = adversary(net.eval(), images, labels, generator=generator)
            optimizer.zero_grad()
            F.cross_entropy(net.train()(attacked), labels).backward()
            optimizer.step()
    return net.state_dict()


def robust_net():
    """Return a fresh copy of the trained network, in eval mode."""
    net = build_net()
    net.load_state_dict(trained_state())
    return net.eval()


@lru_cache
@one_thread()
def natural_state():
    """Return the weights of a network trained for six epochs without an attack."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = build_net()
    _, split = load_split("digits", "train")
    images, labels = to_float(split.images(torch.arange(len(split)))), split.labels
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(1)
    for _ in range(6):
        for batch in torch.randperm(len(labels), generator=generator).split(64):
            optimizer.zero_grad()
            F.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
    return net.state_dict()


def natural_net():
    net = build_net()
    net.load_state_dict(natural_state())
    return net.eval()


@lru_cache
def digits(n):
    """Return the first n test images as floats in [0,1], and their labels."""
    _, split = load_split("digits", "test")
    return to_float(split.images(torch.arange(n))), split.labels[:n]
