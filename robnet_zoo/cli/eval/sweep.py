"""`robnet-zoo eval sweep`: accuracy against epsilon and against iterations."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.cli.options import add_target_options, names_in, print_written, target_options
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Judge models at several perturbation sizes, and after every step of one long PGD run:\n"
        "records, CSV and PNG. One run of an attack that looks for the smallest change, such as\n"
        "fmn, gives the whole curve: it needs no --epsilons."
    )
    add = parser.add_argument
    add("--model", "--models", required=True, help="one model or several, with commas between")
    add("--attack", default="pgd20", help="attack at every size (default: pgd20)")
    add("--epsilons", default="", help="sizes such as 2/255,4/255,8/255")
    add("--iterations", type=int, help="length of the PGD run, such as 100")
    add_target_options(parser)
    add("--out", type=Path, default=Path("runs/eval/sweep"), help="folder (runs/eval/sweep)")
    add("--resume", action="store_true", help="go on where an interrupted sweep stopped")


def run(options: argparse.Namespace) -> None:
    """Sweep, and write records, tables and plots."""
    from robnet_zoo.eval.attack_names import named_attack
    from robnet_zoo.eval.checks import check_sweep
    from robnet_zoo.eval.record.check import having, summary
    from robnet_zoo.eval.studies.plots import plots, write_plot
    from robnet_zoo.eval.studies.sweep import sweep
    from robnet_zoo.eval.target import load_target

    check_writable(options.out / "records" / "record.json")
    judged_on, sizes = target_options(options), names_in(options.epsilons)
    asked = named_attack(options.attack, mean=options.mean, std=options.std)
    minimal = all(part.traits.minimal for part in asked.parts)
    if not sizes and options.iterations is None and not minimal:
        raise ZooError(
            "There is nothing to sweep; give --epsilons, --iterations or both, or an attack that "
            "needs none, such as fmn."
        )
    records = []
    for name in names_in(options.model):
        target = load_target(name, judged_on)
        own = [target.threat_model.epsilon.text]
        attacks = [(asked, sizes or own)] if sizes or minimal else []
        if options.iterations is not None:
            attacks.append((named_attack(f"pgd{options.iterations}"), own))
        for attack, at in attacks:
            swept = sweep(
                target,
                attack,
                at,
                options.out / "records",
                n=judged_on.n,
                seed=judged_on.seed,
                batch_size=judged_on.batch_size,
                resume=options.resume,
                quiet=False,
            )
            records += swept
            checks = check_sweep(swept, attack.name)
            for check in having(checks, "failed"):
                print(f"check failed: {name}, {check.name}: {check.detail}")
            print(f"checks: {name}, {attack.name}: {summary(checks)}")
    print_written(path for plot in plots(records) for path in write_plot(plot, options.out))
