"""The networks and images that are measured: trained weights, or random ones for timing alone."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robnet_zoo import create_model, get_weights
from robnet_zoo.data import load_split, to_float
from robnet_zoo.data.splits import ArraySplit
from robnet_zoo.threat_models import ThreatModel, get_threat_model
from robnet_zoo.train.batch_norm import statistics_momentum

STATISTICS_IMAGES = 64  # for the batch norms of an untrained network


@dataclass(frozen=True, kw_only=True)
class Target:
    """A network and images.

    Attributes:
        model: as `create_model` gives it.
        images, labels: (N, C, H, W) in [0,1], and (N,).
        names: of the model and the data set, for the record.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    threat_model: ThreatModel
    names: dict[str, Any]


def random_images(count: int) -> ArraySplit:
    """Return images of the size of CIFAR-10's, with labels."""
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=draws)
    return ArraySplit(pixels, torch.randint(0, 10, (count,), generator=draws))


def add_options(parser: argparse.ArgumentParser, n: int) -> None:
    """Add the options that `load` takes."""
    add = parser.add_argument
    add("--dataset", help="data set, or arrays:FILE.npz (default: what the weights know)")
    add("--data", help="folder of the data sets (default: $ROBNET_ZOO_DATA)")
    add("--n", type=int, default=n, help=f"the first N test images (default: {n})")


def load(options: argparse.Namespace, device: str) -> Target:
    """Return the weights that --model names, on the device, with their images.

    Raises:
        ZooError: weights or data that are not there.
    """
    weights = get_weights(options.model)
    dataset, split = load_split(
        options.dataset or weights.dataset,
        "test",
        root=options.data,
        threat_model=weights.threat_model["name"],
    )
    first = split.subset(torch.arange(min(options.n, len(split)))).to(device)
    return Target(
        model=create_model(options.model, pretrained=True).to(device),
        images=to_float(first.images(torch.arange(len(first)))),
        labels=first.labels,
        threat_model=dataset.threat_model,
        names={"model": weights.name, "dataset": dataset.name, "n": len(first)},
    )


def untrained(options: argparse.Namespace, count: int, device: str) -> Target:
    """Return --model with random weights, and random images, which set its batch statistics."""
    torch.manual_seed(0)
    sizes = {"channels": options.channels, "layers": options.layers}
    model = create_model(options.model, **{k: v for k, v in sizes.items() if v}).to(device)
    data = random_images(count).to(device)
    images = to_float(data.pixels)
    with torch.no_grad(), statistics_momentum(model, 1.0):
        model.train()(images[:STATISTICS_IMAGES])
    return Target(
        model=model.eval(),
        images=images,
        labels=data.labels,
        threat_model=get_threat_model("cifar10"),
        names={"model": options.model, "dataset": "random pixels"},
    )
