"""AutoAttack (Croce and Hein 2020): four attacks in turn."""

from __future__ import annotations

from robnet_zoo.attacks.base import Suite
from robnet_zoo.attacks.methods.apgd import Apgd
from robnet_zoo.attacks.methods.fab import Fab
from robnet_zoo.attacks.methods.square import Square


def standard(name: str) -> Suite:
    """Return the standard version."""
    return Suite(
        name=name,
        parts=(
            Apgd(name="apgd-ce"),
            Apgd(name="apgd-t", loss="dlr-targeted"),
            Fab(name="fab-t"),
            Square(name="square"),
        ),
    )


def rand(name: str) -> Suite:
    """Return the version for randomised models: 20 gradients averaged a step."""
    return Suite(
        name=name,
        parts=(
            Apgd(name="apgd-ce", eot=20),
            Apgd(name="apgd-dlr", loss="dlr", eot=20),
        ),
    )
