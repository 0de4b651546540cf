"""Train one network of the zoo at full size within a given time, and bring it back.

    python -m scripts.train racl TRAIN.npz --seconds 520 --choice choice.json \
        --work /tmp/racl --out OUT

The time counts from the start of this command to its end. The run lives in the working folder,
with a checkpoint a minute; after every epoch the averaged weights are packed into OUT/pack, and at
the end the whole run, under 60 MiB in files under 16 MiB, with its history, curves and record: at
most eight files. From there

    python -m robnet_zoo.train unpack OUT/pack --out RUN

makes a run of it again, to be resumed or exported; --resume OUT/pack goes on from it here.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

STARTED = time.monotonic()  # of the command, whose imports count as well

from robnet_zoo.runtime import console  # noqa: E402
from robnet_zoo.runtime.checkpoint import BEST, LAST, load_checkpoint  # noqa: E402
from robnet_zoo.runtime.environment import pick_device, tune  # noqa: E402
from robnet_zoo.runtime.errors import ZooError  # noqa: E402
from robnet_zoo.runtime.options import read_pairs  # noqa: E402
from robnet_zoo.runtime.signals import Stopped  # noqa: E402
from robnet_zoo.runtime.tables import HISTORY  # noqa: E402
from robnet_zoo.train.pack import pack, pack_average, unpack  # noqa: E402
from robnet_zoo.train.recipes import get_recipe, override  # noqa: E402
from robnet_zoo.train.session import CURVES, RECORD, train  # noqa: E402
from robnet_zoo.train.settings import (  # noqa: E402
    SETTINGS,
    SPEED_SETTINGS,
    Settings,
    read_settings,
    write_settings,
)
from robnet_zoo.train.state import Run  # noqa: E402

PACK = "pack"
PACKING = 8.0  # seconds kept for the files at the end
SAVE_EVERY = 60.0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train one network within a given time.")
    parser.add_argument("model", help="architecture, such as racl")
    parser.add_argument("data", help="training images, an .npz")
    parser.add_argument("--seconds", type=float, required=True, help="from start to end")
    parser.add_argument("--choice", type=Path, help="what scripts.smoke wrote")
    parser.add_argument("--work", type=Path, required=True, help="the run's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder that is brought back")
    parser.add_argument("--resume", type=Path, help="a pack to go on from")
    parser.add_argument("--recipe", help="in place of the choice's, or of slot")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--channels", type=int, help="width (default the model's own)")
    parser.add_argument("--accumulate", type=int, default=1, help="parts of a batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(argv)
    started = STARTED if argv is None else time.monotonic()
    device = pick_device(options.device)
    tune()
    settings, resumed = _settings(options, device, started)

    def after_epoch(run: Run) -> None:
        pack_average(run.state_dict(), run.settings, options.out / PACK)

    try:
        train(
            settings,
            options.work,
            device=device,
            resume=resumed,
            save_every=SAVE_EVERY,
            after_epoch=after_epoch,
        )
    except Stopped as stopped:
        print("stopped; its last checkpoint is packed", file=sys.stderr)
        return 128 + stopped.number
    finally:  # whatever happened, what there is comes back
        _bring_back(options.work, options.out)
        print(f"{time.monotonic() - started:.0f} s in all", file=sys.stderr)
    return 0


def _bring_back(work: Path, out: Path) -> None:
    if not (work / BEST).exists() or not (work / LAST).exists():
        return
    size = pack(work, out / PACK)
    for name in (HISTORY, CURVES, RECORD):
        if (work / name).exists():
            shutil.copy(work / name, out / name)
    print(f"{size:,} bytes in {out / PACK}", file=sys.stderr)


def _settings(options: argparse.Namespace, device: str, started: float) -> tuple[Settings, bool]:
    """Return the settings, and whether the run in the working folder goes on."""
    choice: dict[str, Any] = json.loads(options.choice.read_text()) if options.choice else {}
    how = {name: choice[name] for name in SPEED_SETTINGS if name in choice}
    spent = 0.0
    if options.resume and not (options.work / SETTINGS).exists():
        unpack(options.resume, options.work, f"arrays:{options.data}")
    resumed = (options.work / LAST).exists()
    if resumed:
        settings = read_settings(options.work)
        if settings.model != options.model:
            raise ZooError(
                f"The run in '{options.work}' is of {settings.model}, not of {options.model}; "
                "choose another --work."
            )
        spent = load_checkpoint(options.work / LAST)["position"]["seconds"]
    else:
        recipe = get_recipe(options.recipe or choice.get("recipe", "slot"))
        recipe = override(recipe, read_pairs(options.set))
        settings = Settings(
            model=options.model,
            dataset=f"arrays:{options.data}",
            recipe=recipe,
            channels=options.channels,
            accumulate=options.accumulate,
            seed=options.seed,
            threat_model="cifar10",
            precision="bfloat16" if device.startswith("cuda") else "float32",
            layout=choice.get("layout", "channels_last"),
        )
    left = options.seconds - PACKING - (time.monotonic() - started)
    if left <= 0:
        raise ZooError(
            f"--seconds {options.seconds:g} leaves no time to train: {PACKING:g} of them are kept "
            "for the files at the end; give more."
        )
    settings = dataclasses.replace(settings, time_budget=spent + left, **how)
    if resumed:
        write_settings(options.work, settings)
    return settings, resumed


if __name__ == "__main__":
    sys.exit(console.run(main))
