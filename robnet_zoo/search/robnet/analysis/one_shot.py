"""What one-shot scores say of networks that are trained by themselves, as numbers and picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from robnet_zoo.plotting.style import INK, MUTED, PALETTE, canvas, save
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.statistics import Proportion, proportion
from robnet_zoo.search.robnet.analysis.correlation import Findings, rank_correlation
from robnet_zoo.search.robnet.analysis.marks import coefficients, dots, percent
from robnet_zoo.search.robnet.analysis.relations import Rows, columns
from robnet_zoo.search.robnet.codes import density, to_text
from robnet_zoo.search.robnet.table import Studied

if TYPE_CHECKING:
    from robnet_zoo.eval.record import EvaluationRecord

# robust accuracies, as the table calls them
INHERITED, TUNED = "inherited_held_out", "fine_tuned_held_out"
TUNED_TEST, STANDALONE = "fine_tuned_test", "stand_alone_test"
DENSITY = "density"
DRAWN = {  # correlations by name
    "inherited_and_stand_alone": (INHERITED, STANDALONE),
    "fine_tuned_and_stand_alone": (TUNED, STANDALONE),
    "held_out_and_test": (TUNED, TUNED_TEST),
}
# What the study says of density (Fig. 5), and what is left of it in networks of their own.
PAIRS = DRAWN | {
    "density_and_fine_tuned": (DENSITY, TUNED),
    "density_and_stand_alone": (DENSITY, STANDALONE),
}
LABELS = {
    INHERITED: "inherited weights, held-out images",
    TUNED: "fine-tuned, held-out images",
    TUNED_TEST: "fine-tuned, test images",
    STANDALONE: "stand-alone, test images",
}


class OnTest(NamedTuple):
    """Accuracies on the test images, clean and under attack."""

    clean: Proportion
    robust: Proportion

    @classmethod
    def of(cls, record: EvaluationRecord) -> OnTest:
        """Return those of an evaluation."""
        return cls(record.clean.accuracy, record.totals.robust)


@dataclass(frozen=True)
class Judged:
    """A candidate: in the study, fine-tuned on the test images, and trained from scratch."""

    studied: Studied
    chosen: bool
    tuned: OnTest
    trained: OnTest

    @classmethod
    def of(
        cls, studied: Studied, chosen: bool, tuned: EvaluationRecord, trained: EvaluationRecord
    ) -> Judged:
        """Return a candidate with what its evaluations say."""
        return cls(studied, chosen, OnTest.of(tuned), OnTest.of(trained))


def rows_of(judged: Sequence[Judged]) -> Rows:
    """Return the table: accuracies as fractions, robust ones unless a name says clean."""
    return [
        {
            "number": each.studied.number,
            "code": to_text(each.studied.codes),
            DENSITY: density(each.studied.codes),
            "chosen": int(each.chosen),
            INHERITED: each.studied.robust_before,
            TUNED: each.studied.robust,
            "fine_tuned_test_clean": each.tuned.clean.accuracy,
            TUNED_TEST: each.tuned.robust.accuracy,
            "stand_alone_test_clean": each.trained.clean.accuracy,
            STANDALONE: each.trained.robust.accuracy,
        }
        for each in judged
    ]


def findings_of(judged: Sequence[Judged], extra: bool, held_out: int) -> Findings:
    """Return rank correlations, and where the chosen candidate stands.

    Args:
        judged: the candidates, of which one is the chosen one.
        extra: whether the chosen one is there for being chosen alone: then correlations are given
            without it too, the others being a random sample.
        held_out: number of held-out images.
    """
    rows = rows_of(judged)
    findings: Findings = {}
    for name, pair in PAIRS.items():
        findings[name] = rank_correlation(*columns(rows, *pair))
        if extra:
            drawn = [row for row in rows if not row["chosen"]]
            findings[name]["without_chosen"] = rank_correlation(*columns(drawn, *pair))
    (chosen,) = (each for each in judged if each.chosen)
    measured = {
        TUNED: proportion(round(chosen.studied.robust * held_out), held_out),
        TUNED_TEST: chosen.tuned.robust,
        STANDALONE: chosen.trained.robust,
    }
    findings["chosen"] = {"number": chosen.studied.number, "drawn_among_the_first": int(not extra)}
    for column, accuracy in measured.items():
        others = [row[column] for row in rows if not row["chosen"]]
        mean = sum(others) / len(others)
        findings["chosen"][column] = {
            "rank": 1 + sum(other > accuracy.accuracy for other in others),
            "of": len(rows),
            **to_builtins(accuracy),
            "mean_of_others": mean,
            "lead": accuracy.accuracy - mean,
        }
    return findings


def draw(path: Path, rows: Rows, record: Mapping[str, Any]) -> None:
    """Draw one-shot scores against stand-alone accuracy, and held-out ones against test ones."""
    found, held_out, test = record["found"], record["held_out"], record["test"]
    with canvas(11.5, 4.8, layout="constrained") as figure:
        panels = figure.subplots(1, len(DRAWN))
        for axes, (name, pair) in zip(panels, DRAWN.items(), strict=True):
            for chosen, colour, label in ((0, PALETTE[0], "others"), (1, PALETTE[1], "chosen")):
                some = [row for row in rows if row["chosen"] == chosen]
                x, y = (percent(some, column) for column in pair)
                dots(axes, x, y, colour, label)
            axes.set(xlabel=f"{LABELS[pair[0]]} (%)", ylabel=f"{LABELS[pair[1]]} (%)")
            title = coefficients(found[name])
            if "without_chosen" in found[name]:
                title += f"\nwithout the chosen:\n{coefficients(found[name]['without_chosen'])}"
            axes.set_title(title, color=INK)
            axes.legend(loc="best", fontsize=8)
        threat, recipe = record["threat_model"], record["training"]["recipe"]
        figure.suptitle(f"robust accuracy of {len(rows)} architectures", fontsize=11)
        text = (
            f"{record['study']['dataset']}, {threat['norm']} {threat['epsilon']}; held-out: n = "
            f"{held_out['images']:,}, {held_out['attack']}; test: n = {test['images']:,}, "
            f"{test['attack']}\nstand-alone: recipe {recipe['name']}, {recipe['epochs']} epochs, "
            f"seed {record['seed']}"
        )
        figure.supxlabel(text, fontsize=8, color=MUTED)
    save(figure, path)
