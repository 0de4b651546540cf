"""Model cards: what a reader of a weights folder must know, made from its config.json alone.

The folders of `weights/` hold README.md, the results in the Hub's own format and the drawing
cell.svg, so that each is a repository of the Hugging Face Hub as it stands. The embedded folders
travel in every wheel and hold none of them; `robnet-zoo publish` makes them.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from robnet_zoo.runtime.files import write_text
from robnet_zoo.runtime.tables import markdown_table
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.info import attacked, describe_source, percent
from robnet_zoo.zoo.results import hub_dataset, metric, record_address, rounded, write_results
from robnet_zoo.zoo.weights import EMBEDDED, Weights, recorded_rates

CARD, DRAWING = "README.md", "cell.svg"
TASK = "image-classification"
TAGS = ["adversarial-robustness", "neural-architecture-search"]
_TEMPLATE = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=ChainableUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
).get_template("card.md.jinja")


def write_card(weights: Weights, organisation: str = "") -> None:
    """Write README.md, the results and, for networks of cells, cell.svg into a weights folder.

    Args:
        weights: what was read from the folder.
        organisation: whose repository of the Hub it is or is to be, where that is known.

    Raises:
        ZooError: matplotlib, which draws, is not installed; the rest is written nevertheless.
    """
    if weights.folder.resolve().parent == EMBEDDED.resolve():
        return
    write_text(weights.folder / CARD, card(weights, organisation))
    write_results(weights)
    if weights.genotype is not None:
        from robnet_zoo.plotting.cells import draw

        known = ARCHITECTURES.get(weights.architecture)
        origin = f"{weights.genotype_status} genotype"
        subtitle = f"{known.paper.short} · {origin}" if known else origin
        draw(weights.genotype, weights.folder / DRAWING, weights.architecture, subtitle)


def card(weights: Weights, organisation: str = "") -> str:
    """Return the model card: front matter for the Hub, then text in Markdown."""
    known = ARCHITECTURES.get(weights.architecture)
    return _TEMPLATE.render(
        weights=weights,
        organisation=organisation,
        paper=known.paper if known else None,
        front_matter=_front_matter(weights),
        drawing=DRAWING,
        source=describe_source(weights.genotype.source) if weights.genotype else "",
        results=_results(weights),
    )


def _front_matter(weights: Weights) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    dataset = hub_dataset(weights.dataset)
    measured = [
        EvalResult(
            task_type=TASK,
            dataset_type=dataset or weights.dataset,
            dataset_name=weights.dataset,
            dataset_split="test",
            metric_type="accuracy",
            metric_name=metric(weights, name),
            metric_value=rounded(value),
            source_url=record_address(weights),
        )
        for name, value in weights.recorded.items()
    ]
    return ModelCardData(
        library_name="robnet_zoo",
        license="mit" if weights.licence == "MIT" else "other",
        pipeline_tag=TASK,
        tags=[*TAGS, weights.architecture],
        datasets=[dataset] if dataset else None,
        model_name=weights.name,
        eval_results=measured or None,
    ).to_yaml()


def _results(weights: Weights) -> str:
    """Return the table of accuracies, beside those of the network trained naturally."""
    natural = recorded_rates(weights.results.get("natural"))
    header = ["", "accuracy", *(["the same network, trained naturally"] if natural else [])]
    rows = [[name, rate] for name, rate in attacked(weights).items()]
    if natural:
        for row in rows:
            row.append(percent(natural[row[0]]) if row[0] in natural else "-")
    return markdown_table(header, rows)
