"""PGD and its relatives, ours against those of torchattacks and foolbox.

What the tools do by default is read from the installed library where its signature says it, and
else from its code: both leave clean mistakes in, and judge the last iterate alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from robnet_zoo.attacks.methods.gradient import GradientAttack
from robnet_zoo.attacks.model import AttackedModel, preserve_state
from robnet_zoo.eval.studies.diff.case import Case
from robnet_zoo.eval.studies.diff.explanation import import_tool
from robnet_zoo.eval.studies.diff.kernel import PgdRunner, PgdSettings
from robnet_zoo.eval.studies.differences import shown
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.options import override
from robnet_zoo.threat_models import Norm

Kind = Literal["fgsm", "bim", "pgd", "mifgsm"]
NAMES: dict[str, dict[tuple[Kind, Norm], str]] = {
    "torchattacks": {
        ("fgsm", "Linf"): "FGSM",
        ("bim", "Linf"): "BIM",
        ("mifgsm", "Linf"): "MIFGSM",
        ("pgd", "Linf"): "PGD",
        ("pgd", "L2"): "PGDL2",
    },
    "foolbox": {
        ("fgsm", "Linf"): "LinfFastGradientAttack",
        ("fgsm", "L2"): "L2FastGradientAttack",
        ("bim", "Linf"): "LinfBasicIterativeAttack",
        ("bim", "L2"): "L2BasicIterativeAttack",
        ("pgd", "Linf"): "LinfPGD",
        ("pgd", "L2"): "L2PGD",
    },
}


OURS_ALONE = ("restarts", "random_numbers", "judged", "clean_mistakes", "gradients")


class PgdPair(PgdRunner):
    """Our gradient attack and a tool's, on the same model and images.

    Args:
        attack: ours.
        tool: "torchattacks" or "foolbox".
        case: the model, images and ball.
        tool_settings: what the tool is called with in place of its defaults, as text by name.

    Raises:
        ZooError: an attack that the tool has no counterpart of, or a tool that is not installed.
    """

    def __init__(
        self,
        attack: GradientAttack,
        tool: str,
        case: Case,
        tool_settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(attack, case)
        self.tool, kind, norm = tool, _kind(attack), case.threat_model.norm
        name = NAMES[tool].get((kind, norm))
        if name is None:
            raise ZooError(
                f"{tool} has no counterpart of '{attack.name}' under {norm}; compare "
                f"{_counterparts(tool)}."
            )
        library = import_tool(tool)
        self.name = name
        self.method = getattr(library.attacks if tool == "foolbox" else library, name)
        theirs = override(
            _defaults(tool, kind, self.method, self.ours.epsilon),
            tool_settings or {},
            fixed=OURS_ALONE,
            what="setting of the tool",
        )
        if theirs.start == "clean":  # where no number is drawn
            theirs = replace(theirs, random_numbers=self.ours.random_numbers)
        self.theirs = theirs

    @property
    def call(self) -> str:
        """How the tool is called, in Python."""
        arguments = ", ".join(f"{key}={shown(value)}" for key, value in self._arguments().items())
        if self.tool == "foolbox":
            epsilon = shown(self.theirs.epsilon)
            return f"foolbox.attacks.{self.name}({arguments})(..., epsilons={epsilon})"
        return f"torchattacks.{self.name}(model, {arguments})"

    @torch.no_grad()
    def run_tool(self, *, seed: int, batch_size: int) -> list[bool]:
        """Return whether the model is right on what the tool returns for each image."""
        case = self.case
        with preserve_state(case.model, seed):
            attack = self._built(AttackedModel(case.model, case.batch_size))
            with torch.enable_grad():
                made = [
                    attack(case.images[part].clone(), case.labels[part]).detach()
                    for part in case.batches(batch_size)
                ]
        return case.survivors(torch.cat(made))

    def _drawn(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return _drawn(self.tool, self.case.threat_model.norm, images, generator)

    def _arguments(self) -> dict[str, Any]:
        """Return the tool's arguments for its settings."""
        known = inspect.signature(self.method.__init__).parameters
        settings = self.theirs
        values = {
            "eps": settings.epsilon,
            "alpha": settings.step_size,
            "abs_stepsize": settings.step_size,
            "steps": settings.steps,
            "random_start": settings.start == "uniform",
        }
        return {key: value for key, value in values.items() if key in known}

    def _built(self, model: AttackedModel) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the tool's attack on a model, from images and labels to adversarial images."""
        if self.tool == "torchattacks":
            attack = self.method(model, **self._arguments())
            attack.set_device(self.case.images.device)
            made: Callable[[Tensor, Tensor], Tensor] = attack
            return made
        foolbox = import_tool("foolbox")
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=self.case.images.device)
        method = self.method(**self._arguments())

        def run(images: Tensor, labels: Tensor) -> Tensor:
            _, clipped, _ = method(wrapped, images, labels, epsilons=self.theirs.epsilon)
            made: Tensor = clipped
            return made

        return run


def _kind(attack: GradientAttack) -> Kind:
    if attack.momentum is not None:
        return "mifgsm"
    if attack.start == "uniform":
        return "pgd"
    return "fgsm" if attack.step == "epsilon" and attack.steps == 1 else "bim"


def _counterparts(tool: str) -> str:
    names = {"fgsm": "fgsm", "bim": "bimN", "pgd": "pgdN", "mifgsm": "mifgsmN"}
    return ", ".join(dict.fromkeys(f"{names[kind]} ({norm})" for kind, norm in NAMES[tool]))


def _defaults(tool: str, kind: Kind, method: Any, epsilon: float) -> PgdSettings:
    """Return what a tool's attack does if it is given nothing but epsilon."""
    default = {
        key: parameter.default
        for key, parameter in inspect.signature(method.__init__).parameters.items()
    }
    if kind == "fgsm":
        return PgdSettings(epsilon=epsilon, step_size=epsilon, steps=1, start="clean")
    step = default["alpha"] if tool == "torchattacks" else default["rel_stepsize"] * epsilon
    start: Literal["clean", "uniform"] = "uniform" if default.get("random_start") else "clean"
    return PgdSettings(epsilon=epsilon, step_size=step, steps=default["steps"], start=start)


def _drawn(tool: str, norm: Norm, images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the unit noise that a tool draws for a batch (B, C, H, W)."""
    shape = images.shape
    if norm == "Linf" and tool == "torchattacks":
        return torch.empty_like(images).uniform_(-1, 1, generator=generator)
    if norm == "Linf":
        return 2 * torch.rand(shape, device=images.device, generator=generator) - 1
    if tool == "torchattacks":  # the radius is uniform, the points are not: most lie far inside
        normal = torch.empty_like(images).normal_(generator=generator)
        radius = torch.rand((len(images), 1, 1, 1), device=images.device, generator=generator)
        return normal * radius / normal.flatten(1).norm(dim=1)[:, None, None, None]
    pixels = shape[1:].numel()
    sphere = torch.randn((len(images), pixels + 2), device=images.device, generator=generator)
    return (sphere / sphere.norm(dim=1, keepdim=True))[:, :pixels].reshape(shape)
