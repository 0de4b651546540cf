"""What history.csv holds, for TensorBoard."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.runtime.extras import import_extra

if TYPE_CHECKING:
    from robnet_zoo.train.state import Run

FOLDER = "tensorboard"  # in that of the run


@dataclass
class TensorBoardLog:
    """Writes a run's history as scalars, by step; it is for the `after_epoch` of `train`.

    Attributes:
        folder: where the event files go.

    Raises:
        ZooError: the package tensorboard is missing.
    """

    folder: Path
    _writer: Any = field(default=None, init=False)
    _step: int = field(default=0, init=False)  # the last one that was written

    def __post_init__(self) -> None:
        import_extra("tensorboard", "--log tensorboard", "tensorboard")

    def __call__(self, run: Run) -> None:
        """Write the run's newest row; all rows at first, and where a rollback took some back."""
        rows = run.state.history
        if self._writer is None or rows[-1]["step"] <= self._step:
            from torch.utils.tensorboard import SummaryWriter

            if self._writer is not None:
                self._writer.close()
            # what an earlier session wrote from this step on is hidden, so that nothing is double
            self._writer = SummaryWriter(str(self.folder), purge_step=rows[0]["step"])
        else:
            rows = rows[-1:]
        for row in rows:
            for name, value in row.items():
                if name != "step" and value is not None:
                    self._writer.add_scalar(name, value, row["step"])
        self._writer.flush()
        self._step = rows[-1]["step"]
