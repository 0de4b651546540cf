"""The DSRNA search: one-step bilevel, with a measure of robustness in the outer objective.

min over a of  L_val(w'(a), a) - gamma R(w'(a), a),   w' = w - lr d L_train(w, a) / dw
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from robnet_zoo.certify.tracing import trace
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.randomness import keyed_generator
from robnet_zoo.search.core.softmax import INITIAL_SCALE, SoftmaxSearch
from robnet_zoo.search.core.spaces import EDGES, NODES, TARGETS
from robnet_zoo.search.core.supernet import CellWeights
from robnet_zoo.search.core.unrolled import ObjectiveGradient, Weights
from robnet_zoo.search.dsrna.metrics import (
    certified_lower_bound,
    jacobian_norm_bound,
    size_of_slack,
)
from robnet_zoo.search.dsrna.recipe import DsrnaRecipe
from robnet_zoo.search.run.data import SearchBatch, SearchData
from robnet_zoo.search.run.loop import StepContext

Figures = dict[str, float | Tensor]


class DsrnaSearch(SoftmaxSearch[DsrnaRecipe]):
    """A search by alternating steps: first of the architecture, then of the weights.

    The architecture consists of scores of operations (roles, edges, operations) and of edges
    (roles, edges).
    """

    algorithm = "dsrna"

    def __init__(self, recipe: DsrnaRecipe, data: SearchData) -> None:
        classes = data.dataset.num_classes
        if recipe.metric != "cb" and recipe.estimator != "exact" and recipe.estimates > classes:
            raise ZooError(
                f"estimates={recipe.estimates} are more than the {classes} classes of "
                f"'{data.dataset.name}'; choose fewer, or estimator=exact for all of them."
            )
        if data.threat.norm == "Linf" and (recipe.bound_size or 0) > 1:
            raise ZooError(
                f"bound_size={recipe.bound_size} is more than pixels in [0,1] can change; choose 1 "
                "or less."
            )
        super().__init__(recipe, data)

    @property
    def genotype_name(self) -> str:
        """What a finished search calls its genotype: after its metric, its data and its seed."""
        return f"dsrna_{self.recipe.metric}-{self.data.dataset.name}-seed{self.recipe.seed}"

    def draw_scores(self, generator: torch.Generator) -> list[Tensor]:
        """Return the scores at the start, of operations and of edges."""
        roles = len(self.space.roles)
        shapes = ((roles, EDGES, len(self.space.operations)), (roles, EDGES))
        return [INITIAL_SCALE * torch.randn(shape, generator=generator) for shape in shapes]

    def mixture(self, architecture: Sequence[Tensor]) -> dict[str, CellWeights]:
        """Return each role's softmax over an edge's operations and over a node's edges."""
        operations, edges = architecture
        nodes = [edges[:, [t == node for t in TARGETS]].softmax(1) for node in range(NODES)]
        cells = map(CellWeights, operations.softmax(2), torch.cat(nodes, 1))
        return dict(zip(self.space.roles, cells, strict=True))

    def step(self, context: StepContext, batch: SearchBatch, held: SearchBatch) -> Figures:
        """Move the architecture, then the weights; return what is worth logging."""
        figures: Figures = {}
        self.arch_optimizer.step(self.outer_gradient(context, batch, held, figures).gradient)
        loss = self.train_weights(context, self.mixture(self.architecture), batch)
        return {"loss": loss, **figures}

    def outer_gradient(
        self, context: StepContext, batch: SearchBatch, held: SearchBatch, figures: Figures
    ) -> ObjectiveGradient:
        """Return the outer objective's value and gradient; its terms go into `figures`."""
        classification = self.classification(held)

        def validation(weights: Weights, architecture: Sequence[Tensor]) -> Tensor:
            loss = classification(weights, architecture)
            figures["natural"] = loss.detach()
            warm = context.epoch < self.recipe.warmup  # the metric is then logged alone
            with torch.set_grad_enabled(not warm):
                metric = self.robustness(context, weights, architecture, held, figures)
            return loss if warm else loss - self.recipe.gamma * metric

        training = self.classification(batch)
        (outer,) = self.gradients([validation], training, context.lr)
        return outer

    def robustness(
        self,
        context: StepContext,
        weights: Weights,
        architecture: Sequence[Tensor],
        batch: SearchBatch,
        figures: Figures,
    ) -> Tensor:
        """Return the metric R of some weights and architecture; its terms go into `figures`."""
        recipe, threat = self.recipe, self.data.threat
        cells = self.mixture(architecture)

        def model(images: Tensor) -> Tensor:
            return functional_call(self.supernet, dict(weights), (images, cells))

        terms = []
        with self._eval_mode():
            if recipe.metric != "jacobian":
                few = SearchBatch(*(part[: recipe.bound_images] for part in batch))
                how: Any = {"norm": threat.norm, "bound": recipe.bound}
                largest = threat.epsilon.value
                size = recipe.bound_size or size_of_slack(model, few, recipe.slack, largest, **how)
                terms.append(certified_lower_bound(model, few, size, **how))
                figures |= {"certified": terms[-1].detach(), "certified_size": size}
            if recipe.metric != "cb":
                key = (context.seed, "projections", context.epoch, context.index)
                terms.append(
                    jacobian_norm_bound(
                        model,
                        batch.images,
                        threat.epsilon.value,
                        keyed_generator(*key),
                        norm=threat.norm,
                        estimator=recipe.estimator,
                        estimates=recipe.estimates,
                    )
                )
                figures["jacobian"] = terms[-1].detach()
        return torch.stack(terms).sum()

    @torch.no_grad()
    def findings(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what a bound of the supernet costs: its steps, and an image's values in all."""
        if self.recipe.metric == "jacobian":
            return {}
        cells, image = self.mixture(self.architecture), self.data.streams[1].at(0, 0).images[:1]
        with self._eval_mode():
            graph = trace(lambda images: self.supernet(images, cells), image)
        return {
            "bound_steps": len(graph),
            "bound_values": sum(node.value[0].numel() for node in graph),
        }

    @contextmanager
    def _eval_mode(self) -> Iterator[None]:
        self.supernet.eval()
        try:
            yield
        finally:
            self.supernet.train()
