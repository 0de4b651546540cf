"""The held-out scores of a run's weights and of their average."""

from __future__ import annotations

from torch import nn

from robnet_zoo.models.fast.refresh import refresh
from robnet_zoo.train.body import autocast
from robnet_zoo.train.build import folded_form
from robnet_zoo.train.schedule import validation_adversary
from robnet_zoo.train.state import Run
from robnet_zoo.train.validate import Score, validate

VALIDATION_BATCH = {"cpu": 256, "cuda": 512}


def score_weights(run: Run) -> dict[str, Score]:
    """Return the validation scores of the weights, "raw", and of their average, "ema".

    Where there is an average, it is the one that is chosen; for the guard, which watches the
    weights themselves, some of the images do.
    """
    adversary = validation_adversary(run.threat) if run.settings.recipe.adversarial else None
    models = {"raw": (run.model, run.guard_stride)}
    if run.average is not None:
        models["ema"] = (run.average, 1)
    run.model.eval()
    with autocast(run):
        scores = {
            name: validate(
                _folded(run, name, model),
                run.validation,
                adversary,
                stride=stride,
                batch_size=VALIDATION_BATCH[run.processes.device.partition(":")[0]],
                seed=run.settings.seed,
                processes=run.processes,
            )
            for name, (model, stride) in models.items()
        }
    run.model.train()
    return scores


def describe_validation(run: Run) -> str:
    """Return on how many images, and under which attack, the scores are; a figure's title."""
    n = len(run.validation)
    few = len(range(0, n, run.guard_stride))
    dotted = f" (dotted: {few:,})" if few < n else ""
    if not run.settings.recipe.adversarial:
        return f"n = {n:,} held-out images{dotted}"
    threat, steps = run.threat, validation_adversary(run.threat).steps
    return (
        f"n = {n:,} held-out images{dotted}\nPGD-{steps}'s last iterate, "
        f"{threat.norm} {threat.epsilon.text}"
    )


def _folded(run: Run, name: str, model: nn.Module) -> nn.Module:
    """Return the folded form of a model, up to date."""
    if name not in run.validated_forms:
        run.validated_forms[name] = folded_form(model, run.settings, run.dataset.image_size)
    refresh(run.validated_forms[name])
    return run.validated_forms[name]
