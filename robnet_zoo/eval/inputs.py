"""What is judged, on what: the images under evaluation, and names for the record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from msgspec import UNSET
from torch import Tensor, nn

from robnet_zoo.attacks.batch import to_pixels
from robnet_zoo.attacks.calling import model_name, precision_of
from robnet_zoo.attacks.model import state_sha256
from robnet_zoo.data import to_float
from robnet_zoo.eval.checks.results import Card
from robnet_zoo.eval.record.setup import DataInfo, ModelInfo
from robnet_zoo.eval.sources import is_split, read_pair
from robnet_zoo.runtime.errors import ZooError

if TYPE_CHECKING:
    from robnet_zoo.data import Dataset
    from robnet_zoo.data.splits import Split
    from robnet_zoo.eval.sources import Data
    from robnet_zoo.zoo.weights import Weights


@dataclass(frozen=True, kw_only=True)
class RunMetadata:
    """Names for the record, and what to check it against; they change no verdict.

    Attributes:
        model: name of the model; the class's if empty.
        weights: name of its weights, and `weights_file_sha256` the hash of their file.
        genotype_status: "published", "reconstructed", "searched here" or "control".
        data: name of the data set, and `split` of its part.
        class_names: one a class.
        card: what the weights claim, where they do.
        image_size: width in pixels of the images that the model is for.
        swept: whether epsilon is one of many that a sweep goes through.
        surrogate: name of the surrogate; its class if empty.
    """

    model: str = ""
    architecture: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    weights_file_sha256: str = ""
    genotype_status: str = ""
    data: str = "tensors"
    split: str = ""
    class_names: tuple[str, ...] = ()
    card: Card | None = None
    image_size: int | None = None
    swept: bool = False
    surrogate: str = ""

    @classmethod
    def of_weights(cls, weights: Weights, dataset: Dataset, split: str) -> RunMetadata:
        """Return what is known of the zoo's or somebody's weights on a part of a data set."""
        clean, n = weights.results.get("clean"), weights.results.get("n")
        card = None
        if clean is not None and n is not None:
            card = Card(data=weights.dataset, split="test", n=n, accuracy=clean["accuracy"])
        return cls(
            model=weights.name,
            architecture=weights.architecture,
            arguments=dict(weights.arguments),
            weights=weights.name,
            weights_file_sha256=weights.sha256,
            genotype_status=weights.genotype_status,
            data=dataset.name,
            split=split,
            class_names=dataset.class_names,
            card=card,
            image_size=weights.image_size,
        )


@dataclass(frozen=True, eq=False)
class Images:
    """The first n images of a split, or of a pair of tensors, with their labels (n,)."""

    source: Split | Tensor
    labels: Tensor
    available: int
    sha256: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def side(self) -> int:
        """Width of the images, in pixels."""
        return self.take(torch.arange(1)).shape[-1]

    @property
    def device(self) -> torch.device:
        """Where labels and images lie."""
        return self.labels.device

    def info(self, metadata: RunMetadata) -> DataInfo:
        """Return what the record says about them."""
        return DataInfo(
            name=metadata.data,
            split=metadata.split,
            n=len(self),
            available=self.available,
            sha256=self.sha256,
        )

    def take(self, indices: Tensor) -> Tensor:
        """Return float32 images (B, C, H, W) in [0,1] for positions (B,)."""
        if isinstance(self.source, Tensor):
            return self.source[indices]
        return to_float(self.source.images(indices))

    def labels_of(self, indices: Tensor) -> Tensor:
        """Return the labels (B,) for positions (B,)."""
        return self.labels[indices.to(self.device)]


def take_first(data: Data, n: int | None, device: torch.device | None) -> Images:
    """Return the first n images of the data (all if None), on a device, or where they are if None.

    Raises:
        ZooError: n is not a number of images there are, or the data are no images and labels.
    """
    if n is not None and (isinstance(n, bool) or not isinstance(n, Integral)):
        raise ZooError(f"n {n} is no whole number; give how many images to judge.")
    if is_split(data):
        chosen = torch.arange(_validated(n, len(data)))
        split = data.subset(chosen).to(device or data.device)
        return Images(split, split.labels, len(data), split.fingerprint)
    pair = read_pair(data, n)
    count = _validated(n, pair.available)
    images, labels = pair.images[:count], pair.labels[:count]
    images, labels = images.to(device or images.device), labels.to(device or images.device)
    pixels = to_pixels(images, labels)
    as_given = images.detach().cpu().contiguous().flatten().view(torch.uint8)  # of any type
    sha = hashlib.sha256(as_given.numpy().tobytes())
    sha.update(labels.cpu().numpy().tobytes())
    return Images(pixels, labels, pair.available, sha.hexdigest())


def _validated(n: int | None, available: int) -> int:
    """Return how many images to take."""
    if available == 0:
        raise ZooError("There are no images in the data; give one at least.")
    if n is not None and not 1 <= n <= available:
        raise ZooError(f"n {n} is out of range; there are {available:,} images, so give 1 to that.")
    return available if n is None else n


def model_info(model: nn.Module, metadata: RunMetadata) -> ModelInfo:
    """Return what the record says about the model.

    Raises:
        ZooError: parameters are of a lower precision than float32.
    """
    return ModelInfo(
        name=metadata.model or model_name(model),
        architecture=metadata.architecture,
        arguments=metadata.arguments,
        weights=metadata.weights,
        weights_file_sha256=metadata.weights_file_sha256,
        state_sha256=state_sha256(model),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        genotype_status=metadata.genotype_status,
        precision="float64" if precision_of(model) == torch.float64 else UNSET,
    )
