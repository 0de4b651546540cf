"""Find the fastest form of a training step on this GPU, in two minutes before a training.

    python -m scripts.smoke TRAIN.npz --out choice.json

Each variant is a process of its own with a time limit: full-size RACL at batch 512 with the recipe
"slot"; ten eager steps, a CUDA graph whose first replay is held against an eager step, ten
replays, and where the time goes. What a variant measured before it failed or was cut counts. The
fastest form is written down, for `scripts.train`; under 1,500 images a second it names the recipe
"slot-fast", which takes one gradient in place of two.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from robnet_zoo.data import load_split
from robnet_zoo.runtime import console
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.environment import environment, pick_device, tune
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_json
from robnet_zoo.train.build import build_run
from robnet_zoo.train.cuda_graphs import WARM_UP, PlainBodies, Recorder
from robnet_zoo.train.recipes import get_recipe
from robnet_zoo.train.settings import Settings
from robnet_zoo.train.state import Run
from robnet_zoo.train.step import start_statistics, train_step

PLAIN: dict[str, Any] = {
    "grouped": False,
    "separable": "apart",
    "layout": "channels_last",
    "folded_form": "dense",
}
VARIANTS = {  # the surest first: the last ones may find no time
    "merged": PLAIN | {"separable": "merged"},
    "fused": PLAIN | {"separable": "fused", "folded_form": "fused"},
    "half-fused": PLAIN | {"separable": "merged", "folded_form": "fused"},
    "plain": PLAIN,
    "grouped": PLAIN | {"grouped": True},
    "contiguous": PLAIN | {"layout": "contiguous"},
}
STEPS = 10
SHORTEST = 8  # seconds that a variant needs to say anything
ENOUGH = 1500  # images a second that two gradients a step need


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Find the fastest form of a training step.")
    parser.add_argument("data", help="training images, an .npz")
    parser.add_argument("--out", type=Path, required=True, help="the choice, a .json")
    parser.add_argument("--seconds", type=float, default=115, help="for all variants")
    parser.add_argument("--each", type=float, default=45, help="seconds a variant may take")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", default="racl")
    parser.add_argument("--channels", type=int, help="width (default the model's own)")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--variant", choices=VARIANTS, help="try this one, in this process")
    options = parser.parse_args(argv)
    if options.variant:
        _try(options)
        return 0
    end = time.monotonic() + options.seconds
    tried = {}
    for name in options.only:
        tried[name] = _apart(options, name, min(options.each, end - time.monotonic()))
    choices = [
        {**VARIANTS[name], "cuda_graph": mode == "graph", "images_per_second": result[mode]}
        for name, result in tried.items()
        for mode in ("graph", "eager")
        if result.get(mode)
    ]
    for name, result in tried.items():
        print(f"{name}: {json.dumps({k: v for k, v in result.items() if k != 'kernels'})}")
    if not choices:
        raise ZooError("No variant took a step; see what each one printed.")
    best = max(choices, key=lambda choice: choice["images_per_second"])
    choice = {**best, "recipe": "slot" if best["images_per_second"] >= ENOUGH else "slot-fast"}
    write_json(options.out, {**choice, "tried": tried})
    print(f"chosen: {json.dumps(choice)}")
    return 0


def _apart(options: argparse.Namespace, variant: str, seconds: float) -> dict[str, Any]:
    """Try a variant in a process of its own; return its result, and what went wrong."""
    if seconds < SHORTEST:
        return {"trouble": ["no time was left"]}
    part = options.out.with_name(f"{options.out.stem}.{variant}.json")
    part.unlink(missing_ok=True)
    command = [sys.executable, "-m", "scripts.smoke", options.data, "--variant", variant]
    command += ["--out", str(part), "--device", options.device, "--model", options.model]
    command += ["--batch-size", str(options.batch_size)]
    command += ["--channels", str(options.channels)] if options.channels else []
    try:
        done = subprocess.run(command, timeout=seconds, capture_output=True, text=True, check=False)
        said = done.stderr.strip().splitlines()[-12:] if done.returncode else []
    except subprocess.TimeoutExpired:
        said = [f"stopped after {seconds:.0f} s"]
    result = json.loads(part.read_text()) if part.exists() else {}
    return result | ({"trouble": said} if said else {})


def _try(options: argparse.Namespace) -> None:
    """Try one variant, writing down each figure as soon as it is known."""
    started = time.monotonic()
    device = pick_device(options.device)
    tune()
    torch.manual_seed(0)
    run = _run(options, device)
    result: dict[str, Any] = {"environment": environment(device)}

    def step() -> None:
        indices = torch.randint(len(run.train), (options.batch_size,)).to(run.train.device)
        train_step(run, run.train.images(indices), run.train.labels[indices])

    def keep(name: str, value: Any) -> None:
        result[name] = value
        result.setdefault("seconds", {})[name] = round(time.monotonic() - started, 1)
        write_json(options.out, result)

    recorder = Recorder(PlainBodies()) if run.recorder is None else run.recorder
    run.recorder = None
    start_statistics(run)
    step()
    _wait(device)
    keep("first_step", round(time.monotonic() - started, 1))
    keep("eager", _rate(step, options.batch_size, device))
    keep("loss", _loss(run))
    run.recorder, recorder.steps = recorder, WARM_UP
    step()
    _wait(device)
    keep("recorder", recorder.trouble or "a replay came to the same as an eager step")
    if recorder.replays:
        keep("graph", _rate(step, options.batch_size, device))
        keep("loss", _loss(run))
    if device.startswith("cuda"):
        keep("memory_gb", round(torch.cuda.max_memory_reserved() / 1e9, 1))
        run.recorder = None
        keep("kernels", _kernels(step))


def _run(options: argparse.Namespace, device: str) -> Run:
    dataset, images = load_split(f"arrays:{options.data}", "train", threat_model="cifar10")
    settings = Settings(
        model=options.model,
        dataset=f"arrays:{options.data}",
        recipe=get_recipe("slot"),
        batch_size=options.batch_size,
        channels=options.channels,
        precision="bfloat16" if device.startswith("cuda") else "float32",
        **VARIANTS[options.variant],
    ).fitted(len(images))
    images = images.to(device)
    return build_run(settings, dataset, images, images, ProcessGroup(device=device))


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _rate(step: Callable[[], None], size: int, device: str) -> float:
    """Return images a second over some steps."""
    _wait(device)
    started = time.monotonic()
    for _ in range(STEPS):
        step()
    _wait(device)
    return round(STEPS * size / (time.monotonic() - started), 1)


def _loss(run: Run) -> float:
    """Return the mean loss since the last call; a variant that makes it infinite is not taken."""
    loss, _, seen = run.totals.tolist()
    run.totals.zero_()
    if not math.isfinite(loss):
        raise ZooError("The loss is not finite.")
    return round(loss / seen, 4)


def _kernels(step: Callable[[], None]) -> list[str]:
    """Return where the GPU's time goes in an eager step, largest first."""
    kinds = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds) as profile:
        step()
        torch.cuda.synchronize()
    rows = [row for row in profile.key_averages() if row.device_type.name == "CUDA"]
    rows.sort(key=lambda row: -row.self_device_time_total)
    return [
        f"{row.self_device_time_total / 1e3:.2f} ms x{row.count} {row.key[:90]}"
        for row in rows[:40]
    ]


if __name__ == "__main__":
    sys.exit(console.run(main))
