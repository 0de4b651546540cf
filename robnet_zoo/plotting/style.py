"""One palette and one style for everything that is drawn, always without a display."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#3b3f45"  # text and axes; in a page it becomes the page's own text colour
MUTED, FAINT, PAPER = "#8a8f98", "#d5d8dc", "#ffffff"
PALETTE = ("#0f8a7e", "#d9622b", "#5b63d3", "#b8860b", "#c2447f", "#3f8fcf", "#6b8e23", MUTED)
LETTERS = 10.6  # of a title, to the inch
ALARM = "#c0392b"  # what a limit or a warning is drawn in
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.alpha": 0.18,
    "grid.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.bbox": "tight",
    "text.color": INK,
    "text.parse_math": False,  # names come from outside: "$" is a letter in them
    "xtick.color": INK,
    "ytick.color": INK,
}


def palette(count: int) -> list[str]:
    """Return so many colours, from the start again where there are not enough."""
    return [PALETTE[number % len(PALETTE)] for number in range(count)]


def wrapped(title: str, figure: Figure) -> str:
    """Return a title in lines no longer than the figure is wide; what is in brackets stays whole.

    A title that fits is one line.
    """
    letters = int(LETTERS * figure.get_figwidth())
    if len(title) <= letters:
        return title
    head, opening, within = title.rpartition(" (")
    lines = [head, f"({within}"] if opening else [title]
    return "\n".join(fill(line, letters, break_long_words=False) for line in lines)


@contextmanager
def canvas(
    width: float, height: float, *, layout: Literal["constrained"] | None = None
) -> Iterator[Figure]:
    """Yield an empty figure of this size in inches; what is drawn in the block has the style.

    Raises:
        ZooError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ZooError('Plots need matplotlib; run: pip install "robnet-zoo[eval]".') from error
    with rc_context(STYLE):
        yield Figure(figsize=(width, height), layout=layout)


def save(figure: Figure, path: Path, *, crop: bool = True) -> None:
    """Write a figure as PNG, or as SVG where `path` ends in .svg, atomically.

    The same figure gives the same SVG, whose letters are outlines: it looks alike everywhere.

    Args:
        figure: the figure.
        path: of the file.
        crop: take the figure's size from what is drawn, not from its canvas.
    """
    from matplotlib import rc_context

    kind = "svg" if path.suffix.lower() == ".svg" else "png"
    metadata = {"Date": None} if kind == "svg" else None
    style = {**STYLE, "svg.hashsalt": "robnet_zoo"}
    if not crop:
        style["savefig.bbox"] = None
    with rc_context(style), atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=metadata)


def svg_element(figure: Figure, salt: str) -> str:
    """Return a figure as an SVG element on a transparent ground, in its page's font and colour.

    Args:
        figure: the figure.
        salt: keeps the ids of one figure apart from those of the others on the page.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({**STYLE, "svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    element = text[text.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg class="plot" \1>', element, count=1
    )
    return element.replace(INK, "currentColor")
