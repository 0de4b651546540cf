"""Checkpoints: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path

LAST, BEST = "last.pt", "best.pt"  # names in a run's folder
FORMAT = "robnet_zoo.run/1"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values; the old file stays until the new one is whole."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        # given a path, torch says nothing of a full disk but an "unexpected pos"
        torch.save({"format": FORMAT, **state}, file)


def load_checkpoint(path: Path, device: str = "cpu") -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are ever unpickled.

    Raises:
        ZooError: the file is missing, damaged, or no checkpoint of a training run.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise ZooError(
            f"There is no checkpoint '{path}'; name a folder in which a run has begun."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise ZooError(f"Checkpoint '{path}' is damaged; remove it to start again.") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ZooError(f"'{path}' is no checkpoint of format {FORMAT}.")
    return {key: _spelled(value) for key, value in _spelled(state).items()}


def _spelled(state: Any) -> Any:
    """Return a state with the key "optimizer", which older checkpoints spell "optimiser"."""
    if not isinstance(state, dict):
        return state
    return {"optimizer" if key == "optimiser" else key: value for key, value in state.items()}
