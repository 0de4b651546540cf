"""State dicts out of other people's files, without running what is pickled in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from robnet_zoo.runtime.errors import ZooError

PREFIX = "module."  # what DataParallel and DistributedDataParallel put before every name


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file or of one that torch.save wrote, by name.

    A state dict may lie bare or under "state_dict", with or without the "module." prefix.

    Raises:
        ZooError: the file cannot be read, or holds anything but plain tensors.
    """
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ZooError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except SafetensorError as error:
        raise ZooError(f"'{path}' is no intact .safetensors file: {error}.") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ZooError(
            f"'{path}' is damaged or holds more than plain tensors, which is never unpickled; "
            "save its state_dict alone with torch.save first."
        ) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise ZooError(f"'{path}' holds no state dict; a mapping of names to tensors is needed.")
    return {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}


def load_state(model: nn.Module, file: Path, name: str) -> None:
    """Load a file's state dict into a model; `name` is the model's, for errors.

    Raises:
        ZooError: the file cannot be read, or its names and shapes are not the model's.
    """
    state, own = read_state_dict(file), model.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    faults = {
        "lacks": own.keys() - state.keys() - counters,
        "has besides": state.keys() - own.keys(),
        "has in another shape": {
            key for key in own.keys() & state.keys() if own[key].shape != state[key].shape
        },
    }
    listed = [f"{fault} {_few(sorted(keys))}" for fault, keys in faults.items() if keys]
    if listed:
        raise ZooError(f"'{file}' does not fit {name}: it {', and '.join(listed)}.")
    model.load_state_dict(state, strict=False)  # names were compared: only counters are left


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
