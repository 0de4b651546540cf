"""Whether attacks of different kinds agree: on other losses, without gradients, on other models."""

from __future__ import annotations

from robnet_zoo.eval.checks.attack_facts import is_white_box, parts, traits
from robnet_zoo.eval.checks.gaps import largest
from robnet_zoo.eval.checks.registry import Finding, Skipped, check
from robnet_zoo.eval.checks.results import Results
from robnet_zoo.eval.record.results import AttackResult

LOSS_GAP = 0.1  # of n that attacks on the margin may break more than those on cross-entropy
BLACK_BOX_GAP = 0.002  # of n that a black box may break more than the white boxes (AutoAttack's)
QUERIES = 500  # below which a black box that finds nothing says nothing
SOURCE = 0.9  # of the transferred images that may survive on the model they were made on


@check(
    "losses-agree",
    kind="results",
    catches="a softmax that hides the way",
    fails_if="attacks on the margin break over 10 % of n more than attacks on the cross-entropy",
)
def check_losses(results: Results) -> Finding | Skipped:
    """Attacks on the cross-entropy find most of what attacks on the margin find."""
    white = [attack for attack in results.attacks if is_white_box(attack)]
    entropy = [attack.robust.correct for attack in white if traits(attack).loss == "ce"]
    entropy += [
        attack.parts[0].attacked - attack.parts[0].broken
        for attack in white
        if attack.parts and parts(attack)[0][2].loss == "ce"
    ]
    other = [
        attack.robust.correct
        for attack in white
        if "margin" in (known.loss for _, _, known in parts(attack) or [("", {}, traits(attack))])
    ]
    if not entropy or not other:
        missing = "margin" if entropy else "cross-entropy"
        return Skipped(f"No attack of 20 steps or more on the {missing} was run")
    seen = "Attacks on the margin broke {} more than those on cross-entropy"
    remedy = "the softmax hides the way; quote attacks on the margin (apgd-t, fab-t) alone"
    gaps = [(min(entropy) - min(other), seen)]
    return largest(gaps, LOSS_GAP, results.record.data.n, remedy, "")


@check(
    "black-box",
    kind="results",
    catches="masked gradients",
    fails_if="square or a transferred image breaks over 0.2 % of n more than all white boxes "
    "together",
)
def check_black_box(results: Results) -> Finding | Skipped:
    """No attack without the model's gradients breaks more than those with them together."""
    white = [attack for attack in results.attacks if is_white_box(attack)]
    gaps = [
        (part.broken, f"In {attack.full_name}, {part.name} broke {{}} that gradients had not")
        for attack in white
        for part, (_, _, known) in list(zip(attack.parts, parts(attack), strict=True))[1:]
        if not known.gradients
    ]
    black = [
        attack
        for attack in results.attacks
        if not attack.parts and not traits(attack).gradients and white
    ]
    standing = sum(map(all, zip(*(attack.flags for attack in white), strict=True)))
    gaps += [
        (
            standing - attack.robust.correct,
            f"{attack.full_name} broke {{}} more than all white boxes",
        )
        for attack in black
    ]
    remedy = "an attack that sees less does better, so gradients may be masked; add autoattack"
    nothing = "There is no black box beside a white box of 20 steps or more, such as square"
    finding = largest(gaps, BLACK_BOX_GAP, results.record.data.n, remedy, nothing)
    tried = len(gaps) > len(black) or any(map(_is_serious, black))
    if isinstance(finding, Skipped) or not finding[0] or tried:
        return finding
    return Skipped(f"{black[0].full_name} tried too little for a black box to mean anything")


@check(
    "source-broken",
    kind="results",
    catches="a transfer attack that means nothing",
    fails_if="over 90 % of the images that an attack is transferred to survive on the very model "
    "they were made on",
)
def check_source(results: Results) -> Finding | Skipped:
    """Images that are transferred break at least the model that they were made on."""
    rates = {
        attack.full_name: attack.on_source
        for attack in results.attacks
        if attack.on_source is not None
    }
    if not rates:
        return Skipped("There is no transfer attack in the run")
    name = max(rates, key=lambda name: rates[name].accuracy)
    rate = rates[name]
    return (
        rate.accuracy <= SOURCE,
        f"{name} leaves {rate.correct} of {rate.n} images standing on the source itself",
        "what does not break its own source says little about others; transfer a stronger attack",
    )


def _is_serious(black_box: AttackResult) -> bool:
    """Whether a black box asked enough, or was handed what breaks its own source."""
    queries, source = black_box.queries, black_box.on_source
    return (queries is None or queries.budget >= QUERIES) and (
        source is None or source.accuracy <= SOURCE
    )
