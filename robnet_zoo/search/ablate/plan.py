"""What an ablation does, read from TOML."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

from robnet_zoo.genotypes import CellGenotype, Genotype
from robnet_zoo.runtime.decode import PositiveCount, read_toml
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.options import override
from robnet_zoo.search.ablate.controls import is_made_here, make_controls
from robnet_zoo.search.core.recipe import DifferentiableRecipe
from robnet_zoo.search.run.recipe import HEADER, SearchRecipe
from robnet_zoo.search.run.session import BuildSearch
from robnet_zoo.threat_models import Norm
from robnet_zoo.train.recipes import get_recipe
from robnet_zoo.train.recipes import override as override_training
from robnet_zoo.train.settings import Settings
from robnet_zoo.zoo.blueprints import blueprint


@dataclass(frozen=True, kw_only=True)
class Training:
    """How every cell is trained.

    Attributes:
        recipe: name of a training recipe, or FILE.toml.
        settings: of it that are other, such as epochs.
        channels: width of the networks.
        layers: their number of cells.
        seed: of weights, order and noise.
        epsilon: of their training and attacks, such as "0.1"; None for the search's.
    """

    recipe: str = "digits"
    settings: dict[str, Any] = field(default_factory=dict)
    channels: PositiveCount = 8
    layers: PositiveCount = 8
    seed: int = 0
    epsilon: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An ablation.

    Attributes:
        search: "racl", "arnas" or "dsrna".
        recipe: of the search, by name.
        seeds: searches of each variant, with seeds from the recipe's on.
        variants: settings that differ from the recipe's, by the names of the table's rows.
        groups: cells that other searches found, as "cells:FILE.json", by the names of their rows.
        controls: cells that no search of these found: "pc_darts", "cells:FILE.json"; "random:3"
            for three drawn from the search's space; "all:avg_pool_3x3" for one operation on all
            edges.
        training: of all cells.
        attacks: names of attacks.
        n: attack the first so many test images; None for all.
        certify: certify the first so many test images; None for no certificates.
        certified_norms: of the certified radii, beside the threat model's.
    """

    search: str
    recipe: str = "digits"
    seeds: PositiveCount = 3
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    training: Training = field(default_factory=Training)
    attacks: tuple[str, ...] = ("pgd20", "pgd100")
    n: PositiveCount | None = None
    certify: Annotated[int, Meta(ge=2)] | None = None
    certified_norms: tuple[Norm, ...] = ()

    def settings(self, model: str, searched: SearchRecipe) -> Settings:
        """Return how a cell is trained, on the data and for the threat model of a search."""
        changes = {key: str(value) for key, value in self.training.settings.items()}
        return Settings(
            model=model,
            dataset=searched.dataset,
            threat_model=searched.threat_model,
            epsilon=self.training.epsilon or searched.epsilon,
            recipe=override_training(get_recipe(self.training.recipe), changes),
            channels=self.training.channels,
            layers=self.training.layers,
            seed=self.training.seed,
        )


class Run(NamedTuple):
    """One search of a variant; its recipe's name is that of its folder and its genotype."""

    variant: str
    recipe: SearchRecipe


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        ZooError: the file cannot be read, or does not fit.
    """
    return read_toml(path, Plan, "plan")


def runs(plan: Plan) -> Iterator[Run]:
    """Yield every search of a plan, one variant after the other.

    Raises:
        ZooError: an unknown search, recipe or setting, or two variants of one folder's name.
    """
    base, taken = recipe_of(plan), dict[str, str]()
    for variant, changes in plan.variants.items():
        slug = re.sub(r"[^a-z0-9.]+", "-", variant.lower()).strip("-")
        if not slug or taken.setdefault(slug, variant) != variant:
            raise ZooError(
                f"The variant '{variant}' needs a name of its own, of letters and digits."
            )
        changed = override(base, {key: str(value) for key, value in changes.items()}, fixed=HEADER)
        for seed in range(base.seed, base.seed + plan.seeds):
            yield Run(variant, dataclasses.replace(changed, name=f"{slug}-s{seed}", seed=seed))


def controls_of(plan: Plan) -> dict[str, list[CellGenotype]]:
    """Return the cells of every control that is made here, none for those that exist already.

    Raises:
        ZooError: a control is not understood, or the zoo has no such cell.
    """
    recipe = recipe_of(plan)
    controls: dict[str, list[CellGenotype]] = {}
    for control in plan.controls:
        controls[control] = []
        if is_made_here(control):
            controls[control] = make_controls(control, recipe.space(), recipe.seed)
        else:
            blueprint(control)
    return controls


def groups_of(plan: Plan) -> dict[str, list[Genotype | None]]:
    """Return the genotypes of every group, None for a network that has none.

    Raises:
        ZooError: a group without cells, an unknown cell, or no genotype in a file.
    """
    groups = {}
    for group, names in plan.groups.items():
        if not names:
            raise ZooError(f"The group '{group}' is empty; give it cells, such as cells:FILE.json.")
        groups[group] = [blueprint(name).genotype for name in names]
    return groups


def recipe_of(plan: Plan) -> DifferentiableRecipe:
    """Return the recipe that the plan's variants change.

    Raises:
        ZooError: there is no such search or recipe.
    """
    recipes, _ = search_of(plan)
    if plan.recipe not in recipes:
        raise unknown_name("recipe", plan.recipe, recipes)
    recipe: DifferentiableRecipe = recipes[plan.recipe]
    return recipe


def search_of(plan: Plan) -> tuple[dict[str, Any], BuildSearch]:
    """Return recipes and class of the plan's search.

    Raises:
        ZooError: there is no such search.
    """
    if plan.search == "racl":
        from robnet_zoo.search.racl import recipe as racl
        from robnet_zoo.search.racl.search import RaclSearch

        return racl.RECIPES, RaclSearch
    if plan.search == "arnas":
        from robnet_zoo.search.arnas import recipe as arnas
        from robnet_zoo.search.arnas.search import ArnasSearch

        return arnas.RECIPES, ArnasSearch
    if plan.search == "dsrna":
        from robnet_zoo.search.dsrna import recipe as dsrna
        from robnet_zoo.search.dsrna.search import DsrnaSearch

        return dsrna.RECIPES, DsrnaSearch
    raise unknown_name("search", plan.search, ("racl", "arnas", "dsrna"))
