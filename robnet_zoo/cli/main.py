"""The console command `robnet-zoo`: list, info, draw and convert here, the rest passed on."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from robnet_zoo.runtime import console
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.registry import default_tag, list_models, plan, tags, weights_at_hand

PASSED_ON = {
    "eval": "attack a model and judge it (python -m robnet_zoo.eval)",
    "train": "train a model adversarially (python -m robnet_zoo.train)",
    "search": "search for robust architectures (python -m robnet_zoo.search)",
}
PLAIN_WIDTH = 160  # of tables that do not go to a terminal


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="robnet-zoo", description="A zoo of robust architectures and their weights."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="list the models")
    listing.add_argument("pattern", nargs="?", default="*", help="such as 'robnet*'")
    listing.add_argument("--pretrained", action="store_true", help="list sets of weights instead")
    info = commands.add_parser("info", help="show a model's paper, size, weights and results")
    info.add_argument("name", help="such as racl, racl.digits or local-dir:DIR")
    draw = commands.add_parser("draw", help="draw a model's cells")
    draw.add_argument("name", help="such as racl or cells:genotype.json")
    draw.add_argument("--out", type=Path, help="FILE.svg or FILE.png (default: NAME.svg)")
    convert = commands.add_parser("convert", help="make weights of an official RobNet checkpoint")
    convert.add_argument("checkpoint", type=Path, help="FILE.pth.tar")
    convert.add_argument("--model", required=True, help="such as robnet_free")
    convert.add_argument("--out", type=Path, required=True, help="the folder to write")
    convert.add_argument("--dataset", help="what it was trained on (default: cifar10 or imagenet)")
    attach = commands.add_parser("attach", help="put an evaluation's results into weights")
    attach.add_argument("folder", type=Path, help="the weights folder")
    attach.add_argument("record", type=Path, help="record of its evaluation (JSON)")
    attach.add_argument(
        "--natural", type=Path, metavar="RECORD", help="of the same network trained naturally"
    )
    download = commands.add_parser("download", help="fetch weights from the Hugging Face Hub")
    download.add_argument("name", help="such as racl.cifar10 or hf-hub:org/name@revision")
    download.add_argument("--out", type=Path, help="also copy them into this new folder")
    publish = commands.add_parser(
        "publish",
        help="publish weights on the Hugging Face Hub",
        description="Say what publishing weights folders would change on the Hub, or do it with "
        "--yes (log in by 'hf auth login' first); what is published is pinned in the registry.",
    )
    publish.add_argument("folders", type=Path, nargs="+", help="such as weights/*")
    publish.add_argument("--org", required=True, metavar="NAME", help="owner of the repositories")
    publish.add_argument("--yes", action="store_true", help="do it")
    data = commands.add_parser("data", help="make images the .npz file that training takes")
    data.add_argument("out", type=Path, metavar="OUT.npz", help="the file to write")
    data.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="CIFAR-10's batches, folders of images, one a class, an archive of these, or FILE.npz",
    )
    data.add_argument("--split", choices=("train", "test"), default="train", help="default train")
    data.add_argument("--name", help="the data set's name for the records, such as cifar10")
    data.add_argument("--note", metavar="TEXT", help="what is to be known about the images")
    for name, text in PASSED_ON.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in PASSED_ON:
        return importlib.import_module(f"robnet_zoo.cli.{argv[0]}").main(argv[1:])
    arguments = build_parser().parse_args(argv)
    command = {
        "list": _list,
        "info": _info,
        "draw": _draw,
        "convert": _convert,
        "attach": _attach,
        "download": _download,
        "publish": _publish,
        "data": _data,
    }
    return console.run(lambda: command[arguments.command](arguments))


def _list(arguments: argparse.Namespace) -> None:
    names = list_models(arguments.pattern, pretrained=arguments.pretrained)
    if not names:
        known = list_models(pretrained=arguments.pretrained)
        raise unknown_name("model" if known else "weights", arguments.pattern, known)
    table = Table(header_style="bold", box=None, pad_edge=False)
    for heading in ("model", "parameters", "genotype", "paper", "weights", "clean", "robust"):
        justify: Literal["left", "right"] = "right" if heading == "parameters" else "left"
        table.add_column(heading, justify=justify, no_wrap=heading == "model")
    for name in names:
        table.add_row(*_row(name))
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(table)


def _row(name: str) -> tuple[str, ...]:
    """Return a model's cells of the table; the accuracies are those of its default weights."""
    architecture, dot, named = name.partition(".")
    known = ARCHITECTURES[architecture]
    tag = named or default_tag(architecture)
    weights = weights_at_hand(f"{architecture}.{tag}") if tag else None
    rates = weights.accuracies if weights else {}  # those that only the Hub has stay unknown
    measured = {attack: value["accuracy"] for attack, value in rates.items()}
    clean = measured.pop("clean", None)
    worst = min(measured, key=lambda attack: measured[attack], default=None)
    return (
        name,
        f"{weights.parameters if weights and dot else known.parameters:,}",
        known.status,
        known.paper.short,
        named or ", ".join(tags(architecture)) or "-",
        "-" if clean is None else f"{clean:.1%}",
        "-" if worst is None else f"{measured[worst]:.1%} {worst}",
    )


