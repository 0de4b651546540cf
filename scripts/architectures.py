"""Write what follows from the rows of the zoo's architectures: parameter counts and drawings.

python scripts/architectures.py           # after a row was added or changed
python -m robnet_zoo.eval tables          # then the table in the README
"""

from __future__ import annotations

from pathlib import Path

import torch

from robnet_zoo.models.count import count_parameters
from robnet_zoo.plotting.cells import draw
from robnet_zoo.runtime.files import write_json
from robnet_zoo.zoo.architectures import ARCHITECTURES, PARAMETERS
from robnet_zoo.zoo.blueprints import blueprint

DRAWINGS = Path(__file__).parents[1] / "docs" / "cells"


def main() -> None:
    counts = {}
    for name, architecture in ARCHITECTURES.items():
        with torch.device("meta"):
            counts[name] = count_parameters(blueprint(name).build())
        genotype = architecture.read_genotype()
        if genotype is not None and genotype.name == name:  # a variant has the same cells
            subtitle = f"{architecture.paper.short} · {genotype.status} genotype"
            draw(genotype, DRAWINGS / f"{name}.svg", name, subtitle)
    write_json(PARAMETERS, counts)


if __name__ == "__main__":
    main()
