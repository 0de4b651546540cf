"""A step of each search against the straightforward form, side by side in one run.

The straightforward form is what most search scripts do: every operation of every edge computed on
its own, contiguous in memory, and multiplied by its weight, be it 0; and in crafting a
`loss.backward()` that fills the weights' gradients too. All else is shared: both searches begin
with the same weights and architecture, see the same images, and differ by rounding. They take
turns; the speed-up is the median over the rounds of the two times' ratio. On a CPU the process's
own time counts. The record, which names the hardware, goes to benchmarks/results/supernet-cpu.json
or supernet-cuda.json. Sizes are the papers' but for depth, batch, images and attack, which are
smaller by default; at full size the speed-ups are larger.

    python -m benchmarks.supernet --rounds 3
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import Work, add_options, alternate, comparison, prepare, save, synchronise
from benchmarks.plain import plain_supernet
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.data import dataset_info
from robnet_zoo.data.splits import ArraySplit
from robnet_zoo.runtime import console
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.search.arnas import recipe as arnas_recipe
from robnet_zoo.search.arnas.search import ArnasSearch
from robnet_zoo.search.core import differentiable
from robnet_zoo.search.core.supernet import CellWeights, Supernet
from robnet_zoo.search.dsrna import recipe as dsrna_recipe
from robnet_zoo.search.dsrna.search import DsrnaSearch
from robnet_zoo.search.racl import recipe as racl_recipe
from robnet_zoo.search.racl.search import RaclSearch
from robnet_zoo.search.robnet import recipe as robnet_recipe
from robnet_zoo.search.robnet import supernet as robnet
from robnet_zoo.search.run.data import BatchStream, SearchBatch, SearchData
from robnet_zoo.search.run.loop import StepContext
from robnet_zoo.search.run.recipe import SearchRecipe

# DSRNA's certified bound costs many times what its supernet does, which is measured here
JACOBIAN = {"warmup": 0, "metric": "jacobian"}
# the module that crafts each algorithm's images, its search, its recipes, and what has its
# steps begin at once
ALGORITHMS: dict[str, tuple[Any, Callable[..., Any], Mapping[str, Any], dict[str, Any]]] = {
    "robnet": (robnet, robnet.SupernetTraining, robnet_recipe.RECIPES, {"warmup": 0.0}),
    "racl": (differentiable, RaclSearch, racl_recipe.RECIPES, {"warmup": 0}),
    "arnas": (differentiable, ArnasSearch, arnas_recipe.RECIPES, {}),
    "dsrna": (differentiable, DsrnaSearch, dsrna_recipe.RECIPES, JACOBIAN),
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare the searches' steps.")
    add_options(parser, rounds=3)
    add = parser.add_argument
    add("--algorithm", nargs="+", choices=list(ALGORITHMS), default=list(ALGORITHMS))
    add("--recipe", default="paper", help="widths and settings (default: paper)")
    add("--layers", type=int, default=5)
    add("--batch-size", type=int, default=16)
    add("--side", type=int, default=16, help="of the images")
    add("--steps", type=int, default=3, help="of PGD")
    parser.set_defaults(threads=1)
    options = parser.parse_args(argv)
    device = prepare(options)
    results = {}
    for name in options.algorithm:
        contenders = searches(name, options, device)
        seconds = alternate(contenders, options.rounds, device, warm_up=1)
        results[name] = comparison(seconds, "plain")
        print(name, results[name]["speedup"], flush=True)
    save(options, {"searches": results}, "supernet")


def searches(name: str, options: argparse.Namespace, device: str) -> dict[str, Work]:
    """Return both contenders, each of which takes its search's first step when it is called."""
    module, search, recipes, changes = ALGORITHMS[name]
    sizes = {"layers": options.layers, "batch_size": options.batch_size}
    recipe = dataclasses.replace(recipes[options.recipe], **sizes, **changes)
    if recipe.attack_steps:
        recipe = dataclasses.replace(recipe, attack_steps=options.steps)
    data = random_data(recipe, options.side, device, streams=1 if name == "robnet" else 2)
    batches = [stream.at(0, 0) for stream in data.streams]
    at = StepContext(recipe.seed, 0, 0, recipe.lr, device)
    ours, plain = search(recipe, data), search(recipe, data)
    plain.supernet.__class__ = PlainSupernet
    plain.supernet.to(memory_format=torch.contiguous_format)

    def plain_step() -> float:
        with patch.object(module, "craft", plain_craft, create=True):
            return timed(device, plain.step, at, *batches)

    return {"plain": plain_step, "robnet_zoo": partial(timed, device, ours.step, at, *batches)}


def timed(device: str, step: Callable[..., object], *inputs: object) -> float:
    """Return the seconds of a step: of the GPU's clock, or of the CPU's work for this process."""
    cuda = device.startswith("cuda")
    clock = time.perf_counter if cuda else time.process_time
    began = clock()
    step(*inputs)
    synchronise(device)
    return clock() - began


def random_data(recipe: SearchRecipe, side: int, device: str, streams: int) -> SearchData:
    """Return CIFAR-10's description with one batch of random images a stream."""
    draws, count = torch.Generator().manual_seed(0), recipe.batch_size
    parts = []
    for _ in range(streams + 1):
        pixels = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=draws)
        labels = torch.randint(0, 10, (count,), generator=draws)
        parts.append(ArraySplit(pixels, labels).to(device))
    processes = ProcessGroup(device=device)
    dataset = dataclasses.replace(dataset_info("cifar10"), image_size=side)
    return SearchData(
        dataset,
        dataset.threat_model,
        tuple(
            BatchStream(part, recipe, str(index), flip=True, processes=processes)
            for index, part in enumerate(parts[1:])
        ),
        parts[0],
        processes,
    )


class PlainSupernet(Supernet):
    """A supernet in its straightforward form."""

    def forward(self, x: Tensor, weights: Mapping[str, CellWeights]) -> Tensor:
        """Return the logits, all operations computed."""
        return plain_supernet(self, x, weights)


def plain_craft(
    supernet: Supernet,
    weights: Mapping[str, CellWeights],
    adversary: Adversary | None,
    batch: SearchBatch,
    generator: torch.Generator,
    *,
    mode: str,
) -> SearchBatch:
    """Return the batch attacked by PGD as it is usually written; as it is without an adversary."""
    if adversary is None:
        return batch
    clean, labels = (part.contiguous() for part in batch)
    attacked = adversary.begin(clean, adversary.draw_noise(clean, generator))
    fixed = {
        role: CellWeights(*(x.detach() if isinstance(x, Tensor) else x for x in cell))
        for role, cell in weights.items()
    }
    supernet.train(mode == "train")
    for _ in range(adversary.steps):
        attacked = attacked.detach().requires_grad_()
        supernet.zero_grad()
        F.cross_entropy(supernet(attacked, fixed), labels).backward()
        assert attacked.grad is not None
        moved = attacked.detach() + adversary.step_size * attacked.grad.sign()
        change = (moved - clean).clamp(-adversary.epsilon, adversary.epsilon)
        attacked = (clean + change).clamp(0, 1)
    supernet.zero_grad()
    supernet.train()
    return SearchBatch(attacked.detach(), labels)


if __name__ == "__main__":
    sys.exit(console.run(main))
