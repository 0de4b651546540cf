"""One image under attack: what was added to it, and what each network takes it for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robnet_zoo.plotting.style import ALARM, FAINT, MUTED, PALETTE, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

CLASSES, FEWER = 10, 6  # bars of all classes up to so many, of the most probable ones beyond
LETTERS = 18  # of a class's name


@dataclass(frozen=True, kw_only=True)
class AttackedImage:
    """An image before and after an attack on one network.

    Attributes:
        network: what the network is, for the heading of its row.
        image, adversarial: pixels (H, W, 1 or 3) in [0,1].
        before, after: the probability of each class (classes,).
    """

    network: str
    image: np.ndarray
    adversarial: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @property
    def reach(self) -> float:
        """The largest change of a pixel."""
        return float(np.abs(self.adversarial - self.image).max())

    @property
    def fooled(self) -> bool:
        """Whether the network takes the attacked image for something else than the image."""
        return int(self.before.argmax()) != int(self.after.argmax())


def attacked_figure(rows: Sequence[AttackedImage], names: Sequence[str], attack: str) -> Figure:
    """Draw a row for each network: image, perturbation, attacked image, and probabilities.

    The perturbation is as much magnified as fits between black and white, in all rows alike; grey
    is no change.

    Args:
        rows: the networks, of the same classes.
        names: of the classes.
        attack: what was done, for the heading.
    """
    reach = max(row.reach for row in rows)
    shown = min(len(names), CLASSES if len(names) <= CLASSES else FEWER)
    height = max(2.5, 0.9 + 0.2 * shown)
    with canvas(10.4, 0.35 + height * len(rows), layout="constrained") as figure:
        figure.suptitle(attack, x=0.01, ha="left", size=10.5)
        parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for part, row in zip(parts, rows, strict=True):
            _draw_row(part, row, names, reach)
    return figure


def _draw_row(part: SubFigure, row: AttackedImage, names: Sequence[str], reach: float) -> None:
    part.suptitle(row.network, x=0.01, ha="left", size=10, weight="bold")
    image, change, adversarial, bars = part.subplots(1, 4, width_ratios=(1, 1, 1, 1.5))
    _show(image, row.image, f"image\n{_verdict(names, row.before)}")
    if row.reach > 0:
        magnified = 0.5 + (row.adversarial - row.image) / (2 * reach)
        _show(change, magnified, f"perturbation\n{0.5 / reach:.3g} times magnified")
    else:
        _show(change, np.full_like(row.image, 0.5), "perturbation\nnone")
    _show(adversarial, row.adversarial, f"attacked image\n{_verdict(names, row.after)}")
    if row.fooled:
        adversarial.title.set_color(ALARM)
    _draw_bars(bars, row, names)


def _show(axes: Axes, pixels: np.ndarray, title: str) -> None:
    shown = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    axes.imshow(shown.clip(0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, size=9)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color=FAINT)


def _draw_bars(axes: Axes, row: AttackedImage, names: Sequence[str]) -> None:
    """Draw the probabilities of all classes, or of the most probable ones in their order."""
    listed = np.arange(len(names))
    if len(names) > CLASSES:
        highest = np.maximum(row.before, row.after)
        listed = np.argsort(-highest, kind="stable")[:FEWER]
    places = np.arange(len(listed))
    for offset, values, colour, label in (
        (-0.2, row.before, MUTED, "before"),
        (0.2, row.after, PALETTE[0], "after"),
    ):
        axes.barh(places + offset, 100 * values[listed], 0.38, color=colour, label=label)
    axes.set_yticks(places, [_short(names[int(index)]) for index in listed], size=8.5)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("probability (%)", size=8.5)
    axes.tick_params(axis="x", labelsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8.5)


def _verdict(names: Sequence[str], probabilities: np.ndarray) -> str:
    best = int(probabilities.argmax())
    return f"{_short(names[best])} ({percent(probabilities[best])})"


def percent(probability: float) -> str:
    """Return a probability as a percentage that is not rounded to certainty."""
    return f"{100 * min(probability, 0.999):.1f} %"


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
