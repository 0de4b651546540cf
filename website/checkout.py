"""What the site is made from: this checkout."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS, RESULTS, FIGURES = ROOT / "docs", ROOT / "eval" / "results", ROOT / "eval" / "figures"


@cache
def repository() -> str:
    """Return the address of the project's repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Homepage"])
