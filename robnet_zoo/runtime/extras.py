"""Packages that an extra of this one installs, imported when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from robnet_zoo.runtime.errors import ZooError


def import_extra(module: str, purpose: str, extra: str) -> Any:
    """Return a module of a package that need not be installed.

    Args:
        module: such as "torchvision.datasets".
        purpose: what needs it, for the error, such as "Data set 'cifar10'".
        extra: of this package, which installs it.

    Raises:
        ZooError: the package is missing, or does not fit the torch that is installed.
    """
    try:
        return import_module(module)
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision on another torch
        package = module.partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError)
        state = "is not installed" if missing else f"cannot be imported ({error})"
        raise ZooError(
            f'{purpose} needs {package}, which {state}; run: pip install "robnet-zoo[{extra}]".'
        ) from error
