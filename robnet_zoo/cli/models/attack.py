"""`robnet-zoo attack`: one image attacked, and drawn beside what the attack made of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.cli.models.image import (
    Classifier,
    describe_input,
    load_classifier,
    read_input,
    subject_note,
)
from robnet_zoo.cli.models.predict import add_image_options
from robnet_zoo.cli.options import print_written
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.files import check_writable, file_name
from robnet_zoo.zoo.classes import class_names
from robnet_zoo.zoo.registry import find_weights, natural_twin
from robnet_zoo.zoo.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

    from robnet_zoo.attacks import Attack, Suite
    from robnet_zoo.plotting.attacked import AttackedImage
    from robnet_zoo.threat_models import ThreatModel

SUFFIXES = (".png", ".svg")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Attack one image and draw it, the perturbation magnified, the attacked image, and the\n"
        "probabilities before and after. A second row shows the same network trained without\n"
        "adversarial images, where it is at hand; each network is attacked by its own gradients."
    )
    add_image_options(parser)
    add = parser.add_argument
    add("--attack", default="pgd20", metavar="NAME", help="any attack of eval (default: pgd20)")
    add("--steps", type=int, metavar="N", help="of the attack, instead of its own")
    add("--eps", help="size of the perturbation, such as 8/255 (default: the weights' own)")
    add("--label", help="the true class, its name or number (default: what the network says)")
    add("--twin", metavar="WEIGHTS", help="a folder or name for the second row")
    add("--seed", type=int, default=0, help="of all randomness (default: 0)")
    add("--out", type=Path, help="FILE.png or FILE.svg (default: IMAGE-ATTACK.png)")


def run(options: argparse.Namespace) -> None:
    """Attack each network, print what came of it, and draw it."""
    from robnet_zoo.attacks import get_attack
    from robnet_zoo.plotting.attacked import attacked_figure, percent
    from robnet_zoo.plotting.style import save

    out = _validated_out(options)
    steps = {} if options.steps is None else {"steps": options.steps}
    attack = get_attack(options.attack, **steps)
    weights = find_weights(options.model)
    threat = weights.trained_against
    threat = threat if options.eps is None else threat.at(options.eps)
    networks = [weights, *_twins(weights, options.twin)]
    image = read_input(options.image, weights)
    rows = []
    for network in networks:
        classifier = load_classifier(network, options.device)
        label = _label(options.label, classifier.names)
        row = _attacked(classifier, image, attack, threat, label, options.seed)
        rows.append(row)
        before, after = (
            f"{classifier.names[int(rates.argmax())]} ({percent(rates.max())})"
            for rates in (row.before, row.after)
        )
        print(f"{row.network}: {before} -> {'' if row.fooled else 'still '}{after}")
        if label is not None and label != int(row.before.argmax()):
            print(f"  {network.name} is wrong without an attack, so there is nothing to attack.")
    strength = "" if options.steps is None else f" with {options.steps} steps"
    heading = f"{attack.name}{strength}, {threat}, on {options.image.name}"
    save(attacked_figure(rows, classifier.names, heading), out)
    if note := subject_note(weights):
        print(note)
    print_written([out])


def _attacked(
    classifier: Classifier,
    image: Tensor,
    attack: Attack | Suite,
    threat: ThreatModel,
    label: int | None,
    seed: int,
) -> AttackedImage:
    """Attack one network on an image (C, H, W); without a label, its own prediction is taken."""
    import torch

    from robnet_zoo.plotting.attacked import AttackedImage

    before = classifier.probabilities(image)
    labels = torch.tensor([int(before.argmax()) if label is None else label])
    adversarial = attack(classifier.model, image[None], labels, threat, seed=seed)[0]
    after = classifier.probabilities(adversarial)
    return AttackedImage(
        network=_title(classifier.weights),
        image=image.permute(1, 2, 0).numpy(),
        adversarial=adversarial.permute(1, 2, 0).numpy(),
        before=before,
        after=after,
    )


def _title(weights: Weights) -> str:
    how = "naturally" if weights.naturally_trained else f"against {weights.trained_against}"
    return f"{weights.name}, trained {how}"


def _twins(weights: Weights, named: str | None) -> Sequence[Weights]:
    """Return the network of the second row, if there is one.

    Raises:
        ZooError: the one that was named takes other images, or knows other classes.
    """
    twin = natural_twin(weights) if named is None else find_weights(named)
    if twin is None:
        return ()
    ours, theirs = (
        (known.dataset, describe_input(known), class_names(known)) for known in (weights, twin)
    )
    if ours != theirs:
        raise ZooError(
            f"--twin {named} knows {len(theirs[2])} classes of {theirs[0]} in {theirs[1]}, and "
            f"{weights.name} {len(ours[2])} of {ours[0]} in {ours[1]}; name a network that knows "
            "the same."
        )
    return (twin,)


def _label(text: str | None, names: Sequence[str]) -> int | None:
    if text is None:
        return None
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    raise unknown_name("class", text, names)


def _validated_out(options: argparse.Namespace) -> Path:
    named = f"{file_name(f'{options.image.stem}-{options.attack}')}.png"
    out = options.out or Path(named)
    if out.suffix.lower() not in SUFFIXES:
        raise ZooError(f"Cannot draw into '{out}'; its name must end in .png or .svg.")
    if out.resolve() == options.image.resolve():
        raise ZooError(f"'{out}' is the image itself; name another file with --out.")
    check_writable(out)
    return out
