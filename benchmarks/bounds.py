"""Size of the graph that a bound of DSRNA's supernet walks, for each recipe of the search.

Linear bounds keep a coefficient for each value and each of an image's margins; nothing is timed.

    python -m benchmarks.bounds --out benchmarks/results/bounds.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from robnet_zoo.certify.tracing import trace
from robnet_zoo.data.registry import dataset_info
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.files import write_json
from robnet_zoo.search.core.spaces import EDGES
from robnet_zoo.search.core.supernet import CellWeights, Supernet
from robnet_zoo.search.dsrna.recipe import RECIPES, DsrnaRecipe

BYTES = 4  # of a coefficient in float32


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Count what bounds of DSRNA's supernets hold.")
    parser.add_argument("--out", type=Path, default=None, help="JSON file for the result")
    options = parser.parse_args(argv)
    recipes = {name: RECIPES[name] for name in ("paper", "digits")}
    result = {
        "benchmark": "bounds",
        "recipes": {name: counted(recipe) for name, recipe in recipes.items()},
        "environment": environment("cpu"),
    }
    if options.out is not None:
        write_json(options.out, result)
    print(json.dumps(result["recipes"], indent=2))


def counted(recipe: DsrnaRecipe) -> dict[str, float | int]:
    """Return the steps of a recipe's supernet, an image's values in all, and their coefficients."""
    data, space = dataset_info(recipe.dataset), recipe.space()
    supernet = Supernet(
        space,
        channels=recipe.channels,
        num_classes=data.num_classes,
        in_channels=data.in_channels,
    ).eval()
    operations = len(space.operations)
    mixture = CellWeights(torch.full((EDGES, operations), 1 / operations), torch.ones(EDGES))
    cells = dict.fromkeys(space.roles, mixture)
    image = torch.rand(1, data.in_channels, data.image_size, data.image_size)
    graph = trace(lambda images: supernet(images, cells), image)
    values = sum(node.value[0].numel() for node in graph)
    margins = data.num_classes - 1
    return {
        "steps": len(graph),
        "values": values,
        "margins": margins,
        "coefficients_gib": margins * BYTES * values / 2**30,
    }


if __name__ == "__main__":
    main()
