"""What the approximations of the architecture gradient cost, and what they save.

On batches of a search, at its start and at its checkpoint, three gradients of each objective are
compared: first order, second order by finite differences (what the search uses), and exact, by
autograd. `fall` is how much the objective really falls, virtual step included, when the
architecture moves a small way against each of them: the measure that counts, since where a
network has kinks the derivative at a point says little of its surroundings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from robnet_zoo.runtime.checkpoint import LAST, load_checkpoint
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.files import check_writable, write_json
from robnet_zoo.search.arnas.recipe import ArnasRecipe
from robnet_zoo.search.arnas.search import ArnasSearch
from robnet_zoo.search.core.architecture import split_like
from robnet_zoo.search.core.unrolled import (
    Objective,
    VirtualStep,
    exact_gradient,
    first_order_gradient,
    unrolled_gradients,
)
from robnet_zoo.search.run.data import load_search_data
from robnet_zoo.search.run.loop import StepContext
from robnet_zoo.search.run.session import RunPaths

RECORD, FORMAT = "orders.json", "robnet_zoo.search.orders/1"
BATCHES = 4
DISTANCE = 0.1  # that the scores move, as an L2 norm over all cell types
KINDS = ("first", "second", "exact")


def compare_orders(recipe: ArnasRecipe, paths: RunPaths, processes: ProcessGroup) -> None:
    """Measure the gradients and write orders.json into the search's folder.

    Args:
        recipe: the search's settings.
        paths: its folder; without a checkpoint only the start is measured.
        processes: this process, and the device.
    """
    check_writable(paths.folder / RECORD)
    data = load_search_data(recipe, processes=processes, root=paths.root)
    search = ArnasSearch(recipe, data)
    measured = {"start": _measure(search, epoch=0)}
    if (paths.folder / LAST).exists():
        checkpoint = load_checkpoint(paths.folder / LAST, processes.device)
        search.load(checkpoint["search"])
        epoch = min(checkpoint["epoch"], recipe.epochs - 1)
        measured[f"after {checkpoint['epoch']} epochs"] = _measure(search, epoch)
    record = {
        "format": FORMAT,
        "recipe": recipe.name,
        "dataset": recipe.dataset,
        "distance": DISTANCE,
        "batches": min(BATCHES, *map(len, data.streams)),
        "measured": measured,
        "environment": environment(processes.device),
    }
    write_json(paths.folder / RECORD, record)


def _measure(search: ArnasSearch, epoch: int) -> dict[str, Any]:
    """Return the means over a few batches at the present weights."""
    lr, recipe = search.recipe.rate(epoch), search.recipe
    sums: dict[str, dict[str, float]] = {}
    batches = min(BATCHES, *map(len, search.data.streams))
    for index in range(batches):
        context = StepContext(recipe.seed, epoch, index, lr, search.data.processes.device)
        batch, held = (stream.at(epoch, index) for stream in search.data.streams)
        attacked, attacked_held = search.attack_both(context, batch, held)
        training = search.classification(attacked)
        for name, objective in search.objectives(held, attacked_held).items():
            figures = _compare(search, objective, training, search.virtual_step(lr))
            total = sums.setdefault(name, dict.fromkeys(figures, 0.0))
            for key, value in figures.items():
                total[key] += value / batches
    return sums


def _compare(
    search: ArnasSearch, objective: Objective, training: Objective, step: VirtualStep
) -> dict[str, float]:
    weights, scores = dict(search.supernet.named_parameters()), search.architecture
    methods: dict[str, Callable[[], Tensor]] = {
        "first": lambda: first_order_gradient(objective, weights, scores).gradient,
        "second": lambda: (
            unrolled_gradients([objective], training, weights, scores, step)[0].gradient
        ),
        "exact": lambda: exact_gradient(objective, training, weights, scores, step).gradient,
    }
    figures, gradients = {}, {}
    for kind in KINDS:
        began = time.perf_counter()
        gradients[kind] = methods[kind]()
        figures[f"{kind}_seconds"] = time.perf_counter() - began

    def loss(architecture: Sequence[Tensor]) -> float:
        slope = torch.autograd.grad(training(weights, architecture), list(weights.values()))
        with torch.no_grad():
            return float(objective(step(weights, slope), architecture))

    start = loss(scores)
    for kind, gradient in gradients.items():
        figures[f"{kind}_norm"] = float(gradient.norm())
        if kind != "exact":
            cosine = torch.cosine_similarity(gradient, gradients["exact"], dim=0)
            figures[f"{kind}_cosine"] = float(cosine)
        parts = split_like(-DISTANCE * gradient / gradient.norm(), scores)
        moved = [score.detach() + part for score, part in zip(scores, parts, strict=True)]
        figures[f"{kind}_fall"] = start - loss(moved)
    return figures
