"""What the papers maximise or measure: bounds, Jacobians, Lipschitz constants, FSP distances."""

from __future__ import annotations

import copy
import math
import sys
from functools import partial

import torch
from torch import Tensor, nn

from robnet_zoo.certify import certified_margin
from robnet_zoo.certify.jacobian import row_norms
from robnet_zoo.certify.margins import Method
from robnet_zoo.genotypes import Nodes
from robnet_zoo.models.cells import CellBlock
from robnet_zoo.runtime.randomness import keyed_generator
from robnet_zoo.search.indicators.candidate import Candidate
from robnet_zoo.search.indicators.counts import entering
from robnet_zoo.search.indicators.probe import Probe
from robnet_zoo.search.indicators.registry import indicator
from robnet_zoo.search.racl.lipschitz import factors, log_closed_form
from robnet_zoo.search.racl.spectral import SpectralNorms
from robnet_zoo.search.robnet.codes import deep_distance
from robnet_zoo.search.robnet.fsp import fsp_distances

DSRNA, RACL, ROBNET = "DSRNA, abstract", "RACL, Eqs. 9 to 12", "RobNet, Eq. 4"
IMAGES = 2  # that bounds and Jacobians look at
RADIUS = 0.01  # of bounds, as a fraction of epsilon
ITERATIONS = 10  # of the power iteration


@indicator(
    "jacobian_norm", stage="network", meaning="L1 norms of the Jacobian's rows, mean", source=DSRNA
)
def jacobian_norm(probe: Probe) -> float:
    """Return the mean dual norm of the Jacobian's rows: the metric of DSRNA's second variant."""
    return float(
        row_norms(probe.network, probe.images[:IMAGES], probe.threat_model.norm).detach().mean()
    )


@indicator(
    "interval_slack",
    stage="network",
    meaning="logits that interval bounds give away at a hundredth of epsilon, ln",
    source=DSRNA,
)
def interval_slack(probe: Probe) -> float:
    """Return ln of what interval bounds take off the margin."""
    return _slack(probe, "interval")


@indicator(
    "mixed_slack",
    stage="network",
    meaning="logits that mixed bounds give away there, ln",
    source=DSRNA,
)
def mixed_slack(probe: Probe) -> float:
    """Return ln of what mixed bounds take off the margin."""
    return _slack(probe, "mixed")


@indicator(
    "zonotope_slack",
    stage="narrow",
    meaning="logits that zonotopes give away there, at 4 channels, ln",
)
def zonotope_slack(probe: Probe) -> float:
    """Return ln of what zonotopes take off the margin."""
    return _slack(probe, "zonotope", images=1)


@indicator(
    "linear_slack",
    stage="narrow",
    meaning="logits that linear bounds give away there, at 4 channels, ln",
    source=DSRNA,
)
def linear_slack(probe: Probe) -> float:
    """Return ln of what linear bounds take off the margin."""
    return _slack(probe, "linear", images=1)


@torch.no_grad()
def _slack(probe: Probe, method: Method, images: int = IMAGES) -> float:
    """Return ln of how far the certified margin lies below the margin itself, on average.

    In float64: bounds of random weights grow by thirty orders of magnitude.
    """
    network = copy.deepcopy(probe.network).double()
    balls, labels = probe.images[:images].double(), probe.labels[:images]

    def margins(radius: float, method: Method) -> Tensor:
        norm = probe.threat_model.norm
        return certified_margin(network, balls, labels, radius, norm=norm, method=method)

    given_away = margins(0.0, "interval") - margins(RADIUS * probe.epsilon, method)
    return math.log(given_away.mean().clamp(min=sys.float_info.min).item())


@indicator(
    "fsp_distance",
    stage="network",
    meaning="FSP distance of the deep cells under PGD-7",
    source=ROBNET,
)
def fsp_distance(probe: Probe) -> float:
    """Return the mean FSP distance of the last third of the cells (RobNet, Eq. 4)."""
    distances = fsp_distances(
        probe.network.cells, probe.network, probe.images, probe.adversarial
    ).mean(1)
    return deep_distance(distances.tolist())


@indicator(
    "lipschitz_uniform",
    stage="cell",
    meaning="RACL's score of the cells with every convolution's norm 1, over all nodes",
    source=RACL,
)
def lipschitz_uniform(candidate: Candidate) -> float:
    """Return the sum over both cells' nodes of the logarithm of their edges' constants."""

    def score(nodes: Nodes, stride: int) -> float:
        return sum(
            _log_sum([log_closed_form(name, stride if source < 2 else 1) for name, source in edges])
            for edges in nodes
        )

    normal = candidate.mean(partial(score, stride=1), reduction=False)
    return normal + candidate.mean(partial(score, stride=2), reduction=True)


@indicator(
    "lipschitz_measured",
    stage="network",
    meaning="RACL's score of the network with measured spectral norms, over all cells' nodes",
    source=RACL,
)
@torch.no_grad()
def lipschitz_measured(probe: Probe) -> float:
    """Return the sum over all nodes of the logarithm of their edges' measured constants."""
    side = probe.images.shape[-1]
    convs: list[tuple[nn.Conv2d, int]] = []
    maps: list[tuple[int, int, list[int]]] = []  # node, edge and convolutions of a linear map
    nodes: list[list[float]] = []  # ln of each edge's constant, by node
    for block, plan in zip(probe.network.cells, probe.candidate.plans, strict=True):
        assert isinstance(block, CellBlock)
        after = side // 2 if plan.reduction else side
        by_edge = dict(enumerate(entering(plan.nodes)))
        for wiring in block.wiring:
            nodes.append([])
            for key, source in wiring:
                operation, _, _ = by_edge[int(key)]
                stride = 2 if plan.reduction and source < 2 else 1
                nodes[-1].append(log_closed_form(operation, stride))
                for factor in factors(block._ops[key], side if source < 2 else after):
                    numbers = list(range(len(convs), len(convs) + len(factor)))
                    maps.append((len(nodes) - 1, len(nodes[-1]) - 1, numbers))
                    convs += factor
        side = after
    norms = SpectralNorms(convs, keyed_generator(probe.seed, "power iteration"))
    for _ in range(ITERATIONS - 1):
        norms.step()
    measured = norms.step().log()
    for node, edge, numbers in maps:
        nodes[node][edge] += float(measured[numbers].max())
    return sum(map(_log_sum, nodes))


def _log_sum(logs: list[float]) -> float:
    """Return the logarithm of a sum given by logarithms; where nothing enters a node, 0."""
    total = float(torch.tensor(logs, dtype=torch.float64).logsumexp(0))
    return total if math.isfinite(total) else 0.0
