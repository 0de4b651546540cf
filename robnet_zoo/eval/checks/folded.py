"""Whether attacks may see a faster form of the model in its place."""

from __future__ import annotations

from robnet_zoo.eval.checks.forms import BENT, compare_forms
from robnet_zoo.eval.checks.model import ModelUnderTest
from robnet_zoo.eval.checks.registry import Finding, Skipped, check

FOLDED = "folded-form"


@check(
    FOLDED,
    kind="model",
    catches="a network changed by hand, of which its folded form knows nothing",
    fails_if="logits differ by over 1e-3 of their spread, or gradients of the margin by over 1 % "
    "of their length on over 10 % of images; attacks then see the network itself",
    needs=("gradient-path",),
)
def check_folded(given: ModelUnderTest) -> Finding | Skipped:
    """The faster form gives the model's logits and its gradients, but for rounding."""
    forms = given.once(compare_forms)
    if forms is None:
        return Skipped("Attacks see the model itself")
    return (
        forms.same,
        f"The folded form's logits are within {forms.apart:.1e} of the model's, in parts of their "
        f"spread, and its gradients differ by over {100 * BENT:.0f} % of their length on "
        f"{forms.others} of {forms.n} images",
        "attacks saw the model itself",
    )
