"""Weights folders fetched from the Hugging Face Hub by its own client.

The client keeps wrong bytes of the right length, so hashes are compared here. It reads
HF_ENDPOINT, HF_HUB_CACHE and HF_HUB_OFFLINE when it is imported, which is at the first call.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from robnet_zoo.runtime.decode import read_json
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import sha256_of
from robnet_zoo.zoo.weights import CONFIG, TENSORS, read_weights

PINS = Path(__file__).with_name("pins.json")  # written by `robnet-zoo publish`
COMMIT = re.compile(r"[0-9a-f]{40}")
PAUSE = 1.0  # seconds, after a server error
UNCONNECTED = ("ConnectError", "ConnectTimeout")  # of the client's HTTP library, httpx or httpx2


class Pin(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a set of weights was published: "org/name", its commit and sha256 of the tensors."""

    repository: Annotated[str, Meta(pattern=r"^[^/@]+/[^/@]+\Z")]
    revision: Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


def pins() -> dict[str, Pin]:
    """Return the published weights by name, such as "racl.cifar10"."""
    return read_json(PINS, dict[str, Pin], "pins")


def fetch(
    repository: str, revision: str | None = None, *, sha256: str | None = None, **options: Any
) -> Path:
    """Return the cached folder of a repository, downloading what is missing.

    A commit that is cached asks the Hub nothing. Files that do not fit each other are removed
    and fetched once more.

    Args:
        repository: "org/name", or "org/name@revision".
        revision: a branch, tag or commit; the newest if None.
        sha256: of the tensors, where it is known.
        options: token, cache_dir, local_files_only or force_download of `hf_hub_download`.

    Raises:
        ZooError: no such repository, revision or file, no connection and nothing cached, or
            files whose hash is wrong.
    """
    name, _, written = repository.partition("@")
    try:
        return _fetch(name, revision or written or None, sha256, options)
    except AlteredError:
        return _fetch(name, revision or written or None, sha256, options)


def fetch_pinned(pin: Pin) -> Path:
    """Return the cached folder of published weights, downloading what is missing."""
    return fetch(pin.repository, pin.revision, sha256=pin.sha256)


def cached(pin: Pin) -> Path | None:
    """Return the folder of published weights if both files are cached; asks the Hub nothing."""
    from huggingface_hub import try_to_load_from_cache

    config, tensors = (
        try_to_load_from_cache(pin.repository, name, revision=pin.revision)
        for name in (CONFIG, TENSORS)
    )
    both = isinstance(config, str) and isinstance(tensors, str)
    return Path(str(config)).parent if both else None


class AlteredError(ZooError):
    """Files that are not what was recorded; they were removed from the cache."""


def _fetch(name: str, revision: str | None, sha256: str | None, options: dict[str, Any]) -> Path:
    folder = _file(name, CONFIG, revision, options).parent
    commit = folder.name  # both files come from one commit, whatever is pushed meanwhile
    if revision is not None and COMMIT.fullmatch(revision) and commit != revision:
        raise ZooError(f"The Hub answered with commit {commit} of '{name}' instead of {revision}.")
    try:
        recorded = read_weights(folder).sha256  # before tensors that may be another project's
    except ZooError as error:
        _remove(folder)
        raise AlteredError(
            f"'{name}' is damaged or holds no weights of this zoo. {error}"
        ) from error
    tensors = _file(name, TENSORS, commit, options)
    if sha256_of(tensors) != recorded or sha256 not in (None, recorded):
        _remove(folder)
        raise AlteredError(
            f"'{name}' is altered: its {TENSORS} does not have the recorded sha256, fetched "
            "anew or not; it is not kept, and its owner should know."
        )
    return folder


def _remove(folder: Path) -> None:
    """Remove the files' contents and the links to them; another process may have been first."""
    for name in (CONFIG, TENSORS):
        (folder / name).resolve().unlink(missing_ok=True)
        (folder / name).unlink(missing_ok=True)


def _file(name: str, path: str, revision: str | None, options: dict[str, Any]) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    place = f"'{name}'" if revision is None else f"'{name}' at {revision}"
    if not _reachable(name, path, revision, options):
        raise ZooError(f"Cannot fetch {place}, {_tried()}: {_without_network(name, revision)}.")
    try:
        try:
            return Path(hf_hub_download(name, path, revision=revision, **options))
        except (HTTPError, OSError) as error:
            if not _is_server_error(error):
                raise
            time.sleep(PAUSE)  # the client does not try every request again
            return Path(hf_hub_download(name, path, revision=revision, **options))
    except (HTTPError, OSError, ValueError) as error:
        raise ZooError(f"Cannot fetch {place}, {_tried()}: {why(error)}.") from error


def _reachable(name: str, path: str, revision: str | None, options: dict[str, Any]) -> bool:
    """Return whether a file is cached, or the Hub can be connected to.

    Where it cannot, the client would try again for 23 seconds and more. Any other failure is left
    to the client, which asks anew.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HTTPError

    try:
        kept = try_to_load_from_cache(
            name, path, options.get("cache_dir"), revision=revision or constants.DEFAULT_REVISION
        )
        if isinstance(kept, str) and not options.get("force_download"):
            return True
        if constants.HF_HUB_OFFLINE:
            return False
        if not options.get("local_files_only"):
            url = hf_hub_url(name, path, revision=revision)
            get_hf_file_metadata(url, token=options.get("token"))
    except (HTTPError, OSError, ValueError) as error:
        return type(error).__name__ not in UNCONNECTED
    return True


def _without_network(name: str, revision: str | None) -> str:
    from huggingface_hub import constants

    offline = constants.HF_HUB_OFFLINE
    state = "HF_HUB_OFFLINE is set; unset it" if offline else "no connection; check the network"
    known = f"hf-hub:{name}" if revision is None else f"hf-hub:{name}@{revision}"
    return (
        f"{state}, or run 'robnet-zoo download {known} --out DIR' on a machine with a network, "
        "copy the folder and name it as local-dir:DIR"
    )


def _is_server_error(error: Exception) -> bool:
    """Return whether the Hub answered with status 500 or above, which other errors may wrap."""
    answers = [getattr(raised, "response", None) for raised in (error, error.__cause__)]
    return any(answer is not None and answer.status_code >= 500 for answer in answers)


def _tried() -> str:
    from huggingface_hub import constants

    hub = "nothing else" if constants.HF_HUB_OFFLINE else constants.ENDPOINT
    return f"having tried the cache {constants.HF_HUB_CACHE} and {hub}"


def why(error: Exception) -> str:
    """Return what a failure of the Hub's client means, and what to do about it."""
    from huggingface_hub import constants, errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set; unset it, or name a folder: local-dir:DIR"
    if isinstance(error, errors.HFValidationError):
        return "that is no name of a repository; write org/name"
    if isinstance(error, errors.GatedRepoError):
        return "its owner grants access one by one; ask on its page, then run 'hf auth login'"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is none of that name, or it is private; check it, or run 'hf auth login'"
    if status in (401, 403):
        return "access was denied; run 'hf auth login' with a token that may do this"
    if isinstance(error, errors.RevisionNotFoundError):
        return "it has no such revision; leave it out for the newest"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"it lacks {CONFIG} or {TENSORS}, so it holds no weights of this zoo"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "no answer; check the network, or name a folder: local-dir:DIR"
    what = f"status {status}" if status else type(error).__name__
    return f"the transfer failed ({what}); check network and disk, and try again"
