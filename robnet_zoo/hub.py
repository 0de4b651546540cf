"""Weights folders fetched from the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from robnet_zoo.errors import ZooError
from robnet_zoo.files import sha256_of
from robnet_zoo.weights import CONFIG, TENSORS, read_weights


def fetch(repository: str) -> Path:
    """Return the cached folder of "org/name" or "org/name@revision", downloading what is missing.

    The Hub's client accepts and keeps wrong bytes of the right length, so a file whose sha256 is
    not the recorded one is removed and fetched once more; loading refuses what is wrong again.

    Raises:
        ZooError: no such repository, revision or file, or no connection and nothing cached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = repository.partition("@")
    try:
        config = Path(hf_hub_download(name, CONFIG, revision=revision or None))
        commit = config.parent.name  # both files from one revision, whatever is pushed meanwhile
        tensors = Path(hf_hub_download(name, TENSORS, revision=commit))
        if sha256_of(tensors) != read_weights(config.parent).sha256:
            tensors.resolve().unlink()  # the content; what is left of the link dangles
            hf_hub_download(name, TENSORS, revision=commit)
    except HFValidationError as error:
        raise ZooError(f"'{repository}' is no Hub repository; write hf-hub:org/name.") from error
    except LocalEntryNotFoundError as error:
        raise ZooError(
            f"Cannot reach the Hugging Face Hub for '{repository}', and no sound copy is cached; "
            "check the network, or name a folder: local-dir:DIR."
        ) from error
    except HfHubHTTPError as error:
        reason = type(error).__name__.removesuffix("Error")
        raise ZooError(
            f"The Hugging Face Hub has no {CONFIG} and {TENSORS} to give for '{repository}' "
            f"({reason}); check its name, revision and access."
        ) from error
    return config.parent
