"""`robnet-zoo publish`: weights folders to the Hugging Face Hub; a dry run without --yes."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.runtime.errors import ZooError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Publish weights folders on the Hugging Face Hub. Without --yes it is a dry run and shows\n"
        "what would change. Log in first: hf auth login. What is published is pinned in the\n"
        "registry."
    )
    add = parser.add_argument
    add("folders", type=Path, nargs="+", help="such as weights/*")
    add("--org", required=True, metavar="NAME", help="owner of the repositories")
    add("--yes", action="store_true", help="do it")


def run(options: argparse.Namespace) -> None:
    """Publish each folder, or say what that would change."""
    from robnet_zoo.zoo.publish import publish

    folders = [path for path in options.folders if not path.is_file()]  # files match weights/*
    if not folders:
        raise ZooError("There is no weights folder among these files; name one, or several.")
    for folder in folders:
        state = publish(folder, options.org, send=options.yes)
        at = f"at {state.revision[:12]}" if state.revision else "not there yet"
        print(f"{folder} -> {state.repository} ({at})")
        for name, change in state.files.items():
            print(f"  {change:<8} {name}")
    if options.yes:
        print("published, and pinned in robnet_zoo/zoo/pins.json: commit that file")
    else:
        print("dry run: nothing was sent; add --yes to publish")
