"""What a result was computed with: versions, hardware and precision switches."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import Any, Literal

Compile = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "timm",
    "torchattacks",
    "pyautoattack",
    "safetensors",
)


def environment(device: str = "cpu") -> dict[str, Any]:
    """Return versions, processor, device and precision switches as a JSON-ready dict."""
    import torch

    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    values: dict[str, Any] = {
        "robnet_zoo": _own_version(),
        "python": platform.python_version(),
        "libraries": versions,
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "device": device,
        "allow_tf32": {
            "matmul": torch.backends.cuda.matmul.allow_tf32,
            "cudnn": torch.backends.cudnn.allow_tf32,
        },
    }
    if device.startswith("cuda"):
        values["gpu"] = torch.cuda.get_device_name(device)
        values["cuda"] = torch.version.cuda
    return values


def _own_version() -> str:
    from robnet_zoo import __version__

    return __version__


def _processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def pick_device(name: str = "auto") -> str:
    """Return a usable torch device string; "auto" prefers CUDA.

    Raises:
        ZooError: the device is unknown or not available on this machine.
    """
    import torch

    from robnet_zoo.runtime.errors import ZooError

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ZooError(f"Unknown device '{name}'; use cpu, cuda or cuda:N.") from error
    if device.type not in ("cpu", "cuda"):
        raise ZooError(f"Unsupported device '{name}'; use cpu, cuda or cuda:N.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ZooError(f"Device '{name}' was asked for but no CUDA device is available; use cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ZooError(f"Device '{name}' does not exist; this machine has {count} CUDA device(s).")
    return name


def tune() -> None:
    """Let cuDNN try its algorithms on every shape of convolution: batches keep their shapes."""
    import torch

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 5  # the likeliest; more take longer than they save
