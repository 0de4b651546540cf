"""The further commands of python -m robnet_zoo.eval."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from robnet_zoo.cli.options import add_target_options, target_options
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.reports import leaderboard as tables
from robnet_zoo.eval.target import EvalTarget, load_target
from robnet_zoo.runtime import console, files
from robnet_zoo.runtime.errors import ZooError

NAMES = ("figures", "matrix", "report", "sweep", "tables")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m robnet_zoo.eval")
    commands = parser.add_subparsers(required=True)

    matrix = commands.add_parser(
        "matrix",
        help="every model under what an attack makes on every other",
        description="Judge models under the adversarial images of each other: matrix.csv, "
        "matrix.png and matrix.json, with each model's white-box accuracy on the diagonal.",
    )
    add = matrix.add_argument
    add("--models", required=True, help="two models or more, with commas between them")
    add("--attack", default="pgd10", help="fgsm, bimN, pgdN or mifgsmN (default: pgd10)")
    add_target_options(matrix)
    add("--out", type=Path, default=Path("runs/eval/matrix"), help="folder (runs/eval/matrix)")
    matrix.set_defaults(run=_matrix)

    sweep = commands.add_parser(
        "sweep",
        help="accuracy against epsilon and against iterations",
        description="Judge models at several perturbation sizes, and after every step of one long "
        "PGD run: records, CSV and PNG.",
    )
    add = sweep.add_argument
    add("--model", "--models", required=True, help="one model or several, with commas between")
    add("--attack", default="pgd20", help="attack at every size (default: pgd20)")
    add("--epsilons", default="", help="sizes such as 2/255,4/255,8/255")
    add("--iterations", type=int, help="length of the PGD run, such as 100")
    add_target_options(sweep)
    add("--out", type=Path, default=Path("runs/eval/sweep"), help="folder (runs/eval/sweep)")
    add("--resume", action="store_true", help="go on where an interrupted sweep stopped")
    sweep.set_defaults(run=_sweep)

    figure = commands.add_parser(
        "figures",
        help="draw what records hold",
        description="Draw accuracy against epsilon, steps, parameters and classes, whatever the "
        "records allow.",
    )
    add = figure.add_argument
    add("records", type=Path, nargs="+", help="records of evaluations (JSON)")
    add("--out", type=Path, default=Path("runs/eval/figures"), help="folder (runs/eval/figures)")
    figure.set_defaults(run=_figures)

    page = commands.add_parser(
        "report",
        help="one HTML page from records",
        description="Write one self-contained HTML page from records of evaluations and of the "
        "transfer matrix: tables, checks, plots and adversarial images.",
    )
    add = page.add_argument
    add("records", type=Path, nargs="+", help="records (JSON)")
    add("--out", type=Path, default=Path("report.html"), help="the page (report.html)")
    page.set_defaults(run=_report)

    table = commands.add_parser(
        "tables",
        help="write the leaderboard and the tables of the README from the records",
        description="Write eval/leaderboard.csv and the tables of README.md from eval/results.",
    )
    add = table.add_argument
    add("--check", action="store_true", help="write nothing; exit with 1 if any is out of date")
    add("--root", type=Path, default=tables.ROOT, help="the checkout (default: this one)")
    table.set_defaults(run=lambda arguments: tables.update(arguments.root, arguments.check))
    return parser


def main(argv: list[str]) -> int:
    """Run the command line; return its exit code."""
    arguments = build_parser().parse_args(argv)
    return console.run(lambda: arguments.run(arguments))


def names_in(text: str) -> list[str]:
    """Return the names in a list with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def run_protocol(arguments: argparse.Namespace) -> None:
    """Run one table of the papers on the weights at hand."""
    from robnet_zoo.zoo import protocols

    protocol = protocols.load(arguments.protocol)
    for option in ("model", "attack", "dataset", "threat_model", "eps", "norm", "restarts"):
        if getattr(arguments, option) is not None:
            name = option.replace("_", "-")
            raise ZooError(f"--{name} does not go with --protocol, which says what is run.")
    out = arguments.out or Path("runs/eval") / protocol.name
    files.check_writable(out / f"{protocol.name}.json")

    from rich.console import Console

    from robnet_zoo.eval.reports.protocol import show
    from robnet_zoo.eval.studies import protocol as comparison

    folders = comparison.weights_at_hand(arguments.weights and Path(arguments.weights))
    table = comparison.compare(
        protocol, folders, target_options(arguments), out, resume=arguments.resume
    )
    if os.environ.get("RANK", "0") == "0":
        comparison.write(protocol, table, out)
        show(protocol, table, Console())
        _tell([out / f"{protocol.name}.{kind}" for kind in ("csv", "json")])


