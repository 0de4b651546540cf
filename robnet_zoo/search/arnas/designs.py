"""The study of the space's design: one genotype in several placements and widths.

The paper's Proposition 1 and Figure 3 rest on networks whose thirds are of different cell types
and widths: A1 A2 R4 has accurate cells in the first two thirds, one and two times as wide as the
initial number of filters, and robust cells four times as wide in the last. Each design is trained
adversarially under the same recipe and judged on the test images.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robnet_zoo.data import load_split
from robnet_zoo.eval import evaluate
from robnet_zoo.genotypes import CellGenotype, Genotype
from robnet_zoo.models.cells import CellPlan
from robnet_zoo.models.count import count_macs, count_parameters
from robnet_zoo.models.networks import Network
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable, write_json, write_text
from robnet_zoo.runtime.tables import csv_records
from robnet_zoo.search.arnas.recipe import ArnasRecipe, arrangement
from robnet_zoo.search.core.optimizers import WeightOptimizer, WeightTraining, search_adversary
from robnet_zoo.search.core.spaces import Space, arnas_space
from robnet_zoo.search.run.data import SearchBatch, SearchData, load_search_data
from robnet_zoo.search.run.loop import StepContext, run_search
from robnet_zoo.search.run.session import RunPaths

DESIGNS = "A1A2R2 R1R2A2 A1A2A2 R1R2R2 A1R2R2 A1A2R1 A1A2R4 A1A1R1"
TABLE, RECORD, ATTACK = "designs.csv", "designs.json", "pgd20"
FORMAT = "robnet_zoo.search.designs/1"


@dataclass(frozen=True)
class Design:
    """Cell type and width of each third, such as "AAR" and (1, 2, 2)."""

    placement: str
    multiples: tuple[int, ...]

    def __str__(self) -> str:
        return "".join(map("{}{}".format, self.placement, self.multiples))

    def space(self, layers: int) -> Space:
        """Return the space with this design."""
        return arnas_space(layers, *arrangement(self.placement, self.multiples))


def parse_design(text: str) -> Design:
    """Read a design such as "A1A2R4".

    Raises:
        ZooError: not three pairs of A or R and a width.
    """
    if not re.fullmatch(r"([AR]\d+){3}", text):
        raise ZooError(
            f"Design '{text}' is not understood; write A or R and a width for each third, such as "
            "A1A2R4."
        )
    pairs = re.findall(r"([AR])(\d+)", text)
    design = Design("".join(kind for kind, _ in pairs), tuple(int(width) for _, width in pairs))
    arrangement(design.placement, design.multiples)
    return design


def build(genotype: CellGenotype, design: Design, recipe: ArnasRecipe, data: SearchData) -> Network:
    """Return the network whose cells are placed and sized as the design says."""
    plans = []
    for slot in design.space(recipe.layers).slots:
        cell = genotype.cells[slot.role]
        plans.append(CellPlan(cell.nodes, cell.concat, slot.multiple, slot.reduction, affine=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return Network(
            plans,
            channels=recipe.channels,
            num_classes=data.dataset.num_classes,
            in_channels=data.dataset.in_channels,
            stem="cifar",
            auxiliary_side=None,
            denoise=False,
        ).to(data.processes.device)


class DesignTraining(WeightTraining):
    """Plain adversarial training of a network, in the form that the searches' loop takes."""

    def __init__(self, network: Network, recipe: ArnasRecipe, data: SearchData) -> None:
        self.network, self.recipe, self.rank = network, recipe, data.processes.rank
        self.weight_optimizer = WeightOptimizer(network, recipe, data.processes)
        self.adversary = search_adversary(recipe, data.threat)

    def step(self, context: StepContext, batch: SearchBatch) -> dict[str, Tensor]:
        """Descend the cross-entropy of the attacked batch."""
        images, labels = batch
        if self.adversary is not None:
            noise = context.generator(f"noise of process {self.rank}")
            self.network.train(self.recipe.craft_mode == "train")
            images = self.adversary(self.network, images, labels, generator=noise)
        loss = F.cross_entropy(self.network.train()(images), labels)
        self.weight_optimizer.step(loss, context.lr)
        return {"loss": loss.detach()}


def compare_designs(
    genotype: Genotype,
    designs: Sequence[Design],
    recipe: ArnasRecipe,
    paths: RunPaths,
    processes: ProcessGroup,
) -> None:
    """Train and judge each design, and write the table designs.csv and the record designs.json.

    Raises:
        Stopped: the process was asked to stop and has saved its work.
        ZooError: a genotype without accurate and robust cells, or missing data.
    """
    if not isinstance(genotype, CellGenotype) or "robust" not in genotype.cells:
        raise ZooError(
            f"'{genotype.name}' has no accurate and robust cells to place; use arnas or a genotype "
            "of an ARNAS search."
        )
    check_writable(paths.folder / TABLE)
    data = load_search_data(recipe, streams=("weights",), processes=processes, root=paths.root)
    _, test = load_split(recipe.dataset, "test", root=paths.root, threat_model=recipe.threat_model)
    rows = []
    for design in designs:
        network = build(genotype, design, recipe, data)
        own = paths.inside(str(design))
        training = DesignTraining(network, recipe, data)
        log = run_search(
            training, data, recipe, own.folder, resume=own.resume, save_every=own.save_every
        )
        rows.append(_row(design, network, log, test.to(processes.device), data))
    if processes.main:
        record = {
            "format": FORMAT,
            "genotype": genotype.name,
            "recipe": dataclasses.asdict(recipe),
            "training": {
                "images": len(data.streams[0].split),
                "sha256": data.streams[0].split.fingerprint,
            },
            "test": {"images": len(test), "sha256": test.fingerprint},
            "threat_model": {"norm": data.threat.norm, "epsilon": data.threat.epsilon.text},
            "attack": ATTACK,
            "designs": rows,
            "environment": environment(processes.device),
        }
        write_json(paths.folder / RECORD, record)
        table = csv_records(rows)
        write_text(paths.folder / TABLE, table)
        print(table)


def _row(
    design: Design, network: Network, log: list[dict[str, Any]], test: Any, data: SearchData
) -> dict[str, Any]:
    report = evaluate(network, test, [ATTACK], data.threat)
    clean, robust = report.clean.accuracy, report.attack(ATTACK).robust
    side = data.dataset.image_size
    return {
        "design": str(design),
        "parameters": count_parameters(network),
        "macs": count_macs(network, (data.dataset.in_channels, side, side)),
        "n": clean.n,
        "clean": f"{clean.accuracy:.4f}",
        "clean_low": f"{clean.low:.4f}",
        "clean_high": f"{clean.high:.4f}",
        ATTACK: f"{robust.accuracy:.4f}",
        f"{ATTACK}_low": f"{robust.low:.4f}",
        f"{ATTACK}_high": f"{robust.high:.4f}",
        "seconds": round(log[-1]["seconds"]),
    }
