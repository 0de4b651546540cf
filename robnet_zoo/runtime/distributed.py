"""Data-parallel training over processes that torchrun started; one process is the default.

Gradients are averaged by one all-reduce of one flat tensor a step, and batch norm's running
statistics travel with them, so that every process holds the same state after every step and any
number of them can resume a run. DistributedDataParallel is not used: it counts on one backward
pass a step through its own wrapper, while TRADES, AWP, accumulation and crafting make several.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from robnet_zoo.runtime.errors import ZooError


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run: how many, which of them this one is, and its device."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def main(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return self.rank == 0

    def share(self, total: int) -> slice:
        """Return this process's part of `total` things: even parts, in order."""
        return slice(total * self.rank // self.size, total * (self.rank + 1) // self.size)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace float tensors by their means over all processes."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        parts = flat.div_(self.size).split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def join(device: str) -> ProcessGroup:
    """Join the processes that torchrun started, if any; return them.

    Raises:
        ZooError: there are more processes on this machine than CUDA devices.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ProcessGroup(device=device)
    if device.startswith("cuda"):
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise ZooError(
                f"Process {local} has no CUDA device of its own; this machine has "
                f"{torch.cuda.device_count()}: start so many with --nproc-per-node."
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return ProcessGroup(dist.get_rank(), dist.get_world_size(), device)


def leave(processes: ProcessGroup) -> None:
    """Take this process out of the group that `join` made."""
    if processes.size > 1:
        dist.destroy_process_group()
