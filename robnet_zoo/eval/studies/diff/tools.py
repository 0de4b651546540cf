"""An attack of ours and that of another library, or of somebody's script, on a model by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import torch

from robnet_zoo.attacks.base import Attack, Suite, validate
from robnet_zoo.attacks.batch import validate_numbers
from robnet_zoo.attacks.methods.gradient import GradientAttack
from robnet_zoo.attacks.model import device_of
from robnet_zoo.attacks.registry import get_attack
from robnet_zoo.eval.inputs import model_info, take_first
from robnet_zoo.eval.record.setup import DataInfo, ModelInfo
from robnet_zoo.eval.studies.diff.case import Case
from robnet_zoo.eval.studies.diff.explanation import Explanation, explain
from robnet_zoo.eval.studies.diff.kernel import PgdRunner
from robnet_zoo.eval.studies.diff.pgd import NAMES, PgdPair
from robnet_zoo.eval.studies.diff.script import Guesses, guess
from robnet_zoo.eval.studies.diff.suites import SuitePair
from robnet_zoo.eval.target import BATCH_SIZE, EvalTarget
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import Epsilon

SIZES = ("epsilon", "step_size")  # settings that may be written as fractions


def explain_tool(
    target: EvalTarget,
    attack: str,
    tool: str,
    *,
    n: int | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    tool_settings: Mapping[str, str] | None = None,
) -> Explanation:
    """Run an attack of ours and a library's, and find which settings make them differ.

    Args:
        target: the model, its images and its threat model.
        attack: name of ours.
        tool: "torchattacks", "foolbox" or "pyautoattack".
        n: judge the first n images; all if None.
        seed: of both.
        batch_size: images in a forward pass, and in a batch of the tool's.
        tool_settings: what the tool is called with in place of its defaults, as text by name.

    Raises:
        ZooError: an attack that the tool has no counterpart of, a tool that is not installed, or
            a setting that it does not have.
    """
    chosen, case, judged = _prepared(target, attack, n, seed, batch_size)
    given = {
        key: str(Epsilon.parse(text, key).value) if key in SIZES else text
        for key, text in (tool_settings or {}).items()
    }
    pair: PgdPair | SuitePair
    if isinstance(chosen, GradientAttack):
        if tool not in NAMES:
            raise ZooError(f"{tool} has no '{attack}'; use --tool {' or '.join(NAMES)}.")
        pair = PgdPair(chosen, tool, case, given)
    else:
        if tool == "foolbox":
            raise ZooError(f"foolbox has no '{attack}'; use --tool torchattacks or pyautoattack.")
        pair = SuitePair(chosen, tool, case, given)
    return explain(pair, **judged)


def explain_accuracy(
    target: EvalTarget,
    attack: str,
    accuracy: float,
    *,
    n: int | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> Guesses:
    """Find which setting of ours comes nearest to an accuracy that somebody's script gave.

    Args:
        target: the model, its images and its threat model.
        attack: name of ours.
        accuracy: theirs, as a fraction, on the same images.
        n: judge the first n images; all if None.
        seed: of all randomness.
        batch_size: images in a forward pass.

    Raises:
        ZooError: an attack that is not of the gradient family, or an accuracy that is none.
    """
    chosen, case, judged = _prepared(target, attack, n, seed, batch_size)
    if not isinstance(chosen, GradientAttack):
        raise ZooError(f"diff cannot vary '{attack}'; give fgsm, bimN, pgdN or mifgsmN.")
    return guess(PgdRunner(chosen, case), accuracy, **judged)


class _Judged(TypedDict):
    """What results say was judged."""

    model: ModelInfo
    data: DataInfo


def _prepared(
    target: EvalTarget, attack: str, n: int | None, seed: int, batch_size: int
) -> tuple[Attack | Suite, Case, _Judged]:
    """Return the attack, what it is run on, and what results say about that."""
    validate_numbers(seed, batch_size)
    chosen = get_attack(attack)
    validate(chosen, target.threat_model)
    images = take_first(target.split, n, device_of(target.model))
    case = Case(
        model=target.model,
        images=images.take(torch.arange(len(images))),
        labels=images.labels,
        threat_model=target.threat_model,
        seed=seed,
        batch_size=batch_size,
    )
    metadata = target.metadata
    return (
        chosen,
        case,
        _Judged(model=model_info(target.model, metadata), data=images.info(metadata)),
    )
