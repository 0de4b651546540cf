"""The processes of one run, which torchrun started; one process is the default.

In training, gradients are averaged by one all-reduce of one flat tensor a step, and batch norm's
running statistics travel with them, so that every process holds the same state after every step
and any number of them can resume a run. DistributedDataParallel is not used: it counts on one
backward pass a step through its own wrapper, while TRADES, AWP, accumulation and crafting make
several.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from robnet_zoo.runtime.errors import ZooError

PATIENCE = timedelta(days=7)  # where one process may wait long for another's last block


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

    def shard(self, total: int) -> slice:
        """Return this process's part of `total` things: even parts, in order."""
        return slice(total * self.rank // self.size, total * (self.rank + 1) // self.size)

    def strided(self, total: int) -> range:
        """Return this process's numbers below `total`: every `size`-th, from its rank on."""
        return range(self.rank, total, self.size)

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

    def gather(self, own: dict[int, Any]) -> dict[int, Any]:
        """Return the values of all processes by number, to all of them."""
        if self.size == 1:
            return own
        every: list[dict[int, Any]] = [{} for _ in range(self.size)]
        dist.all_gather_object(every, own)
        return {number: value for part in every for number, value in sorted(part.items())}

    def wait(self) -> None:
        """Return when every process has come here."""
        self.gather({})


@contextmanager
def process_group(device: str = "cpu", timeout: timedelta | None = None) -> Iterator[ProcessGroup]:
    """Yield the processes that torchrun started, or this one alone.

    They stay joined for the length of the block, or longer where they were joined before it.

    Args:
        device: what they compute on, by which they talk: through nccl on CUDA, else through gloo.
        timeout: how long one may wait for another; None for torch's own.

    Raises:
        ZooError: there are more processes on this machine than CUDA devices.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup(device=device)
        return
    if device.startswith("cuda"):
        device = own_device()
    joins = not dist.is_initialized()
    if joins:
        backend = "nccl" if device.startswith("cuda") else "gloo"
        dist.init_process_group(backend, timeout=timeout)
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size(), device)
    finally:
        if joins:
            dist.destroy_process_group()


def is_main_process() -> bool:
    """Return whether this process is the one that writes files and shows results, joined or not."""
    return os.environ.get("RANK", "0") == "0"


def own_device() -> str:
    """Return the CUDA device of this process, of those that torchrun started, and select it.

    Raises:
        ZooError: there are more processes on this machine than CUDA devices.
    """
    local = int(os.environ["LOCAL_RANK"])
    if local >= torch.cuda.device_count():
        raise ZooError(
            f"Process {local} has no CUDA device of its own; this machine has "
            f"{torch.cuda.device_count()}: start so many with --nproc-per-node."
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}"
