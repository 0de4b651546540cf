"""`python -m robnet_zoo.search racl`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robnet_zoo.search.racl.recipe import RECIPES
from robnet_zoo.search.run.command import SearchCommand

if TYPE_CHECKING:
    from robnet_zoo.search.racl.search import RaclSearch


def _load() -> type[RaclSearch]:
    from robnet_zoo.search.racl.search import RaclSearch

    return RaclSearch


COMMAND = SearchCommand(RECIPES, _load)
configure, run = COMMAND.configure, COMMAND.run
