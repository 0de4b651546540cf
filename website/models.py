"""A page for each architecture: its cells, how to load it, its weights and their records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robnet_zoo.attacks.registry import heading
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.record.check import summary
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.runtime.tables import markdown_table
from robnet_zoo.zoo import protocols
from robnet_zoo.zoo.architectures import ARCHITECTURES, Architecture
from robnet_zoo.zoo.info import describe_source
from robnet_zoo.zoo.registry import local_weights, ranked_tags
from robnet_zoo.zoo.weights import Weights
from website.drawings import cells

INDEX = "models/index.md"
CURVES = "curves.png"


def page_of(name: str) -> str:
    """Return the path of an architecture's page."""
    return f"models/{name}.md"


def models(records: Mapping[str, EvaluationRecord]) -> dict[str, str | Path]:
    """Return a page for each architecture, the list of them, and the curves of their trainings.

    Args:
        records: by the names of weights.
    """
    files: dict[str, str | Path] = {INDEX: _index()}
    for name, architecture in ARCHITECTURES.items():
        known = (local_weights(f"{name}.{tag}") for tag in ranked_tags(name))
        own = [weights for weights in known if weights is not None]
        files[page_of(name)] = _page(architecture, own, records)
        for weights in own:
            if (weights.folder / CURVES).is_file():
                files[_curves(weights)] = weights.folder / CURVES
    return files


def _index() -> str:
    header = ["model", "paper", "genotype", "parameters", "weights"]
    rows = [
        [
            f"[`{name}`]({name}.md)",
            f"[{each.paper.by} {each.paper.year}]({each.paper.link})",
            each.status,
            f"{each.parameters:,}",
            ", ".join(f"`{tag}`" for tag in ranked_tags(name)),
        ]
        for name, each in ARCHITECTURES.items()
    ]
    return (
        "# Models\n\nEvery network of the zoo, at its paper's size. "
        "[All cells side by side](../gallery.md).\n\n"
        + markdown_table(header, rows, right=["parameters"])
    )


def _page(
    architecture: Architecture, weights: list[Weights], records: Mapping[str, EvaluationRecord]
) -> str:
    name, paper = architecture.name, architecture.paper
    arguments = ", ".join(f"{key} {value}" for key, value in architecture.arguments.items())
    numbers = protocols.published_text(name) or [architecture.unpublished]
    parts = [
        f"# {name}",
        f"[{paper.title}]({paper.link}), {paper.by}, {paper.place}.",
        f"Genotype: **{architecture.status}**. At the published size ({arguments}) it has "
        f"{architecture.parameters:,} parameters.",
    ]
    genotype = architecture.read_genotype()
    if genotype is not None:
        said = describe_source(genotype.source)
        parts += [f"{said[:1].upper()}{said[1:]}." if said else ""]
        parts += [cells(genotype.name, f"{paper.short} · {genotype.status} genotype")]
    parts += ["## Load it", _loading(name, weights)]
    parts += ["## Published numbers", "\n\n".join(numbers)]
    if not weights:
        parts += ["## Weights", "There are no weights of this network yet."]
    for each in weights:
        parts += _weights(each, records.get(each.name))
    parts += ["## Cite", f"```bibtex\n{paper.bibtex}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _loading(name: str, weights: list[Weights]) -> str:
    lines = [f'model = create_model("{name}")  # random weights, the published size']
    lines += [
        f'model = create_model("{each.name}")  # {each.dataset}, {each.image_size}x'
        f"{each.image_size} pixels, {each.parameters:,} parameters"
        for each in weights
    ]
    code = "\n".join(["from robnet_zoo import create_model", "", *lines])
    first = weights[0].name if weights else name
    command = f"python -m robnet_zoo.eval --model {first} --attack pgd100"
    attack = f"\n\n```bash\n{command}\n```" if weights else ""
    return f"```python\n{code}\n```{attack}"


def _weights(weights: Weights, record: EvaluationRecord | None) -> list[str]:
    training = weights.training
    side = weights.image_size
    facts = {
        "trained against": "nothing: the natural twin"
        if weights.naturally_trained
        else str(weights.trained_against),
        **{key: str(training[key]) for key in ("recipe", "epochs", "seed") if key in training},
        "parameters": f"{weights.parameters:,}",
        "file": f"{weights.size_bytes / 1e6:.2f} MB, {weights.dtype}, sha256 `{weights.sha256}`",
    }
    header = ["data set", f"{weights.dataset}, {side}x{side} pixels"]
    parts = [f"## {weights.name}", markdown_table(header, [list(each) for each in facts.items()])]
    if (weights.folder / CURVES).is_file():
        parts += [f"![Training of {weights.name}](../{_curves(weights)})"]
    return [*parts, "It has not been evaluated." if record is None else _results(record)]


def _curves(weights: Weights) -> str:
    return f"files/curves/{weights.name}.png"


def _results(record: EvaluationRecord) -> str:
    """Return what an evaluation found: accuracies, what they cost, and checks."""
    name = record.model.name
    header = ["attack", "accuracy", "95 %", "last iterate", "passes an image", "seconds"]
    rows = [["none", *_rate(record.clean.accuracy), "", "", ""]]
    rows += [
        [
            heading(result.full_name),
            *_rate(result.robust),
            "" if result.last is None else f"{100 * result.last.accuracy:.1f} %",
            str(record.passes(result.full_name)),
            f"{result.seconds:,.0f}",
        ]
        for result in record.attacks
    ]
    rows += [["all together", *_rate(record.totals.robust), "", str(record.passes()), ""]]
    failed = "".join(
        f'\n\n!!! warning "fails the check {check.name}"\n    {check.detail}'
        for check in record.failed_checks
    )
    images = f"the first {record.data.n:,} of {record.data.available:,}"
    if record.data.n == record.data.available:
        images = f"all {record.data.n:,}"
    return (
        f"Evaluated on {images} images of {record.data.title}, {record.threat_model.title}, on "
        f"{record.created[:10]}: [report](../reports/{name}.html), "
        f"[record](../files/records/{name}.json).\n\n"
        + markdown_table(header, rows, right=header[1:])
        + f"\nChecks: {summary(record.checks)}.{failed}"
    )


def _rate(rate: Proportion) -> list[str]:
    return [
        f"{100 * rate.accuracy:.1f} %",
        f"{100 * rate.low:.1f}\N{EN DASH}{100 * rate.high:.1f}",
    ]
