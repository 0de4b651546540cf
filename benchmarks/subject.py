"""A network with weights and the first test images of its data set, for benchmarks of attacks."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robnet_zoo import create_model, get_weights
from robnet_zoo.data import load_split, to_float
from robnet_zoo.threat_models import ThreatModel


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Images (N, C, H, W) in [0,1] with labels (N,), and `known`, their names for the record."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    threat_model: ThreatModel
    known: dict[str, Any]


def add_options(parser: argparse.ArgumentParser, n: int) -> None:
    """Add the options that `load` takes."""
    add = parser.add_argument
    add("--dataset", help="data set, or arrays:FILE.npz (default: what the weights know)")
    add("--data", help="folder of the data sets (default: $ROBNET_ZOO_DATA)")
    add("--n", type=int, default=n, help=f"the first N test images (default: {n})")


def load(options: argparse.Namespace, device: str) -> Subject:
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
    return Subject(
        model=create_model(options.model, pretrained=True).to(device),
        images=to_float(first.images(torch.arange(len(first)))),
        labels=first.labels,
        threat_model=dataset.threat_model,
        known={"model": weights.name, "dataset": dataset.name, "n": len(first)},
    )
