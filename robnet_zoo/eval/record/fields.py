"""Fields that several parts of a record have.

Per-image verdicts are strings of one character an image, "1" for robust and "0" for broken, in
the order of the images; an image that is misclassified without an attack is "0" everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from robnet_zoo.runtime.statistics import Proportion, proportion

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Verdicts = Annotated[
    str, Meta(pattern="^[01]+$", description="one character an image: 1 robust, 0 broken")
]
Size = Annotated[float, Meta(gt=0)]
Timestamp = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]


def bits(flags: Iterable[bool]) -> str:
    """Return verdicts as text, "1" for robust and "0" for broken."""
    return "".join("1" if flag else "0" for flag in flags)


def flags_of(verdicts: str) -> list[bool]:
    """Return whether each image is robust, from verdicts as text."""
    return [verdict == "1" for verdict in verdicts]


def positions(flags: Iterable[bool]) -> tuple[int, ...]:
    """Return the positions of the images whose flag is set."""
    return tuple(position for position, flag in enumerate(flags) if flag)


def proportion_of(verdicts: str) -> Proportion:
    """Return the proportion of "1" in verdicts."""
    return proportion(verdicts.count("1"), len(verdicts))
