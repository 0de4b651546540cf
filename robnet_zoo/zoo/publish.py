"""Weights folders published on the Hugging Face Hub, and pinned in the registry."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_json
from robnet_zoo.zoo.card import write_card
from robnet_zoo.zoo.hub import PINS, Pin, pins, why
from robnet_zoo.zoo.load import load
from robnet_zoo.zoo.weights import CONFIG, TENSORS, Weights, in_checkout, read_weights

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo
    from huggingface_hub.hf_api import RepoSibling


@dataclass(frozen=True)
class Publication:
    """What publishing a folder changes.

    Attributes:
        weights: what is published.
        repository: where, as "org/name".
        files: "new", "changed" or "same" for each file.
        revision: the repository's commit, the new one if anything was sent; None if there is no
            such repository yet.
    """

    weights: Weights
    repository: str
    files: Mapping[str, str]
    revision: str | None


def publish(folder: Path, organisation: str, *, send: bool) -> Publication:
    """Compare a weights folder with its repository, and make the two equal unless it is a dry run.

    The card and the drawing are made anew from config.json. What is sent is pinned in the
    checkout's registry, by commit and sha256.

    Raises:
        ZooError: weights that do not load or compute their stored logits, no checkout to pin
            in, or a Hub that cannot be reached or refuses.
    """
    if send and not in_checkout():
        raise ZooError("Publishing pins the weights in a checkout's registry; run it from one.")
    weights = read_weights(folder)
    load(weights, verify=True)
    repository = f"{organisation}/{weights.name}"
    with TemporaryDirectory() as place:
        staged = Path(place)
        for name in (CONFIG, TENSORS):
            shutil.copy(folder / name, staged / name)
        write_card(read_weights(staged), organisation)
        revision, published_files = _published(repository)
        files = {path.name: _compare(path, published_files) for path in sorted(staged.iterdir())}
        if send:
            if set(files.values()) != {"same"}:
                revision = upload(staged, repository, f"Publish {weights.name}").oid
            _pin(weights.name, Pin(repository, str(revision), weights.sha256))
    return Publication(weights, repository, files, revision)


def _published(repository: str) -> tuple[str | None, dict[str, RepoSibling]]:
    """Return the repository's commit and files by name; none where it does not exist."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError, RepositoryNotFoundError

    try:
        remote = HfApi().model_info(repository, files_metadata=True)
    except RepositoryNotFoundError:
        return None, {}
    except (HTTPError, OSError, ValueError) as error:
        raise _refused(repository, error) from error
    return remote.sha, {file.rfilename: file for file in remote.siblings or []}


def _compare(path: Path, published_files: Mapping[str, RepoSibling]) -> str:
    """Return how a file differs from the Hub's, by the hash that the Hub states."""
    if path.name not in published_files:
        return "new"
    content, other = path.read_bytes(), published_files[path.name]
    if other.lfs is not None:
        same = hashlib.sha256(content).hexdigest() == other.lfs.sha256
    else:
        same = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == other.blob_id
    return "same" if same else "changed"


def upload(
    folder: Path,
    repository: str,
    message: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
) -> CommitInfo:
    """Make the repository if there is none, and send a folder's files in one commit.

    Raises:
        ZooError: the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    api = HfApi(token=token)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        return api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=message,
            revision=branch,
            create_pr=create_pr,
        )
    except (HTTPError, OSError, ValueError) as error:
        raise _refused(repository, error) from error


def _refused(repository: str, error: Exception) -> ZooError:
    from huggingface_hub import constants

    return ZooError(f"Cannot publish '{repository}' on {constants.ENDPOINT}: {why(error)}.")


def _pin(name: str, pin: Pin) -> None:
    entries = pins() | {name: pin}
    write_json(PINS, to_builtins(dict(sorted(entries.items()))))
