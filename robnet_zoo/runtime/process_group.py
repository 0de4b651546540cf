"""The processes of one evaluation, when torchrun started several."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

PATIENCE = timedelta(days=7)  # one process may wait long for another's last block


@dataclass(frozen=True)
class Team:
    """This process's place among `size` processes."""

    rank: int = 0
    size: int = 1

    def share(self, numbers: range) -> range:
        """Return the numbers that are this process's own."""
        return numbers[self.rank :: self.size]

    def gather(self, own: dict[int, Any]) -> dict[int, Any]:
        """Return the values of all processes by number, to all of them."""
        if self.size == 1:
            return own
        import torch.distributed as dist

        every: list[dict[int, Any]] = [{} for _ in range(self.size)]
        dist.all_gather_object(every, own)
        return {number: value for part in every for number, value in sorted(part.items())}

    def wait(self) -> None:
        """Return when every process has come here."""
        self.gather({})


@contextmanager
def team() -> Iterator[Team]:
    """Yield the processes that torchrun started, or this one alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    import torch.distributed as dist

    joined = not dist.is_initialized()
    if joined:
        dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
    finally:
        if joined:
            dist.destroy_process_group()
