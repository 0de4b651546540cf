"""Records as one HTML page that needs nothing but itself: tables, plots and examples."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from robnet_zoo.eval.record import EvaluationRecord, Part
from robnet_zoo.eval.reports.examples import Example
from robnet_zoo.eval.studies import sweep as sweeps
from robnet_zoo.eval.studies import transfer_matrix as matrix
from robnet_zoo.eval.studies.transfer_matrix import Matrix
from robnet_zoo.plotting.style import svg_element
from robnet_zoo.runtime import files
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import Proportion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNFOLDED = 3  # records; of more, each is folded away until asked for
TEMPLATE = Path(__file__).with_name("report.html")
Examples = Callable[[EvaluationRecord], list[Example]]  # raises ZooError where there are none


def write(
    path: Path,
    reports: Sequence[EvaluationRecord],
    matrices: Sequence[Matrix],
    examples: Examples,
) -> None:
    """Write the page, atomically."""
    files.write_text(path, page(reports, matrices, examples))


def page(
    reports: Sequence[EvaluationRecord],
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
    sections += [_section(report, reports, examples) for report in reports]
    sections += [_matrix(one) for one in matrices]
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), body="\n".join(sections))


def _comparison(reports: Sequence[EvaluationRecord]) -> str:
    columns = {
        "model": "",
        "judged on": "r",
        "images": "n",
        "parameters": "n",
        "clean": "n",
        "attacks": "",
        "robust": "n",
        "": "",
    }
    rows = [
        (
            escape(sweeps.label(one, reports)),
            escape(f"{one.data.name}, {_threat(one)}"),
            f"{one.data.n:,}",
            f"{one.model.parameters:,}",
            _percent(one.clean.accuracy),
            escape(", ".join(one.settings.attacks)),
            _percent(one.totals.robust),
            _bar(one.totals.robust),
        )
        for one in reports
    ]
    plots = "".join(_figure(one.plot(), one.caption) for one in sweeps.studies(reports))
    return (
        f"<section><h2>Side by side</h2>{_table(columns, map(partial(_row, columns), rows))}"
        f"<div class=plots>{plots}</div></section>"
    )


def _threat(report: EvaluationRecord) -> str:
    return f"{report.threat_model.norm} {report.threat_model.epsilon}"


def _table(columns: Mapping[str, str], rows: Iterable[str]) -> str:
    """Return a table; the columns' styles are "n" for numbers and "r" for what is not broken."""
    head = "".join(f"<th class='{style}'>{name}</th>" for name, style in columns.items())
    return f"<div class=wide><table><tr>{head}</tr>{''.join(rows)}</table></div>"


def _row(columns: Mapping[str, str], cells: Iterable[str]) -> str:
    pairs = zip(columns.values(), cells, strict=True)
    return "<tr>" + "".join(f"<td class='{style}'>{cell}</td>" for style, cell in pairs) + "</tr>"


def _section(
    report: EvaluationRecord, reports: Sequence[EvaluationRecord], examples: Examples
) -> str:
    model, data, threat = report.model, report.data, report.threat_model
    failed = [check for check in report.checks if not check.passed]
    return "\n".join(
        [
            _opening(report, reports),
            f"<p class=soft>{model.parameters:,} parameters"
            f"{', genotype ' + escape(model.genotype_status) if model.genotype_status else ''}; "
            f"{escape(data.name)} {escape(data.split)}, {data.n:,} of {data.available:,} images; "
            f"{escape(threat.norm)}, epsilon {escape(threat.epsilon)}, step {escape(threat.step)}; "
            f"{escape(report.created[:16].replace('T', ' '))} UTC</p>",
            "<div class=facts>",
            _fact("clean accuracy", _percent(report.clean.accuracy), _range(report.clean.accuracy)),
            _fact(
                "under every attack", _percent(report.totals.robust), _range(report.totals.robust)
            ),
            _verdict(len(report.checks), len(failed)),
            "</div>",
            f"<h3>Attacks</h3>{_attacks(report)}",
            _warnings(report),
            _checks(report),
            _own_plots(report),
            _examples(report, examples),
            _details(report),
            "</details></section>" if len(reports) > UNFOLDED else "</section>",
        ]
    )


def _opening(report: EvaluationRecord, reports: Sequence[EvaluationRecord]) -> str:
    name = escape(sweeps.label(report, reports))
    if len(reports) == 1:
        return "<section>"
    if len(reports) <= UNFOLDED:
        return f"<section><h2>{name}</h2>"
    what = escape(f"{_threat(report)}, {', '.join(report.settings.attacks)}")
    return f"<section><details><summary><b>{name}</b> {what}</summary>"


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


def _attacks(report: EvaluationRecord) -> str:
    columns = {
        "attack": "",
        "accuracy": "n",
        "95 % interval": "r",
        "": "",
        "last iterate": "n",
        "largest change": "n",
        "time": "n",
    }
    rows = []
    for result in report.attacks:
        cells = (
            escape(result.name),
            f"<b>{_percent(result.robust)}</b>",
            _range(result.robust),
            _bar(result.robust),
            "" if result.last is None else _percent(result.last),
            f"{result.max_perturbation:.4g}",
            f"{result.seconds:,.1f} s",
        )
        rows += [_row(columns, cells), *map(_part, result.parts)]
        if result.on_source is not None:
            rows.append(_aside("on the source itself", _percent(result.on_source)))
    return _table(columns, rows)


def _part(part: Part) -> str:
    broke = f"broke {part.broken:,} of the {part.attacked:,} left, {part.seconds:,.1f} s"
    return _aside(part.name, "", broke)


def _aside(name: str, accuracy: str, note: str = "") -> str:
    return (
        f"<tr class=part><td>&nbsp; {escape(name)}</td><td class=n>{accuracy}</td>"
        f"<td colspan=5>{escape(note)}</td></tr>"
    )


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


def _warnings(report: EvaluationRecord) -> str:
    return "".join(f"<p class=bad>{escape(warning)}</p>" for warning in report.warnings)


def _checks(report: EvaluationRecord) -> str:
    if not report.checks:
        return ""
    lines = {
        passed: "".join(
            f"<li class={'good' if passed else 'bad'}><b>{escape(check.name)}</b> "
            f"{escape(check.detail)}</li>"
            for check in report.checks
            if check.passed == passed
        )
        for passed in (False, True)
    }
    return (
        f"<h3>Can it be trusted?</h3><ul>{lines[False]}</ul>"
        f"<details><summary>Checks that passed</summary><ul>{lines[True]}</ul></details>"
    )


def _own_plots(report: EvaluationRecord) -> str:
    plots = [_figure(one.plot(), one.caption) for one in sweeps.studies([report])]
    plots.append(_figure(sweeps.class_plot(report), "Accuracy of each class"))
    return f"<h3>Plots</h3><div class=plots>{''.join(plots)}</div>"


def _figure(plot: Figure, caption: str) -> str:
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>{svg_element(plot, caption)}</figure>"
    )


def _examples(report: EvaluationRecord, examples: Examples) -> str:
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


def _details(report: EvaluationRecord) -> str:
    values = {
        "model": to_builtins(report.model),
        "data": to_builtins(report.data),
        "settings": to_builtins(report.settings),
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
