"""The table of attacks: one row each. Attack files are imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robnet_zoo.attacks.base import Attack, Suite

TRANSFER, TORCHATTACKS = "transfer", "torchattacks"


@dataclass(frozen=True)
class Row:
    """An attack's row.

    Attributes:
        name: as on the command line and in the record; numbered attacks have N steps behind it.
        heading: for tables.
        about: one line for the command line's help.
        build: from `name` and changes of settings to the attack.
        steps: of a numbered attack without its number, 0 if it needs one; None for all others.
        behind: what its name needs behind a colon, such as "SOURCE:ATTACK".
    """

    name: str
    heading: str
    about: str
    build: Callable[..., Attack | Suite]
    steps: int | None = None
    behind: str = ""

    @property
    def usage(self) -> str:
        """How the attack is named, such as "bim, bimN"."""
        if self.behind:
            return f"{self.name}:{self.behind}"
        return ", ".join(
            [self.name] * (self.steps != 0) + [f"{self.name}N"] * (self.steps is not None)
        )


def _method(home: str, **settings: Any) -> Callable[..., Attack | Suite]:
    """Return a builder that imports "file:what" of `attacks/methods` when it is called."""
    module, _, what = home.partition(":")

    def build(**changes: Any) -> Attack | Suite:
        method = getattr(import_module(f"robnet_zoo.attacks.methods.{module}"), what)
        built: Attack | Suite = method(**settings, **changes)
        return built

    return build


_GRADIENT = "gradient:GradientAttack"
ATTACKS: dict[str, Row] = {  # in the order of tables
    row.name: row
    for row in (
        Row("fgsm", "FGSM", "one step (Goodfellow 2015)", _method(_GRADIENT, step="epsilon")),
        Row("bim", "BIM", "N steps from the image (Kurakin 2017)", _method(_GRADIENT), 10),
        Row(
            "mifgsm",
            "MI-FGSM",
            "BIM with momentum (Dong 2018)",
            _method(_GRADIENT, momentum=1.0),
            10,
        ),
        Row(
            "pgd",
            "PGD",
            "N steps from noise, such as pgd100 (Madry 2018)",
            _method(_GRADIENT, start="uniform"),
            0,
        ),
        Row(
            "deepfool",
            "DeepFool",
            "to the nearest boundary (Moosavi-Dezfooli 2016)",
            _method("deepfool:DeepFool"),
        ),
        Row(
            "cw",
            "C&W",
            "the smallest L2 change (Carlini and Wagner 2017)",
            _method("cw:CarliniWagner"),
        ),
        Row(
            "fmn",
            "FMN",
            "the smallest change, in the threat model's norm (Pintor 2021)",
            _method("minimal:Fmn"),
        ),
        Row("ddn", "DDN", "the smallest L2 change (Rony 2019)", _method("minimal:Ddn")),
        Row(
            "apgd-ce",
            "APGD-CE",
            "Auto-PGD on the cross-entropy (Croce and Hein 2020)",
            _method("apgd:Apgd"),
        ),
        Row(
            "apgd-t",
            "APGD-T",
            "Auto-PGD towards each other class",
            _method("apgd:Apgd", loss="dlr-targeted"),
        ),
        Row(
            "pgd-margin",
            "PGD on the margin",
            "20 steps from noise, 5 restarts, broken images left alone",
            _method(
                _GRADIENT, steps=20, restarts=5, start="uniform", loss="margin", early_exit=True
            ),
        ),
        Row("fab-t", "FAB-T", "Fast Adaptive Boundary (Croce and Hein 2020)", _method("fab:Fab")),
        Row(
            "square",
            "Square",
            "random search without gradients (Andriushchenko 2020)",
            _method("square:Square"),
        ),
        Row(
            "cr",
            "Constraint relaxation",
            "a first look, far cheaper than AutoAttack (AAAI 2025)",
            _method("relaxation:ConstraintRelaxation"),
        ),
        Row(
            "autoattack",
            "AutoAttack",
            "apgd-ce, apgd-t, fab-t and square in turn",
            _method("autoattack:standard"),
        ),
        Row(
            "autoattack-rand",
            "AutoAttack (rand)",
            "AutoAttack for randomised models",
            _method("autoattack:rand"),
        ),
        Row(
            TORCHATTACKS,
            "torchattacks",
            "any attack of torchattacks by its class, such as VMIFGSM",
            _method("torchattack:torchattack"),
            behind="NAME",
        ),
        Row(
            TRANSFER,
            "Transfer",
            "what ATTACK makes on the model SOURCE",
            _method("transfer:transfer"),
            behind="SOURCE:ATTACK",
        ),
    )
}
