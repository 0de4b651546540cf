"""What counts: the harness measures every perturbation and judges every image itself."""

from __future__ import annotations

import torch
from torch import Tensor

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import Norm, ThreatModel

TOLERANCE = 1e-6  # of float32 arithmetic; what lies further outside is never counted as broken
ORDERS = {"Linf": torch.inf, "L2": 2, "L1": 1}


def classes(logits: Tensor) -> Tensor:
    """Return the predicted class of each image (N,), -1 where a logit is not a finite number."""
    return logits.argmax(1).masked_fill(~logits.isfinite().all(1), -1)


def distances(adversarial: Tensor, images: Tensor, norm: Norm) -> Tensor:
    """Return each image's perturbation size (N,), measured in float32."""
    difference = (adversarial.float() - images.float()).flatten(1)
    return torch.linalg.vector_norm(difference, ord=ORDERS[norm], dim=1)


def limit(epsilon: float, norm: Norm) -> float:
    """Return the largest perturbation that counts as one of size epsilon.

    An L1 norm adds up the rounding of every pixel, hence a tolerance in proportion to its size.
    """
    return epsilon + TOLERANCE * (max(1.0, epsilon) if norm == "L1" else 1.0)


def within(adversarial: Tensor, images: Tensor, threat_model: ThreatModel) -> Tensor:
    """Return for each image (N,) whether it lies in the threat model and holds valid pixels."""
    sizes = distances(adversarial, images, threat_model.norm)
    largest = limit(threat_model.epsilon.value, threat_model.norm)
    return (sizes <= largest) & valid_pixels(adversarial)


def valid_pixels(images: Tensor) -> Tensor:
    """Return for each image (N,) whether all its pixels lie in [0,1]."""
    flat = images.flatten(1)
    return (flat.amin(1) >= -TOLERANCE) & (flat.amax(1) <= 1 + TOLERANCE)


def into_ball(adversarial: Tensor, images: Tensor, threat_model: ThreatModel) -> Tensor:
    """Return each image moved into the threat model's ball, unchanged where it lies inside.

    This is how attacks that look for the smallest perturbation, in a norm of their own, are
    judged at a fixed epsilon: the direction they found counts, at the size that is allowed.
    """
    epsilon, change = threat_model.epsilon.value, adversarial - images
    if threat_model.norm == "Linf":
        change = change.clamp(-epsilon, epsilon)
    else:
        sizes = distances(adversarial, images, threat_model.norm).clamp(min=epsilon)
        change = change * (epsilon / sizes)[:, None, None, None]
    return (images + change).clamp(0, 1)


def validate_classes(labels: Tensor, logits: Tensor) -> None:
    """Raise ZooError if a label (N,) is none of the classes of the logits (N, classes)."""
    wrong = labels[(labels < 0) | (labels >= logits.shape[1])].tolist()
    if wrong:
        raise ZooError(
            f"The data has label {wrong[0]} and the model knows the {logits.shape[1]} classes "
            f"0 to {logits.shape[1] - 1}; use data and a model that belong together."
        )
