"""What there is to say about an architecture and its weights, as plain text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from robnet_zoo.genotypes import Genotype, RobNetGenotype, robnet_nodes
from robnet_zoo.genotypes.types import Edge
from robnet_zoo.zoo.architectures import ARCHITECTURES, Architecture
from robnet_zoo.zoo.blueprints import blueprint
from robnet_zoo.zoo.hub import pins
from robnet_zoo.zoo.protocols import published_text
from robnet_zoo.zoo.registry import default_tag, find_weights, local_weights, ranked_tags
from robnet_zoo.zoo.weights import Weights

LABEL, WIDTH = 14, 96
FAILED = "†"  # behind a number of an evaluation that failed a check


def describe(name: str) -> str:
    """Describe an architecture with all its weights ("racl"), or one set of them ("racl.digits").

    An architecture's paper comes last, as an entry of BibTeX. A genotype file ("cells:FILE.json")
    is described with its cells, and a weights folder by its path.

    Only what names one set of weights is fetched from the Hub, where it is not on this machine.

    Raises:
        ZooError: there is no such architecture, weights or genotype.
    """
    if name.startswith("cells:"):
        return _describe_genotype(name)
    if name not in ARCHITECTURES:
        return _describe_weights(find_weights(name))
    parts = [_describe_architecture(ARCHITECTURES[name])]
    for tag in ranked_tags(name):
        weights = local_weights(f"{name}.{tag}")
        parts.append(
            _describe_weights(weights) if weights else _describe_published(f"{name}.{tag}")
        )
    if default_tag(name) is None:
        parts.append("There are no weights yet.")
    parts.append(ARCHITECTURES[name].paper.bibtex)
    return "\n\n".join(parts)


def _describe_architecture(architecture: Architecture) -> str:
    genotype = architecture.status
    if (code := architecture.read_genotype()) is not None:
        genotype += f". {describe_source(code.source)}"
    return _entries(
        architecture.name,
        {
            "paper": str(architecture.paper),
            "genotype": genotype,
            "network": _network(architecture.parameters, architecture.arguments),
            "published": "\n".join(published_text(architecture.name)) or architecture.unpublished,
        },
    )


def _describe_genotype(name: str) -> str:
    """Describe a genotype file; its network is built without storage, to count its parameters."""
    import torch

    from robnet_zoo.models.count import count_parameters

    design = blueprint(name)
    own = design.genotype
    assert own is not None  # what "cells:" names has one
    with torch.device("meta"):
        parameters = count_parameters(design.build())
    return _entries(
        f"genotype {own.name}",
        {
            "genotype": ". ".join(filter(None, (own.status, describe_source(own.source)))),
            "cells": "\n".join(_cells(own)),
            "network": f"by default {_network(parameters, design.arguments)}",
            "to train it": f"python -m robnet_zoo.train --model {name}",
        },
    )


def _cells(genotype: Genotype) -> list[str]:
    """Write each cell in a line: its nodes, and for each the operations on the states it reads."""
    if isinstance(genotype, RobNetGenotype):
        cells = {str(number): robnet_nodes(code) for number, code in enumerate(genotype.cells)}
        head = ["11(0): identity and separable convolution (0 where left out) of state 0"]
    else:
        cells = {role: cell.nodes for role, cell in genotype.cells.items()}
        head = []
    return head + [
        f"{role}: " + "; ".join(f"{2 + number} = {_sum(node)}" for number, node in enumerate(nodes))
        for role, nodes in cells.items()
    ]


def _sum(node: tuple[Edge, ...]) -> str:
    return " + ".join(f"{operation}({source})" for operation, source in node)


def describe_source(source: Any) -> str:
    """Write a genotype's source as a phrase: its note, and where it was published."""
    entries = source if isinstance(source, Mapping) else {"note": source}
    note = str(entries.get("note", "")).strip(".")
    places = " ".join(str(entries[key]) for key in ("repository", "path") if key in entries)
    return " ".join(part for part in (note, f"({places})" if places else "") if part)


def _describe_weights(weights: Weights) -> str:
    training, threat = weights.training, weights.threat_model
    facts = [
        f"{label}{training[key]}"
        for key, label in (("recipe", "recipe "), ("seed", "seed "), ("epochs", "epochs: "))
        if key in training
    ]
    side = weights.image_size
    against = (
        f"{weights.dataset} naturally"
        if weights.naturally_trained
        else f"{weights.dataset} against {threat.get('norm')} {threat.get('epsilon')}"
    )
    count = "" if weights.images is None else f" of {weights.images:,} images"
    measured = ", ".join(f"{name} {rate}" for name, rate in attacked(weights).items())
    failed = ", ".join(weights.failed_checks)
    natural = {"natural": _rates(weights.natural)} if weights.natural else {}
    return _entries(
        f"weights {weights.name}",
        {
            "network": _network(weights.parameters, weights.arguments),
            "genotype": weights.genotype_status,
            "trained": ", ".join([against, f"images {side}x{side}", *facts]),
            "accuracy": measured + count if measured else "not evaluated yet",
            **({f"{FAILED} failed": f"checks of the evaluation: {failed}"} if failed else {}),
            **natural,
            "record": str(weights.results.get("record", "none")),
            "file": f"{weights.size_bytes / 1e6:.2f} MB, sha256 {weights.sha256}",
            "folder": str(weights.folder),
            "licence": weights.licence,
        },
    )


def _rates(measured: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{name} {percent(value)}" for name, value in measured.items())


def _describe_published(name: str) -> str:
    pin = pins()[name]
    return _entries(
        f"weights {name}",
        {
            "published": f"hf-hub:{pin.repository}@{pin.revision}, sha256 {pin.sha256}",
            "to get them": f"robnet-zoo download {name}",
        },
    )


def attacked(weights: Weights) -> dict[str, str]:
    """Return the weights' accuracies as text, those under attack marked if a check failed."""
    mark = FAILED if weights.failed_checks else ""
    return {
        name: percent(value) + (mark if name != "clean" else "")
        for name, value in weights.accuracies.items()
    }


def percent(value: Mapping[str, Any]) -> str:
    """Write an accuracy as a percentage, with its confidence interval where it has one."""
    text = f"{100 * value['accuracy']:.1f} %"
    if "low" in value and "high" in value:
        text += f" ({100 * value['low']:.1f}-{100 * value['high']:.1f})"
    return text


def _network(parameters: int, arguments: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{key}={value}" for key, value in arguments.items())
    return f"{parameters:,} parameters with {listed}"


def _entries(title: str, entries: Mapping[str, str]) -> str:
    lines = [title]
    for label, text in entries.items():
        indent = f"  {label:<{LABEL - 2}}"
        for line in text.splitlines():
            lines.append(
                textwrap.fill(
                    line,
                    WIDTH,
                    initial_indent=indent,
                    subsequent_indent=" " * LABEL,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
            indent = " " * LABEL
    return "\n".join(lines)