def _info(arguments: argparse.Namespace) -> None:
    from robnet_zoo.zoo.info import about

    print(about(arguments.name))


def _draw(arguments: argparse.Namespace) -> None:
    from robnet_zoo.plotting.cells import draw

    blueprint = plan(arguments.name)
    if blueprint.genotype is None:
        raise ZooError(f"{arguments.name} is human-designed and has no cells to draw.")
    name = arguments.name
    known = ARCHITECTURES.get(name)
    if known is None:
        name = Path(name.partition(":")[2]).stem
    out = arguments.out or Path(f"{name}.svg")
    status = f"{blueprint.status} genotype"
    draw(blueprint.genotype, out, name, f"{known.paper.short} · {status}" if known else status)
    print(f"drawn: {out}")


def _convert(arguments: argparse.Namespace) -> None:
    from robnet_zoo.zoo.convert import convert

    weights = convert(arguments.checkpoint, arguments.model, arguments.out, arguments.dataset)
    print(f"converted: {weights.architecture} with {weights.parameters:,} parameters")
    print(f"load it with create_model('local-dir:{arguments.out}')")


def _attach(arguments: argparse.Namespace) -> None:
    from robnet_zoo.eval.reports.attach import attach
    from robnet_zoo.zoo.info import about

    attach(arguments.folder, arguments.record, arguments.natural)
    print(about(f"local-dir:{arguments.folder}"))


def _download(arguments: argparse.Namespace) -> None:
    import shutil

    from robnet_zoo.zoo.registry import get_weights, load

    if arguments.out and arguments.out.exists():
        raise ZooError(f"'{arguments.out}' exists already; name a new folder.")
    weights = get_weights(arguments.name)
    load(weights, verify=True)
    print(f"{weights.name}, {weights.size_bytes:,} bytes, checked: {weights.folder}")
    if arguments.out:
        shutil.copytree(weights.folder, arguments.out)
        print(f"copied: {arguments.out}")


def _publish(arguments: argparse.Namespace) -> None:
    from robnet_zoo.zoo.publish import publish

    folders = [path for path in arguments.folders if not path.is_file()]  # files match weights/*
    if not folders:
        raise ZooError("There is no weights folder among these files; name one, or several.")
    for folder in folders:
        found = publish(folder, arguments.org, send=arguments.yes)
        at = f"at {found.revision[:12]}" if found.revision else "not there yet"
        print(f"{folder} -> {found.repository} ({at})")
        for name, state in found.files.items():
            print(f"  {state:<8} {name}")
    if arguments.yes:
        print("published, and pinned in robnet_zoo/zoo/pins.json: commit that file")
    else:
        print("nothing was sent; add --yes to publish")


def _data(arguments: argparse.Namespace) -> None:
    from robnet_zoo.data.convert import convert_images

    dataset, images = convert_images(
        arguments.out,
        arguments.sources,
        split=arguments.split,
        name=arguments.name,
        note=arguments.note,
    )
    shape = f"{dataset.image_size}x{dataset.image_size}x{dataset.in_channels}"
    names = f" ({', '.join(dataset.class_names)})" if dataset.class_names else ""
    print(f"written: {arguments.out}, {len(images):,} images of {shape}")
    print(f"{dataset.num_classes} classes{names}")
    print(f"sha256 of the images and classes: {images.fingerprint}")
    print(f"train on it with --dataset arrays:{arguments.out}")
