"""Weights folders: safetensors beside a config.json that rebuilds the model.

`store.py` writes them, `tensors.py` reads the tensors back. Importing this module does not import
torch.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import asdict

from robnet_zoo.genotypes import Genotype, genotype_to_dict
from robnet_zoo.genotypes.types import Status
from robnet_zoo.runtime.decode import Count, read_json
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_json
from robnet_zoo.threat_models import ThreatModel, get_threat_model

Format = Literal["robnet_zoo.weights/1"]
(FORMAT,) = get_args(Format)
TENSORS, CONFIG = "model.safetensors", "config.json"
NATURAL = "-natural"  # behind a name: the same network trained without adversarial images
CONFIG_LIMIT = 4 << 20  # bytes; real ones take a tenth at most

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
        dtype: of its tensors; what is computed in is single precision.
        dataset: the data set's name; `image_size` is the side of its images in pixels.
        class_names: a name for each class, where they are known.
        threat_model: name, norm and epsilon (as text) of the adversarial training.
        check: logits of the stored weights on a fixed input.
        training: recipe, settings, seed, epochs, selection, environment and so on.
        results: accuracies as fractions with their n and confidence intervals.
    """

    format: Format
    name: str
    architecture: str
    arguments: Mapping[str, Any]
    genotype: Genotype | None = None
    genotype_status: Status | Literal["human-designed"]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    size_bytes: Count
    dtype: Literal["float16", "float32"] = "float16"
    parameters: Count
    dataset: str
    image_size: Annotated[int, Meta(ge=1, le=1024)]
    class_names: tuple[str, ...] | UnsetType = UNSET
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
        entries = {key: value for key, value in asdict(self).items() if value is not UNSET}
        del entries["folder"], entries["format"]
        genotype = None if self.genotype is None else genotype_to_dict(self.genotype)
        return copy.deepcopy(entries | {"genotype": genotype})

    @property
    def recorded(self) -> dict[str, Mapping[str, Any]]:
        """Those accuracies whose record is named, which alone are published."""
        return recorded_rates(self.results)

    @property
    def trained_against(self) -> ThreatModel:
        """The threat model of the training: a row of the table, perhaps at another size.

        Raises:
            ZooError: config.json names no row of the table, or no norm and size.
        """
        try:
            name, norm, epsilon = (self.threat_model[key] for key in ("name", "norm", "epsilon"))
        except KeyError as error:
            raise ZooError(
                f"The threat model of {self.name} has no {error}; it needs name, norm and epsilon."
            ) from error
        row = get_threat_model(name)
        if (norm, str(epsilon)) == (row.norm, row.epsilon.text):
            return row
        return row.at(epsilon, norm)

    @property
    def images(self) -> int | None:
        """How many test images the accuracies are of, where it is known."""
        n = self.results.get("n")
        return n if isinstance(n, int) else None

    @property
    def failed_checks(self) -> tuple[str, ...]:
        """Checks of the evaluation that failed, so that its accuracies are not to be quoted."""
        names = self.results.get("failed_checks", ())
        return tuple(map(str, names)) if isinstance(names, Sequence) else ()

    @property
    def naturally_trained(self) -> bool:
        """Whether it was trained without adversarial images."""
        return self.training.get("recipe") == "natural"

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


def recorded_rates(results: Any) -> dict[str, Mapping[str, Any]]:
    """Return the accuracies among results, if these name the record of an evaluation."""
    return rates(results) if isinstance(results, Mapping) and results.get("record") else {}


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
