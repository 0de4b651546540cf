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
FIELD = "#e8edf2"  # a surface that stands out a little from paper
# What a drawing's colours turn into on a dark ground, where they would be lost; ink is the text's.
DARK = {
    PAPER: "#1e2129",
    FIELD: "#2b303b",
    "#1f5fa8": "#5f9ce0",
    "#123a6b": "#86aedd",
    "#b35a00": "#d98736",
    "#7d4fb3": "#a680d6",
}
DARK_INK = "#d5d8dc"
FONTS = "'DejaVu Sans', Verdana, sans-serif"  # the second has the widths of the first
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


def dark_rules(within: str) -> str:
    """Return the CSS that changes the colours of drawings for a dark ground.

    Args:
        within: selects what it holds for, such as "svg".
    """
    return "".join(
        f'{within} [style*="{part}: {light}"]{{{part}:{dark}!important}}'
        for light, dark in DARK.items()
        for part in ("fill", "stroke")
    )


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


def save(figure: Figure, path: Path, *, crop: bool = True, title: str = "") -> None:
    """Write a figure as PNG, or as SVG where `path` ends in .svg, atomically.

    The same figure gives the same SVG. Its letters are text, its ground is transparent, and it goes
    with a reader's light or dark colours.

    Args:
        figure: the figure.
        path: of the file.
        crop: take the figure's size from what is drawn, not from its canvas.
        title: of an SVG, for those who hear it; the file's name if empty.
    """
    from matplotlib import rc_context

    style = STYLE if crop else {**STYLE, "savefig.bbox": None}
    with rc_context(style), atomic_path(path) as temporary:
        if path.suffix.lower() == ".svg":
            text = _svg(figure, "robnet_zoo", title or path.stem)
            dark = f"svg{{color:{DARK_INK}}}{dark_rules('svg')}"
            scheme = f"svg{{color:{INK}}}@media(prefers-color-scheme:dark){{{dark}}}"
            text = text.replace("</title>", f"</title>\n<style>{scheme}</style>", 1)
            temporary.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{text}', "utf-8")
        else:
            figure.savefig(temporary, format="png")


def svg_element(figure: Figure, salt: str) -> str:
    """Return a figure as an SVG element on a transparent ground, in its page's font and colour.

    Args:
        figure: the figure.
        salt: what it shows; keeps its ids apart from those of the others on the page.
    """
    from matplotlib import rc_context

    with rc_context(STYLE):
        text = _svg(figure, salt, salt)
    return re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg class="plot" role="img" \1>', text, count=1
    )


def _svg(figure: Figure, salt: str, title: str) -> str:
    """Return a figure as an SVG element with a title; what is drawn in ink takes on `color`."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        metadata = {"Date": None, "Title": title}
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    element = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return element.replace(INK, "currentColor").replace("'DejaVu Sans'", FONTS)
