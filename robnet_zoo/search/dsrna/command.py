"""`python -m robnet_zoo.search dsrna`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robnet_zoo.search.dsrna.recipe import RECIPES
from robnet_zoo.search.run.command import SearchCommand

if TYPE_CHECKING:
    from robnet_zoo.search.dsrna.search import DsrnaSearch

SETTINGS = {
    "metric": "what to maximise: certified lower bound, Jacobian norm bound, or both (the default)"
}


def _load() -> type[DsrnaSearch]:
    from robnet_zoo.search.dsrna.search import DsrnaSearch

    return DsrnaSearch


COMMAND = SearchCommand(RECIPES, _load, SETTINGS)
configure, run = COMMAND.configure, COMMAND.run
