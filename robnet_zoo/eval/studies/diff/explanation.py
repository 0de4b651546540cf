"""Why another tool gives another number: our attack, with one of its settings after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from importlib import import_module
from typing import Any, Protocol

from msgspec import Struct

from robnet_zoo.eval.record.fields import bits, positions, proportion_of
from robnet_zoo.eval.record.setup import DataInfo, ModelInfo, ThreatInfo
from robnet_zoo.eval.studies.diff.case import Case
from robnet_zoo.eval.studies.differences import shown
from robnet_zoo.runtime.decode import Count
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import Proportion

SCHEMA = "robnet_zoo.diff/1"
START = "random_numbers"  # the setting that gives both attacks the same start


class AttackPair(Protocol):
    """An attack of ours and that of a tool, on the same model and images."""

    attack: Any  # ours, which has a name
    tool: str
    case: Case

    @property
    def ours(self) -> Any:
        """Settings of our attack, a frozen dataclass."""

    @property
    def theirs(self) -> Any:
        """What the tool's attack has for each of them."""

    @property
    def call(self) -> str:
        """How the tool is called, in Python."""

    def run(self, settings: Any) -> list[bool]:
        """Return whether each image survives our attack with these settings."""

    def run_tool(self, *, seed: int, batch_size: int) -> list[bool]:
        """Return whether each image survives the tool's attack, as its users judge that."""


def import_tool(tool: str) -> Any:
    """Return another attack library.

    Raises:
        ZooError: it is not installed.
    """
    try:
        return import_module(tool)
    except ImportError as error:
        raise ZooError(f"{tool} is not installed; run: pip install {tool}.") from error


class Change(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A setting of ours that was given the tool's value."""

    setting: str
    ours: Any
    theirs: Any

    @classmethod
    def of(cls, field: str, ours: Any, theirs: Any) -> Change:
        """Return the change of a field of our settings."""
        return cls(setting=field.replace("_", " "), ours=ours, theirs=theirs)

    @property
    def field(self) -> str:
        """The field of our settings."""
        return self.setting.replace(" ", "_")

    def __str__(self) -> str:
        return f"{self.setting} is {shown(self.theirs)} in place of {shown(self.ours)}"


class Trial(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Our attack with some settings of the tool, and on how many images they still disagree."""

    changes: tuple[Change, ...]
    robust: Proportion
    differing: Count


class Explanation(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="schema", tag=SCHEMA
):
    """Two tools on the same weights and images, and what makes their verdicts differ.

    Attributes:
        only_ours, only_theirs: positions of the images that survive one of the two alone.
        start: our attack from the tool's own start, with the same random numbers; None where
            none are drawn, or cannot be shared.
        singles: from that start, one more setting changed at a time.
        together: all settings changed.
        cause: the fewest that do as well, up to one image in 200.
        seed_noise: images on which the tool differs from itself with another seed.
        batch_noise: images on which it differs from itself in batches of half the size.
    """

    model: ModelInfo
    data: DataInfo
    threat_model: ThreatInfo
    attack: str
    tool: str
    call: str
    ours: Proportion
    theirs: Proportion
    only_ours: tuple[Count, ...]
    only_theirs: tuple[Count, ...]
    start: Trial | None
    singles: tuple[Trial, ...]
    together: Trial
    cause: Trial
    seed_noise: Count
    batch_noise: Count

    @property
    def differing(self) -> int:
        """On how many images the two disagree."""
        return len(self.only_ours) + len(self.only_theirs)

    @property
    def conclusion(self) -> str:
        """What explains the difference, in a sentence."""
        if not self.differing:
            return "The verdicts agree on every image."
        left = self.cause.differing
        if left >= self.differing:
            return (
                f"No setting explains the difference on {self.differing} images; another seed of "
                f"{self.tool} changes {self.seed_noise}."
            )
        settings = [
            it for it in self.cause.changes if self.start is None or it not in self.start.changes
        ]
        words = " and ".join(map(str, settings))
        rest = f"; {left} of {self.differing} images still differ" if left else ""
        if not settings:
            return f"The difference disappears from {self.tool}'s own start{rest}."
        same = f"From {self.tool}'s own start, the" if self.start else "The"
        return f"{same} difference disappears when {words}{rest}."


class Search:
    """Trials of a pair of attacks, against the tool's verdicts `reference`."""

    def __init__(self, pair: AttackPair, reference: Sequence[bool]) -> None:
        self.pair, self.reference = pair, list(reference)
        self._done: dict[Any, list[bool]] = {}
        names = [field.name for field in fields(pair.ours)]
        every = [
            Change.of(name, getattr(pair.ours, name), getattr(pair.theirs, name)) for name in names
        ]
        differing = [change for change in every if change.ours != change.theirs]
        self.start = tuple(change for change in differing if change.field == START)
        self.changes = tuple(change for change in differing if change.field != START)

    def trial(self, changes: Sequence[Change]) -> Trial:
        """Run our attack from the tool's start with these settings changed to the tool's."""
        taken = (*self.start, *changes)
        values = {change.field: change.theirs for change in taken}
        robust = self.run(replace(self.pair.ours, **values))
        return Trial(
            changes=taken,
            robust=proportion_of(bits(robust)),
            differing=disagreements(robust, self.reference),
        )

    def run(self, settings: Any) -> list[bool]:
        """Return whether each image survives our attack with these settings, run once."""
        if settings not in self._done:
            self._done[settings] = self.pair.run(settings)
        return self._done[settings]

    def fewest(self, together: Trial, enough: int) -> Trial:
        """Return a trial with as few settings as leave no more than `enough` images differing.

        Settings are taken back one after another, the least suspicious first.
        """
        cause, kept = together, list(self.changes)
        for change in reversed(self.changes):
            fewer = [it for it in kept if it is not change]
            trial = self.trial(fewer)
            if trial.differing <= enough:
                cause, kept = trial, fewer
        return cause


def disagreements(first: Sequence[bool], second: Sequence[bool]) -> int:
    """Return on how many images two verdicts differ."""
    return sum(one != other for one, other in zip(first, second, strict=True))


def explain(pair: AttackPair, *, model: ModelInfo, data: DataInfo) -> Explanation:
    """Find the settings that make a tool's verdicts differ from ours.

    Args:
        pair: the two attacks on the same model and images.
        model: what the result says about it.
        data: what it says about the images.
    """
    seed, batch_size = pair.case.seed, pair.case.batch_size
    theirs = pair.run_tool(seed=seed, batch_size=batch_size)
    other_seed = pair.run_tool(seed=seed + 1, batch_size=batch_size)
    halves = pair.run_tool(seed=seed, batch_size=max(1, min(batch_size, len(theirs)) // 2))
    search = Search(pair, theirs)
    ours = search.run(pair.ours)
    pairs = list(zip(ours, theirs, strict=True))
    together = search.trial(search.changes)
    return Explanation(
        model=model,
        data=data,
        threat_model=ThreatInfo.of(pair.case.threat_model),
        attack=pair.attack.name,
        tool=pair.tool,
        call=pair.call,
        ours=proportion_of(bits(ours)),
        theirs=proportion_of(bits(theirs)),
        only_ours=positions(own and not its for own, its in pairs),
        only_theirs=positions(its and not own for own, its in pairs),
        start=search.trial([]) if search.start else None,
        singles=tuple(search.trial([change]) for change in search.changes),
        together=together,
        cause=search.fewest(together, together.differing + len(theirs) // 200),
        seed_noise=disagreements(theirs, other_seed),
        batch_noise=disagreements(theirs, halves),
    )
