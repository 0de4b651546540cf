"""Put the pages together, and have MkDocs make the site."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from robnet_zoo.eval.reports.tables import read_records
from robnet_zoo.zoo.architectures import ARCHITECTURES
from website import drawings, gallery, home, leaderboard, models, transfer
from website.checkout import RESULTS, repository
from website.guides import guides
from website.reference import PARTS, reference
from website.reports import reports

HERE = Path(__file__).parent
CONFIG, ASSETS = HERE / "mkdocs.yml", HERE / "assets"
GUIDES = {
    "Use": ("reading", "own-model", "studies", "compare", "trust", "digits", "certificates"),
    "Make": ("training", "serving", "speed", "architectures", "contributing"),
}


def build(out: Path, *, examples: bool = True) -> None:
    """Build the site.

    Args:
        out: the folder; what it held is replaced.
        examples: show attacked images in the reports, which takes a minute.
    """
    from mkdocs.commands.build import build as make
    from mkdocs.config import load_config

    with TemporaryDirectory() as folder:
        write(Path(folder), pages(examples=examples))
        config = load_config(
            str(CONFIG),
            docs_dir=folder,
            site_dir=str(out.resolve()),
            copyright=f'<a href="{repository()}">{repository().removeprefix("https://")}</a>',
            nav=navigation(),
            strict=True,
        )
        config.plugins.on_startup(command="build", dirty=False)
        make(config)
        config.plugins.on_shutdown()


def pages(*, examples: bool) -> dict[str, str | Path]:
    """Return every file of the site before MkDocs: its text, or the file to copy."""
    records = read_records(RESULTS)
    return {
        **guides(),
        **home.home(records),
        **leaderboard.leaderboard(records),
        **models.models(records),
        **gallery.gallery(),
        **transfer.transfer(),
        **reports(records, examples=examples),
        **reference(),
        **drawings.colours(),
        **{f"assets/{path.name}": path for path in ASSETS.iterdir()},
    }


def write(folder: Path, files: Mapping[str, str | Path]) -> None:
    """Write texts and copy files into a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            shutil.copyfile(content, path)


def navigation() -> list[Any]:
    """Return the site's navigation."""
    searches: list[Any] = [{"All searches": "search.md"}]
    searches += [f"search/{name}.md" for name in ("robnet", "racl", "arnas", "dsrna")]
    return [
        home.PAGE,
        {"Leaderboard": leaderboard.PAGE},
        {"Models": [models.INDEX, *(models.page_of(name) for name in ARCHITECTURES)]},
        {"Gallery": gallery.PAGE},
        {"Transfer": transfer.PAGE},
        {"Guides": [f"{name}.md" for names in GUIDES.values() for name in names]},
        {"Searches": searches},
        {"Reference": [f"reference/{part}.md" for part in PARTS]},
    ]
