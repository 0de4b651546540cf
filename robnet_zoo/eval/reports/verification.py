"""What saved adversarial images do to a model, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from robnet_zoo.eval.studies.verify import Verification

MOST = 12  # positions named in a line


def show(verified: Verification, console: Console | None = None) -> None:
    """Print the accuracies, the violations, and where other verdicts differ."""
    console = console or Console()
    model, data, threat = verified.model, verified.data, verified.threat_model
    lines = [
        Text.assemble((model.name, "bold"), f"  state sha256 {model.state_sha256[:8]}"),
        Text(f"{data.title}, {data.n:,} of {data.available:,} images"),
        Text(f"threat model: {threat.norm}, epsilon {threat.epsilon}"),
        Text(f"clean   {verified.clean}"),
        Text(f"robust  {verified.robust}", style="bold"),
        Text(f"largest perturbation {verified.max_perturbation:.6g}", style="dim"),
    ]
    for what, positions in (
        ("lie outside the ball", verified.outside),
        ("have pixels outside [0,1]", verified.invalid),
    ):
        if positions:
            counted = f"{len(positions):,} images {what} and count as robust"
            lines.append(Text(f"violation: {counted}: {_few(positions)}", style="red"))
    for claim in verified.claims:
        differing = len(claim.only_here) + len(claim.only_there)
        lines.append(
            Text(
                f"{claim.source} says {100 * claim.robust.accuracy:.2f} %; "
                f"verdicts agree on {claim.robust.n - differing:,} of {claim.robust.n:,} images"
            )
        )
        for whose, positions in (
            ("robust here alone", claim.only_here),
            ("broken here alone", claim.only_there),
        ):
            if positions:
                lines.append(Text(f"  {len(positions):,} {whose}: {_few(positions)}", "yellow"))
    lines += [Text(f"note: {note}", "yellow") for note in verified.notes]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)


def _few(positions: Sequence[int]) -> str:
    shown = ", ".join(map(str, positions[:MOST]))
    return shown if len(positions) <= MOST else f"{shown}, ..."
