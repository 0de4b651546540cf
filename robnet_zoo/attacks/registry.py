"""Attacks by name, and what a record's attack is, from the rows of `attacks/table.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from robnet_zoo.attacks.naming import TARGETED
from robnet_zoo.attacks.table import ATTACKS, TORCHATTACKS, TRANSFER, Row
from robnet_zoo.runtime.errors import ZooError, unknown_name

if TYPE_CHECKING:
    from robnet_zoo.attacks.base import Attack, Suite, Traits

MOST_STEPS = 100_000
BUILT_IN = frozenset(ATTACKS)
RESERVED = ("certify", TRANSFER, TORCHATTACKS)
MARGINS = ("margin", "dlr", "dlr-targeted")  # settings whose loss is a margin between logits


def find(name: str) -> tuple[Row, int | None] | None:
    """Return the row that an attack's name belongs to and its number of steps, None if none."""
    head, colon, _ = name.partition(":")
    if colon:
        row = ATTACKS.get(head)
        return (row, None) if row is not None and row.behind else None
    if aims(name):
        name = name.removesuffix(TARGETED)
    row = ATTACKS.get(name)
    if row is not None and not row.behind and row.steps != 0:
        return row, row.steps
    numbered = re.fullmatch(r"([a-z]+)(\d+)", name)
    row = ATTACKS.get(numbered[1]) if numbered else None
    return (
        (row, int(numbered[2])) if row is not None and numbered and row.steps is not None else None
    )


def aims(name: str) -> bool:
    """Whether a name such as "pgd20-targeted" is that of an attack aimed at another class."""
    return name.endswith(TARGETED) and name not in ATTACKS


def get_attack(name: str, **settings: Any) -> Attack | Suite:
    """Return an attack by name: one of the table, or `pgdN`, `bimN`, `mifgsmN` with N steps.

    With "-targeted" behind it, an attack of the gradient family aims at a random other class.
    `torchattacks:NAME` is an attack of that library, with what its class takes as settings.
    `transfer:SOURCE:ATTACK` names what ATTACK (pgd20 if left out) makes on the model SOURCE.

    Args:
        name: as on the command line.
        settings: fields of the attack to change, such as restarts=5 or targeted=True. For a
            transfer attack also source=, a model in the place of one of the zoo, which the record
            then calls SOURCE.

    Raises:
        ZooError: unknown name, no or too many steps, or a setting the attack does not have.
    """
    from robnet_zoo.attacks.base import changed

    entry = find(name)
    if entry is None:
        usual = [key for key, row in ATTACKS.items() if row.steps != 0 and not row.behind]
        more = ["pgd10", "pgd20", "pgd100", "transfer:SOURCE:pgd10", "torchattacks:VMIFGSM"]
        raise unknown_name("attack", name, [*usual, *more])
    row, steps = entry
    if row.name == TRANSFER:
        model = settings.pop("source", None)
        return row.build(
            name=name, make_base=lambda base: get_attack(base, **settings), model=model
        )
    if aims(name):
        settings = {"targeted": True, **settings}
    if steps is None:
        return changed(row.build(name=name), settings)
    if not 1 <= steps <= MOST_STEPS:
        raise ZooError(
            f"Attack '{name}' has {steps} steps; between 1 and {MOST_STEPS:,} are possible."
        )
    return changed(row.build(name=name, steps=steps), settings)


AttackClass = TypeVar("AttackClass", bound="type[Attack]")


def register_attack(attack: AttackClass) -> AttackClass:
    """Make an attack of your own known by its name; a decorator.

    Afterwards `get_attack`, `evaluate` and the command line (in the same process) know it.

    Args:
        attack: a frozen dataclass, derived from `Attack`, with a default for every field.

    Raises:
        ZooError: it is no such class, or its name is taken or cannot be written on a command line.
    """
    from robnet_zoo.attacks.base import Attack

    if not (isinstance(attack, type) and issubclass(attack, Attack)) or attack.run is Attack.run:
        raise ZooError(
            f"'{getattr(attack, '__name__', attack)}' is no attack; derive a frozen dataclass from "
            "robnet_zoo.attacks.Attack and give it a run."
        )
    try:
        name = attack().name  # type: ignore[call-arg]
    except TypeError as error:
        raise ZooError(
            f"Attack class '{attack.__name__}' needs a default for every field, its name too "
            f"({error})."
        ) from error
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or name in RESERVED:
        raise ZooError(
            f"An attack cannot be named '{name}'; use small letters, digits and hyphens."
        )
    if name in BUILT_IN or (find(name) is not None and name not in ATTACKS):
        raise ZooError(f"There is an attack '{name}' already; choose another name.")
    about = (attack.__doc__ or "").partition("\n")[0]
    ATTACKS[name] = Row(name, name, about, attack)
    return attack


def declared(name: str, settings: Mapping[str, Any]) -> Traits:
    """Return what the attack of a record needs and is.

    Args:
        name: of the attack or of a suite's part, as in the record.
        settings: from the record; where the name is not known, they alone tell.
    """
    from robnet_zoo.attacks.base import Suite, Traits

    entry = find(name)
    if entry is not None and entry[0].name == TORCHATTACKS:
        from robnet_zoo.attacks.methods.torchattack import method_of, traits_of

        return traits_of(method_of(name), settings)
    if entry is not None and not entry[0].behind:
        attack = entry[0].build(name=name)
        if isinstance(attack, Suite):
            return Traits()
        own = {field.name for field in fields(attack)}
        return replace(attack, **{key: settings[key] for key in settings.keys() & own}).traits
    loss = settings.get("loss")
    return Traits(
        gradients=entry is None and "queries" not in settings and "source" not in settings,
        loss="margin" if loss in MARGINS else "ce" if loss == "ce" else None,
    )


def heading(name: str) -> str:
    """Return an attack's name for tables, such as "PGD-20"; an unknown one as it is."""
    entry = find(name)
    if entry is None or entry[0].behind:
        return name
    row, steps = entry
    plain = name.removesuffix(TARGETED) if aims(name) else name
    shown = row.heading if steps is None or plain == row.name else f"{row.heading}-{steps}"
    return f"{shown} targeted" if aims(name) else shown


def table_order(name: str) -> tuple[int, int, bool]:
    """Return a key that sorts attacks as tables have them; unknown ones come last."""
    entry = find(name)
    if entry is None:
        return len(ATTACKS), 0, False
    return list(ATTACKS).index(entry[0].name), entry[1] or 0, aims(name)
