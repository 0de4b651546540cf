"""Networks as files that run without this package: ONNX, and programs of torch.export.

A file takes its name only once it was read back and gave the logits that are expected of it.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robnet_zoo.models.cells import CellBlock
from robnet_zoo.models.operations import SeparableConv
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.extras import import_extra
from robnet_zoo.runtime.files import atomic_path

OPSET = 17  # of ONNX, from 2022
TOLERANCE = 1e-4  # of the largest logit: far above rounding, far below a wrong layer
METADATA = "metadata.json"  # beside a program, in its file


@dataclass(frozen=True)
class Expected:
    """Images (N, C, H, W) with pixels in [0,1], and the logits (N, classes) of a network."""

    images: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Agreement:
    """How well a file agrees with the logits that are expected of it.

    Attributes:
        difference: the greatest one between two logits.
        allowed: the greatest that rounding may make.
    """

    difference: float
    allowed: float


def plain_copy(model: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in eval mode and single precision, without layouts for speed."""
    plain = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    for module in plain.modules():
        if isinstance(module, SeparableConv):
            module.mode = "apart"
        elif isinstance(module, CellBlock):
            module.grouped = False
    return plain


def write_onnx(
    model: nn.Module,
    expected: Sequence[Expected],
    path: Path,
    *,
    names: tuple[str, str] = ("images", "logits"),
    opset: int = OPSET,
    any_batch: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> Agreement:
    """Write a network as ONNX, and compare what onnxruntime makes of the file.

    Args:
        model: in eval mode, on the CPU.
        expected: what the file must give; it is traced with the first of the images.
        path: the file.
        names: of its input and output.
        opset: version of ONNX's operators.
        any_batch: whether it takes batches of any size rather than the traced one.
        metadata: what the file says of itself; what is no text is written as JSON.

    Raises:
        ZooError: onnx or onnxruntime is missing, the network cannot be written, or the file gives
            other logits; none is left then.
    """
    onnx, onnxruntime = (
        import_extra(name, "An ONNX file", "onnx") for name in ("onnx", "onnxruntime")
    )
    with atomic_path(path) as temporary:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the older exporter writes what every tool reads
            try:
                torch.onnx.export(
                    model,
                    (expected[0].images,),
                    str(temporary),
                    dynamo=False,
                    input_names=[names[0]],
                    output_names=[names[1]],
                    opset_version=opset,
                    dynamic_axes={name: {0: "batch"} for name in names} if any_batch else None,
                )
            except (torch.onnx.OnnxExporterError, RuntimeError) as error:
                raise _unwritable("ONNX", error) from error
        if metadata:
            graph = onnx.load(str(temporary))
            texts = {key: _text(value) for key, value in metadata.items()}
            onnx.helper.set_model_props(graph, texts)
            onnx.save(graph, str(temporary))
        return _compared("onnxruntime", _onnx_runner(onnxruntime, temporary), expected)


def write_program(
    model: nn.Module,
    expected: Sequence[Expected],
    path: Path,
    *,
    metadata: Mapping[str, Any] | None = None,
) -> Agreement:
    """Write a network as a program of torch.export, and compare what the file gives when loaded.

    Args:
        model: in eval mode, on the CPU.
        expected: what the file must give; it is traced with the first of the images, two or more.
        path: the file.
        metadata: what `torch.export.load(..., extra_files={"metadata.json": ""})` gives, as JSON.

    Raises:
        ZooError: the network cannot be written, or the file gives other logits; none is left then.
    """
    any_batch = ({0: torch.export.Dim("batch")},)
    with atomic_path(path) as temporary, torch.no_grad():
        try:
            program = torch.export.export(
                model, (expected[0].images,), dynamic_shapes=any_batch, strict=False
            )
        except (RuntimeError, ValueError) as error:
            raise _unwritable("a program of torch.export", error) from error
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # which is long, and names files of this machine
        with temporary.open("wb") as file:  # by name, torch would ask for another suffix
            torch.export.save(program, file, extra_files={METADATA: json.dumps(metadata or {})})
        with temporary.open("rb") as file:
            loaded = torch.export.load(file).module()
        return _compared("torch.export", loaded, expected)


def _unwritable(kind: str, error: Exception) -> ZooError:
    first = str(error).strip().partition("\n")[0]
    return ZooError(f"The model cannot be written as {kind}: {first}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _onnx_runner(onnxruntime: Any, path: Path) -> Callable[[Tensor], Tensor]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (images,) = session.get_inputs()

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {images.name: x.numpy()})[0])

    return run


def _compared(
    runtime: str, run: Callable[[Tensor], Tensor], expected: Sequence[Expected]
) -> Agreement:
    """Return how well what a file gives agrees with what is expected.

    Raises:
        ZooError: it does not.
    """
    differences, allowed = [], TOLERANCE * max(float(e.logits.abs().max()) for e in expected)
    for pair in expected:
        logits = run(pair.images)
        if logits.shape != pair.logits.shape:
            shapes = f"{tuple(logits.shape)} in place of {tuple(pair.logits.shape)}"
            raise ZooError(f"In {runtime} the file gives logits of shape {shapes}; it is not kept.")
        differences.append((logits - pair.logits).abs().max())
    difference = float(torch.stack(differences).max())  # which NaN survives
    if not difference <= allowed:
        raise ZooError(
            f"In {runtime} the file gives logits that differ by {difference:.2g} from the "
            f"expected ones, where rounding makes {allowed:.2g} at most; it is not kept."
        )
    return Agreement(difference, allowed)
