"""What makes two tools' verdicts differ, on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from robnet_zoo.eval.studies.diff.explanation import Explanation, Trial
from robnet_zoo.eval.studies.diff.script import Guesses
from robnet_zoo.eval.studies.differences import shown
from robnet_zoo.runtime.console import plain_table
from robnet_zoo.runtime.statistics import Proportion


def show(explained: Explanation, console: Console | None = None) -> None:
    """Print both accuracies, what each setting explains, and the conclusion."""
    console = console or Console()
    tool = explained.tool
    lines = [
        _heading(explained),
        Text(f"ours    {_accuracy(explained.ours)}  {explained.attack}"),
        Text(f"theirs  {_accuracy(explained.theirs)}  {explained.call}"),
        Text(
            f"verdicts differ on {explained.differing:,} images: "
            f"{len(explained.only_ours):,} robust under ours alone, "
            f"{len(explained.only_theirs):,} under {tool}'s"
        ),
        Text(
            f"{tool} against itself: another seed changes {explained.seed_noise:,}, batches of "
            f"half the size {explained.batch_noise:,}",
            style="dim",
        ),
    ]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
    console.print(_table(explained))
    console.print(Text(explained.conclusion, style="bold"), soft_wrap=True)


def show_guesses(guesses: Guesses, console: Console | None = None) -> None:
    """Print ours, theirs and what comes near to theirs, the nearest first."""
    console = console or Console()
    for line in (
        _heading(guesses),
        Text(f"ours    {_accuracy(guesses.ours)}  {guesses.attack}"),
        Text(f"theirs  {100 * guesses.accuracy:.2f} %"),
    ):
        console.print(line, soft_wrap=True, highlight=False)
    table = plain_table()
    table.add_column("our attack, when")
    for heading in ("accuracy", "from theirs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for guess in guesses.guesses:
        away = guess.robust.accuracy - guesses.accuracy
        table.add_row(str(guess), _accuracy(guess.robust), f"{100 * away:+.2f}")
    console.print(table)
    console.print(Text(guesses.conclusion, style="bold"), soft_wrap=True)


def _heading(result: Explanation | Guesses) -> Text:
    data, threat = result.data, result.threat_model
    images, ball = f"{data.title}, {data.n:,} images", f"{threat.norm}, epsilon {threat.epsilon}"
    return Text.assemble((result.model.name, "bold"), f"  {images}, {ball}")


def _table(explained: Explanation) -> Table:
    table = plain_table()
    table.add_column("our attack with")
    for heading in ("ours", "theirs", "accuracy", "differ on"):
        table.add_column(heading, justify="right", no_wrap=True)
    start = explained.start
    if start is not None:
        table.add_row(f"the start of {explained.tool}", "", "", *_outcome(start))
    for trial in explained.singles:
        change = trial.changes[-1]
        and_start = "" if start is None else "+ "
        values = shown(change.ours), shown(change.theirs)
        table.add_row(f"{and_start}{change.setting}", *values, *_outcome(trial))
    table.add_row("all of these", "", "", *_outcome(explained.together))
    return table


def _outcome(trial: Trial) -> tuple[str, str]:
    return _accuracy(trial.robust), f"{trial.differing:,}"


def _accuracy(rate: Proportion) -> str:
    return f"{100 * rate.accuracy:.2f} %"
