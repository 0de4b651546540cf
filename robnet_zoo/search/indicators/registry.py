"""Indicators by name. An indicator of your own is one function with one decorator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from robnet_zoo.runtime.errors import ZooError, unknown_name

# What an indicator looks at: the cells; a network of 4 channels with random weights; a network,
# both with random weights and after a short adversarial training; or the trained network alone.
Stage = Literal["cell", "narrow", "network", "trained"]


@dataclass(frozen=True, kw_only=True)
class Indicator:
    """An indicator as `indicator` describes it."""

    name: str
    stage: Stage
    meaning: str
    source: str
    measure: Callable[[Any], float]


INDICATORS: dict[str, Indicator] = {}
Measure = TypeVar("Measure", bound=Callable[[Any], float])


def indicator(
    name: str, *, stage: Stage, meaning: str, source: str = ""
) -> Callable[[Measure], Measure]:
    """Register a function as an indicator, which `search indicators` then computes of every cell.

    Args:
        name: of the indicator's column.
        stage: what the function takes: a `Candidate` ("cell"), or a `Probe`: of the network with
            random weights and again after a short adversarial training ("network"), after it alone
            ("trained"), or, for what is slow, of a network of 4 channels with random weights
            ("narrow").
        meaning: what it is, in a few words.
        source: the paper that proposes it, if one does.

    Raises:
        ZooError: the name is taken, or the stage is none.
    """
    if name in INDICATORS:
        raise ZooError(f"There is an indicator '{name}' already; give this one another name.")
    if stage not in get_args(Stage):
        raise unknown_name("stage", stage, get_args(Stage))

    def register(measure: Measure) -> Measure:
        INDICATORS[name] = Indicator(
            name=name, stage=stage, meaning=meaning, source=source, measure=measure
        )
        return measure

    return register


def of_stage(stage: Stage) -> Mapping[str, Indicator]:
    """Return the indicators of a stage by name, in the order of their registration."""
    return {name: each for name, each in INDICATORS.items() if each.stage == stage}
