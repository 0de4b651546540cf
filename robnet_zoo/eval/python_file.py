"""A model out of a Python file of the user's own: FILE.py:NAME."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from robnet_zoo.runtime.errors import ZooError, cause, unknown_name


def model_in_file(path: Path, name: str) -> nn.Module:
    """Run a Python file and return the model that it names.

    Args:
        path: of the file, which may import from its own folder.
        name: of a module, or of what returns one when it is called without arguments.

    Raises:
        ZooError: no such file or name, an error in its code (with file and line), or what is no
            nn.Module.
    """
    with _explained(path):
        module = _run(path)
    if not hasattr(module, name):
        raise unknown_name(f"name in {path.name}:", name, _candidates(module))
    value = getattr(module, name)
    where = f"{path.name}:{name}"
    if not isinstance(value, nn.Module) and callable(value):
        _validate_signature(value, where)
        with _explained(path):
            value = value()
    if not isinstance(value, nn.Module):
        raise ZooError(
            f"{where} gives a {type(value).__name__}; it must be an nn.Module, or a function "
            "without arguments that returns one."
        )
    return value


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise ZooError(f"There is no file '{path}'; give --model FILE.py:NAME.")
    name = f"own_model_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ZooError(f"'{path}' is no Python file; give --model FILE.py:NAME.")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as for a script, for imports to come too
    spec.loader.exec_module(module)
    return module


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the file's own code raises into one sentence."""
    try:
        yield
    except ZooError:
        raise
    except (Exception, SystemExit) as error:
        raise ZooError(f"'{path}' cannot be used: {cause(error)}.") from error


def _validate_signature(build: Any, where: str) -> None:
    try:
        inspect.signature(build).bind()
    except TypeError as error:
        raise ZooError(
            f"{where} takes arguments ({error}); name a function that takes none."
        ) from error
    except ValueError:  # of a builtin without a signature
        return


def _candidates(module: ModuleType) -> list[str]:
    """Return what the file itself defines and could be meant."""
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, nn.Module)
        or (callable(value) and getattr(value, "__module__", None) == module.__name__)
    ]
