"""Drawings of cells inside a page: text is text, and its colours are those of the page."""

from __future__ import annotations

from functools import cache

from robnet_zoo.genotypes import published
from robnet_zoo.plotting.cells import cell_figure, panels
from robnet_zoo.plotting.style import dark_rules, svg_element

STYLES = "assets/drawings.css"


@cache  # the gallery and a model's page show the same
def cells(name: str, subtitle: str) -> str:
    """Return the drawing of a published genotype's cells as an SVG element.

    Args:
        name: the genotype's.
        subtitle: below it.
    """
    figure = cell_figure(panels(published(name)), name, subtitle)
    return svg_element(figure, f"The cells of {name}").replace("\n", " ")


def colours() -> dict[str, str]:
    """Return the style sheet of drawings on the site's dark ground."""
    return {STYLES: dark_rules('[data-md-color-scheme="slate"] svg.plot')}
