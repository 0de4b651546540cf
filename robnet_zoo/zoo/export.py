"""Networks of the zoo as files for other programs: ONNX, and programs of torch.export.

Both take batches of any size, pixels in [0,1], and give logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robnet_zoo.data import dataset_info, list_datasets
from robnet_zoo.models.export import (
    Agreement,
    Expected,
    plain_copy,
    write_onnx,
    write_program,
)
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.mixin import HubModel, load_hub_model
from robnet_zoo.zoo.notices import describe_default, notice
from robnet_zoo.zoo.registry import default_tag, find_weights
from robnet_zoo.zoo.store import check_images, stored_logits, tensors_sha256
from robnet_zoo.zoo.surgery import changed_arguments
from robnet_zoo.zoo.weights import Weights

ONNX, PROGRAM = ".onnx", ".pt2"
OTHER_BATCHES = (1, 3)  # images, beside the two that are traced
# of the weights, as far as they are known
DESCRIBED = ("name", "sha256", "dataset", "threat_model", "licence")


@dataclass(frozen=True)
class Export:
    """A file that was written, and how well it agrees with the network.

    Attributes:
        path: the file.
        input_shape: of the images that it takes, (C, H, W).
        classes: how many logits it gives.
        agreement: the greatest difference between its logits and the expected ones.
        stored: whether the logits that came with the weights are among these; otherwise all are
            the network's own, from this machine.
    """

    path: Path
    input_shape: tuple[int, ...]
    classes: int
    agreement: Agreement
    stored: bool


def export_onnx(
    model: HubModel | Weights | str,
    path: str | Path,
    *,
    image_size: int | None = None,
    overwrite: bool = False,
) -> Export:
    """Write a network as ONNX: "images" (N, C, H, W) in [0,1] -> "logits" (N, classes).

    onnxruntime runs the file on batches of several sizes before it takes its name. Its metadata
    says the weights' name, the classes, the size of the images and more.

    Args:
        model: a network that `create_model` returned, or the name or metadata of weights. Those
            with stored logits are held against them. The network is left as it is.
        path: FILE.onnx.
        image_size: side of the images in pixels; the weights' own if None.
        overwrite: replace a file that is there already.

    Raises:
        ZooError: no such weights, a file that is there already or cannot be written, a size that
            the network cannot take, onnx or onnxruntime are missing, or the file gives other
            logits; none is left then.
    """
    target = export_target(path, ONNX, overwrite)
    return _export(write_onnx, model, target, image_size)


def export_torch(
    model: HubModel | Weights | str,
    path: str | Path,
    *,
    image_size: int | None = None,
    overwrite: bool = False,
) -> Export:
    """Write a network as a program of torch.export, which needs PyTorch alone.

    `torch.export.load(path).module()` takes images (N, C, H, W) in [0,1] and gives logits. It is
    loaded and run on batches of several sizes before it takes its name. What the metadata of an
    ONNX file says is "metadata.json" among its extra files.

    Args:
        model: as of `export_onnx`.
        path: FILE.pt2.
        image_size: side of the images in pixels; the weights' own if None.
        overwrite: replace a file that is there already.

    Raises:
        ZooError: as `export_onnx` does, but for the packages.
    """
    target = export_target(path, PROGRAM, overwrite)
    return _export(write_program, model, target, image_size)


def export_target(path: str | Path, suffix: str, overwrite: bool) -> Path:
    """Return where a file is to be written.

    Raises:
        ZooError: it has another suffix, is there already, or cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() != suffix:
        raise ZooError(f"Cannot export to '{target}'; its name must end in {suffix}.")
    if target.exists() and not overwrite:
        raise ZooError(
            f"'{target}' exists already; name another file, or give --overwrite (from Python: "
            "overwrite=True)."
        )
    check_writable(target)
    return target


