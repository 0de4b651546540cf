"""The Lipschitz constants of the candidate operations (RACL, section 2.2).

| operation              | constant                                                      |
| ---------------------- | ------------------------------------------------------------- |
| none                   | 0                                                             |
| skip connection        | 1; with stride 2 the spectral norm of its linear part         |
| max pooling            | 1                                                             |
| average pooling        | S^(-1/2), S the stride                                        |
| separable, dilated     | the product of the spectral norms of its convolutions         |

They are the paper's: batch norms are left out unless asked for, and max pooling's 1 is a bound in
the maximum norm only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from robnet_zoo.models.operations import FactorizedReduce
from robnet_zoo.search.core.mixed import MixedOperation
from robnet_zoo.search.core.spaces import EDGES, SOURCES
from robnet_zoo.search.core.supernet import SuperCell, Supernet
from robnet_zoo.search.racl.spectral import SpectralNorms


class OperationConstants:
    """The constants of every operation on every edge of every cell of a supernet."""

    def __init__(
        self,
        supernet: Supernet,
        image_size: int,
        generator: torch.Generator,
        *,
        batch_norm: bool = False,
    ) -> None:
        """Start the power iterations.

        Args:
            supernet: its weights are read anew at every step.
            image_size: side of the images, on which the convolutions' operators depend.
            generator: of the CPU; draws the first vectors.
            batch_norm: multiply an operation's constant by those of its batch norms.
        """
        names = supernet.space.operations
        self.shape = (len(supernet.space.slots), EDGES, len(names))
        self.operations: list[nn.Module] = []
        closed: list[float] = []
        convs: list[tuple[nn.Conv2d, int]] = []
        factor_of: list[int] = []  # number of a convolution's linear map
        place_of: list[int] = []  # number of a linear map's operation
        for mixed, side in _edges(supernet, image_size):
            for name, operation in zip(names, mixed.operations, strict=True):
                for factor in factors(operation, side):
                    factor_of += [len(place_of)] * len(factor)
                    place_of.append(len(closed))
                    convs += factor
                self.operations.append(operation)
                closed.append(log_closed_form(name, mixed.stride))
        self.closed = torch.tensor(closed, dtype=torch.float64)
        self.factor_of, self.place_of = torch.tensor(factor_of), torch.tensor(place_of)
        self.norms = SpectralNorms(convs, generator)
        self.batch_norm = batch_norm

    def step(self) -> Tensor:
        """Take one power-iteration step; return ln lambda (cells, edges, operations).

        In float64 on the CPU; minus infinity stands for the operation "none".
        """
        logs = self.norms.step().log()
        factors = torch.zeros(len(self.place_of), dtype=torch.float64)
        factors.scatter_reduce_(0, self.factor_of, logs, "amax", include_self=False)
        total = self.closed.index_add(0, self.place_of, factors)
        if self.batch_norm:
            total += torch.tensor([log_batch_norms(operation) for operation in self.operations])
        return total.view(self.shape)


def _edges(supernet: Supernet, image_size: int) -> Iterator[tuple[MixedOperation, int]]:
    """Yield every edge of every cell, and the side of the map that it reads."""
    side = image_size
    for slot, cell in zip(supernet.space.slots, supernet.cells, strict=True):
        after = side // 2 if slot.reduction else side
        for edge, mixed in enumerate(cast(SuperCell, cell)._ops):
            yield cast(MixedOperation, mixed), side if SOURCES[edge] < 2 else after
        side = after


def log_closed_form(name: str, stride: int) -> float:
    """Return the logarithm of what an operation's constant is before its convolutions."""
    if name == "none":
        return -math.inf
    return -math.log(stride) / 2 if name == "avg_pool_3x3" else 0.0


def factors(operation: nn.Module, side: int) -> Iterator[list[tuple[nn.Conv2d, int]]]:
    """Yield the linear maps of an operation in turn, each as convolutions and the sides they read.

    The two convolutions of a strided skip connection are one map: they read different pixels and
    write different channels, so its norm is the larger of theirs.
    """
    if isinstance(operation, FactorizedReduce):
        yield [(operation.conv_1, side), (operation.conv_2, side)]
        return
    for module in operation.modules():
        if isinstance(module, nn.Conv2d):
            yield [(module, side)]
            side //= module.stride[0]


def log_batch_norms(operation: nn.Module) -> float:
    """Return the logarithm of the product of an operation's batch norms' constants."""
    return sum(
        -0.5 * math.log(float(module.running_var.min()) + module.eps)
        for module in operation.modules()
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None
    )
