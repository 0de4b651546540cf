"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str], fallback: Callable[[str], Any] = lambda name: None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's `__getattr__` and `__dir__`.

    Args:
        package: its `__name__`.
        homes: the module below "robnet_zoo" in which each name is defined.
        fallback: what other names stand for; None for nothing.
    """

    def find(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(f"robnet_zoo.{homes[name]}"), name)
        value = None if name.startswith("_") else fallback(name)
        if value is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return value

    return find, lambda: sorted({*vars(importlib.import_module(package)), *homes})
