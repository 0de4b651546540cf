"""Records as one HTML page that needs nothing but itself: tables, plots and examples."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from robnet_zoo import files
from robnet_zoo.errors import ZooError
from robnet_zoo.eval import figures, matrix, sweeps
from robnet_zoo.eval.examples import Example
from robnet_zoo.eval.matrix import Matrix
from robnet_zoo.eval.record import AttackResult, Report
from robnet_zoo.eval.statistics import Proportion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_name("report.html")
Examples = Callable[[Report], list[Example]]  # raises ZooError where there are none


def write(
    path: Path,
    reports: Sequence[Report],
    matrices: Sequence[Matrix],
    examples: Examples,
) -> None:
    """Write the page, atomically."""
    files.write_text(path, page(reports, matrices, examples))


def page(
    reports: Sequence[Report],
    matrices: Sequence[Matrix],
    examples: Examples,
) -> str:
    """Return the page.

    Args:
        reports: evaluations, each a section; several are compared first.
        matrices: transfer matrices.
        examples: makes a report's adversarial images, or raises ZooError to say why it cannot.
    """
    names = dict.fromkeys(report.model.name for report in reports)
    title = f"Robustness of {', '.join(names)}" if names else "Transfer between models"
    sections = [_comparison(reports)] if len(reports) > 1 else []
    sections += [_section(report, examples) for report in reports]
    sections += [_matrix(one) for one in matrices]
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), body="\n".join(sections))


def _comparison(reports: Sequence[Report]) -> str:
    rows = "".join(
        f"<tr><td>{escape(sweeps.label(one, reports))}</td>"
        f"<td>{escape(f'{one.data.name}, {one.threat_model.norm} {one.threat_model.epsilon}')}</td>"
        f"<td class=n>{one.data.n:,}</td><td class=n>{one.model.parameters:,}</td>"
        f"<td class=n>{_percent(one.clean.accuracy)}</td>"
        f"<td>{escape(', '.join(one.settings.attacks))}</td>"
        f"<td class=n>{_percent(one.totals.robust)}</td><td>{_bar(one.totals.robust)}</td></tr>"
        for one in reports
    )
    head = "".join(
        f"<th{' class=n' if right else ''}>{name}</th>"
        for name, right in (
            ("model", 0),
            ("judged on", 0),
            ("images", 1),
            ("parameters", 1),
            ("clean", 1),
            ("attacks", 0),
            ("robust", 1),
            ("", 0),
        )
    )
    plots = "".join(_figure(one.plot(), one.caption) for one in sweeps.studies(reports))
    return (
        f"<section><h2>Side by side</h2><div class=wide><table><tr>{head}</tr>{rows}</table></div>"
        f"<div class=plots>{plots}</div></section>"
    )


def _section(report: Report, examples: Examples) -> str:
    model, data, threat = report.model, report.data, report.threat_model
    failed = [check for check in report.checks if not check.passed]
    return "\n".join(
        [
            f"<section><h2>{escape(model.name)}</h2>",
            f"<p class=soft>{model.parameters:,} parameters"
            f"{', genotype ' + escape(model.genotype_status) if model.genotype_status else ''}; "
            f"{escape(data.name)} {escape(data.split)}, {data.n:,} of {data.available:,} images; "
            f"{escape(threat.norm)}, epsilon {escape(threat.epsilon)}, step {escape(threat.step)}; "
            f"{escape(report.created)}</p>",
            "<div class=facts>",
            _fact("clean accuracy", _percent(report.clean.accuracy), _range(report.clean.accuracy)),
            _fact(
                "under every attack", _percent(report.totals.robust), _range(report.totals.robust)
            ),
            _verdict(len(report.checks), len(failed)),
            "</div>",
            f"<h3>Attacks</h3><div class=wide>{_attacks(report)}</div>",
            _warnings(report),
            _checks(report),
            _own_plots(report),
            _examples(report, examples),
            _details(report),
            "</section>",
        ]
    )


def _fact(name: str, value: str, note: str, style: str = "") -> str:
    return (
        f"<div class=fact><span class=soft>{name}</span><b class='{style}'>{value}</b>"
        f"<span class=soft>{note}</span></div>"
    )


def _verdict(checks: int, failed: int) -> str:
    if not checks:
        return ""
    style, note = ("bad", "see below before trusting it") if failed else ("good", "none failed")
    return _fact("checks passed", f"{checks - failed} of {checks}", note, style)


def _attacks(report: Report) -> str:
    head = (
        "<tr><th>attack</th><th class=n>accuracy</th><th>95 % interval</th><th></th>"
        "<th class=n>last iterate</th><th class=n>largest change</th><th class=n>time</th></tr>"
    )
    return f"<table>{head}{''.join(map(_attack, report.attacks))}</table>"


def _attack(result: AttackResult) -> str:
    last = "" if result.last is None else _percent(result.last)
    row = (
        f"<tr><td>{escape(result.name)}</td><td class=n><b>{_percent(result.robust)}</b></td>"
        f"<td>{_range(result.robust)}</td><td>{_bar(result.robust)}</td><td class=n>{last}</td>"
        f"<td class=n>{result.max_perturbation:.4g}</td><td class=n>{result.seconds:,.1f} s</td>"
        "</tr>"
    )
    parts = (
        f"<tr class=part><td>&nbsp; {escape(part.name)}</td><td></td>"
        f"<td colspan=4>broke {part.broken:,} of the {part.attacked:,} left</td>"
        f"<td class=n>{part.seconds:,.1f} s</td></tr>"
        for part in result.parts
    )
    return row + "".join(parts)


def _percent(found: Proportion) -> str:
    return f"{100 * found.accuracy:.2f}&nbsp;%"


def _range(found: Proportion) -> str:
    return f"{100 * found.low:.1f} to {100 * found.high:.1f}"


def _bar(found: Proportion) -> str:
    low, width = 100 * found.low, 100 * (found.high - found.low)
    return (
        f"<div class=bar><i style='width:{100 * found.accuracy:.1f}%'></i>"
        f"<b style='left:{low:.1f}%;width:{width:.1f}%'></b></div>"
    )


def _warnings(report: Report) -> str:
    return "".join(f"<p class=bad>{escape(warning)}</p>" for warning in report.warnings)


def _checks(report: Report) -> str:
    if not report.checks:
        return ""
    lines = "".join(
        f"<li class={'good' if check.passed else 'bad'}>{escape(check.name)} "
        f"<span>{escape(check.detail)}</span></li>"
        for check in sorted(report.checks, key=lambda check: check.passed)
    )
    return f"<h3>Can it be trusted?</h3><ul>{lines}</ul>"


def _own_plots(report: Report) -> str:
    plots = [_figure(one.plot(), one.caption) for one in sweeps.studies([report])]
    plots.append(_figure(sweeps.class_plot(report), "Accuracy of each class"))
    return f"<h3>Plots</h3><div class=plots>{''.join(plots)}</div>"


def _figure(plot: Figure, caption: str) -> str:
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>{figures.svg(plot, caption)}</figure>"
    )


def _examples(report: Report, examples: Examples) -> str:
    try:
        found = examples(report)
    except ZooError as error:
        return f"<h3>Examples</h3><p class=soft>Left out: {escape(str(error))}</p>"
    cells = "".join(
        f"<div class=example>{_image(one.clean, one.label)}"
        f"{_image(one.change, f'change x {one.amplified:.3g}')}"
        f"{_image(one.adversarial, f'taken for {one.taken_for}')}</div>"
        for one in found
    )
    return (
        f"<h3>Examples</h3><p class=soft>Images that {escape(found[0].attack)} broke: as they are, "
        f"the enlarged change (grey is none), and both together.</p>"
        f"<div class=examples>{cells}</div>"
    )


def _image(address: str, caption: str) -> str:
    return f"<div><img alt='{escape(caption)}' src='{address}'>{escape(caption)}</div>"


def _details(report: Report) -> str:
    values = {
        "model": asdict(report.model),
        "data": asdict(report.data),
        "settings": asdict(report.settings),
        "attacks": {result.name: result.settings for result in report.attacks},
        "environment": report.environment,
    }
    text = escape(json.dumps(values, indent=2, ensure_ascii=False))
    return f"<details><summary>Everything a repetition needs</summary><pre>{text}</pre></details>"


def _matrix(found: Matrix) -> str:
    data, threat = found.data, found.threat_model
    return (
        f"<section><h2>Transfer between models</h2><p class=soft>{escape(data['name'])} "
        f"{escape(data['split'])}, {data['n']:,} images; {escape(threat['norm'])}, epsilon "
        f"{escape(threat['epsilon'])}; {escape(found.attack['name'])}. Accuracy in percent of the "
        "model of each column on the images made on the model of each row; on the diagonal, under "
        f"its own.</p>{_figure(matrix.heat_map(found), '')}</section>"
    )
