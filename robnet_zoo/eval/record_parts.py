"""What a record is made of.

Per-image verdicts are strings of one character an image, "1" for robust and "0" for broken, in
the order of the images; an image that is misclassified without an attack is "0" everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from robnet_zoo.attacks.fingerprint import Fingerprint
from robnet_zoo.attacks.naming import full_name
from robnet_zoo.runtime.decode import Amount, Count, Fraction, PositiveCount
from robnet_zoo.runtime.statistics import Proportion, proportion
from robnet_zoo.threat_models import Norm, ThreatModel

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Verdicts = Annotated[
    str, Meta(pattern="^[01]+$", description="one character an image: 1 robust, 0 broken")
]
Size = Annotated[float, Meta(gt=0)]
Timestamp = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]


class ModelInfo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was judged.

    `state_sha256` hashes the parameters and buffers as they were in memory, and
    `weights_file_sha256` the file they came from, where there was one. `fingerprint` is what the
    model does to the first images: the same parameters may stand behind another function.
    `precision` is "float64" where the model computes in that.
    """

    name: str
    state_sha256: Sha256
    parameters: Count
    architecture: str
    arguments: dict[str, Any]
    weights: str
    weights_file_sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")]
    genotype_status: str
    fingerprint: Fingerprint | msgspec.UnsetType = msgspec.UNSET
    precision: Literal["float64"] | msgspec.UnsetType = msgspec.UNSET


class DataInfo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The images it was judged on, the first n of those available, and their hash."""

    name: str
    split: str
    n: PositiveCount
    available: PositiveCount
    sha256: Sha256


class ThreatInfo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the attacker may do: sizes as written and as floats, for pixels in [0,1]."""

    name: str
    norm: Norm
    epsilon: str
    epsilon_value: Size
    step: str
    step_value: Size

    @classmethod
    def of(cls, threat_model: ThreatModel) -> ThreatInfo:
        """Return what the record says about a threat model."""
        return cls(
            name=threat_model.name,
            norm=threat_model.norm,
            epsilon=threat_model.epsilon.text,
            epsilon_value=threat_model.epsilon.value,
            step=threat_model.step.text,
            step_value=threat_model.step.value,
        )


class SurrogateInfo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose gradients attacks saw in the model's place: its parameters' hash and its function."""

    name: str
    state_sha256: Sha256
    fingerprint: Fingerprint | msgspec.UnsetType = msgspec.UNSET


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What else a repetition needs; `batch_size` and `device` do not change the verdicts.

    `folded` says that attacks saw the model in its folded form, `compile` in which mode it was
    compiled; the verdicts are the model's. `surrogate` gave the gradients, `eot` draws were
    averaged in each pass of an attack, and `draws` gave a verdict by the rule `decide`: the
    majority of their classes, or the mean of their probabilities.
    """

    seed: Count
    block_size: PositiveCount
    batch_size: PositiveCount
    device: str
    attacks: tuple[str, ...]
    folded: bool = False
    compile: str | None = None
    surrogate: SurrogateInfo | msgspec.UnsetType = msgspec.UNSET
    eot: PositiveCount | msgspec.UnsetType = msgspec.UNSET
    draws: PositiveCount | msgspec.UnsetType = msgspec.UNSET
    decide: Literal["majority", "mean"] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if len(set(self.attacks)) < len(self.attacks):
            raise ValueError("an attack is named twice")

    @property
    def adaptation(self) -> str:
        """How attacks were adapted and a randomised model judged; empty where neither was done."""
        said = []
        if self.surrogate is not msgspec.UNSET:
            said.append(f"gradients of the surrogate {self.surrogate.name}")
        if self.eot is not msgspec.UNSET and self.eot > 1:
            said.append(f"attacks average {self.eot} draws")
        if self.draws is not msgspec.UNSET and self.draws > 1:
            said.append(f"verdicts by the {self.decide} of {self.draws} draws")
        return ", ".join(said)


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
        return [verdict == "1" for verdict in self.verdicts]


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


class Check(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One check of whether the numbers can be trusted, such as one for gradient masking.

    A check that is `skipped` had nothing to look at: it neither failed nor says anything.
    """

    name: str
    passed: bool
    detail: str
    skipped: bool | msgspec.UnsetType = msgspec.UNSET

    @property
    def verdict(self) -> Literal["passed", "failed", "skipped"]:
        """What it says."""
        if self.skipped is True:
            return "skipped"
        return "passed" if self.passed else "failed"

    @classmethod
    def make(cls, name: str, passed: bool, seen: str, remedy: str) -> Check:
        """Return a check whose detail is a sentence: what was seen, and what to do if it failed.

        Args:
            name: of the check.
            passed: whether the numbers can be trusted as far as this check can tell.
            seen: what was measured, without a full stop.
            remedy: what it means and what to do, without a full stop.
        """
        return cls(name=name, passed=passed, detail=f"{seen}." if passed else f"{seen}: {remedy}.")

    @classmethod
    def skip(cls, name: str, why: str) -> Check:
        """Return a check that had nothing to look at; `why` has no full stop."""
        return cls(name=name, passed=True, detail=f"{why}.", skipped=True)


class Addition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attacks that were added to a finished record, when, and where other than the first.

    `environment` is absent where it was the record's own.
    """

    attacks: Annotated[tuple[str, ...], Meta(min_length=1)]
    created: Timestamp
    device: str
    batch_size: PositiveCount
    folded: bool
    compile: str | None
    environment: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


def having(checks: Iterable[Check], verdict: Literal["passed", "failed", "skipped"]) -> list[Check]:
    """Return the checks with this verdict."""
    return [check for check in checks if check.verdict == verdict]


def summary(checks: Iterable[Check]) -> str:
    """Return such as "15 passed, 1 failed, 2 had nothing to look at (card, black-box)"."""
    checks = list(checks)
    failed, skipped = having(checks, "failed"), having(checks, "skipped")
    said = [f"{len(having(checks, 'passed'))} passed"]
    if failed:
        said.append(f"{len(failed)} failed")
    if skipped:
        names = ", ".join(check.name for check in skipped)
        said.append(f"{len(skipped)} had nothing to look at ({names})")
    return ", ".join(said)


def bits(flags: Iterable[bool]) -> str:
    """Return verdicts as text, "1" for robust and "0" for broken."""
    return "".join("1" if flag else "0" for flag in flags)


def proportion_of(verdicts: str) -> Proportion:
    """Return the proportion of "1" in verdicts."""
    return proportion(verdicts.count("1"), len(verdicts))
