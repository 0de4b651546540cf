"""Whether what was judged, and at which size, can mean anything."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from robnet_zoo.eval.checks.gaps import ENOUGH
from robnet_zoo.eval.checks.registry import Finding, Skipped, check
from robnet_zoo.eval.checks.results import Card, Results
from robnet_zoo.threat_models import THREAT_MODELS

if TYPE_CHECKING:
    from robnet_zoo.eval.record import EvaluationRecord

CARD = 0.0005  # of accuracy: 0.05 percentage points
FAR = 4  # standard errors between accuracies on different images
GREY_LEVEL = 1 / 255
APART = 2  # times the usual epsilon, or a half of it
ALL_GREY = 0.5  # under Linf any two images can meet in the middle


@check(
    "card",
    kind="results",
    catches="other weights, another preprocessing",
    fails_if="clean accuracy is over 0.05 points from that of the weights' card on the same "
    "images, over 4 standard errors on others of the same part, or that far below on another part",
)
def check_card(results: Results) -> Finding | Skipped:
    """Clean accuracy is what the weights claim, on the same images or on others of their kind."""
    card, data = results.card, results.record.data
    if card is None:
        return Skipped("The weights come without a card that says their accuracy")
    if data.name != card.data:
        return Skipped(f"The weights' card is about {card.data}, not {data.name}")
    accuracy = results.record.clean.accuracy.accuracy
    apart, same_part = accuracy - card.accuracy, data.split == card.split
    near = _noise(results.record, card) if (data.split, data.n) != (card.split, card.n) else CARD
    where = f" on {card.n:,} images of {card.split}" if near != CARD else ""
    return (
        -near <= apart <= (near if same_part else 1),
        f"Clean accuracy is {100 * accuracy:.2f} %, and the weights' card says "
        f"{100 * card.accuracy:.2f} %{where}",
        "preprocessing or weights differ from those of the card; compare both",
    )


def _noise(record: EvaluationRecord, card: Card) -> float:
    """Return how far accuracies on other images may lie apart by chance."""
    n, correct = record.data.n + card.n, record.clean.accuracy.correct + card.accuracy * card.n
    mean = (correct + 1) / (n + 2)  # Laplace: never quite 0 or 1
    return FAR * math.sqrt(mean * (1 - mean) * (1 / record.data.n + 1 / card.n))


@check(
    "clean-accuracy",
    kind="results",
    catches="labels in another order, preprocessing that is missing, an untrained model, sorted "
    "data of which only the first class was judged",
    fails_if="its 95 % interval reaches down to what guessing the largest class gives, or 1 in the "
    "number of classes; looked at from 20 images on",
)
def check_clean(results: Results) -> Finding | Skipped:
    """The model knows its classes, so that there is something to attack."""
    record = results.record
    clean, classes = record.clean.accuracy, record.totals.per_class
    if clean.n < ENOUGH:
        return Skipped(f"On {clean.n} images a model cannot be told from guessing")
    if len(classes) == 1 and results.num_classes != 1:
        seen = f"All {clean.n} images are of class {classes[0].name}"
        return False, seen, "the data are sorted; shuffle them, or take more images"
    most = max(totals.n for totals in classes)
    guessed = max(most / clean.n, 1 / (results.num_classes or len(classes)))
    return (
        clean.low > guessed,
        f"Clean accuracy is {clean}, and guessing gives {100 * guessed:.1f} %",
        "a model that guesses cannot be attacked; look at the order of the labels, the "
        "preprocessing and the weights",
    )


@check(
    "epsilon",
    kind="results",
    catches="bytes for fractions, a number of another paper's size",
    fails_if="below one grey level, 1/255; from 0.5 on under Linf, where all images can turn grey; "
    "more than twice or less than half the size in the data set's row of threat models",
)
def check_epsilon(results: Results) -> Finding | Skipped:
    """Epsilon is large enough to be seen in a byte, and of the size that is usual for the data."""
    threat, data = results.record.threat_model, results.record.data.name
    if results.swept:
        return Skipped("The size is one of a sweep's")
    size, seen = threat.epsilon_value, f"Epsilon {threat.epsilon} ({threat.norm})"
    if size < GREY_LEVEL * (1 - 1e-6):
        return False, f"{seen} is less than one grey level, 1/255", "no image in bytes can hold it"
    if threat.norm == "Linf" and size >= ALL_GREY:
        return False, f"{seen} turns any image grey", "no accuracy means anything at this size"
    usual = THREAT_MODELS.get(data)
    if usual is None or usual.norm != threat.norm:
        return True, f"{seen} is at least one grey level, 1/255", ""
    ratio = size / usual.epsilon.value
    return (
        ratio * (1 + 1e-6) >= 1 / APART and ratio <= APART * (1 + 1e-6),
        f"{seen} is {ratio:.2g} times the {usual.epsilon.text} that is usual for {data}",
        "name the size wherever the number is quoted; it compares with no number at the usual one",
    )


@check(
    "image-size",
    kind="results",
    catches="images that were resized, weights of another data set",
    fails_if="images are of another size than those that the weights, or the data set, are for",
)
def check_image_size(results: Results) -> Finding | Skipped:
    """Images have the size that the weights were trained on."""
    given, wanted = results.image_size, results.usual_size
    if given is None or wanted is None:
        return Skipped("Nothing says which image size the model is for")
    return (
        given == wanted,
        f"Images are {given} pixels wide, and the model is for {wanted}",
        "a network sees other patterns at another size; judge it on images of its own",
    )
