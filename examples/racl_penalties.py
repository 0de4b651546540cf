"""Does RACL's constraint settle? Its architecture steps at the paper's size, without a network.

    python examples/racl_penalties.py search/racl/penalties

Everything but the network is the search's own: the log-normals of 8 cells, the score, the
constraint, Adam, as many steps as the paper recipe takes. In the loss's place stands a gradient
that always points the same way, with noise as large. It writes the violation c and the multiplier
theta, step by step, and draws them; three minutes.
"""

import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from robnet_zoo.plotting.style import ALARM, PALETTE, canvas, save
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.files import write_json
from robnet_zoo.search.core.spaces import EDGES, darts_space
from robnet_zoo.search.racl.constraint import Constraint
from robnet_zoo.search.racl.distribution import Distribution
from robnet_zoo.search.racl.moments import LogNormal
from robnet_zoo.search.racl.recipe import RECIPES, Covariance, Normalise, Penalty
from robnet_zoo.search.racl.search import cells_of_types, score_of

RECIPE = RECIPES["paper"]
STEPS = 6545  # of the architecture, in the paper recipe
SPREAD = 0.3  # standard deviation of the operations' ln lambda
PULL = 1e-3  # size of the stand-in's gradient by each mu, and of its noise
KEPT = 5  # steps from one recorded value to the next


@dataclass(frozen=True)
class Case:
    """What a line of the picture shows."""

    label: str
    penalty: Penalty
    covariance: Covariance
    normalise: Normalise
    drop: float


CASES = (
    Case("as printed (Eqs. 16, 17, 19)", "literal", "independent", "nothing", 4.0),
    Case("as printed, but hinge", "hinge", "independent", "nothing", 4.0),
    Case("the default", RECIPE.penalty, RECIPE.covariance, RECIPE.normalise, RECIPE.target_drop),
)


def simulate(case: Case) -> dict[str, list[float]]:
    """Return c and theta behind each step."""
    space = darts_space(RECIPE.layers)
    draw = torch.Generator().manual_seed(0)
    shape = (len(space.slots), EDGES, len(space.operations))
    log_lambda = SPREAD * torch.randn(shape, generator=draw, dtype=torch.float64)
    log_lambda[..., space.operations.index("none")] = -math.inf
    distribution = Distribution(space.roles, len(space.operations), RECIPE.deviation, draw)
    together = cells_of_types(space, case.covariance)
    learned = (distribution.means, distribution.scales)
    optimizers = [
        torch.optim.Adam(
            tensors,
            RECIPE.architecture_lr,
            betas=(0.5, 0.999),
            weight_decay=RECIPE.architecture_decay,
        )
        for tensors in learned
    ]
    directions = [torch.randn(t.shape, generator=draw, dtype=torch.float64) for t in learned[0]]

    def score() -> LogNormal:
        normalise = case.normalise != "nothing"
        return score_of(distribution, log_lambda, together, normalise=normalise)

    target = float(score().mean.detach()) - case.drop
    constraint = Constraint(target, RECIPE.eta, RECIPE.rho, RECIPE.spread, case.penalty)
    theta, history = 0.0, {"c": [], "theta": []}
    for step in range(STEPS):
        for optimizer, tensors in zip(optimizers, learned, strict=True):
            cost = constraint.cost(constraint.violation(score()), theta)
            slopes = torch.autograd.grad(cost, tensors)
            for tensor, slope, direction in zip(tensors, slopes, directions, strict=True):
                noise = torch.randn(tensor.shape, generator=draw, dtype=torch.float64)
                constant = direction if tensors is distribution.means else 0
                tensor.grad = slope + PULL * (constant + noise)
            optimizer.step()
        violation = float(constraint.violation(score()).detach())
        theta = constraint.raised(theta, violation)
        if step % KEPT == 0:
            history["c"].append(round(violation, 5))
            history["theta"].append(round(theta, 6))
    return history


def draw(path: Path, histories: dict[str, dict[str, list[float]]]) -> None:
    """Draw c and theta over the steps."""
    titles = {"c": "c: violation of the constraint", "theta": "theta: the multiplier"}
    with canvas(11, 4, layout="constrained") as figure:
        for axes, (key, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
            axes.axhline(0, color=ALARM, linewidth=1, linestyle="--")
            for colour, (label, history) in zip(PALETTE, histories.items(), strict=False):
                steps = range(0, STEPS, KEPT)
                axes.plot(steps, history[key], color=colour, label=label, linewidth=1.4)
            axes.set_title(title, loc="left")
            axes.set_xlabel("step of the architecture")
        axes.legend(fontsize=9)
    save(figure, path)


def main(folder: Path) -> None:
    """Simulate every case, and write penalties.json and penalties.png into a folder."""
    torch.set_num_threads(1)
    histories: dict[str, dict[str, list[float]]] = {}
    for case in CASES:
        history = histories[case.label] = simulate(case)
        late = history["c"][-len(history["c"]) // 3 :]
        print(f"{case.label}: c between {min(late):.3f} and {max(late):.3f} in the last third")
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "steps": STEPS,
        "every": KEPT,
        "rho": RECIPE.rho,
        "eta": RECIPE.eta,
        "cases": [asdict(case) | histories[case.label] for case in CASES],
        "environment": environment("cpu"),
    }
    write_json(folder / "penalties.json", record)
    draw(folder / "penalties.png", histories)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
