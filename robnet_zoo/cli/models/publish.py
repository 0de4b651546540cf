"""`robnet-zoo publish`: weights or a site to the Hugging Face Hub; a dry run without --yes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.runtime.errors import ZooError

if TYPE_CHECKING:
    from robnet_zoo.zoo.upload import Publication


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Publish weights folders on the Hugging Face Hub. Without --yes it is a dry run and shows\n"
        "what would change. Log in first: hf auth login. Weights that are published are pinned in\n"
        "the registry. With --space, publish the folder of a built site."
    )
    add = parser.add_argument
    add("folders", type=Path, nargs="+", help="such as weights/*")
    add("--org", required=True, metavar="NAME", help="owner of the repositories")
    add("--space", metavar="NAME", help="the folder is a site: make it the static Space NAME")
    add("--yes", action="store_true", help="do it")


def run(options: argparse.Namespace) -> None:
    """Publish each folder, or say what that would change."""
    folders = [path for path in options.folders if not path.is_file()]  # files match weights/*
    if not folders:
        raise ZooError("There is no weights folder among these files; name one, or several.")
    if options.space and len(folders) > 1:
        raise ZooError(f"A Space is one site, and these are {len(folders)} folders; name one.")
    for folder in folders:
        state = _publish(folder, options)
        at = f"at {state.revision[:12]}" if state.revision else "not there yet"
        print(f"{folder} -> {state.repository} ({at})")
        for name, change in state.files.items():
            print(f"  {change:<8} {name}")
    if not options.yes:
        print("dry run: nothing was sent; add --yes to publish")
    elif options.space:
        print(f"published: the Space {state.repository}")
    else:
        print("published, and pinned in robnet_zoo/zoo/pins.json: commit that file")


def _publish(folder: Path, options: argparse.Namespace) -> Publication:
    if options.space:
        from robnet_zoo.zoo.space import publish_space

        return publish_space(folder, f"{options.org}/{options.space}", send=options.yes)
    from robnet_zoo.zoo.publish import publish

    return publish(folder, options.org, send=options.yes)
