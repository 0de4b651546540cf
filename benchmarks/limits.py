"""How near a step of PGD comes to what the machine can do, and where the rest of the time goes.

The ceilings are the best rates of a large matrix product, a large convolution and a large copy.
A step is one forward pass and one backward pass to the images. Its arithmetic is taken as two
forward passes of the plain network, two operations a multiply-add, whatever a form really
computes. Its traffic is counted operator by operator: the bytes of all tensors read and written,
as if each came from memory; caches make the true figure smaller.

The profile gives the time of every operator to the kind it belongs to; "between operators" is
what is left of the step: Python, autograd, and on a GPU waiting for the next kernel.

    python -m benchmarks.limits --model robnet_free
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks import measure
from benchmarks.plain import plain
from benchmarks.targets import untrained
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.models.count import count_macs
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.runtime import console

Step = Callable[[], object]
WEIGHT = {"aten::conv2d": 1, "aten::convolution": 1, "aten::convolution_backward": 2}  # its place
PROFILES = 3
REST = OTHER, BETWEEN = ("other", "between operators")
KINDS = {
    "batch norm": ("batch_norm", "native_batch_norm", "cudnn_batch_norm"),
    "ReLU": ("relu", "relu_", "threshold"),
    "sums": ("add", "add_", "sum"),
    "copies": ("cat", "slice", "narrow", "copy_", "to", "contiguous", "clone", "pad"),
}
OF_OPERATOR = {
    f"aten::{name}{end}": kind
    for kind, names in KINDS.items()
    for name in names
    for end in ("", "_backward")
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare a step of PGD with the machine's limits.")
    parser.add_argument("--model", default="robnet_free")
    parser.add_argument("--channels", type=int)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=2048, help="of the ceilings' matrices")
    measure.add_options(parser, rounds=5)
    options = parser.parse_args(argv)
    device = measure.prepare(options)
    target = untrained(options, options.batch_size, device)
    _, channels, height, width = target.images.shape
    macs = count_macs(target.model, (channels, height, width))
    limits = ceilings(options)
    steps = {
        name: form.step(target.images, target.labels) for name, form in forms(target.model).items()
    }
    seconds = measure.alternate(steps, options.rounds, device, warm_up=2)
    size = options.batch_size
    results = {
        name: achieved(step, min(seconds[name]), macs, size, device) for name, step in steps.items()
    }
    measure.save(
        options,
        {"ceilings": limits, "multiply_adds_an_image": macs, "seconds": seconds, "forms": results},
        "limits",
        options.model,
    )


def ceilings(options: argparse.Namespace) -> dict[str, float]:
    """Return the best operations per second of products and convolutions, and bytes of a copy."""
    size, device = options.size, options.device
    side, width = 32, 256
    batch = max(size // 64, 1)
    work: dict[str, tuple[Step, float]] = {}
    for kind in (torch.float32, torch.bfloat16):
        name = str(kind).removeprefix("torch.")
        matrix = torch.rand(size, size, device=device, dtype=kind)
        maps = torch.rand(batch, width, side, side, device=device, dtype=kind)
        maps = maps.contiguous(memory_format=torch.channels_last)
        weight = torch.rand(width, width, 3, 3, device=device, dtype=kind)
        weight = weight.contiguous(memory_format=torch.channels_last)
        work[f"product_{name}"] = (partial(torch.mm, matrix, matrix), 2 * size**3)
        work[f"convolution_{name}"] = (
            partial(F.conv2d, maps, weight, padding=1),
            2 * 9 * width**2 * side**2 * batch,
        )
    source = torch.rand(16 * size**2, device=device)
    target = torch.empty_like(source)
    work["copy"] = (partial(target.copy_, source), 2 * source.nbytes)
    with torch.no_grad():
        seconds = measure.alternate(
            {name: step for name, (step, _) in work.items()},
            options.rounds,
            device,
            warm_up=2,
        )
    return {name: amount / min(seconds[name]) for name, (_, amount) in work.items()}


@dataclass(frozen=True)
class Form:
    """A network, and the order and precision of the images that it is given."""

    model: nn.Module
    layout: torch.memory_format = torch.channels_last
    dtype: torch.dtype = torch.float32

    def step(self, images: Tensor, labels: Tensor) -> Step:
        """Return a step of PGD on these images."""
        held = images.contiguous(memory_format=self.layout)
        adversary = Adversary(epsilon=8 / 255, step_size=2 / 255, steps=1)

        def forward(x: Tensor) -> Tensor:
            return self.model(x.to(self.dtype))

        return lambda: adversary.ascend(forward, held, held, labels)


def forms(model: nn.Module) -> dict[str, Form]:
    """Return the plain network, the same in channels_last, and both precisions folded."""
    channels_last = plain(copy.deepcopy(model)).to(memory_format=torch.channels_last)
    half = copy.deepcopy(model).bfloat16()
    return {
        "plain": Form(plain(model), torch.contiguous_format),
        "channels_last": Form(channels_last),
        "folded": Form(fold(model)),
        "folded, bfloat16": Form(fold(half), dtype=torch.bfloat16),
    }


def achieved(step: Step, seconds: float, macs: int, n: int, device: str) -> dict[str, Any]:
    """Return rates of arithmetic and traffic, and milliseconds an image by kind of operator."""
    with Traffic() as traffic:
        step()
    return {
        "milliseconds_an_image": 1e3 * seconds / n,
        "operations_per_second": 4 * macs * n / seconds,
        "bytes_an_image": traffic.bytes // n,
        "bytes_per_second": traffic.bytes / seconds,
        "operators": operators(step, seconds, n, device),
    }


class Traffic(TorchDispatchMode):
    """Count the bytes that operators read and write; views move none."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, operator: Any, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operator and count its tensors."""
        result = operator(*args, **(kwargs or {}))
        if operator is torch.ops.aten.convolution_backward.default:
            args = (args[0], *args[2:])  # the gradient by the input does not read the input
        if not operator.is_view:
            tensors = tree_leaves((args, kwargs, result))
            self.bytes += sum(t.nbytes for t in tensors if isinstance(t, Tensor))
        return result


