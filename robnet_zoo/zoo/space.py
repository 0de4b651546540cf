"""A built site published as a static Space of the Hugging Face Hub."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_text
from robnet_zoo.zoo.hub import pins
from robnet_zoo.zoo.results import PROJECT
from robnet_zoo.zoo.upload import Publication, synchronise

CARD, START_PAGE = "README.md", "index.html"
STATIC = re.compile(r"---\n(?:(?!---).+\n)*?sdk: *static *\n(?:.+\n)*?---(?:\n|\Z)")


def publish_space(folder: Path, repository: str, *, send: bool) -> Publication:
    """Compare a built site with a static Space, and make the two equal unless it is a dry run.

    The Space's card is the site's own README.md, or is made where it has none. Pages that the site
    no longer has are removed.

    Args:
        folder: what a site builder wrote: an index.html and what it needs.
        repository: the Space, "org/name".
        send: False for a dry run.

    Raises:
        ZooError: a folder without index.html, a README.md that is no card of a static Space, or a
            Hub that cannot be reached or refuses.
    """
    if not (folder / START_PAGE).is_file():
        raise ZooError(f"'{folder}' holds no {START_PAGE}; name the folder of a built site.")
    own = folder / CARD
    if own.is_file() and not STATIC.match(own.read_text(encoding="utf-8")):
        raise ZooError(
            f"'{own}' is no card of a static Space; begin it with the lines ---, sdk: static and "
            "---, or leave it out."
        )
    with TemporaryDirectory() as place:
        staged = Path(shutil.copytree(folder, Path(place, "site")))
        if not own.is_file():
            write_text(staged / CARD, space_card(repository))
        return synchronise(
            staged, repository, "Publish the site", send=send, kind="space", remove=["*"]
        )


def space_card(repository: str) -> str:
    """Return the card of a Space; it names the weights that the same owner has published."""
    from huggingface_hub import SpaceCardData

    owner, _, name = repository.partition("/")
    models = [p.repository for p in pins().values() if p.repository.startswith(f"{owner}/")]
    front_matter = SpaceCardData(
        title=name, sdk="static", app_file=START_PAGE, license="mit", models=models or None
    ).to_yaml()
    return f"---\n{front_matter}\n---\n\nThe site of [robnet_zoo]({PROJECT}).\n"
