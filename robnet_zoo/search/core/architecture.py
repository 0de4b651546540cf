"""How an architecture learns: Adam on the numbers that it is made of."""

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

    def descend(self, gradients: Sequence[Tensor] | Tensor) -> None:
        """Take a step down gradients, one a tensor, or all of them flat in one."""
        if isinstance(gradients, Tensor):
            parts = gradients.split([each.numel() for each in self.learned])
            gradients = [part.view_as(each) for part, each in zip(parts, self.learned, strict=True)]
        self.processes.average_(gradients)
        for each, gradient in zip(self.learned, gradients, strict=True):
            each.grad = gradient
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold."""
        return {
            "learned": [each.detach() for each in self.learned],
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        with torch.no_grad():
            for each, kept in zip(self.learned, state["learned"], strict=True):
                each.copy_(kept)
        self.optimizer.load_state_dict(state["optimizer"])
