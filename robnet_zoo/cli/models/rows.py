"""The rows of `robnet-zoo list --json`. Their keys are there in every row, and stay."""

from __future__ import annotations

from typing import Any

from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.registry import local_weights, ranked_tags


def model_row(name: str, tag: str | None = None) -> dict[str, Any]:
    """Return an architecture's row.

    Args:
        name: of the architecture.
        tag: of the weights that `pretrained` is about; its default ones if None.
    """
    known, ranked = ARCHITECTURES[name], ranked_tags(name)
    chosen = tag or next(iter(ranked), None)
    return {
        "name": name,
        "arguments": dict(known.arguments),
        "parameters": known.parameters,
        "genotype": known.status,
        "paper": known.paper.title,
        "year": known.paper.year,
        "link": known.paper.link,
        "tags": ranked,
        "pretrained": weights_row(f"{name}.{chosen}") if chosen else None,
    }


def weights_row(name: str) -> dict[str, Any]:
    """Return the row of "architecture.tag"; only name and tag of what is not on this machine.

    Accuracies are fractions, with n and a 95 % interval where they were measured so.
    """
    architecture, _, tag = name.partition(".")
    weights = local_weights(name)
    row = {"name": name, "architecture": architecture, "tag": tag, "local": weights is not None}
    described = (
        *("dataset", "image_size", "arguments", "parameters", "threat_model"),
        *("naturally_trained", "images", "accuracies", "failed_checks"),
        *("licence", "sha256", "size_bytes"),
    )
    return row | {key: getattr(weights, key, None) for key in described}
