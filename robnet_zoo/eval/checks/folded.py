"""Whether attacks may see a faster form of the model in its place."""

from __future__ import annotations

from robnet_zoo.eval.checks.model import ModelUnderTest, margin_gradient
from robnet_zoo.eval.checks.registry import Finding, Skipped, check

FOLDED = "folded-form"
CLOSE = 1e-3  # of the spread of an image's logits; rounding in float32 is far below
BENT = 0.01  # of a gradient's length that may differ; float32 leaves a millionth on a CPU
OTHERS = 0.1  # of the images may differ more, where a unit is on the edge of being active


@check(
    FOLDED,
    kind="model",
    catches="a network changed by hand, of which its folded form knows nothing",
    fails_if="logits differ by over 1e-3 of their spread, or gradients of the margin by over 1 % "
    "of their length on over 10 % of images; attacks then see the network itself",
    needs=("gradient-path",),
)
def check_folded(given: ModelUnderTest) -> Finding | Skipped:
    """The faster form gives the model's logits and its gradients, but for rounding.

    Of the margin, whose gradient is a difference of two logits' gradients. That of the
    cross-entropy is mostly rounding where the model is confident, and differs between any two
    forms of a model.
    """
    if given.attack_model is None:
        return Skipped("Attacks see the model itself")
    if given.gradients is None:
        return Skipped("There are no gradients")
    logits, gradient = given.logits, given.gradients[1]
    fast_logits, fast = margin_gradient(given.attack_model, given.images, given.labels)
    apart = float((logits - fast_logits).abs().amax() / given.spread.median())
    length = gradient.flatten(1).norm(dim=1)
    bent = (gradient - fast).flatten(1).norm(dim=1)
    others = int((bent > BENT * length).sum())
    return (
        apart <= CLOSE and others <= OTHERS * len(bent),
        f"The folded form's logits are within {apart:.1e} of the model's, in parts of their "
        f"spread, and its gradients differ by over {100 * BENT:.0f} % of their length on {others} "
        f"of {len(bent)} images",
        "attacks saw the model itself",
    )
