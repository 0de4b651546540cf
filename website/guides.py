"""The pages that people write: those of docs, with their drawings, and CONTRIBUTING.md."""

from __future__ import annotations

from pathlib import Path

from website.checkout import DOCS
from website.links import ALSO, place_of, relocate


def guides() -> dict[str, str | Path]:
    """Return the pages, and the pictures that they show, by their paths in the site."""
    files: dict[str, str | Path] = {}
    for path in [*sorted(DOCS.rglob("*")), *ALSO]:
        place = place_of(path)
        assert place is not None
        if path.suffix == ".md":
            text, copied = relocate(path.read_text(encoding="utf-8"), path)
            files |= {place: text, **copied}
        elif path.is_file():
            files[place] = path
    return files
