"""Links of pages: between them, to pictures, which are copied, and into the repository."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from website.checkout import DOCS, ROOT, repository

LINK = re.compile(r"\]\(([^)\s#]*)(#[^)\s]*)?\)")  # its words may be code
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
COPIED = ".png", ".svg"
FILES = "files"  # the folder of what is copied
ALSO = {ROOT / "CONTRIBUTING.md": "contributing.md"}  # pages that do not lie in docs


def place_of(path: Path) -> str | None:
    """Return where a file of the checkout stands in the site; None if it is no part of it."""
    if path in ALSO:
        return ALSO[path]
    return path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) else None


def relocate(text: str, page: Path) -> tuple[str, dict[str, Path]]:
    """Return a page's text with its links as the site has them, and the pictures that it needs.

    Args:
        text: Markdown.
        page: where it stands in the checkout.
    """
    copied: dict[str, Path] = {}
    here = posixpath.dirname(place_of(page) or "")

    def changed(match: re.Match[str]) -> str:
        target, anchor = match.group(1), match.group(2) or ""
        if not target or "://" in target:
            return match.group(0)
        path = Path(os.path.normpath(page.parent / target))
        place = place_of(path)
        if place is None and path.suffix in COPIED:
            place = f"{FILES}/{path.relative_to(ROOT).as_posix()}"
            copied[place] = path
        if place is None or path.is_dir():
            kind = "tree" if path.is_dir() else "blob"
            address = f"{repository()}/{kind}/main/{path.relative_to(ROOT).as_posix()}"
            return f"]({address}{anchor})"
        return f"]({posixpath.relpath(place, here or '.')}{anchor})"

    parts = CODE.split(text)  # every other part is code
    parts[::2] = [LINK.sub(changed, part) for part in parts[::2]]
    return "".join(parts), copied
