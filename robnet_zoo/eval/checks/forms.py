"""Whether a faster form of a model is the same function, and may stand in for it."""

from __future__ import annotations

from typing import NamedTuple

from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.eval.checks.model import ModelUnderTest, margin_gradient

CLOSE = 1e-3  # of the spread of an image's logits; rounding in float32 is far below
BENT = 0.01  # of a gradient's length that may differ; float32 leaves a millionth on a CPU
OTHERS = 0.1  # of the images may differ more, where a unit is on the edge of being active


class Forms(NamedTuple):
    """How a model and its faster form differ.

    Attributes:
        apart: the largest difference of logits, in parts of their spread.
        others: images whose gradients differ by more than BENT.
        n: images compared.
    """

    apart: float
    others: int
    n: int

    @property
    def same(self) -> bool:
        """Whether rounding explains it."""
        return self.apart <= CLOSE and self.others <= OTHERS * self.n


def compare_forms(given: ModelUnderTest) -> Forms | None:
    """Return how the two differ; None where there is one alone, or no gradient. For `once`.

    Of the margin, whose gradient is a difference of two logits' gradients. That of the
    cross-entropy is mostly rounding where the model is confident, and differs between any two
    forms of a model.
    """
    if given.attack_model is None or given.gradients is None:
        return None
    logits, gradient = given.logits, given.gradients[1]
    fast_logits, fast = margin_gradient(given.attack_model, given.images, given.labels)
    length = gradient.flatten(1).norm(dim=1)
    bent = (gradient - fast).flatten(1).norm(dim=1)
    return Forms(
        apart=float((logits - fast_logits).abs().amax() / given.spread.median()),
        others=int((~(bent <= BENT * length)).sum()),
        n=len(bent),
    )


def attacked(given: ModelUnderTest) -> AttackedModel:
    """Return what attacks will see, for checks of many passes: the faster form, if it is the same.

    A compiled form is made for one batch size, and not for those of checks.
    """
    forms, fast = given.once(compare_forms), given.attack_model
    usable = fast is not None and not fast.compiled and forms is not None and forms.same
    return fast if fast is not None and usable else given.model
