"""AutoAttack and Auto-PGD, ours against those of torchattacks and pyautoattack.

torchattacks' AutoAttack takes 10 steps where the authors' takes 100, and rescales Square's
schedule; Auto-PGD that is called by itself has 5 restarts in pyautoattack, and one elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from robnet_zoo.attacks.base import Attack, Suite
from robnet_zoo.attacks.methods.apgd import Apgd
from robnet_zoo.attacks.methods.fab import Fab
from robnet_zoo.attacks.methods.square import Square
from robnet_zoo.attacks.model import AttackedModel, preserve_state
from robnet_zoo.eval.studies.diff.case import Case
from robnet_zoo.eval.studies.diff.explanation import import_tool
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.options import override

KNOWN = ("autoattack", "apgd-ce")


@dataclass(frozen=True, kw_only=True)
class SuiteSettings:
    """What tools choose differently.

    Attributes:
        apgd_steps: of Auto-PGD.
        apgd_restarts: of Auto-PGD.
        fab_steps: of FAB.
        queries: of Square.
        batches: survivors of all images packed into full batches, or each batch by itself.
    """

    apgd_steps: int = 100
    apgd_restarts: int = 1
    fab_steps: int = 100
    queries: int = 5000
    batches: Literal["packed", "apart"] = "packed"


class SuitePair:
    """Our AutoAttack or Auto-PGD and a tool's, on the same model and images.

    Args:
        attack: ours, "autoattack" or "apgd-ce".
        tool: "torchattacks" or "pyautoattack".
        case: the model, images and ball.
        tool_settings: what the tool is called with in place of its defaults, as text by name.

    Raises:
        ZooError: an attack that the tool has no counterpart of, or a tool that is not installed.
    """

    def __init__(
        self,
        attack: Attack | Suite,
        tool: str,
        case: Case,
        tool_settings: Mapping[str, str] | None = None,
    ) -> None:
        if attack.name not in KNOWN:
            raise ZooError(
                f"{tool} has no counterpart of '{attack.name}' that diff knows; compare "
                f"{' or '.join(KNOWN)}."
            )
        if tool == "torchattacks" and case.threat_model.norm == "L1":
            raise ZooError("torchattacks has no AutoAttack under L1; use --tool pyautoattack.")
        import_tool(tool)
        self.attack, self.tool, self.case = attack, tool, case
        self.whole = attack.name == "autoattack"
        self.ours = _settings_of(attack)
        theirs = replace(self.ours, apgd_restarts=1 if self.whole or tool != "pyautoattack" else 5)
        if tool == "torchattacks":
            fab = 10 if self.whole else self.ours.fab_steps
            apart: Literal["packed", "apart"] = (
                "packed" if len(case.labels) <= case.batch_size else "apart"
            )
            theirs = replace(theirs, apgd_steps=10, fab_steps=fab, batches=apart)
        free = ("apgd_steps", "apgd_restarts") if tool == "torchattacks" and not self.whole else ()
        fixed = {"apgd_steps", "apgd_restarts", "fab_steps", "queries", "batches"} - set(free)
        self.theirs = override(theirs, tool_settings or {}, fixed=fixed, what="setting of the tool")

    @property
    def call(self) -> str:
        """How the tool is called, in Python."""
        threat_model = self.case.threat_model
        ball = f"norm='{threat_model.norm}', eps={threat_model.epsilon.value:.6g}"
        if self.tool == "pyautoattack":
            version = "" if self.whole else ", version='custom', attacks=['apgd-ce']"
            return f"pyautoattack.AutoAttack(model, {ball}{version}).run_standard_evaluation(...)"
        if self.whole:
            return f"torchattacks.AutoAttack(model, {ball})"
        own = f"steps={self.theirs.apgd_steps}, n_restarts={self.theirs.apgd_restarts}"
        return f"torchattacks.APGD(model, {ball}, {own})"

    def run(self, settings: SuiteSettings) -> list[bool]:
        """Return whether each image survives our attack with these settings."""
        attack, case = _with_settings(self.attack, settings), self.case
        made = [
            attack(
                case.model,
                case.images[part],
                case.labels[part],
                case.threat_model,
                seed=case.seed,
                batch_size=case.batch_size,
            )
            for part in case.batches(
                case.batch_size if settings.batches == "apart" else len(case.labels)
            )
        ]
        return case.survivors(torch.cat(made))

    def run_tool(self, *, seed: int, batch_size: int) -> list[bool]:
        """Return whether the model is right on what the tool returns for each image."""
        case = self.case
        with preserve_state(case.model, seed):
            attacked = AttackedModel(case.model, case.batch_size)
            if self.tool == "pyautoattack":
                made = self._pyautoattack(attacked, seed, batch_size)
            else:
                attack = self._torchattacks(attacked, seed)
                attack.set_device(case.images.device)
                made = torch.cat(
                    [
                        attack(case.images[part].clone(), case.labels[part])
                        for part in case.batches(batch_size)
                    ]
                )
        return case.survivors(made)

    def _torchattacks(self, attacked: AttackedModel, seed: int) -> Any:
        library = import_tool("torchattacks")
        threat_model = self.case.threat_model
        ball = {"norm": threat_model.norm, "eps": threat_model.epsilon.value}
        if not self.whole:
            return library.APGD(
                attacked,
                steps=self.theirs.apgd_steps,
                n_restarts=self.theirs.apgd_restarts,
                seed=seed,
                **ball,
            )
        with torch.no_grad():
            classes = attacked(self.case.images[:1]).shape[1]
        return library.AutoAttack(attacked, n_classes=min(classes, 10), seed=seed, **ball)

    def _pyautoattack(self, attacked: AttackedModel, seed: int, batch_size: int) -> Tensor:
        case = self.case
        own = {} if self.whole else {"version": "custom", "attacks": ["apgd-ce"]}
        suite = import_tool("pyautoattack").AutoAttack(
            attacked,
            norm=case.threat_model.norm,
            eps=case.threat_model.epsilon.value,
            seed=seed,
            device=case.images.device,
            **own,
        )
        made: Tensor = suite.run_standard_evaluation(
            case.images.clone(), case.labels, batch_size=batch_size
        )[0]
        return made


def _settings_of(attack: Attack | Suite) -> SuiteSettings:
    values: dict[str, int] = {}
    for part in attack.parts:
        if isinstance(part, Apgd):
            values |= {"apgd_steps": part.steps, "apgd_restarts": part.restarts}
        elif isinstance(part, Fab):
            values["fab_steps"] = part.steps
        elif isinstance(part, Square):
            values["queries"] = part.queries
    return SuiteSettings(**values)  # type: ignore[arg-type]


def _with_settings(attack: Attack | Suite, settings: SuiteSettings) -> Attack | Suite:
    def changed(part: Attack) -> Attack:
        if isinstance(part, Apgd):
            return replace(part, steps=settings.apgd_steps, restarts=settings.apgd_restarts)
        if isinstance(part, Fab):
            return replace(part, steps=settings.fab_steps)
        return replace(part, queries=settings.queries) if isinstance(part, Square) else part

    if isinstance(attack, Suite):
        return replace(attack, parts=tuple(map(changed, attack.parts)))
    return changed(attack)
