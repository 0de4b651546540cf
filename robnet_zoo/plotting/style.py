"""One palette and one style for everything that is drawn, always without a display."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#3b3f45"  # text and axes; in a page it becomes the page's own text colour
MUTED, FAINT, PAPER = "#8a8f98", "#d5d8dc", "#ffffff"
PALETTE = ("#0f8a7e", "#d9622b", "#5b63d3", "#b8860b", "#c2447f", "#3f8fcf", "#6b8e23", MUTED)
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
    "font.size": 10,
    "grid.alpha": 0.18,
    "grid.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.bbox": "tight",
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def palette(count: int) -> list[str]:
    """Return so many colours, from the start again where there are not enough."""
    return [PALETTE[number % len(PALETTE)] for number in range(count)]


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


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, or as SVG where `path` ends in .svg, atomically."""
    from matplotlib import rc_context

    kind = "svg" if path.suffix == ".svg" else "png"
    with rc_context(STYLE), atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind)