def _matrix(arguments: argparse.Namespace) -> None:
    from robnet_zoo.attacks.registry import get_attack
    from robnet_zoo.attacks.transfer import gradient_only
    from robnet_zoo.eval.studies import transfer_matrix as matrix

    base = gradient_only(get_attack(arguments.attack))
    options = target_options(arguments)
    files.check_writable(arguments.out / "matrix.json")
    found = matrix.transfer_matrix(
        [load_target(name, options) for name in names_in(arguments.models)],
        base,
        n=options.n,
        seed=options.seed,
        batch_size=options.batch_size,
        quiet=False,
    )
    matrix.write(found, arguments.out)
    print((arguments.out / "matrix.csv").read_text(encoding="utf-8"), end="")
    _tell([arguments.out / f"matrix.{kind}" for kind in ("csv", "png", "json")])


def _sweep(arguments: argparse.Namespace) -> None:
    from robnet_zoo.eval.checks import check_sweep
    from robnet_zoo.eval.studies import sweep as sweeps

    files.check_writable(arguments.out / "records" / "record.json")
    options, sizes = target_options(arguments), names_in(arguments.epsilons)
    if not sizes and arguments.iterations is None:
        raise ZooError("There is nothing to sweep; give --epsilons, --iterations or both.")
    reports = []
    for name in names_in(arguments.model):
        target = load_target(name, options)
        runs = [(arguments.attack, sizes)] if sizes else []
        if arguments.iterations is not None:
            runs.append((f"pgd{arguments.iterations}", [target.threat_model.epsilon.text]))
        for attack, at in runs:
            found = sweeps.run(
                target,
                attack,
                at,
                arguments.out / "records",
                n=options.n,
                seed=options.seed,
                batch_size=options.batch_size,
                resume=arguments.resume,
                quiet=False,
            )
            reports += found
            for check in check_sweep(found, attack):
                if not check.passed:
                    print(f"check failed: {name}, {check.name}: {check.detail}")
    _tell(path for study in sweeps.studies(reports) for path in sweeps.write(study, arguments.out))


def _figures(arguments: argparse.Namespace) -> None:
    from robnet_zoo.eval import record
    from robnet_zoo.eval.studies import sweep as sweeps
    from robnet_zoo.plotting.style import save

    reports = {path: record.read(path) for path in arguments.records}
    files.check_writable(arguments.out / "figure.png")
    together = sweeps.studies(list(reports.values()))
    written = [path for study in together for path in sweeps.write(study, arguments.out)]
    for path, report in reports.items():
        written.append(arguments.out / f"classes-{path.stem}.png")
        save(sweeps.class_plot(report), written[-1])
    _tell(written)


def _report(arguments: argparse.Namespace) -> None:
    from robnet_zoo.eval import record
    from robnet_zoo.eval.reports import html as report
    from robnet_zoo.eval.reports.examples import remake
    from robnet_zoo.eval.studies import transfer_matrix as matrix

    files.check_writable(arguments.out)
    kinds = {path: record.schema_of(path) for path in arguments.records}
    report.write(
        arguments.out,
        [record.read(path) for path, kind in kinds.items() if kind != matrix.SCHEMA],
        [matrix.read(path) for path, kind in kinds.items() if kind == matrix.SCHEMA],
        remake,
    )
    _tell([arguments.out])


def write_page(path: Path, found: EvaluationRecord, target: EvalTarget) -> None:
    """Write the page of one evaluation that has just been made."""
    from robnet_zoo.eval.reports import html as report
    from robnet_zoo.eval.reports.examples import examples

    report.write(path, [found], [], lambda one: examples(one, target.model, target.split))
    _tell([path])


def _tell(written: Iterable[Path]) -> None:
    for path in written:
        print(f"Written: {path}")
