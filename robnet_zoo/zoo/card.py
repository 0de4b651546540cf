"""Model cards: what a reader of a weights folder must know, made from its config.json alone.

The folders of `weights/` hold README.md and the drawing cell.svg, so that each is a repository of
the Hugging Face Hub as it stands. The embedded folders travel in every wheel and hold neither;
`robnet-zoo publish` makes both for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robnet_zoo.runtime.files import write_text
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.info import percent, source
from robnet_zoo.zoo.weights import EMBEDDED, Weights

CARD, DRAWING = "README.md", "cell.svg"
TASK = "image-classification"
TAGS = ["adversarial-robustness", "neural-architecture-search"]
SEARCHED = "searched here"
SEARCHED_NOTE = (
    "These cells were found by a search of this project: they are no paper's cells, and no "
    "published number is theirs."
)
DATA_NOTES = {
    "digits": "- The digits are 8x8 scans of handwritten digits: data for first steps and tests, "
    "too small and too easy to rank architectures by."
}


def write_card(weights: Weights, organisation: str = "") -> None:
    """Write README.md and, for networks of cells, cell.svg into a weights folder.

    Args:
        weights: what was read from the folder.
        organisation: whose repository of the Hub it is or is to be, where that is known.

    Raises:
        ZooError: matplotlib, which draws, is not installed; README.md is written nevertheless.
    """
    if weights.folder.resolve().parent == EMBEDDED.resolve():
        return
    write_text(weights.folder / CARD, card(weights, organisation))
    if weights.genotype is not None:
        from robnet_zoo.plotting.cells import draw

        known = ARCHITECTURES.get(weights.architecture)
        origin = f"{weights.genotype_status} genotype"
        subtitle = f"{known.paper.short} · {origin}" if known else origin
        draw(weights.genotype, weights.folder / DRAWING, weights.architecture, subtitle)


def card(weights: Weights, organisation: str = "") -> str:
    """Return the model card: front matter for the Hub, then text in Markdown."""
    sections = [
        f"---\n{_front_matter(weights)}\n---\n\n# {weights.name}",
        _summary(weights),
        _genotype(weights),
        f"## Test results\n\n{_results(weights)}",
        f"## Training\n\n{_training(weights)}",
        f"## Use\n\n{_use(weights, organisation)}",
        f"## Limits\n\n{_limits(weights)}",
        f"## Citation\n\n{_citation(weights)}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(weights: Weights) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    measured = [
        EvalResult(
            task_type=TASK,
            dataset_type=weights.dataset,
            dataset_name=weights.dataset,
            dataset_split="test",
            metric_type="accuracy",
            metric_name=_metric(weights, name),
            metric_value=round(value["accuracy"], 4),
        )
        for name, value in weights.accuracies.items()
    ]
    return ModelCardData(
        library_name="robnet_zoo",
        license="mit" if weights.licence == "MIT" else "other",
        pipeline_tag=TASK,
        tags=[*TAGS, weights.architecture],
        datasets=[weights.dataset],
        model_name=weights.name,
        eval_results=measured or None,
    ).to_yaml()


def _metric(weights: Weights, name: str) -> str:
    threat = weights.threat_model
    if name == "clean":
        return "clean accuracy"
    return f"robust accuracy, {name}, {threat.get('norm')} {threat.get('epsilon')}"


def _summary(weights: Weights) -> str:
    known = ARCHITECTURES.get(weights.architecture)
    status = weights.genotype_status
    by = "found by the method of" if status == SEARCHED else "of"
    origin = f" {by} *{known.paper.title}* (arXiv:{known.paper.arxiv})" if known else ""
    designed = status if weights.genotype is None else f"genotype: {status}"
    size = "".join(
        f", {key} {weights.arguments[key]}"
        for key in ("channels", "layers")
        if key in weights.arguments
    )
    return (
        f"The architecture `{weights.architecture}`{origin}, {designed}; "
        f"{weights.parameters:,} parameters{size}. It takes {weights.dataset} images "
        f"(N, {weights.arguments.get('in_channels', 3)}, {weights.image_size}, "
        f"{weights.image_size}) with pixels in [0,1] and returns logits "
        f"(N, {weights.arguments.get('num_classes', 10)})."
    )


def _genotype(weights: Weights) -> str:
    if weights.genotype is None:
        return ""
    told = source(weights.genotype.source)
    sentences = (
        SEARCHED_NOTE if weights.genotype_status == SEARCHED else "",
        f"{told}." if told else "",
    )
    note = " ".join(sentence for sentence in sentences if sentence)
    return f"![The cells of {weights.name}]({DRAWING})\n\n{note}".strip()


def _results(weights: Weights) -> str:
    results, threat = weights.results, weights.threat_model
    if not weights.accuracies:
        return "Not evaluated yet."
    natural = weights.natural
    header = ["", "accuracy", *(["the same network, trained naturally"] if natural else [])]
    lines = [header, ["---"] * len(header)]
    for name, value in weights.accuracies.items():
        row = [name, percent(value)]
        if natural:
            row.append(percent(natural[name]) if name in natural else "-")
        lines.append(row)
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    count = "" if weights.images is None else f"the first {weights.images:,} "
    text = (
        f"{table}\n\nOn {count}test images of {weights.dataset}, {threat.get('norm')} "
        f"{threat.get('epsilon')}, with 95 % Wilson intervals in brackets. Under an attack, an "
        "image counts as right if nothing that the attack tried fools the network."
    )
    if results.get("failed_checks"):
        text += f" **Checks of the evaluation that failed: {', '.join(results['failed_checks'])}.**"
    if "record" in results:
        text += f" Verdicts on every image: `{results['record']}` in the project's repository."
    return text


def _training(weights: Weights) -> str:
    training, threat = weights.training, weights.threat_model
    lines = [f"- Data: {weights.dataset}{_hash(training.get('data_sha256'))}"]
    if "data_note" in training:
        lines.append(f"- About the data: {training['data_note']}")
    recipe = training.get("recipe", "unknown")
    against = (
        "without adversarial images"
        if recipe == "natural"
        else f"against {threat.get('norm')} {threat.get('epsilon')}"
    )
    facts = [f"{key} {training[key]}" for key in ("seed", "epochs") if key in training]
    lines.append(f"- Recipe: {', '.join([f'`{recipe}`', *facts, against])}")
    if "cost" in training:
        lines.append(f"- Cost: {training['cost']}")
    if "selection" in training:
        lines.append(f"- The epoch was chosen on {training['selection']}{_selected(training)}.")
    return "\n".join(lines)


def _hash(sha256: str | None) -> str:
    return f" (training images: sha256 `{sha256}`)" if sha256 else ""


def _selected(training: Mapping[str, Any]) -> str:
    best = training.get("selected")
    if best is None:
        return ""
    robust = "" if best["robust"] is None else f", PGD-10 {best['robust']:.1%}"
    return f" ({best['n']} images: clean {best['clean']:.1%}{robust}, which is no test result)"


def _use(weights: Weights, organisation: str) -> str:
    return f"""```python
from robnet_zoo import create_model

model = create_model("local-dir:{weights.name}", verify=True)  # this folder
model = create_model("hf-hub:{organisation or "ORG"}/{weights.name}")  # from the Hugging Face Hub
```

`python -m robnet_zoo.eval --model local-dir:{weights.name} --attack pgd100` attacks it. The
tensors are stored in half precision and computed with in single precision; their sha256 is
checked before use."""


def _limits(weights: Weights) -> str:
    threat = weights.threat_model
    lines = [
        "- Robust accuracy is what the attacks above leave standing, not a certificate: a stronger "
        "attack may break more.",
        f"- It holds for perturbations within {threat.get('norm')} {threat.get('epsilon')} alone; "
        "other norms, larger perturbations and natural corruptions were not considered.",
        DATA_NOTES.get(weights.dataset, ""),
        "- Research weights; they are not meant to decide about anything or anyone.",
    ]
    return "\n".join(line for line in lines if line)


def _citation(weights: Weights) -> str:
    known = ARCHITECTURES.get(weights.architecture)
    if known is None:
        return "Please cite the robnet_zoo developers: *robnet_zoo* (`CITATION.cff`)."
    what = "method" if weights.genotype_status == SEARCHED else "architecture"
    return (
        f"Please cite the {what}'s paper, {known.paper}, and the robnet_zoo developers: "
        "*robnet_zoo* (`CITATION.cff`)."
    )
