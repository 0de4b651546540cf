"""What a record says of the model's accuracy, without an attack, under each and under all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from robnet_zoo.attacks.naming import full_name
from robnet_zoo.eval.record.fields import Verdicts, flags_of
from robnet_zoo.runtime.decode import Amount, Count, Fraction, PositiveCount
from robnet_zoo.runtime.statistics import Proportion


class Draws(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each draw of a randomised model says by itself of the images that were judged last.

    `verdicts` are one string a draw, which together gave the verdicts beside this. `accuracy` is
    their mean, and `low` and `high` its 95 % interval over images and draws.
    """

    verdicts: Annotated[tuple[Verdicts, ...], Meta(min_length=2)]
    accuracy: Fraction
    low: Fraction
    high: Fraction


class Clean(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accuracy without an attack; `predictions` is the class given to each image.

    It is -1 where logits are no numbers, or where no class has the majority of the draws.
    """

    accuracy: Proportion
    verdicts: Verdicts
    predictions: tuple[Annotated[int, Meta(ge=-1)], ...]
    draws: Draws | msgspec.UnsetType = msgspec.UNSET


class Trace(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many of the n images are robust after each step; entry 0 is the attack's start.

    `last` judges the iterate of that very step, `any` every iterate up to it; with restarts an
    image must survive them all. Entry k is therefore the result of the same attack with k steps.
    `last` is empty where the attack left images alone once they were broken.
    """

    last: tuple[Count, ...]
    any: Annotated[tuple[Count, ...], Meta(min_length=1)]


class Queries(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a black-box attack asked the model: queries spent on each of the images it broke."""

    budget: PositiveCount
    broken: Count
    mean: Amount | None
    median: Amount | None


class Passes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Images passed through the model, forwards and backwards, for each image attacked."""

    forwards: Amount
    backwards: Amount

    @classmethod
    def mean(cls, forwards: int, backwards: int, attacked: int) -> Passes:
        """Return the passes an image, to a tenth; none where no image was attacked."""
        of = max(attacked, 1)
        return cls(forwards=round(forwards / of, 1), backwards=round(backwards / of, 1))

    @classmethod
    def over(cls, results: Iterable[AttackResult], attacked: int) -> Passes:
        """Return the passes of several attacks together for each image attacked."""
        counts = [(result.forwards, result.backwards) for result in results]
        return cls.mean(sum(f for f, _ in counts), sum(b for _, b in counts), attacked)

    def __str__(self) -> str:
        return f"{self.forwards:,.0f}/{self.backwards:,.0f}"


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One attack of a suite: it meets only the images that those before it left standing."""

    name: str
    attacked: Count
    broken: Count
    seconds: Amount
    forwards: Count
    backwards: Count

    @property
    def passes(self) -> Passes:
        """The passes for each image that it attacked."""
        return Passes.mean(self.forwards, self.backwards, self.attacked)


class AttackResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one attack, or one suite of attacks, did.

    `robust` is the worst case (any iterate the attack tried, where it tells them apart) and
    `last` the papers' number, the last iterate alone; both on all n images. `forwards` and
    `backwards` count images, and `passes` has them for each image that was attacked.
    `max_perturbation` is measured by the harness, in float32, and `over_epsilon` counts returned
    images outside the threat model, which are never counted as broken. `median_distance` is how
    far the broken images of an attack that looks for the smallest perturbation are, wherever they
    lie; it is judged at epsilon nevertheless. `distances` has each image's: 0 for a clean mistake,
    None where none was broken. `on_source` tells of the images that a transfer
    attack was run on how many survive it on the very model that they were made on.
    """

    name: str
    settings: dict[str, Any]
    robust: Proportion
    verdicts: Verdicts
    last: Proportion | None
    last_verdicts: Verdicts | None
    first_broken: tuple[Count | None, ...] | None
    trace: Trace | None
    parts: tuple[Part, ...]
    queries: Queries | None
    on_source: Proportion | None
    median_distance: Amount | None
    max_perturbation: Amount
    over_epsilon: Count
    seconds: Amount
    forwards: Count
    backwards: Count
    draws: Draws | msgspec.UnsetType = msgspec.UNSET
    passes: Passes | msgspec.UnsetType = msgspec.UNSET
    distances: tuple[Amount | None, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def full_name(self) -> str:
        """The name, with "-targeted" where it aimed at another class, in older records too."""
        return full_name(self.name, self.settings)

    @property
    def flags(self) -> list[bool]:
        """Whether each image is robust."""
        return flags_of(self.verdicts)


class ClassTotals(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One class: how many images it has, and how many are right and survive every attack."""

    label: Count
    name: str
    n: PositiveCount
    clean: Count
    robust: Count


class Totals(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The verdict over all attacks: an image is robust if it survives every one of them."""

    robust: Proportion
    verdicts: Verdicts
    clean_mistakes: tuple[Count, ...]
    per_class: tuple[ClassTotals, ...]
    seconds: Amount
