"""Changes of the scale of logits: factors, powers, and functions that level off.

All of them keep every decision. Where the cross-entropy saturates or flattens, attacks on it stop.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.checks.changed import Change, bent


def factor(size: float) -> Change:
    return bent(lambda logits: size * logits)


def signed(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function of the size of values that keeps their sign."""
    return lambda values: values.sign() * function(values.abs())


FIRST = {
    "logits x 5": factor(5),
    "logits x 10": factor(10),
    "logits x 100": factor(100),
    "logits / 5": factor(1 / 5),
    "logits / 10": factor(1 / 10),
    "signed square of the logits": bent(signed(torch.square)),
    "fifth power of the logits / 3": bent(lambda logits: (logits / 3) ** 5),
    "signed root of the logits": bent(signed(lambda size: (size + 1e-3).sqrt())),
    "signed log of 1 + logits": bent(signed(torch.log1p)),
    "signed log of 1 + logits, x 30": bent(lambda logits: 30 * signed(torch.log1p)(logits)),
    "arctan of the logits": bent(torch.atan),
    "arctan of the logits, x 20": bent(lambda logits: 20 * logits.atan()),
    "softsign of the logits": bent(F.softsign),
    "softsign of the logits, x 20": bent(lambda logits: 20 * F.softsign(logits)),
    "arsinh of the logits, x 10": bent(lambda logits: 10 * logits.asinh()),
    "exp(logits / 3)": bent(lambda logits: (logits / 3).exp()),
    "tenth root of the softmax, x 30": bent(lambda logits: 30 * logits.softmax(1) ** 0.1),
    "fifth root of the softmax": bent(lambda logits: logits.softmax(1) ** 0.2),
}
SECOND = {
    "logits x 20": factor(20),
    "logits x 50": factor(50),
    "logits / 3": factor(1 / 3),
    "logits / 20": factor(1 / 20),
    "cube of the logits / 3, x 3": bent(lambda logits: 3 * (logits / 3) ** 3),
    "tanh(logits / 5)": bent(lambda logits: torch.tanh(logits / 5)),
    "sinh(logits / 3)": bent(lambda logits: torch.sinh(logits / 3)),
    "erf(logits / 5), x 5": bent(lambda logits: 5 * torch.erf(logits / 5)),
    "softplus of the logits": bent(F.softplus),
    "signed square of the logits / 20": bent(lambda logits: logits * logits.abs() / 20),
}
OTHER_DECISIONS: frozenset[str] = frozenset()
