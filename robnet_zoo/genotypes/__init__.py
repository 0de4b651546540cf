"""Architecture codes as typed data: what a searched network is made of, without torch.

Two kinds exist, which `"kind"` tells apart in JSON:

- `"cells"` (`CellGenotype`): DARTS-like cells whose nodes add two edges each, one code for each
  role: `normal` and `reduce`, or ARNAS's `accurate`, `robust` and `reduce`.
- `"robnet"` (`RobNetGenotype`): RobNet's fully wired cells of four nodes and fourteen edges, each
  edge a two-character code; one shared cell, or one cell for each layer.

The published genotypes lie beside this module as JSON, with their sources.
"""

from robnet_zoo.genotypes.files import (
    genotype_from_dict,
    genotype_to_dict,
    published,
    published_names,
    read_genotype,
)
from robnet_zoo.genotypes.types import (
    OPERATIONS,
    ROBNET_CODES,
    ROBNET_EDGES,
    ROBNET_NODES,
    Cell,
    CellGenotype,
    Genotype,
    Nodes,
    RobNetGenotype,
    robnet_nodes,
)

__all__ = [
    "OPERATIONS",
    "ROBNET_CODES",
    "ROBNET_EDGES",
    "ROBNET_NODES",
    "Cell",
    "CellGenotype",
    "Genotype",
    "Nodes",
    "RobNetGenotype",
    "genotype_from_dict",
    "genotype_to_dict",
    "published",
    "published_names",
    "read_genotype",
    "robnet_nodes",
]
