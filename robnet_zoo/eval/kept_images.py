"""Adversarial images of an evaluation, kept block by block and written to one file."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from robnet_zoo.attacks.base import Attack, admitted
from robnet_zoo.attacks.batch import BLOCK_SIZE, AttackBatch, AttackOutput
from robnet_zoo.eval.inputs import Images
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.results import BlockResult
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import atomic_path, check_writable
from robnet_zoo.threat_models import ThreatModel

FORMAT = "robnet_zoo.adversarial_images/1"
CLEAN = "clean"  # what "broke" an image that the model gets wrong without an attack


@dataclass(kw_only=True)
class KeptImages:
    """What every attack made of every image.

    Attributes:
        folder: where blocks are kept until all are done.
        beside: a folder of the evaluation's own blocks, which goes away with them.
    """

    folder: Path
    beside: bool
    _stages: list[tuple[str, str, list[BlockResult]]] = field(default_factory=list)

    def has(self, stage: str, number: int) -> bool:
        """Return whether a block's images are there."""
        return self._path(stage, number).exists()

    def save(
        self,
        stage: str,
        attack: Attack,
        output: AttackOutput,
        batch: AttackBatch,
        threat_model: ThreatModel,
    ) -> None:
        """Keep what an attack made of a block, as it was judged."""
        made = output.adversarial if output.first_broken is None else output.first_broken
        made = admitted(attack, made, batch.images, threat_model)
        path = self._path(stage, batch.number)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, made.cpu().numpy())

    def add(self, attack: str, stage: str, blocks: list[BlockResult]) -> None:
        """Note the verdicts on the blocks of a stage, in the order of the evaluation."""
        self._stages.append((attack, stage, blocks))

    def write(self, path: Path, record: EvaluationRecord, images: Images) -> None:
        """Write the images, and what they are, as .npz, and remove the blocks."""
        n = len(images)
        blocks_of_clean = (images.take(part).cpu() for part in torch.arange(n).split(BLOCK_SIZE))
        pixels = torch.cat(list(blocks_of_clean)).numpy()
        broken_by = np.array([""] * n, dtype=object)
        broken_by[list(record.totals.clean_mistakes)] = CLEAN
        for attack, stage, blocks in self._stages:
            for number, block in enumerate(blocks):
                positions = np.array(block.indices)
                made = np.load(self._path(stage, number), allow_pickle=False)
                free = broken_by[positions] == ""
                pixels[positions[free]] = made[free]
                broken = free & ~np.array(block.robust)
                broken_by[positions[broken]] = attack
        threat = record.threat_model
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                format=FORMAT,
                x_adv=pixels,
                labels=images.labels.cpu().numpy(),
                indices=np.arange(n),
                robust=broken_by == "",
                broken_by=broken_by.astype(str),
                norm=threat.norm,
                epsilon=threat.epsilon,
                model=record.model.name,
                model_sha256=record.model.state_sha256,
                data_sha256=record.data.sha256,
                seed=record.settings.seed,
            )
        if not self.beside:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, stage: str, number: int) -> Path:
        return self.folder / f"{stage}.{number:05d}.npy"


def keep_images(path: Path | None, folder: Path | None) -> KeptImages | None:
    """Return where the images of an evaluation are kept; None if they are not to be.

    Args:
        path: the file that they go to in the end.
        folder: of the evaluation's blocks, if it has one.
    """
    if path is None:
        return None
    own = path.with_name(f"{path.name}.parts")
    return KeptImages(folder=folder or own, beside=folder is not None)


def validate_save_images(path: Path, *, randomised: bool, finished: Path | None) -> None:
    """Raise ZooError unless the images of an evaluation can be saved.

    Args:
        path: where to.
        randomised: whether the verdicts are those of draws.
        finished: a record that is there already, so that its attacks are not run again.
    """
    if path.suffix != ".npz":
        raise ZooError(f"Cannot write '{path}': the name of saved images must end in .npz.")
    if randomised:
        raise ZooError(
            "Images of a randomised model cannot be saved: its verdicts depend on the draws."
        )
    if finished is not None:
        raise ZooError(
            f"'{finished}' is finished and its images are gone; name another --out to make them."
        )
    check_writable(path)