def _export(
    write: Callable[..., Agreement],
    model: HubModel | Weights | str,
    path: Path,
    image_size: int | None,
) -> Export:
    network = model if isinstance(model, HubModel) else _loaded(model, image_size)
    side = network.config.get("image_size") if image_size is None else image_size
    if side is None:
        raise ZooError(
            "The network does not know the size of its images, as it was not loaded from weights; "
            "give it: --image-size 32 (from Python: image_size=32)."
        )
    if type(side) is not int or side < 1:
        raise ZooError(
            f"image_size={side} is not possible; use a whole number of pixels, 1 or more."
        )
    named = not isinstance(model, HubModel)
    unchanged = named or tensors_sha256(network) == network.config.get("sha256")
    plain = plain_copy(network)
    images = check_images(side, changed_arguments(network, network.config.get("arguments", {})))
    expected = [Expected(part, _logits(plain, part)) for part in _batches(images)]
    stored = stored_logits(network.config.get("check", {}))
    if not unchanged or side != network.config["image_size"]:
        stored = None
    if stored is not None:
        expected.append(Expected(images, stored))
    shape, classes = tuple(images.shape[1:]), expected[0].logits.shape[1]
    metadata = _metadata(network.config, unchanged, shape, classes)
    agreement = write(plain, expected, path, metadata=metadata)
    return Export(path, shape, classes, agreement, stored is not None)


def _loaded(model: Weights | str, image_size: int | None) -> HubModel:
    """Return the network of weights, held against its stored logits if there are any."""
    if not isinstance(model, Weights | str):
        raise ZooError(
            f"Cannot export a {type(model).__name__}; give a network that create_model returned, "
            "with its classifier, or the name of weights."
        )
    weights = _named(model) if isinstance(model, str) else model
    own = image_size in (None, weights.image_size)
    verify = own and stored_logits(weights.check) is not None
    return load_hub_model(weights, verify=verify, **({} if own else {"image_size": image_size}))


def _named(name: str) -> Weights:
    if name.startswith("cells:") or (name in ARCHITECTURES and default_tag(name) is None):
        raise ZooError(
            f"There are no weights of {name}; name a folder of weights, local-dir:DIR, or export "
            f"it with random ones: robnet-zoo export {name} --untrained, or from Python "
            f"create_model('{name}') in place of its name."
        )
    weights = find_weights(name)
    if name in ARCHITECTURES and (text := describe_default(name, weights)):
        notice(text, stacklevel=4)
    return weights


def _batches(images: Tensor) -> list[Tensor]:
    """Return the two images, and batches of other sizes made of them."""
    return [images, *(images.repeat(size, 1, 1, 1)[:size].flip(-1) for size in OTHER_BATCHES)]


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            return model(images)
    except RuntimeError as error:
        first = str(error).strip().partition("\n")[0]
        raise ZooError(
            f"The network cannot take images of shape {tuple(images.shape)} ({first}); "
            "give another image_size."
        ) from error


def _metadata(
    config: Mapping[str, Any], unchanged: bool, shape: tuple[int, ...], classes: int
) -> dict[str, Any]:
    """Return what a file says of itself.

    Args:
        config: what is known of the network.
        unchanged: whether its parameters are those of the weights that it was loaded from.
        shape: of an image.
        classes: how many there are.
    """
    from robnet_zoo import __version__

    metadata = {"architecture": config["architecture"]}
    if unchanged:
        metadata |= {key: config[key] for key in DESCRIBED}
    elif "sha256" in config:
        metadata |= {"started_from": {key: config[key] for key in ("name", "sha256")}}
    dataset = config.get("dataset")
    known = dataset_info(dataset).class_names if dataset in list_datasets() else ()
    names = config.get("class_names", known)
    if len(names) == classes:
        metadata["class_names"] = list(names)
    return metadata | {
        "input_size": list(shape),
        "input": "images (N, C, H, W) with pixels in [0,1]; any normalisation is inside",
        "output": "logits (N, classes)",
        "robnet_zoo": __version__,
    }
