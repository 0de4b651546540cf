"""`robnet-zoo train`: train a model, or resume a run."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from robnet_zoo.runtime.environment import pick_device, tune
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.options import parse_duration, read_pairs
from robnet_zoo.runtime.signals import Stopped
from robnet_zoo.train.init import init_settings
from robnet_zoo.train.recipes import RECIPES, get_recipe, override
from robnet_zoo.train.settings import (
    SETTINGS,
    Compile,
    Form,
    Layout,
    SeparableMode,
    Settings,
    read_settings,
    validate_unchanged,
)

# options that are settings under their own name
PLAIN = (
    *("model", "dataset", "channels", "layers", "batch_size", "seed", "threat_model"),
    *("precision", "accumulate", "joint_batch_norm", "compile", "layout"),
    *("grouped", "separable", "folded_form", "cuda_graph"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options; none but the last few is set unless it is given."""
    recipes = "\n".join(f"  {name:<13} {recipe.claim}" for name, recipe in RECIPES.items())
    parser.description = (
        "Train a model adversarially. Several processes: start with torchrun.\n\n"
        f"recipes:\n{recipes}"
    )
    parser.argument_default = argparse.SUPPRESS
    add = parser.add_argument
    add("--model", help="architecture (racl), or cells:FILE.json")
    add("--init", metavar="WEIGHTS", help="start from racl.cifar10, a folder or hf-hub:org/name")
    add("--dataset", help="digits (default), cifar10, ..., or arrays:FILE.npz")
    add("--recipe", help="training method, or FILE.toml (default standard)")
    add("--set", action="append", metavar="KEY=VALUE", help="change a setting of the recipe")
    add("--epochs", type=int, help="passes over the training images")
    add("--batch-size", type=int, help="images a step, over all processes")
    add("--channels", type=int, help="width of the network")
    add("--layers", type=int, help="number of cells")
    add("--seed", type=int, help="of weights, order and noise (default 0)")
    add("--threat-model", help="row of the table of threat models; arrays need one")
    add("--eps", help="perturbation size, such as 8/255 (default the threat model's)")
    add("--time-budget", metavar="TIME", help="train as long as 90s, 25m or 1h allows")
    add("--accumulate", type=int, help="compute a batch in this many parts")
    add("--precision", choices=("float32", "bfloat16"), help="default bfloat16 on CUDA only")
    add(
        "--compile",
        nargs="?",
        const="default",
        choices=get_args(Compile),
        help="use torch.compile, in the default or another mode: slow to start, then faster",
    )
    add("--layout", choices=get_args(Layout), help="of memory (default channels_last)")
    add(
        "--grouped",
        action=argparse.BooleanOptionalAction,
        help="run separable convolutions that read one state as one (default no)",
    )
    add(
        "--separable",
        choices=get_args(SeparableMode),
        help="how depthwise and pointwise run (default merged on CUDA, else apart)",
    )
    add(
        "--folded-form",
        choices=get_args(Form),
        help="form of the network that images are crafted on (default what suits the device)",
    )
    add(
        "--cuda-graph",
        action=argparse.BooleanOptionalAction,
        help="record the step as a CUDA graph (default on one GPU)",
    )
    add("--joint-batch-norm", action="store_true", help="batch statistics over all processes")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto (default)")
    add("--data", type=Path, default=None, help="folder of the data sets")
    add("--out", type=Path, default=None, help="the run's folder (default runs/MODEL.DATASET...)")
    add("--log", choices=("tensorboard",), default=None, help="the history for it too, in --out")
    add("--save-every", default="5m", metavar="TIME", help="between checkpoints (default 5m)")
    add(
        "--resume",
        action="store_true",
        default=False,
        help="go on where the run stopped, if it began",
    )


def run(options: argparse.Namespace) -> int:
    """Train or resume, and print the best score; return 128 + n when stopped by signal n."""
    given = vars(options)
    if "epochs" in given and "time_budget" in given:
        raise ZooError("--epochs and --time-budget both say how long to train; give one of them.")
    settings = _asked(Settings(model="", dataset="digits", recipe=get_recipe("standard")), given)
    folder = options.out or Path("runs") / _run_name(settings)
    begun = options.resume and (folder / SETTINGS).exists()
    if not begun and not settings.model:
        nothing = f"There is no run in '{folder}' to go on with, and no"
        where = nothing if options.resume and options.out else "No"
        raise ZooError(f"{where} model was named; add --model, such as --model racl.")
    device = pick_device(options.device)
    if begun:
        settings = read_settings(folder)
        validate_unchanged(settings, _asked(settings, given))
    elif device.startswith("cuda") and "precision" not in given:
        settings = dataclasses.replace(settings, precision="bfloat16")
    log = None
    if options.log == "tensorboard":
        from robnet_zoo.train.tensorboard import FOLDER, TensorBoardLog

        log = TensorBoardLog(folder / FOLDER)
    from robnet_zoo.train.session import train

    tune()
    try:
        record = train(
            settings,
            folder,
            device=device,
            root=options.data,
            resume=options.resume,
            save_every=parse_duration(options.save_every),
            after_epoch=log,
        )
    except Stopped as stopped:
        print(f"stopped; go on with --resume --out {folder}", file=sys.stderr)
        return 128 + stopped.number
    best = record["best"]
    robust = "" if best["robust"] is None else f", PGD-10 {best['robust']:.1%}"
    print(
        f"{folder}: best epoch {best['epoch']} ({best['weights']} weights), held-out clean "
        f"{best['clean']:.1%}{robust}; {record['seconds']:.0f} s"
    )
    return 0


def _asked(base: Settings, given: Mapping[str, Any]) -> Settings:
    """Return the settings with every option that was given put in."""
    recipe = base.recipe
    if given.get("recipe", recipe.name) != recipe.name:
        recipe = get_recipe(given["recipe"])
        if recipe.name == base.recipe.name:  # a resumed run's, from a file: it has its batch size
            recipe = dataclasses.replace(recipe, batch_size=base.recipe.batch_size)
    changes = read_pairs(given.get("set", ()))
    if "epochs" in given:
        changes["epochs"] = str(given["epochs"])
    values = init_settings(given["init"]) if "init" in given else {}
    values |= {name: given[name] for name in PLAIN if name in given}
    if "eps" in given:
        values["epsilon"] = given["eps"]
    if "time_budget" in given:
        values["time_budget"] = parse_duration(given["time_budget"])
    return dataclasses.replace(base, recipe=override(recipe, changes), **values)


def _run_name(settings: Settings) -> str:
    model, data = (
        Path(name.partition(":")[2] or name).stem for name in (settings.model, settings.dataset)
    )
    return f"{model}.{data}.{settings.recipe.name}"
