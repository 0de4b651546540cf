"""How an architecture learns: Adam on the tensors that it consists of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robnet_zoo.runtime.distributed import ProcessGroup

BETAS = (0.5, 0.999)  # of Adam, as in DARTS and all that follows it


class ArchitectureOptimizer:
    """Adam on an architecture's tensors, its gradients averaged over the processes."""

    def __init__(
        self,
        learned: Sequence[Tensor],
        *,
        lr: float,
        weight_decay: float,
        processes: ProcessGroup,
        betas: Sequence[float] = BETAS,
    ) -> None:
        self.learned, self.processes = list(learned), processes
        self.optimizer = torch.optim.Adam(
            self.learned, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay
        )

    def step(self, gradients: Sequence[Tensor] | Tensor) -> None:
        """Take a step down gradients, one a tensor, or all of them flat in one."""
        if isinstance(gradients, Tensor):
            gradients = split_like(gradients, self.learned)
        self.processes.average_(gradients)
        for tensor, gradient in zip(self.learned, gradients, strict=True):
            tensor.grad = gradient
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold."""
        return {
            "learned": [tensor.detach() for tensor in self.learned],
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        with torch.no_grad():
            for tensor, saved in zip(self.learned, state["learned"], strict=True):
                tensor.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])


def split_like(flat: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the parts of a flat tensor (n,), each in the shape of one of `tensors`."""
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
