"""Folders sent to repositories of the Hugging Face Hub, models and Spaces, and the two compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.hub import why

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo
    from huggingface_hub.hf_api import RepoSibling

Kind = Literal["model", "space"]
OF_THE_HUB = ".gitattributes"  # which it makes itself


@dataclass(frozen=True)
class Publication:
    """What publishing a folder changes.

    Attributes:
        repository: where, as "org/name".
        files: "new", "changed", "same" or "removed" for each file.
        revision: the repository's commit, the new one if anything was sent; None if there is no
            such repository yet.
    """

    repository: str
    files: Mapping[str, str]
    revision: str | None


def synchronise(
    folder: Path,
    repository: str,
    message: str,
    *,
    send: bool,
    kind: Kind = "model",
    remove: Sequence[str] = (),
) -> Publication:
    """Compare a folder with a repository, and make the two equal unless it is a dry run.

    Args:
        folder: what is to be published.
        repository: "org/name"; made if there is none.
        message: of the commit.
        send: False for a dry run.
        kind: what the repository is.
        remove: patterns of files that the repository keeps only if the folder has them.

    Raises:
        ZooError: the Hub refuses or cannot be reached.
    """
    revision, published = _published(repository, kind)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    files = {name: _compare(folder / name, name, published) for name in names}
    for name in published.keys() - {*files, OF_THE_HUB}:
        if any(fnmatch(name, pattern) for pattern in remove):
            files[name] = "removed"
    if send and set(files.values()) != {"same"}:
        revision = upload(folder, repository, message, kind=kind, remove=remove).oid
    return Publication(repository, files, revision)


def _published(repository: str, kind: Kind) -> tuple[str | None, dict[str, RepoSibling]]:
    """Return the repository's commit and files by name; none where it does not exist."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError, RepositoryNotFoundError

    ask = HfApi().space_info if kind == "space" else HfApi().model_info
    try:
        remote = ask(repository, files_metadata=True)
    except RepositoryNotFoundError:
        return None, {}
    except (HTTPError, OSError, ValueError) as error:
        raise _refused(repository, error) from error
    return remote.sha, {file.rfilename: file for file in remote.siblings or []}


def _compare(path: Path, name: str, published: Mapping[str, RepoSibling]) -> str:
    """Return how a file differs from the Hub's, by the hash that the Hub states."""
    if name not in published:
        return "new"
    content, other = path.read_bytes(), published[name]
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
    kind: Kind = "model",
    remove: Sequence[str] = (),
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
) -> CommitInfo:
    """Make the repository if there is none, and send a folder's files in one commit.

    Files that fit a pattern of `remove` and are not in the folder are removed by it.

    Raises:
        ZooError: the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    api = HfApi(token=token)
    try:
        api.create_repo(
            repository,
            private=private,
            repo_type=kind,
            space_sdk="static" if kind == "space" else None,
            exist_ok=True,
        )
        return api.upload_folder(
            repo_id=repository,
            repo_type=kind,
            folder_path=folder,
            commit_message=message,
            revision=branch,
            create_pr=create_pr,
            delete_patterns=list(remove) or None,
        )
    except (HTTPError, OSError, ValueError) as error:
        raise _refused(repository, error) from error


def _refused(repository: str, error: Exception) -> ZooError:
    from huggingface_hub import constants

    return ZooError(f"Cannot publish '{repository}' on {constants.ENDPOINT}: {why(error)}.")
