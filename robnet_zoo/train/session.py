"""From settings to a finished run folder: load the data, start or resume, train, record."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from robnet_zoo.data import load_split
from robnet_zoo.plotting.curves import learning_curves
from robnet_zoo.plotting.style import save
from robnet_zoo.runtime.checkpoint import LAST, load_checkpoint
from robnet_zoo.runtime.distributed import process_group
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable, write_json
from robnet_zoo.runtime.lock import hold
from robnet_zoo.train.build import build_run
from robnet_zoo.train.init import init_settings
from robnet_zoo.train.score import describe_validation
from robnet_zoo.train.settings import SETTINGS, Settings, write_settings
from robnet_zoo.train.state import Run
from robnet_zoo.train.trainer import fit
from robnet_zoo.zoo.blueprints import blueprint

RECORD, CURVES = "record.json", "curves.png"
SAVE_EVERY = 300.0


def train(
    settings: Settings,
    folder: Path,
    *,
    device: str = "cpu",
    root: Path | None = None,
    resume: bool = False,
    save_every: float = SAVE_EVERY,
    after_epoch: Callable[[Run], None] | None = None,
) -> dict[str, Any]:
    """Train a model and return its record.

    The folder gets settings.json, last.pt, best.pt, history.csv, record.json and, where matplotlib
    is installed, curves.png.

    Args:
        settings: what to train and how.
        folder: the run's folder; new, or with `resume` that of a run with the same settings.
        device: "cpu", "cuda" or "cuda:N".
        root: folder of the data sets.
        resume: go on from the folder's last checkpoint, if there is one.
        save_every: seconds between checkpoints within an epoch.
        after_epoch: called with the run after every epoch.

    Raises:
        ZooError: unknown names, missing data, or a folder that cannot be used or is in use.
        Stopped: the process was asked to stop and has saved its work.
    """
    started = time.monotonic()
    with process_group(device) as processes:
        if processes.main:
            if not resume and (folder / SETTINGS).exists():
                raise ZooError(
                    f"'{folder}' already holds a run; add --resume, or choose another --out."
                )
            check_writable(folder / SETTINGS)
        if settings.init and settings.init_sha256 is None:
            sha256 = init_settings(settings.init)["init_sha256"]
            settings = dataclasses.replace(settings, init_sha256=sha256)
        # a wrong name is refused before any download
        blueprint(settings.model, **settings.model_arguments())
        row = settings.threat_model
        dataset, training = load_split(settings.dataset, "train", root=root, threat_model=row)
        _, held_out = load_split(settings.dataset, "validation", root=root, threat_model=row)
        settings = settings.fitted(len(training))
        with torch.random.fork_rng([device] if device.startswith("cuda") else []):
            torch.manual_seed(settings.seed)
            training, held_out = training.to(processes.device), held_out.to(processes.device)
            begun = resume and (folder / LAST).exists()
            run = build_run(settings, dataset, training, held_out, processes, resumed=begun)
            with hold(folder) if processes.main else nullcontext():
                if resume and (folder / LAST).exists():
                    run.load_state_dict(load_checkpoint(folder / LAST, processes.device))
                    run.state.resumed += 1
                if processes.main:
                    write_settings(folder, settings)
                fit(run, folder, save_every=save_every, started=started, after_epoch=after_epoch)
                record = describe_run(run)
                if processes.main:
                    write_json(folder / RECORD, record)
                    if find_spec("matplotlib"):  # not needed for anything else here
                        curves = learning_curves(run.state.history, describe_validation(run))
                        save(curves, folder / CURVES)
    return record


def describe_run(run: Run) -> dict[str, Any]:
    """Return what a run did, as JSON-ready values: enough to repeat and to judge it."""
    state, device = run.state, run.processes.device
    machine = environment(device)
    return {
        "format": "robnet_zoo.train.record/1",
        "settings": run.settings.as_dict(),
        "dataset": {
            "name": run.dataset.name,
            "note": run.dataset.note,
            "image_size": run.dataset.image_size,
            "num_classes": run.dataset.num_classes,
            "in_channels": run.dataset.in_channels,
            **({"class_names": list(names)} if (names := run.dataset.class_names) else {}),
            "training_images": len(run.train),
            "training_sha256": run.train.fingerprint,
            "held_out_images": len(run.validation),
            "held_out_sha256": run.validation.fingerprint,
        },
        "threat_model": {
            "name": run.threat.name,
            "norm": run.threat.norm,
            "epsilon": run.threat.epsilon.text,
        },
        "selection": "held-out training images, "
        + ("PGD-10" if run.settings.recipe.adversarial else "clean accuracy"),
        "best": state.best,
        "last": state.history[-1],
        "epochs": state.epoch,
        "steps": state.step,
        "images": state.images,
        "seconds": round(state.seconds, 1),
        "cost": f"{state.seconds * run.processes.size / 3600:.2f} hours of "
        f"{machine.get('gpu', device)} x {run.processes.size}",
        "resumed": state.resumed,
        "events": state.events,
        "cuda_graph": run.recorder is not None and run.recorder.replays,
        "environment": machine,
    }
