"""The reference: what users call, from the docstrings."""

from __future__ import annotations

PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "models": (
        "Models and weights",
        (
            "robnet_zoo.zoo.create.create_model",
            "robnet_zoo.zoo.registry.list_models",
            "robnet_zoo.zoo.registry.get_weights",
            "robnet_zoo.zoo.weights.Weights",
            "robnet_zoo.zoo.inputs.transform",
            "robnet_zoo.zoo.mixin.HubModel",
            "robnet_zoo.zoo.store.save_weights",
            "robnet_zoo.zoo.registry.register_architecture",
            "robnet_zoo.zoo.architectures.Architecture",
        ),
    ),
    "evaluation": (
        "Evaluation",
        (
            "robnet_zoo.eval.evaluation.evaluate",
            "robnet_zoo.eval.record.EvaluationRecord",
            "robnet_zoo.eval.record.results.AttackResult",
            "robnet_zoo.eval.record.check.Check",
        ),
    ),
    "attacks": (
        "Attacks",
        (
            "robnet_zoo.attacks.registry.get_attack",
            "robnet_zoo.attacks.base.Attack",
            "robnet_zoo.attacks.batch.AttackBatch",
            "robnet_zoo.attacks.batch.AttackOutput",
            "robnet_zoo.attacks.adaptive.Bpda",
            "robnet_zoo.attacks.adaptive.Eot",
            "robnet_zoo.attacks.registry.register_attack",
            "robnet_zoo.threat_models.ThreatModel",
            "robnet_zoo.threat_models.get_threat_model",
        ),
    ),
    "certificates": (
        "Certificates",
        (
            "robnet_zoo.certify.margins.certified",
            "robnet_zoo.certify.margins.certified_radius",
            "robnet_zoo.certify.margins.certified_margin",
            "robnet_zoo.certify.margins.bounds",
        ),
    ),
    "data": (
        "Data",
        (
            "robnet_zoo.data.registry.load_split",
            "robnet_zoo.data.registry.dataset_info",
            "robnet_zoo.data.registry.list_datasets",
            "robnet_zoo.data.registry.register_dataset",
            "robnet_zoo.data.dataset.Dataset",
        ),
    ),
    "training": (
        "Training",
        (
            "robnet_zoo.train.session.train",
            "robnet_zoo.train.settings.Settings",
            "robnet_zoo.train.recipes.register_recipe",
        ),
    ),
    "search": (
        "Searches and genotypes",
        (
            "robnet_zoo.search.registry.register_search",
            "robnet_zoo.search.indicators.registry.indicator",
            "robnet_zoo.genotypes.types.CellGenotype",
            "robnet_zoo.genotypes.types.RobNetGenotype",
            "robnet_zoo.genotypes.files.read_genotype",
            "robnet_zoo.genotypes.files.published",
        ),
    ),
}


def reference() -> dict[str, str]:
    """Return a page for each part."""
    return {
        f"reference/{part}.md": f"# {title}\n\n" + "".join(f"::: {name}\n\n" for name in names)
        for part, (title, names) in PARTS.items()
    }
