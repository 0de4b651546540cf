"""What a model may return in place of logits, and how it shows in them."""

from __future__ import annotations

import torch
from torch import Tensor

EXACT = 1e-4  # of the largest sum or norm of a row: how equal they are where that is made so
COARSE = 1e-4  # of the spread of an image's logits that float32 must resolve
TIED = 0.05  # of the logits may equal another of their image
PILED, PILE = 0.5, 0.01  # of the images within this part of the spread from both extremes
MANY = 16  # images from which a pile is one
CENTRED = 0.1  # of a row's norm that must not be its mean, for the norm to tell anything

LOGITS = "return what goes into it"


def unfit(logits: Tensor) -> str | None:
    """Return what is wrong with logits (N, classes) and what to do, None where nothing is."""
    if logits.dtype not in (torch.float32, torch.float64):
        return "that is too coarse to judge by; return float32"
    if not logits.isfinite().all():
        return "some are not finite numbers; repair the model"
    if float(logits.amax() - logits.amin()) == 0:
        return "all are equal; repair the model"
    return _squashed(logits) or _coarse(logits)


def _squashed(logits: Tensor) -> str | None:
    """Return which function of logits these are, if one is recognised."""
    sums = logits.sum(1)
    if logits.min() >= 0 and (_equal(sums) or bool((sums - 1).abs().amax() < EXACT)):
        return (
            "these are probabilities, whose gradients vanish where the model is confident; "
            "return what goes into the softmax"
        )
    if logits.min() >= 0 and logits.max() <= 1:
        return (
            "these look like sigmoid outputs, whose gradients vanish where the model is "
            f"confident; {LOGITS}"
        )
    if _one_norm(logits):
        return (
            "every row has the same norm, so the logits were normalised and their gradients "
            f"bent; {LOGITS}"
        )
    if _ties(logits) > TIED:
        return (
            "many classes share one value (clipped, rounded or rectified logits), between which "
            f"no gradient can tell; {LOGITS}"
        )
    if _piled(logits) > PILED:
        return (
            "most rows end at the same bounds (tanh, clipped or smoothed probabilities), where "
            f"gradients vanish; {LOGITS}"
        )
    return None


def _coarse(logits: Tensor) -> str | None:
    """Return which step of numbers is too large for gradients, if one is."""
    spread = (logits.amax(1) - logits.amin(1)).median()
    if any(
        torch.equal(logits, logits.to(kind).to(logits)) for kind in (torch.half, torch.bfloat16)
    ):
        return "all of them fit into 16 bits, which is too coarse to judge by; compute in float32"
    if torch.finfo(torch.float32).eps * logits.abs().amax() > COARSE * spread:
        return (
            "they differ by so little of their size that float32 rounds the difference; return "
            "them without the common offset"
        )
    return None


def _equal(values: Tensor) -> bool:
    apart = (values - values.mean()).abs().amax()
    return len(values) > 1 and bool(apart <= EXACT * values.abs().amax())


def _one_norm(logits: Tensor) -> bool:
    """Whether rows have the same norm, as they are or without their mean, and differ at all."""
    logits = logits.double()
    centred = logits - logits.mean(1, keepdim=True)
    norms, own = logits.norm(dim=1), centred.norm(dim=1)
    alike = _equal(own) or (_equal(norms) and bool((own > CENTRED * norms).all()))
    varied = bool((logits - logits[:1]).abs().amax() > EXACT * norms.amax())
    return logits.shape[1] > 2 and varied and alike


def _ties(logits: Tensor) -> float:
    """Return the part of the logits that equal another of their image."""
    ordered = logits.sort(1).values
    return float((ordered[:, 1:] == ordered[:, :-1]).float().mean())


def _piled(logits: Tensor) -> float:
    """Return the part of the images whose largest or smallest logit lies at all others', both."""
    high, low = logits.amax(1), logits.amin(1)
    near = PILE * (high - low).median()
    piles = (high.amax() - high <= near), (low - low.amin() <= near)
    varied = len(logits) >= MANY and len(logits.argmax(1).unique()) > 1
    return min(float(pile.float().mean()) for pile in piles) if varied else 0.0
