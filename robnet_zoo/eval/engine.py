"""Blocks through a model: shared out, stored, resumed, and halved when memory runs out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch
from msgspec import Struct
from torch import Tensor, nn

from robnet_zoo.attacks.adaptive import Adaptive
from robnet_zoo.attacks.base import Attack, Suite, run_confirmed
from robnet_zoo.attacks.batch import BLOCK_SIZE, AttackBatch
from robnet_zoo.attacks.model import (
    BATCH_MULTIPLE,
    DRAW_BATCH,
    AttackedModel,
    OnPass,
    preserve_state,
)
from robnet_zoo.attacks.pass_log import PassLog
from robnet_zoo.attacks.verdicts import validate_classes
from robnet_zoo.eval import draws, results
from robnet_zoo.eval.inputs import Images
from robnet_zoo.eval.kept_images import KeptImages
from robnet_zoo.eval.record.fields import bits, proportion_of
from robnet_zoo.eval.record.results import AttackResult, Clean
from robnet_zoo.eval.results import BlockResult
from robnet_zoo.eval.shards import Shards
from robnet_zoo.runtime.console import Progress
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import ThreatModel

Done = TypeVar("Done")
CLEAN, CLEAN_COST = "clean", 1  # the stage without an attack, and its passes an image


class Predictions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The classes that the model gives to the images of a block without an attack.

    `drawn` says of each draw of a randomised model where it is right.
    """

    predictions: tuple[int, ...]
    drawn: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Engine:
    """One evaluation under way; `batch_size` shrinks and `warnings` grow as it goes.

    Attacks see `attack_model`: the model itself, a faster form of it that passed its check and
    may be compiled, or what `adaptive` makes of it.
    """

    model: nn.Module
    attack_model: nn.Module
    compiled: bool
    images: Images
    threat_model: ThreatModel
    seed: int
    batch_size: int
    shards: Shards
    processes: ProcessGroup
    adaptive: Adaptive = field(default_factory=Adaptive)
    kept_images: KeptImages | None = None
    bar: Progress | None = None
    warnings: list[str] = field(default_factory=list)
    _expected: float = 0.0  # passes that the bar may show as done
    _rate: float = 1.0  # of the bar's passes to those of this process
    _standing: int = 0  # images that nothing has broken yet, for the bar

    def clean(self) -> Clean:
        """Return what the model does with each image without an attack."""
        everything = torch.arange(len(self.images))
        blocks = self._blocks(CLEAN, everything, self._predict, Predictions, cost=CLEAN_COST)
        drawn = zip(everything.split(BLOCK_SIZE), (block.drawn for block in blocks), strict=True)
        each = ((indices.tolist(), verdicts) for indices, verdicts in drawn if verdicts)
        predictions = [label for block in blocks for label in block.predictions]
        labels = self.images.labels.tolist()
        verdicts = bits(got == label for got, label in zip(predictions, labels, strict=True))
        return Clean(
            accuracy=proportion_of(verdicts),
            verdicts=verdicts,
            predictions=tuple(predictions),
            draws=draws.merge(len(self.images), each),
        )

    def attack(
        self, attack: Attack | Suite, settings: dict[str, Any], correct: list[bool]
    ) -> AttackResult:
        """Return what an attack, or suite, does to the images that are correct without it."""
        robust, done, attacked = list(correct), [], len(correct)
        costs = [part.cost() for part in attack.parts]
        self.warnings += [f"{attack.name}: {note}" for note in getattr(attack, "notes", ())]
        for number, part in enumerate(attack.parts):
            stage = attack.name if part.name == attack.name else f"{attack.name}.{part.name}"
            left = torch.tensor([i for i, stands in enumerate(robust) if stands]).long()
            self._standing = len(left)
            # neither this part nor those behind it attack what does not stand any more
            self._skip(sum(costs[number:]) * (attacked - len(left)) / self.processes.size)
            attacked = len(left)
            work = partial(self._attack, part, stage)
            blocks = self._blocks(stage, left, work, BlockResult, cost=costs[number])
            self.warnings += [f"{stage}: {text}" for block in blocks for text in block.warnings]
            done.append((part.name, blocks))
            if self.kept_images is not None:
                self.kept_images.add(attack.name, stage, blocks)
            robust = results.scatter(len(robust), blocks, "robust")
        budget = getattr(attack, "queries", None)
        return results.merge(attack.name, settings, len(robust), done, budget)

    def _blocks(
        self,
        stage: str,
        indices: Tensor,
        work: Callable[[int, Tensor], Done],
        kind: type[Done],
        *,
        cost: int,
    ) -> list[Done]:
        """Return every block in order, after doing those that are ours and not stored yet."""
        blocks = indices.split(BLOCK_SIZE) if len(indices) else ()
        own: dict[int, Done] = {}
        mine = self.processes.strided(len(blocks))
        images = sum(len(blocks[number]) for number in mine)
        # the bar counts an even part of the images for each process, whatever its blocks hold
        self._rate = len(indices) / self.processes.size / images if images else 0.0
        if not images:
            self._skip(cost * len(indices) / self.processes.size)
        for number in mine:
            result = self._stored(stage, number, kind)
            self._expected += cost * len(blocks[number]) * self._rate
            if result is None:
                alone = partial(self._alone, number, partial(work, number, blocks[number]))
                result = self.within_memory(alone)
                self.shards.save(stage, number, result)
            self._skip(0)
            own[number] = result
        every = self.processes.gather(own)
        return [every[number] for number in sorted(every)]

    def _stored(self, stage: str, number: int, kind: type[Done]) -> Done | None:
        """Return a stored block, unless its images are to be kept and are not there."""
        kept = self.kept_images
        if kept is not None and kind is BlockResult and not kept.has(stage, number):
            return None
        return self.shards.load(stage, number, kind)

    def _alone(self, number: int, work: Callable[[], Done]) -> Done:
        """Do the work of a block with a seed of its own, and leave the model as it was."""
        with preserve_state(self.model, self.seed + number):
            return work()

    def within_memory(self, work: Callable[[], Done]) -> Done:
        """Do the work, with half the batch size each time the GPU runs out of memory."""
        while True:
            try:
                return work()
            except torch.OutOfMemoryError as error:
                if self.adaptive.randomised:
                    raise ZooError(
                        f"The GPU has too little memory for {DRAW_BATCH} images, in which a "
                        "randomised model is passed; use device cpu."
                    ) from error
                if self.batch_size <= BATCH_MULTIPLE:
                    raise ZooError(
                        f"The GPU has too little memory for {BATCH_MULTIPLE} images; "
                        "use device cpu."
                    ) from error
            torch.cuda.empty_cache()
            self.batch_size //= 2
            self.warnings.append(f"Out of GPU memory: batch size halved to {self.batch_size}.")

    def _predict(self, number: int, indices: Tensor) -> Predictions:
        model = AttackedModel(
            self.model,
            self.batch_size,
            partial(self._tick, CLEAN),
            adaptive=self.adaptive,
            seed=self.seed + number,
        )
        logits = model.draw(self.images.take(indices))
        labels = self.images.labels_of(indices)
        validate_classes(labels, logits[0])
        return Predictions(
            predictions=tuple(self.adaptive.verdict(logits).tolist()),
            drawn=draws.verdicts(logits, labels) if self.adaptive.draws > 1 else (),
        )

    def _attack(self, attack: Attack, stage: str, number: int, indices: Tensor) -> BlockResult:
        started, standing = time.perf_counter(), self._standing

        def watch(robust: Tensor) -> None:
            self._standing = standing - int((~robust).sum())

        log = self.shards.log(stage, number)
        attacked_model = self.attacked_model(partial(self._tick, stage), self.seed + number, log)
        batch = AttackBatch(
            number=number,
            indices=indices,
            images=self.images.take(indices),
            labels=self.images.labels_of(indices),
            seed=self.seed,
            watch=watch,
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            output, attacked_model = run_confirmed(attack, attacked_model, batch, self.threat_model)
        verdicts = results.judge(attack, output, attacked_model, batch, self.threat_model)
        self._standing = standing - verdicts["robust"].count(False)
        if self.kept_images is not None:
            self.kept_images.save(stage, attack, output, batch, self.threat_model)
        return BlockResult(
            **verdicts,
            seconds=round(time.perf_counter() - started + (log.earlier if log else 0), 3),
            forwards=attacked_model.forwards,
            backwards=attacked_model.backwards,
            warnings=tuple(dict.fromkeys(str(warning.message) for warning in caught)),
        )

    def attacked_model(
        self,
        on_pass: OnPass | None = None,
        seed: int = 0,
        log: PassLog | None = None,
    ) -> AttackedModel:
        """Return the model as attacks see it, told of each pass, with verdicts by this seed."""
        return AttackedModel(
            self.model,
            self.batch_size,
            on_pass,
            attack_model=self.attack_model if self.adaptive.plain else None,
            compiled=self.compiled,
            adaptive=self.adaptive,
            seed=seed,
            log=log,
        )

    def _tick(self, stage: str, passes: int, remembered: bool) -> None:
        """Show passes of this process; where an attack takes more than its cost, the bar grows."""
        if self.bar is None:
            return
        amount = passes * self._rate
        beyond = self.bar.done + amount - self._expected
        if beyond > 0:
            self._expected += beyond
            self.bar.resize(self.bar.total + beyond)
        if remembered:
            self.bar.skip(amount)
        else:
            standing = f": {100 * self._standing / len(self.images):.1f} % still robust"
            self.bar.advance(amount, stage if stage == CLEAN else stage + standing)

    def _skip(self, passes: float) -> None:
        """Let the bar skip `passes` that are not needed, and all that was expected up to here."""
        self._expected += passes
        if self.bar is not None:
            self.bar.skip(self._expected - self.bar.done)
