"""Errors a user can cause, each said in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """A mistake in what was asked for; the command line prints it and exits with 2.

    The message is one sentence that names the value, what is allowed and what to do.
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ZooError:
    """Return the error for a name that is not known, with the nearest names.

    Args:
        kind: what the name should have named, such as "model" or "attack".
        name: the name that was asked for.
        known: every name that would have been accepted.
    """
    names = sorted(known)
    small = {known_name.lower(): known_name for known_name in names}
    near = [small[key] for key in difflib.get_close_matches(name.lower(), small, n=3, cutoff=0.5)]
    known_ones = f"known are {', '.join(names)}."
    hint = f"did you mean {' or '.join(near)}?" if near else known_ones
    return ZooError(f"Unknown {kind} '{name}'; {hint}")
