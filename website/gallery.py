"""All cells side by side."""

from __future__ import annotations

from robnet_zoo.zoo.architectures import ARCHITECTURES
from website.drawings import cells

PAGE = "gallery.md"


def gallery() -> dict[str, str]:
    """Return the page."""
    figures = []
    for name, architecture in ARCHITECTURES.items():
        genotype = architecture.read_genotype()
        if genotype is None or genotype.name != name:  # a variant has the same cells
            continue
        drawing = cells(name, f"{architecture.paper.short} · {genotype.status} genotype")
        figures.append(
            f'<figure><a href="models/{name}.html" aria-label="{name}">{drawing}</a></figure>'
        )
    text = f"""---
hide: [navigation, toc]
---

# Gallery of cells

A cell is a small graph: the outputs of the two cells before it enter on the left, every arc is an
operation, and what the nodes hold leaves together. A network is a stack of such cells. Click one
for its page.

<div class="gallery" markdown="0">
{"".join(figures)}
</div>
"""
    return {PAGE: text}
