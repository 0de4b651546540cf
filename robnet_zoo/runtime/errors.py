"""Errors a user can cause, each said in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from traceback import walk_tb


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


def cause(error: BaseException) -> str:
    """Return what went wrong in somebody's own code: the error, its first line, and where.

    The place is the innermost one outside of installed libraries and this package.
    """
    text = str(error).strip().partition("\n")[0].rstrip(".")
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError):  # its place stands in its text
        return what
    frames = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    own = [(name, line) for name, line in frames if _is_own(name)]
    return f"{what} ({own[-1][0]}, line {own[-1][1]})" if own else what


def _is_own(file: str) -> bool:
    package = str(Path(__file__).parents[1])
    return not file.startswith(("<", package)) and "site-packages" not in Path(file).parts
