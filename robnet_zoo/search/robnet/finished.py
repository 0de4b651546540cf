"""A finished study: what it was asked, what it drew, and what it chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robnet_zoo.runtime.decode import read_json
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.robnet.recipe import STUDY_SETTINGS, RobNetRecipe
from robnet_zoo.search.robnet.stages import ALGORITHM, supernet_recipe
from robnet_zoo.search.robnet.table import Studied, read_study, read_tuned
from robnet_zoo.search.run.artifacts import RECORD
from robnet_zoo.search.run.recipe import HEADER, recipe_of

FEWEST = 3  # candidates that have a rank correlation


@dataclass(frozen=True)
class Study:
    """A finished study: its settings, its candidates as they were drawn, and its choice."""

    recipe: RobNetRecipe
    drawn: Sequence[Studied]  # the numbers of a cell-free study are ranks by distance
    chosen: int

    def has_extra(self, count: int) -> bool:
        """Return whether the chosen candidate is none of the first `count` that were drawn."""
        return self.chosen not in [each.number for each in self.drawn[:count]]

    def some(self, count: int) -> list[Studied]:
        """Return the chosen candidate and the first others, as they were drawn.

        Raises:
            ZooError: too few for a rank correlation, or more than there are.
        """
        if not FEWEST <= count <= len(self.drawn):
            raise ZooError(
                f"--architectures {count} cannot be; a rank correlation takes {FEWEST} or more, "
                f"and the study has {len(self.drawn)}."
            )
        chosen = [each for each in self.drawn if each.number == self.chosen]
        others = [each for each in self.drawn if each.number != self.chosen]
        kept = {each.number for each in chosen + others[: count - 1]}
        return [each for each in self.drawn if each.number in kept]


def read_finished(folder: Path) -> Study:
    """Read a finished study.

    Raises:
        ZooError: there is none in the folder, or its tables are wrong.
    """
    path = folder / RECORD
    record = read_json(path, dict[str, Any], "record of a study")
    try:
        if record["algorithm"] != ALGORITHM:
            raise ZooError(f"'{path}' is not the record of a RobNet study; name the folder of one.")
        chosen, settings = record["found"]["best"]["number"], record["recipe"]
    except (KeyError, TypeError) as error:
        raise ZooError(f"'{path}' lacks {error}; end the study by robnet study.") from error
    recipe = recipe_of(settings, RobNetRecipe, f"record '{path}'")
    if recipe.space == "cell":
        drawn = read_study(folder)
    else:
        drawn = [each.after for each in read_tuned(folder)]
    if chosen not in [each.number for each in drawn]:
        raise ZooError(f"'{folder}' has no complete candidate {chosen}, which '{path}' names.")
    return Study(recipe, drawn, chosen)


def check_supernet(folder: Path, recipe: RobNetRecipe) -> None:
    """Raise ZooError where the supernet in a folder cannot be that of a study."""
    trained = supernet_recipe(folder)
    for name in vars(recipe).keys() - {*STUDY_SETTINGS, *HEADER}:
        theirs, ours = getattr(trained, name), getattr(recipe, name)
        if theirs != ours:
            raise ZooError(
                f"The supernet in '{folder}' has {name}={theirs}, the study {name}={ours}; name "
                "the study's own by --supernet."
            )
