"""Codes under a computational budget: of a number of convolutions, of a size (section 3.4)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping

from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.search.core.spaces import EDGES
from robnet_zoo.search.robnet.codes import (
    DIRECT_EDGES,
    INPUT_EDGES,
    Code,
    Codes,
    convolutions,
    count_parameters,
    features,
    prices,
    random_codes,
)

# Fewest and most convolutions of a cell. The paper says "smaller than 7", "between 8 and 10" and
# "larger than 11"; 7, the number that RobNet-small's size needs, and 11 go to the nearer end.
BUDGETS = {"small": (0, 7), "medium": (8, 10), "large": (11, EDGES)}
ATTEMPTS = 20  # starts from which codes of a size are looked for
FURTHEST = 0.02  # fraction of a wanted size by which the nearest may miss it


def budget_of(codes: Codes) -> str:
    """Return the budget to which the mean number of convolutions of a cell belongs."""
    mean = round(convolutions(codes) / len(codes))
    return next(name for name, (fewest, most) in BUDGETS.items() if fewest <= mean <= most)


def code_of_budget(rng: random.Random, budget: str) -> Code:
    """Draw a cell code, every code of the budget with the same probability.

    Raises:
        ZooError: an unknown budget.
    """
    fewest, most = _limits(budget)
    counts = range(fewest, most + 1)
    while True:
        (count,) = rng.choices(counts, [math.comb(EDGES, count) for count in counts])
        with_conv = rng.sample(range(EDGES), count)
        code = tuple(rng.choice("01") + "01"[edge in with_conv] for edge in range(EDGES))
        if _sees_input(code):
            return code


def codes_of_size(
    rng: random.Random, start: Codes, parameters: int, budget: str | None = None, **sizes: int
) -> Codes:
    """Switch operations of `start` on or off, in random order, until no other brings it nearer.

    Args:
        rng: draws the operations.
        start: the codes to begin with, of the budget where one is given.
        parameters: the size wanted.
        budget: keeps the convolutions of each cell within it.
        sizes: `channels`, `layers`, `num_classes` and `in_channels`, as for `count_parameters`.

    Raises:
        ZooError: the nearest size is further than two per cent away.
    """
    _, added = prices(len(start), **sizes)
    codes, excess = start, count_parameters(start, **sizes) - parameters
    improved = True
    while improved:
        improved = False
        for place in rng.sample(range(len(added)), len(added)):
            sign = -1 if features(codes)[place] else 1
            changed = excess + sign * added[place]
            if abs(changed) >= abs(excess):
                continue
            candidate = _flipped(codes, place)
            if _allowed(candidate, budget):
                codes, excess, improved = candidate, changed, True
    if abs(excess) > FURTHEST * parameters:
        raise _no_such_size(parameters, parameters + excess, budget, sizes)
    return codes


def check_parameters(
    parameters: int, cells: int = 1, budget: str | None = None, **sizes: int
) -> None:
    """Raise ZooError where no codes can have about so many parameters.

    Args:
        parameters: the size wanted.
        cells: 1 where all cells share a code, otherwise the number of layers.
        budget: limits the convolutions of each cell.
        sizes: as for `codes_of_size`.
    """
    fewest, most = _limits(budget) if budget else (0, EDGES)
    base, added = prices(cells, **sizes)
    # in a cell all convolutions cost alike, and so do the identities that cost anything
    convs, identities = added[1 :: 2 * EDGES], added[:: 2 * EDGES]
    if cells == 1:
        reached = [
            base + count * convs[0] + more * identities[0]
            for count in range(fewest, most + 1)
            for more in range(len(INPUT_EDGES) + 1)
            if count or more  # a code sees the image
        ]
        nearest = min(reached, key=lambda size: abs(size - parameters))
    else:
        small = base + fewest * sum(convs)
        large = base + most * sum(convs) + len(INPUT_EDGES) * sum(identities)
        nearest = min(max(parameters, small), large)
    if abs(nearest - parameters) > FURTHEST * parameters:
        raise _no_such_size(parameters, nearest, budget, sizes)


def dense_code(parameters: int, budget: str | None = None, **sizes: int) -> Code:
    """Return the shared code, nearest to a size, that follows the paper's two rules.

    Every edge is connected, with all identities that cost nothing (density, section 3.3), and
    direct edges have their convolution first (section 3.4). What is still open is settled so:
    identities on the last edges from the cell's inputs are the ones to go, convolutions take
    their place, and further ones come on the last edges first.

    Args:
        parameters: the size wanted.
        budget: limits the number of convolutions.
        sizes: `channels`, `layers`, `num_classes` and `in_channels`, as for `count_parameters`.
    """
    candidates = _dense_codes(*(_limits(budget) if budget else (len(DIRECT_EDGES), EDGES)))
    return min(candidates, key=lambda code: abs(count_parameters((code,), **sizes) - parameters))


def sampler(
    *,
    cells: int = 1,
    keep: float = 0.5,
    budget: str | None = None,
    parameters: int | None = None,
    **sizes: int,
) -> Callable[[random.Random], Codes]:
    """Return the function that draws the codes of a study.

    Args:
        cells: 1 where all cells share a code, otherwise the number of layers.
        keep: probability of each operation where neither budget nor size is given.
        budget: "small", "medium" or "large"; None for all codes.
        parameters: draw codes as near to this size as it gets; None for any size.
        sizes: as for `codes_of_size`; needed with `parameters`.
    """

    def draw_any(rng: random.Random) -> Codes:
        if budget is None:
            return random_codes(rng, cells, keep)
        return tuple(code_of_budget(rng, budget) for _ in range(cells))

    def draw(rng: random.Random) -> Codes:
        for attempt in range(1, ATTEMPTS + 1):
            codes = draw_any(rng)
            if parameters is None:
                return codes
            try:
                return codes_of_size(rng, codes, parameters, budget, **sizes)
            except ZooError:  # switches one by one may lead nowhere from this start
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    return draw


def _dense_codes(fewest: int, most: int) -> Iterator[Code]:
    """Yield the dense code for each number of identities from the inputs and of convolutions."""
    for gone in range(len(INPUT_EDGES) + 1):
        without_identity = set(INPUT_EDGES[len(INPUT_EDGES) - gone :])
        first = [*dict.fromkeys([*DIRECT_EDGES, *without_identity])]
        order = first + [edge for edge in reversed(range(EDGES)) if edge not in first]
        for count in range(max(fewest, len(first)), most + 1):
            yield tuple(
                "10"[edge in without_identity] + "01"[edge in order[:count]]
                for edge in range(EDGES)
            )


def _no_such_size(
    parameters: int, nearest: int, budget: str | None, sizes: Mapping[str, int]
) -> ZooError:
    named = ", ".join(f"{name}={size}" for name, size in sizes.items())
    return ZooError(
        f"No code{f' of the {budget} budget' if budget else ''} has about {parameters:,} "
        f"parameters with {named}; one has {nearest:,}: choose that size, or another budget, "
        "width or depth."
    )


def _limits(budget: str) -> tuple[int, int]:
    if budget not in BUDGETS:
        raise unknown_name("budget", budget, BUDGETS)
    return BUDGETS[budget]


def _flipped(codes: Codes, place: int) -> Codes:
    bits = features(codes)
    bits[place] = 1 - bits[place]
    edges = [f"{identity}{conv}" for identity, conv in zip(bits[::2], bits[1::2], strict=True)]
    return tuple(tuple(edges[i : i + EDGES]) for i in range(0, len(edges), EDGES))


def _allowed(codes: Codes, budget: str | None) -> bool:
    fewest, most = _limits(budget) if budget else (0, EDGES)
    return all(fewest <= convolutions((code,)) <= most and _sees_input(code) for code in codes)


def _sees_input(code: Code) -> bool:
    return any(code[edge] != "00" for edge in INPUT_EDGES)
