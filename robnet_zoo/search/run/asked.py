"""What was asked of a folder's work: written down once, and held against every later call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robnet_zoo.runtime.decode import read_json
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_json


def keep_asked(path: Path, asked: Mapping[str, Any], refusal: str) -> None:
    """Write down what is asked, or hold it against what was asked before.

    Args:
        path: of the file that keeps it.
        asked: plain values, as JSON has them.
        refusal: what to say where the two differ, a sentence.

    Raises:
        ZooError: they differ, or the file is damaged.
    """
    if not path.exists():
        write_json(path, dict(asked))
    elif read_json(path, dict[str, Any], "settings file") != asked:
        raise ZooError(refusal)
