"""Models that are not the zoo's, by name: a Python file of the user's own, timm, torchvision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import sha256_of

if TYPE_CHECKING:
    from torch import nn

    from robnet_zoo.data import Dataset
    from robnet_zoo.eval.inputs import RunMetadata

LIBRARIES = ("timm", "torchvision")
STATE_FILES = (".safetensors", ".pt", ".pth", ".tar", ".bin", ".ckpt")


@dataclass(frozen=True, kw_only=True)
class ExternalModel:
    """The name of a model that is not the zoo's.

    Attributes:
        spec: "FILE.py:NAME", "timm:NAME" or "torchvision:NAME".
        weights: a file with its state dict, or the tag of torchvision's pretrained weights; what
            the file or the library chooses if None.
    """

    spec: str
    weights: str | None = None

    @property
    def place(self) -> str:
        """The file or the library."""
        return self.spec.rpartition(":")[0]

    @property
    def name(self) -> str:
        """The spec, of the file's path its last part alone."""
        return self.spec if self.place in LIBRARIES else Path(self.spec).name

    @property
    def state_file(self) -> Path | None:
        """The file with its state dict, if one was given.

        Raises:
            ZooError: the weights of a Python file's model are no such file.
        """
        if self.weights is None:
            return None
        if self.weights.endswith(STATE_FILES):
            return Path(self.weights).expanduser()
        if self.place in LIBRARIES:
            return None
        raise ZooError(
            f"The weights '{self.weights}' are no file of a state dict; its name ends in "
            f"{', '.join(STATE_FILES)}."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A model in eval mode, on the CPU, and what the record says of where it came from."""

    model: nn.Module
    metadata: RunMetadata


def is_external(spec: str) -> bool:
    """Return whether a name is that of a model outside the zoo.

    Raises:
        ZooError: it is a file without the name of what builds the model.
    """
    place, _, name = spec.rpartition(":")
    if spec.endswith(".py") or (place.endswith(".py") and not name):
        file = spec.removesuffix(":")
        raise ZooError(f"'{spec}' does not say what in it is the model; write {file}:NAME.")
    return place in LIBRARIES or place.endswith(".py")


def load_external(
    model: ExternalModel,
    dataset: Dataset | None = None,
    *,
    mean: str | None = None,
    std: str | None = None,
) -> LoadedModel:
    """Load a model that is not the zoo's.

    Args:
        model: its name.
        dataset: what it is to be judged on.
        mean: of each channel, as `parse_normalisation` takes it, put inside the model; a
            library's pretrained weights bring theirs.
        std: likewise.

    Raises:
        ZooError: there is no such model, file or weights, they do not fit, or code of the file
            fails.
    """
    from robnet_zoo.eval.inputs import RunMetadata
    from robnet_zoo.eval.normalisation import Normalised, parse_normalisation

    normalisation, file = parse_normalisation(mean, std), model.state_file
    name = model.spec.rpartition(":")[2]
    arguments: dict[str, Any] = {"spec": model.spec}
    if model.place in LIBRARIES:
        from robnet_zoo.eval.libraries import pretrained, untrained

        built = (
            untrained(model.place, name, dataset)
            if file is not None
            else pretrained(model.place, name, model.weights, dataset)
        )
        network = built.network
        normalisation = normalisation or built.normalisation
        arguments |= built.arguments
    else:
        from robnet_zoo.eval.python_file import model_in_file

        network = model_in_file(Path(model.place).expanduser(), name)
        arguments["file_sha256"] = sha256_of(Path(model.place).expanduser())
    if file is not None:
        from robnet_zoo.zoo.state_dicts import load_state

        load_state(network, file, model.name)
    if normalisation is not None:
        network = Normalised(network, *normalisation)
        arguments |= {"mean": list(normalisation[0]), "std": list(normalisation[1])}
    metadata = RunMetadata(
        model=model.name,
        arguments=arguments,
        weights=file.name if file is not None else arguments.get("pretrained", ""),
        weights_file_sha256="" if file is None else sha256_of(file),
    )
    return LoadedModel(model=network.cpu().eval(), metadata=metadata)
