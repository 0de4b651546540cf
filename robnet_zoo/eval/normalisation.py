"""The normalisation of a model that was trained on normalised images, put inside it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robnet_zoo.runtime.errors import ZooError, unknown_name

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std of each channel

NORMALISATIONS: dict[str, Normalisation] = {  # as training scripts commonly write them
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "mnist": ((0.1307,), (0.3081,)),
}


class Normalised(nn.Module):
    """A model behind a normalisation, so that both see pixels in [0,1].

    Args:
        model: from normalised images (N, C, H, W) to logits (N, classes).
        mean: subtracted, one number a channel or one for all.
        std: divided by, likewise.

    Raises:
        ZooError: both are not of one length, or a number is not finite, or no positive `std`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean:
            raise ZooError(
                f"The mean has {len(mean)} number(s) and the standard deviation {len(std)}; "
                "give one a channel, or one for all, in both."
            )
        if not all(map(math.isfinite, [*mean, *std])) or min(std) <= 0:
            raise ZooError(
                f"A mean of {_listed(mean)} and a standard deviation of {_listed(std)} do not "
                "normalise; the numbers must be finite, and the second ones above 0."
            )
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the model's logits (N, classes) for images (N, C, H, W) in [0,1]."""
        if len(self.mean) not in (1, images.shape[1]):
            raise ZooError(
                f"The mean has {len(self.mean)} numbers and the images have {images.shape[1]} "
                "channel(s); give one a channel, or one for all."
            )
        return self.model((images - self.mean) / self.std)


def parse_normalisation(mean: str | None, std: str | None) -> Normalisation | None:
    """Return mean and standard deviation as `--mean` and `--std` write them; None if neither.

    Args:
        mean: numbers with commas between them, or a name such as "imagenet", which tells both.
        std: numbers with commas between them, or the same name.

    Raises:
        ZooError: one without the other, an unknown name, or what is no number.
    """
    if mean in NORMALISATIONS and std is None:
        std = mean
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        given, missing = ("--std", "--mean") if mean is None else ("--mean", "--std")
        raise ZooError(
            f"{given} needs {missing} beside it; or name a known one: --mean "
            f"{' or --mean '.join(NORMALISATIONS)}."
        )
    return _numbers(mean, 0), _numbers(std, 1)


def _numbers(text: str, which: int) -> tuple[float, ...]:
    """Return the numbers that a text lists, or those that go by its name."""
    if text in NORMALISATIONS:
        return NORMALISATIONS[text][which]
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        if "," not in text:
            raise unknown_name("normalisation", text, NORMALISATIONS) from error
        raise ZooError(
            f"'{text}' are not numbers; write them with commas, such as 0.485,0.456,0.406."
        ) from error


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
