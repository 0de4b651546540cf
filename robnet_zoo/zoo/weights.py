"""Weights folders: half-precision safetensors beside a config.json that rebuilds the model.

How the tensors are read back is in tensors.py. Importing this module does not import torch.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import asdict

from robnet_zoo.genotypes import Genotype, genotype_to_dict
from robnet_zoo.genotypes.types import Status
from robnet_zoo.runtime.decode import read_json
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path, sha256_of, write_json

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = "robnet_zoo.weights/1"
TENSORS, CONFIG = "model.safetensors", "config.json"
CONFIG_LIMIT = 4 << 20  # bytes; real ones take a tenth at most
CHECK_TOLERANCE = 1e-3  # of the logits, between machines, thread counts and batch sizes

EMBEDDED = Path(__file__).parent / "pretrained"
ROOT = Path(__file__).parents[2]  # the checkout's, where there is one
CHECKOUT = ROOT / "weights"


class Description(Struct, frozen=True, kw_only=True):
    """The content of a config.json: what is known about one set of weights.

    Attributes:
        name: "architecture.tag".
        arguments: what the network is built with, such as channels, layers and num_classes.
        genotype: None for human-designed networks.
        genotype_status: the genotype's, or "human-designed".
        sha256: of model.safetensors.
        dataset: the data set's name; `image_size` is the side of its images in pixels.
        threat_model: name, norm and epsilon (as text) of the adversarial training.
        check: logits of the stored weights on a fixed input.
        training: recipe, settings, seed, epochs, selection, environment and so on.
        results: accuracies as fractions with their n and confidence intervals.
    """

    format: Literal["robnet_zoo.weights/1"]
    name: str
    architecture: str
    arguments: Mapping[str, Any]
    genotype: Genotype | None = None
    genotype_status: Status | Literal["human-designed"]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    size_bytes: Annotated[int, Meta(ge=0)]
    parameters: Annotated[int, Meta(ge=0)]
    dataset: str
    image_size: Annotated[int, Meta(ge=1, le=1024)]
    threat_model: Mapping[str, Any]
    check: Mapping[str, Any]
    licence: str
    training: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)


class Weights(Description, frozen=True, kw_only=True):
    """One set of weights.

    Attributes:
        folder: where the files are.
    """

    folder: Path

    @property
    def tag(self) -> str:
        """The part of the name behind the architecture."""
        return self.name.removeprefix(f"{self.architecture}.")

    @property
    def accuracies(self) -> dict[str, Mapping[str, Any]]:
        """Accuracy with its interval, as fractions, for "clean" and each attack measured."""
        return rates(self.results)

    def config(self) -> dict[str, Any]:
        """Return the entries of config.json but its format."""
        entries = asdict(self)
        del entries["folder"], entries["format"]
        genotype = None if self.genotype is None else genotype_to_dict(self.genotype)
        return copy.deepcopy(entries | {"genotype": genotype})

    @property
    def images(self) -> int | None:
        """How many test images the accuracies are of, where it is known."""
        n = self.results.get("n")
        return n if isinstance(n, int) else None

    @property
    def natural(self) -> dict[str, Mapping[str, Any]]:
        """The same for the network trained without adversarial images; empty if not measured."""
        return rates(self.results.get("natural"))


def rates(results: Any) -> dict[str, Mapping[str, Any]]:
    """Return those entries of results that are accuracies."""
    return {
        name: value
        for name, value in (results.items() if isinstance(results, Mapping) else ())
        if isinstance(value, Mapping)
        and "accuracy" in value
        and all(isinstance(number, int | float) for number in value.values())
    }


def read_weights(folder: Path) -> Weights:
    """Read a folder's config.json; the tensors stay unread.

    Raises:
        ZooError: no such folder, or its config.json is missing, not JSON, of another format,
            or has a missing or wrong entry.
    """
    path = Path(folder) / CONFIG
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ZooError(
            f"No weights in '{folder}': {CONFIG} cannot be read ({error.strerror}); "
            f"name a folder that holds {TENSORS} and {CONFIG}."
        ) from error
    if size > CONFIG_LIMIT:
        raise ZooError(f"'{path}' is over {CONFIG_LIMIT >> 20} MiB; that is no config.json.")
    description = read_json(path, Description, "weights description")
    return Weights(**asdict(description), folder=Path(folder))


def in_checkout() -> bool:
    """Return whether the package runs from a checkout rather than from site-packages."""
    return (ROOT / "pyproject.toml").is_file()


def update_config(folder: Path, **entries: Any) -> Weights:
    """Write entries, such as results, into a folder's config.json.

    Raises:
        ZooError: as `read_weights` does.
    """
    read_weights(folder)
    path = Path(folder) / CONFIG
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | entries)
    return read_weights(folder)


def installed_weights() -> dict[str, Path]:
    """Return name -> folder of the embedded weights and of the checkout's `weights/`.

    Where both hold a name, the embedded one counts.
    """
    places = [CHECKOUT, EMBEDDED] if in_checkout() else [EMBEDDED]
    return {
        config.parent.name: config.parent
        for place in places
        for config in sorted(place.glob(f"*.*/{CONFIG}"))
    }


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
    import torch

    logits = _check_logits(model, weights.image_size, weights.arguments)
    try:
        stored = torch.tensor(weights.check["logits"])
    except (KeyError, TypeError, ValueError) as error:
        raise ZooError(f"{weights.name} has no stored logits to verify; leave it out.") from error
    if stored.shape != logits.shape or not torch.allclose(
        logits, stored, rtol=CHECK_TOLERANCE, atol=CHECK_TOLERANCE
    ):
        raise ZooError(
            f"{weights.name} does not compute its stored logits on this machine; "
            "the model code and the weights do not belong together."
        )


def _check_logits(model: nn.Module, image_size: int, arguments: Mapping[str, Any]) -> Tensor:
    """Return what a model on the CPU in eval mode says of two images drawn with seed 0."""
    import torch

    shape = (2, arguments.get("in_channels", 3), image_size, image_size)
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(images)


def save_weights(model: nn.Module, folder: Path, config: Mapping[str, Any]) -> Weights:
    """Write the model's half-precision tensors and its config.json into a folder.

    Args:
        model: its parameters and batch statistics are stored; the model is left as it is.
        folder: named "architecture.tag" where the weights are to be found by name.
        config: every entry of `Weights` but those computed here: sha256, size_bytes,
            parameters and check (logits of the half-precision weights).

    The tensors are replaced before config.json: a reader in between is told of a sha256 that
    does not match, and never gets the wrong weights.

    Raises:
        ZooError: a tensor is not finite in half precision.
    """
    import torch
    from safetensors.torch import save_file

    from robnet_zoo.models.count import count_parameters

    folder = Path(folder)
    arguments = {
        key: value
        for key, value in config["arguments"].items()
        if key not in ("auxiliary", "image_size")  # of the training, which are not stored
    }
    halves = {
        name: tensor.detach().half().cpu().contiguous()
        for name, tensor in stored_state(model).items()
    }
    for name, tensor in halves.items():
        if not torch.isfinite(tensor).all():
            raise ZooError(
                f"Cannot store '{name}': it is NaN, infinite or above 65504, the largest value "
                "of half precision; the training has diverged."
            )
    rounded = copy.deepcopy(model).cpu().float().eval()
    rounded.load_state_dict({n: t.float() for n, t in halves.items()}, strict=False)
    logits = _check_logits(rounded, config["image_size"], arguments)
    with atomic_path(folder / TENSORS) as temporary:
        save_file(halves, temporary, metadata={"format": "pt"})
        measured = {
            "arguments": arguments,
            "sha256": sha256_of(temporary),
            "size_bytes": temporary.stat().st_size,
            "parameters": count_parameters(model),
            "check": {
                "input": "two images, torch.rand from a generator with seed 0",
                "logits": logits.tolist(),
            },
        }
    write_json(folder / CONFIG, {"format": FORMAT, **config, **measured})
    return read_weights(folder)
