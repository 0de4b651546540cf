"""The one table of threat models that training, search and evaluation share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, get_args

from robnet_zoo.runtime.errors import ZooError, unknown_name

Norm = Literal["Linf", "L2", "L1"]
NORMS: tuple[str, ...] = get_args(Norm)
GRADIENT_NORMS: tuple[Norm, ...] = ("Linf", "L2")  # of the gradient family, training, certificates


@dataclass(frozen=True, order=True)
class Epsilon:
    """A perturbation size for pixels in [0,1], kept as it was written and as a number."""

    value: float
    text: str

    @classmethod
    def parse(cls, text: str | float, what: str = "epsilon") -> Epsilon:
        """Read "8/255", "0.03" or a number.

        Raises:
            ZooError: not a number, not finite, or not above 0.
        """
        try:
            if isinstance(text, str):
                numerator, slash, denominator = text.partition("/")
                value = float(numerator) / float(denominator) if slash else float(numerator)
            else:
                value = float(text)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise ZooError(
                f"{what} '{text}' is not a number; write a fraction such as 8/255 or 0.03."
            ) from error
        if not math.isfinite(value) or value <= 0:
            raise ZooError(f"{what} '{text}' is out of range; it must be above 0, such as 8/255.")
        return cls(value, str(text).strip())

    def times(self, factor: Fraction) -> Epsilon:
        """Return this size times a factor, still as a readable fraction where it was one."""
        numerator, slash, denominator = self.text.partition("/")
        if slash:
            scaled = Fraction(numerator) * factor
            if scaled.denominator == 1:
                return Epsilon.parse(f"{scaled.numerator}/{denominator}")
        return Epsilon.parse(f"{self.value * float(factor):.6g}")


@dataclass(frozen=True)
class ThreatModel:
    """What the attacker may do: a norm, a size, and the papers' usual PGD step."""

    name: str
    norm: Norm
    epsilon: Epsilon
    step: Epsilon
    why: str = ""

    @classmethod
    def of(cls, norm: Norm, epsilon: str | float, name: str = "custom") -> ThreatModel:
        """Return a threat model that is not in the table, with a PGD step of epsilon / 4.

        Args:
            norm: "Linf", "L2" or "L1".
            epsilon: the size for pixels in [0,1], such as "8/255" or 0.5.
            name: for the record.

        Raises:
            ZooError: an unknown norm, or a size that is none, or above 1 under Linf.
        """
        unit = Epsilon.parse(1)
        return cls(name, norm, unit, unit.times(Fraction(1, 4))).at(epsilon, norm)

    def at(self, epsilon: str | float, norm: Norm | None = None) -> ThreatModel:
        """Return this threat model at another size, with the step in proportion.

        Raises:
            ZooError: not a positive number, above 1 under Linf (pixels live in [0,1]), or an
                unknown norm.
        """
        size = Epsilon.parse(epsilon)
        norm = norm or self.norm
        if norm not in NORMS:
            raise unknown_name("norm", norm, NORMS)
        if norm == "Linf" and size.value > 1:
            raise ZooError(
                f"epsilon '{size.text}' is out of range; under Linf it must lie in (0, 1], "
                "since pixels do: write 8/255 rather than 8."
            )
        ratio = Fraction(self.step.value / self.epsilon.value).limit_denominator(1000)
        return replace(self, norm=norm, epsilon=size, step=size.times(ratio))

    def for_gradients(self, pixels: int) -> ThreatModel:
        """Return a ball in which the gradient family can climb: this one, but for L1.

        In place of an L1 ball it is the largest L2 ball inside, of radius epsilon / sqrt(pixels).

        Args:
            pixels: numbers that make up an image.
        """
        if self.norm in GRADIENT_NORMS:
            return self
        return self.at(f"{self.epsilon.value / math.sqrt(pixels):.6g}", "L2")

    def __str__(self) -> str:
        return f"{self.norm} {self.epsilon.text}"


def _linf(name: str, epsilon: str, step: str, why: str) -> ThreatModel:
    return ThreatModel(name, "Linf", Epsilon.parse(epsilon), Epsilon.parse(step), why)


_COMMON = "the size that robust-NAS papers and RobustBench use for 32x32 colour images"
THREAT_MODELS: dict[str, ThreatModel] = {
    model.name: model
    for model in (
        _linf(
            "digits",
            "0.15",
            "0.0375",
            "separates fragile from robust networks: see docs/digits.md for the curve",
        ),
        _linf("cifar10", "8/255", "2/255", _COMMON),
        _linf("cifar100", "8/255", "2/255", _COMMON),
        _linf("svhn", "8/255", "2/255", _COMMON),
        _linf("tiny-imagenet", "8/255", "2/255", _COMMON),
        _linf("mnist", "76.5/255", "20/255", "0.3, as in RACL's MNIST experiment"),
        _linf("imagenet", "4/255", "1/255", "the size that RobustBench uses for ImageNet"),
    )
}


def get_threat_model(name: str | ThreatModel) -> ThreatModel:
    """Return the table's row for a data set; a threat model as it is.

    Raises:
        ZooError: no such row; the nearest names are shown.
    """
    if isinstance(name, ThreatModel):
        return name
    if not isinstance(name, str):
        raise ZooError(
            f"The threat model is {name!r}; give the name of a row, such as 'cifar10', or "
            "ThreatModel.of('Linf', '8/255')."
        )
    if name not in THREAT_MODELS:
        raise unknown_name("threat model", name, THREAT_MODELS)
    return THREAT_MODELS[name]
