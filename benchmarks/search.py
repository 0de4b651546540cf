"""Cost of RobNet's supernet: a step with switches, of a single network, and with 0/1 weights.

All three train the same drawn architectures on the same images with the same attack, in
alternating rounds: through the supernet with switches, which compute nothing that is off; as a
network of their own; and in the straightforward form, where the supernet computes everything and
multiplies it by 0 or 1. On a CPU the process's own time counts, so that a busy machine does not.

The memory of a full-size supernet is what autograd saves for a small batch, counted storage by
storage and scaled up: nothing of that size is run.

    python -m benchmarks.search --out benchmarks/results/search.json
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.runtime import console
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.environment import environment, pick_device
from robnet_zoo.runtime.files import write_json
from robnet_zoo.search.core.optimizers import WeightOptimizer
from robnet_zoo.search.core.spaces import EDGES, robnet_space
from robnet_zoo.search.core.supernet import CellWeights, Supernet
from robnet_zoo.search.robnet.codes import Codes, density, random_codes, switches
from robnet_zoo.search.robnet.inherit import masks, subnetwork
from robnet_zoo.search.robnet.recipe import RECIPES
from robnet_zoo.search.robnet.supernet import LAYOUT

EPSILON = 8 / 255
FULL_CHANNELS, FULL_LAYERS, FULL_BATCH, COUNTED_BATCH = 36, 20, 64, 2
ALL: Codes = (("11",) * EDGES,)
SAMPLES = 5

Forward = Callable[[Tensor], Tensor]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the cost of RobNet's supernet.")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=7, help="of PGD")
    parser.add_argument("--rounds", type=int, default=5, help="architectures that are timed")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=None, help="JSON file for the result")
    options = parser.parse_args(argv)
    device = pick_device(options.device)
    seconds, densities = time_steps(options, device)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    result = {
        "settings": {k: v for k, v in vars(options).items() if k != "out"},
        "clock": "wall" if device.startswith("cuda") else "process",
        "densities": densities,
        "seconds_per_step": medians,
        "switches_over_single": ratio(seconds, "switches", "single"),
        "multiplied_over_switches": ratio(seconds, "multiplied", "switches"),
        "full_supernet": memory(),
        "environment": environment(device),
    }
    print(json.dumps(result, indent=2))
    if options.out:
        write_json(options.out, result)


def ratio(seconds: Mapping[str, list[float]], above: str, below: str) -> float:
    pairs = zip(seconds[above], seconds[below], strict=True)
    return statistics.median(a / b for a, b in pairs)


def time_steps(
    options: argparse.Namespace, device: str
) -> tuple[dict[str, list[float]], list[float]]:
    torch.manual_seed(0)
    net = Supernet(robnet_space(options.layers, shared=True), channels=options.channels)
    net = net.to(device).to(memory_format=LAYOUT).train()
    images = torch.rand(options.batch_size, 3, 32, 32, device=device)
    images = images.contiguous(memory_format=LAYOUT)
    labels = torch.randint(0, 10, (options.batch_size,), device=device)
    rng, densities = random.Random(0), []
    seconds: dict[str, list[float]] = {}
    for turn in range(options.rounds + 1):  # the first warms up
        codes = random_codes(rng)
        table = torch.tensor(switches(codes[0]), dtype=torch.float32, device=device)
        single = subnetwork(net, codes)
        contenders: dict[str, tuple[nn.Module, Forward]] = {
            "switches": (net, partial(net, weights=masks(net, codes))),
            "single": (single, single),
            "multiplied": (net, partial(net, weights={"cell": CellWeights(table)})),
        }
        if turn:
            densities.append(density(codes))
        for name, (module, forward) in contenders.items():
            taken = timed_step(module, forward, images, labels, options.steps, device)
            if turn:
                seconds.setdefault(name, []).append(taken)
    return seconds, densities


def timed_step(
    module: nn.Module, forward: Forward, images: Tensor, labels: Tensor, steps: int, device: str
) -> float:
    cuda = device.startswith("cuda")
    clock = time.perf_counter if cuda else time.process_time
    weight_optimizer = WeightOptimizer(module, RECIPES["paper"], ProcessGroup(device=device))
    adversary = Adversary(epsilon=EPSILON, step_size=EPSILON / 4, steps=steps, start="clean")
    started = clock()
    attacked = adversary(forward, images, labels)
    weight_optimizer.step(F.cross_entropy(forward(attacked), labels), 0.01)
    if cuda:
        torch.cuda.synchronize()
    return clock() - started


def memory() -> dict[str, object]:
    """Return what training a full-size supernet holds, in GB of 10^9 bytes."""
    net = Supernet(robnet_space(FULL_LAYERS, shared=True), channels=FULL_CHANNELS).train()
    rng = random.Random(0)
    drawn = [saved_bytes(net, random_codes(rng)) for _ in range(SAMPLES)]
    scale = FULL_BATCH / COUNTED_BATCH / 1e9
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return {
        "channels": FULL_CHANNELS,
        "layers": FULL_LAYERS,
        "batch_size": FULL_BATCH,
        "counted_batch_size": COUNTED_BATCH,
        "parameters": parameters,
        "weights_gradients_momentum_gb": 3 * 4 * parameters / 1e9,
        "activations_all_operations_gb": saved_bytes(net, ALL) * scale,
        "activations_drawn_gb": [taken * scale for taken in drawn],
    }


def saved_bytes(net: Supernet, codes: Codes) -> int:
    """Return the bytes of all storages that one forward pass keeps, weights left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            kept[place] = tensor  # held, so that no other storage can come to lie there
        return tensor

    images = torch.rand(COUNTED_BATCH, 3, 32, 32)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(images, masks(net, codes))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


if __name__ == "__main__":
    sys.exit(console.run(main))
