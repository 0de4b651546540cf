"""Options of attacks that are adapted to a defence, and of verdicts on a randomised one."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robnet_zoo.eval.target import EvalTarget

KEYWORDS = ("draws", "decide", "eot", "loss")
NAMES = ("surrogate", *KEYWORDS)


def add_adaptive_options(parser: ArgumentParser) -> None:
    """Add what `adaptive_options` reads."""
    group = parser.add_argument_group("defences that are random or hide their gradients")
    add = group.add_argument
    add(
        "--surrogate",
        metavar="MODEL",
        help="whose gradients to follow, such as FILE.py:NAME",
    )
    add("--draws", type=int, metavar="K", help="judge a randomised model by K draws a verdict")
    add(
        "--decide",
        choices=("majority", "mean"),
        help="by more than half of the draws (default), or by their mean probability",
    )
    add("--eot", type=int, metavar="M", help="average M draws in each pass of an attack")
    add("--loss", choices=("ce", "margin"), help="what attacks of the gradient family raise")


def adaptive_options(arguments: Namespace, target: EvalTarget) -> dict[str, Any]:
    """Return keywords of `evaluate` for the options that were given, and the target's metadata.

    Raises:
        ZooError: there is no such surrogate.
    """
    chosen = {name: getattr(arguments, name) for name in KEYWORDS}
    keywords = {name: value for name, value in chosen.items() if value is not None}
    keywords["metadata"] = target.metadata
    if arguments.surrogate is not None:
        from robnet_zoo.attacks.model import device_of
        from robnet_zoo.eval.external import is_external
        from robnet_zoo.eval.target import load_model_spec

        own = is_external(arguments.surrogate)  # the zoo's take pixels in [0,1]
        loaded = load_model_spec(
            arguments.surrogate,
            dataset=target.dataset,
            mean=arguments.mean if own else None,
            std=arguments.std if own else None,
        )
        keywords["surrogate"] = loaded.model.to(device_of(target.model))
        keywords["metadata"] = replace(target.metadata, surrogate=loaded.metadata.model)
    return keywords