def operators(step: Step, seconds: float, n: int, device: str) -> dict[str, float]:
    """Return the milliseconds an image of each kind of operator, of the fastest of a few steps."""
    profiles = [spent_in_operators(step, device) for _ in range(PROFILES)]
    fastest = min(profiles, key=lambda spent: sum(spent.values()))
    fastest[BETWEEN] = max(seconds - sum(fastest.values()), 0.0)
    return {kind: 1e3 * taken / n for kind, taken in fastest.items()}


def spent_in_operators(step: Step, device: str) -> dict[str, float]:
    """Return the seconds of each kind of operator in one step."""
    cuda = device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities, record_shapes=True) as profiled:
        step()
        measure.synchronise(device)
    spent: dict[str, float] = defaultdict(float)
    for event in profiled.events():
        operator = outermost(event)
        if operator is not None:
            taken = event.self_device_time_total if cuda else event.self_cpu_time_total
            spent[kind_of(operator)] += taken / 1e6
    return spent


def outermost(event: FunctionEvent) -> FunctionEvent | None:
    """Return the operator whose call an event is part of, None for what is between operators."""
    operator, around = None, cast(FunctionEvent | None, event)
    while around is not None:
        operator = around if around.name.startswith("aten::") else operator
        around = around.cpu_parent
    return operator


def kind_of(operator: FunctionEvent) -> str:
    if operator.name not in WEIGHT:
        return OF_OPERATOR.get(operator.name, OTHER)
    shapes = cast(list[list[int]], operator.input_shapes)
    _, inputs, *kernel = shapes[WEIGHT[operator.name]]
    if max(kernel) == 1:
        return "pointwise convolution"
    return "depthwise convolution" if inputs == 1 else "dense convolution"


if __name__ == "__main__":
    sys.exit(console.run(main))
