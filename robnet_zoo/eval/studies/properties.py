"""A model and its robustness properties as files for other verifiers."""

from __future__ import annotations

from pathlib import Path

import torch

from robnet_zoo.attacks.model import preserve_state
from robnet_zoo.certify.ball import Ball
from robnet_zoo.certify.vnnlib import property_text
from robnet_zoo.eval.inputs import take_first
from robnet_zoo.eval.target import EvalTarget
from robnet_zoo.models.export import Expected, write_onnx
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_text

MODEL, INSTANCES = "model.onnx", "instances.csv"
OPSET = 13  # of ONNX: old enough for every verifier
COMPARED = 8  # images, on which the file must give the model's logits


def write_properties(target: EvalTarget, folder: Path, *, n: int | None, timeout: int) -> int:
    """Write model.onnx, a VNN-LIB property for each image, and instances.csv.

    An image that the model misclassifies has no property. instances.csv has a line for each other
    one, "model, property, seconds", as verifiers of the VNN-COMP competitions take it.

    Args:
        target: the model, its images and a threat model in Linf.
        folder: where the files go.
        n: the first n images; all if None.
        timeout: seconds that a verifier gets for an image.

    Returns:
        The number of properties.

    Raises:
        ZooError: the norm is another, onnx or onnxruntime is missing, or the model cannot be
            written, or not so that it gives the same logits.
    """
    threat, device = target.threat_model, torch.device("cpu")
    if threat.norm != "Linf":
        raise ZooError(f"VNN-LIB describes boxes of pixels, hence Linf and not {threat.norm}.")
    images = take_first(target.split, n, device)
    model = target.model.to(device)
    everyone = torch.arange(len(images))
    pixels = images.take(everyone).double()
    ball = Ball(pixels, torch.full((len(pixels),), threat.epsilon.value).double(), "Linf")
    folder.mkdir(parents=True, exist_ok=True)
    with preserve_state(model), torch.no_grad():
        logits = model(images.take(everyone))
        expected = [
            Expected(images.take(everyone[at : at + 1]), logits[at : at + 1])
            for at in range(min(COMPARED, len(logits)))
        ]
        write_onnx(model, expected, folder / MODEL, names=("X", "Y"), opset=OPSET, any_batch=False)
    low, high = ball.box
    rows = []
    for number, label in enumerate(images.labels.tolist()):
        if logits[number].argmax() != label:
            continue
        name = f"image-{number}.vnnlib"
        remark = f"{target.dataset.name} image {number}, class {label}, Linf {threat.epsilon}"
        box = low[number], high[number]
        write_text(folder / name, property_text(box, label, logits.shape[1], remark))
        rows.append(f"{MODEL},{name},{timeout}\n")
    write_text(folder / INSTANCES, "".join(rows))
    return len(rows)
