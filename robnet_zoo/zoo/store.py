"""Weights folders written, and the logits that vouch for what is read back."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import asdict
from safetensors.torch import save, save_file
from torch import Tensor, nn

from robnet_zoo.models.count import count_parameters
from robnet_zoo.runtime.decode import convert
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path, sha256_of, write_json
from robnet_zoo.zoo.blueprints import blueprint_of
from robnet_zoo.zoo.classes import class_names
from robnet_zoo.zoo.tensors import validate_tensors
from robnet_zoo.zoo.weights import CONFIG, FORMAT, TENSORS, Description, Weights, read_weights

HEADER = {"format": "pt"}  # of a safetensors file
CHECK_TOLERANCE = 1e-3  # of the logits, between machines, thread counts and batch sizes


def stored_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that a weights file holds: those that `forward` computes with.

    Left out are an auxiliary head, which serves training only, and batch norm's step counts.
    """
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("auxiliary_head.") and not name.endswith("num_batches_tracked")
    }


def verify_logits(model: nn.Module, weights: Weights) -> None:
    """Compare the logits of a model just loaded, on the fixed input, with the stored ones.

    Raises:
        ZooError: they differ by more than rounding does.
    """
    stored = stored_logits(weights.check)
    if stored is None:
        raise ZooError(f"{weights.name} has no stored logits to verify; leave it out.")
    with torch.no_grad():
        logits = model(check_images(weights.image_size, weights.arguments))
    if stored.shape != logits.shape or not torch.allclose(
        logits, stored, rtol=CHECK_TOLERANCE, atol=CHECK_TOLERANCE
    ):
        raise ZooError(
            f"{weights.name} does not compute its stored logits on this machine; "
            "the model code and the weights do not belong together."
        )


def check_images(image_size: int, arguments: Mapping[str, Any]) -> Tensor:
    """Return the fixed input (2, C, H, W): pixels in [0,1], drawn with seed 0."""
    shape = (2, arguments.get("in_channels", 3), image_size, image_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def stored_logits(check: Mapping[str, Any]) -> Tensor | None:
    """Return what a config.json says of the fixed input, (2, classes); None if it does not."""
    try:
        return torch.tensor(check["logits"])
    except (KeyError, TypeError, ValueError):
        return None


def _validate_loadable(
    folder: Path, entries: Mapping[str, Any], stored: Mapping[str, Tensor]
) -> None:
    """Raise ZooError unless a config.json of these entries would give a network of the tensors."""
    computed = {"sha256": "0" * 64, "size_bytes": 0, "parameters": 0, "check": {}}
    description = convert({**entries, **computed}, Description, "weights description")
    weights = Weights(**asdict(description), folder=folder)
    class_names(weights)
    design = blueprint_of(weights)
    with torch.device("meta"):
        needed = stored_state(design.build())
    validate_tensors("The network to be stored", design.architecture, stored, needed)


def _converted(state: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Return tensors on the CPU, all of one type that weights are stored in."""
    if dtype not in (None, torch.float16, torch.float32):
        raise ZooError(f"Weights are stored as torch.float16 or torch.float32, not as {dtype}.")
    tensors = {name: tensor.detach().float().cpu() for name, tensor in state.items()}
    lossless = all(torch.equal(tensor.half().float(), tensor) for tensor in tensors.values())
    kind = dtype or (torch.float16 if lossless else torch.float32)
    for name, tensor in tensors.items():
        tensors[name] = tensor.to(kind).contiguous()
        if not torch.isfinite(tensors[name]).all():
            beyond = "above 65504, the largest value of half precision"
            raise ZooError(
                f"Cannot store '{name}': it is NaN, infinite"
                f"{f' or {beyond}' if kind == torch.float16 else ''}; the training has diverged."
            )
    return tensors


def tensors_sha256(model: nn.Module) -> str:
    """Return the sha256 of the file that `save_weights` would write of a model, to the bit.

    Raises:
        ZooError: a tensor is not finite.
    """
    stored = _converted(stored_state(model), None)
    return hashlib.sha256(save(stored, metadata=HEADER)).hexdigest()


def save_weights(
    model: nn.Module,
    folder: Path,
    config: Mapping[str, Any],
    *,
    dtype: torch.dtype | None = None,
) -> Weights:
    """Write the model's tensors and its config.json into a folder.

    Args:
        model: its parameters and batch statistics are stored; the model is left as it is.
        folder: named "architecture.tag" where the weights are to be found by name.
        config: every entry of `Weights` but those computed here: sha256, size_bytes,
            dtype, parameters and check (logits of the stored weights).
        dtype: torch.float16 rounds, torch.float32 does not; None keeps every bit, in half precision
            where it holds them all.

    The tensors are replaced before config.json: a reader in between is told of a sha256 that
    does not match, and never gets the wrong weights.

    Raises:
        ZooError: the entries do not describe the network, another dtype, or a tensor that is not
            finite in it.
    """
    folder = Path(folder)
    stored = _converted(stored_state(model), dtype)
    (kind,) = {tensor.dtype for tensor in stored.values()}
    arguments = {
        key: value
        for key, value in config["arguments"].items()
        if key not in ("auxiliary", "image_size")  # of the training, which are not stored
    }
    described = {"format": FORMAT, **config, "arguments": arguments}
    _validate_loadable(folder, described, stored)
    rounded = copy.deepcopy(model).cpu().float().eval()
    rounded.load_state_dict({n: t.float() for n, t in stored.items()}, strict=False)
    with torch.no_grad():
        logits = rounded(check_images(config["image_size"], arguments))
    with atomic_path(folder / TENSORS) as temporary:
        save_file(stored, temporary, metadata=HEADER)
        measured = {
            "arguments": arguments,
            "sha256": sha256_of(temporary),
            "size_bytes": temporary.stat().st_size,
            "dtype": str(kind).removeprefix("torch."),
            "parameters": count_parameters(model),
            "check": {
                "input": "two images, torch.rand from a generator with seed 0",
                "logits": logits.tolist(),
            },
        }
    write_json(folder / CONFIG, {"format": FORMAT, **config, **measured})
    return read_weights(folder)
