"""What DSRNA maximises: differentiable measures of how robust an architecture is.

Larger is more robust. Margins are bounded from below; a Jacobian's norm bounds the change of the
logits to first order if all rows are taken, and is an estimate of that bound otherwise. Both see
the supernet in eval mode, where images do not influence one another.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robnet_zoo.certify import certified_margin
from robnet_zoo.certify.graph import Model
from robnet_zoo.certify.jacobian import projected_norms, row_norms, top_norms
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.dsrna.recipe import Bound, Estimator
from robnet_zoo.search.run.data import SearchBatch
from robnet_zoo.threat_models import Norm

FIRST = 1e-3  # radius that is tried first, as a fraction of the threat model's
TRIALS = 3  # radii tried in all
LEAST = 1e-7  # below it, pixels in float32 round the radius away


def certified_lower_bound(
    model: Model, batch: SearchBatch, size: float, *, norm: Norm, bound: Bound
) -> Tensor:
    """Return the mean lower bound of the label's logit minus the best other one, over balls.

    Args:
        model: in eval mode, from images to logits.
        batch: images and classes.
        size: radius of the balls, for pixels in [0,1].
        norm: of the balls.
        bound: how logits are bounded.

    Raises:
        ZooError: the bound is not finite.
    """
    mean = certified_margin(model, *batch, size, norm=norm, method=bound).mean()
    if not mean.isfinite():
        raise ZooError(
            f"The certified bound at radius {size:.3g} is not finite; lower lr if the loss is not "
            "either, else set a smaller bound_size."
        )
    return mean


@torch.no_grad()
def size_of_slack(
    model: Model, batch: SearchBatch, slack: float, largest: float, *, norm: Norm, bound: Bound
) -> float:
    """Return a radius at which the bound lies about `slack` logits below the margin, on average.

    Bounds widen with the radius by a factor that depends on the network, and over many orders of
    magnitude while it learns; this is where they say something. Found by the secant method on
    logarithms, since the slack grows like a power of the radius.

    Args:
        model: in eval mode, from images to logits.
        batch: images and classes.
        slack: in logits.
        largest: the radius at most; it is `LEAST` at least.
        norm: of the balls.
        bound: how logits are bounded.
    """
    margins = certified_margin(model, *batch, 0.0, norm=norm, method="interval")
    size, power, last = FIRST * largest, 1.0, None
    for _ in range(TRIALS):
        bounded = certified_margin(model, *batch, size, norm=norm, method=bound)
        lost = max((margins - bounded).mean().item(), 1e-6 * slack)
        if last is not None and size != last[0]:
            power = math.log(lost / last[1]) / math.log(size / last[0])
        last = size, lost
        size = size * (slack / lost) ** (1 / max(1.0, power))
        size = max(LEAST, min(largest, size))
    return size


def jacobian_norm_bound(
    model: Model,
    images: Tensor,
    size: float,
    generator: torch.Generator,
    *,
    norm: Norm,
    estimator: Estimator,
    estimates: int,
) -> Tensor:
    """Return a first-order lower bound of minus the mean change of a logit, or an estimate of it.

    To first order, S = -mean_x mean_k |f_k(x + d) - f_k(x)| is at least
    -size mean_x mean_k ||J_k(x)||_q for every ||d||_p <= size. Rows are all classes ("exact", the
    bound itself), those of the largest logits ("top"), or random combinations ("projection"):
    these estimate L2 norms, of which ||J_k||_1 is at most the root of the number of pixels times
    as large, and a single draw may lie on either side.

    Args:
        model: in eval mode, from images to logits.
        images: (N, C, H, W) in [0,1].
        size: of the perturbation.
        generator: draws random combinations.
        norm: of the perturbation.
        estimator: which rows.
        estimates: number of projections, or of largest logits.
    """
    if estimator == "exact":
        norms = row_norms(model, images, norm)
    elif estimator == "top":
        norms = top_norms(model, images, estimates, norm)
    else:
        norms = projected_norms(model, images, generator, estimates)
        if norm == "Linf":
            norms = norms * math.sqrt(images[0].numel())
    return -size * norms.mean()
