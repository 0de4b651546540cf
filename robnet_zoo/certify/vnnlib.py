"""The question of a certificate in the formats that other verifiers read: ONNX and VNN-LIB.

A property describes what must not be: pixels within bounds, and another class whose logit is at
least the label's. A verifier that answers `unsat` has certified the image; `sat` comes with an
adversarial image. Names and layout follow VNN-LIB 1.0, as in the VNN-COMP competitions: X_i and Y_i
are the entries of the input and of the logits, in the order in which torch flattens them.
"""

from __future__ import annotations

from robnet_zoo.certify.ball import Box


def property_text(box: Box, label: int, classes: int, remark: str) -> str:
    """Return the VNN-LIB property that an image's class changes within a box of pixels.

    Args:
        box: least and largest pixels (C, H, W).
        label: the class.
        classes: number of logits.
        remark: one line that says what it is.
    """
    low, high = (part.double().flatten().tolist() for part in box)
    lines = [f"; {remark}", ""]
    lines += [f"(declare-const X_{at} Real)" for at in range(len(low))]
    lines += [f"(declare-const Y_{at} Real)" for at in range(classes)]
    for at, (least, most) in enumerate(zip(low, high, strict=True)):
        lines += [
            f"(assert (>= X_{at} {_decimal(least)}))",
            f"(assert (<= X_{at} {_decimal(most)}))",
        ]
    others = (other for other in range(classes) if other != label)
    wrong = [f"    (and (>= Y_{other} Y_{label}))" for other in others]
    return "\n".join([*lines, "(assert (or", *wrong, "))", ""])


def _decimal(value: float) -> str:
    """Return a number without an exponent, which some readers do not know, and without loss."""
    return f"{value:.20f}".rstrip("0").ljust(3, "0") if value else "0.0"
