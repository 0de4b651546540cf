"""The checks of a model before it is attacked."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from robnet_zoo.attacks.model import AttackedModel, preserve_state
from robnet_zoo.attacks.pgd import cross_entropy, margin
from robnet_zoo.attacks.verdicts import validate_classes
from robnet_zoo.eval.checks.climbs import check_climbs
from robnet_zoo.eval.checks.form import check_form
from robnet_zoo.eval.checks.forward import (
    BackwardWatch,
    check_batch_independent,
    check_deterministic,
    check_logits,
    check_modes,
    check_pixels,
    check_plain_forward,
    in_train_mode,
)
from robnet_zoo.eval.checks.gradients import (
    check_beats_noise,
    check_gradient_path,
    check_input_gradients,
    check_true_gradient,
)
from robnet_zoo.eval.record import Check
from robnet_zoo.threat_models import ThreatModel

IMAGES = 64  # that single passes look at
CLIMBED = 32  # of them that the small attacks meet


def check_model(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat_model: ThreatModel,
    *,
    seed: int = 0,
    batch_size: int = IMAGES,
    attack_model: AttackedModel | None = None,
) -> tuple[Check, ...]:
    """Check whether attacks on a model can be trusted, in some 20 passes of at most 64 images.

    The model, its gradients and the global generators are left as they were. A check that cannot
    apply is left out: those behind a failed one that they build on, and those of the small
    attacks where the model gives every image the same class.

    Args:
        model: from images (N, C, H, W) with pixels in [0,1] to logits (N, classes).
        images: (N, C, H, W), on the model's device; the first 64 are used.
        labels: (N,).
        threat_model: sets the size of the small attacks.
        seed: of their noise.
        batch_size: images in a forward pass at most.
        attack_model: what attacks are to see in the model's place, checked where it is given.

    Raises:
        ZooError: the model returns no logits (N, classes), or too few for the labels.
    """
    images, labels = images[:IMAGES], labels[:IMAGES]
    training = [] if model.training else in_train_mode(model)
    with preserve_state(model, seed):
        checks = list(_checks(AttackedModel(model, batch_size), images, labels, threat_model, seed))
        if attack_model is not None:
            checks.append(
                check_form(AttackedModel(model, batch_size), attack_model, images, labels)
            )
        training += in_train_mode(model)
    return (check_modes(training), check_pixels(images), *checks)


def _checks(
    model: AttackedModel, images: Tensor, labels: Tensor, threat_model: ThreatModel, seed: int
) -> Iterator[Check]:
    logits, by_entropy, by_margin, watch = _look(model, images, labels)
    yield check_logits(logits)
    deterministic = check_deterministic(model, images, logits)
    yield deterministic
    if deterministic.passed and len(images) > 1:
        yield check_batch_independent(model, images, logits)
    yield check_plain_forward(watch)
    yield check_gradient_path(by_margin is not None)
    if by_entropy is None or by_margin is None:
        return
    yield check_input_gradients(by_entropy, by_margin)
    if not by_margin.isfinite().all():
        return
    if deterministic.passed:
        true = check_true_gradient(model, images, labels, logits, by_margin)
        if true is not None:
            yield true
    if len(logits.argmax(1).unique()) > 1:
        yield check_beats_noise(model, images, labels, logits, threat_model, seed=seed)
        few = images[:CLIMBED], labels[:CLIMBED]
        yield from check_climbs(model, *few, threat_model, seed=seed)


def _look(
    model: AttackedModel, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor | None, Tensor | None, BackwardWatch]:
    """Return the logits, the gradients of both losses, and what was seen; the graph is let go."""
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        with BackwardWatch() as watch:
            logits = model(leaf)
        validate_classes(labels, logits)
        by_entropy, by_margin = (
            _gradient(loss(logits.to(leaf.dtype), labels), leaf) for loss in (cross_entropy, margin)
        )
    return logits.detach(), by_entropy, by_margin, watch


def _gradient(losses: Tensor, images: Tensor) -> Tensor | None:
    """Return the gradient by the images, None if the losses do not depend on them."""
    if not losses.requires_grad:
        return None
    return torch.autograd.grad(losses.sum(), images, retain_graph=True, allow_unused=True)[0]
