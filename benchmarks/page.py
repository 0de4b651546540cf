"""Tables and charts in the docs, made from the records in benchmarks/results.

docs/speed.md holds all of them but those of the trial of the checks, which are in docs/trust.md.

python -m benchmarks.page  # write them; --check only says whether the tables are up to date
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.chart import draw, kinds
from benchmarks.checks import tables as trial
from benchmarks.measure import FORMAT, RESULTS
from robnet_zoo.runtime import console, files
from robnet_zoo.runtime.tables import fill_tables, markdown_table

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "speed.md"
TRIAL_PAGE = DOCS / "trust.md"
TRIAL = "trial"  # begins the markers there; `robnet-zoo eval tables` fills the others
Record = dict[str, Any]
SPEEDUP = "speed-up"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the tables of docs/speed.md and trust.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if stale")
    check = parser.parse_args(argv).check
    texts = {page: page.read_text(encoding="utf-8") for page in (PAGE, TRIAL_PAGE)}
    wanted = {
        PAGE: fill_tables(texts[PAGE], TABLES),
        TRIAL_PAGE: fill_tables(texts[TRIAL_PAGE], trial_tables(), marker=TRIAL),
    }
    stale = [page for page in texts if texts[page] != wanted[page]]
    if check:
        for page in stale:
            print(f"out of date: {page.name}; run: python -m benchmarks.page", file=sys.stderr)
        return int(bool(stale))
    for page in stale:
        files.write_text(page, wanted[page])
    for record in records("limits") if PAGE in stale else ():
        draw(record, PAGE.with_name(chart(record)))
    return 0


def records(kind: str) -> Iterator[Record]:
    """Yield the records of a benchmark, in the order of their files' names."""
    for path in sorted(RESULTS.glob(f"{kind}-*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("format") == FORMAT:
            yield record


def chart(record: Record) -> str:
    return f"speed-{record['environment']['device'].partition(':')[0]}.png"


def table(header: Sequence[str], rows: list[list[str]], words: int = 2) -> str:
    """Return a table whose first columns are words and whose others are numbers."""
    return markdown_table(header, rows, right=header[words:]) if rows else "No record yet.\n"


def hardware(record: Record) -> str:
    environment = record["environment"]
    threads = environment["threads"]
    processor = f"{environment['processor']}, {threads} thread{'s' * (threads > 1)}"
    return environment.get("gpu") or processor


def speedup(comparison: Record | None) -> str:
    if comparison is None:
        return "-"
    median, lowest, highest = (
        comparison["speedup"][key] for key in ("median", "lowest", "highest")
    )
    return f"**{median:.2f}** [{lowest:.2f}, {highest:.2f}]"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def evaluation() -> str:
    rows = []
    for record in records("evaluation"):
        gradients, verdicts = record["gradients"], record["verdicts"]
        rate = gradients["gradients_per_second"]
        rows.append(
            [
                f"`{record['settings']['model']}`",
                hardware(record),
                number(rate["torchattacks"]),
                number(rate["robnet_zoo"]),
                speedup(gradients),
                speedup(verdicts),
            ]
        )
    rate = "gradients/s, {}".format
    header = ["network", "hardware", rate("torchattacks"), rate("robnet_zoo")]
    return table([*header, f"{SPEEDUP} of a step", f"{SPEEDUP} of the evaluation"], rows)


def verdicts() -> str:
    rows = []
    for record in records("evaluation"):
        comparison, settings = record["verdicts"], record["settings"]
        if comparison is not None:
            robust = comparison["robust_accuracy"]
            rows.append(
                [
                    f"`{settings['model']}`",
                    hardware(record),
                    f"{settings['n']:,}",
                    *(percent(robust[name]) for name in ("torchattacks", "unfolded", "robnet_zoo")),
                    str(comparison["judged_differently"]),
                    str(comparison["in_the_models_favour"]),
                ]
            )
    header = ["network", "hardware", "images", "torchattacks", "unfolded", "robnet_zoo"]
    return table([*header, "judged differently", "in the model's favour"], rows)


def autoattack() -> str:
    rows = [
        [
            f"`{record['settings']['model']}`",
            hardware(record),
            f"{record['settings']['n']:,}",
            *(number(statistics.median(taken)) for taken in record["seconds"].values()),
            speedup(record),
            *(percent(accuracy) for accuracy in record["robust_accuracy"].values()),
        ]
        for record in records("autoattack")
    ]
    names = ("pyautoattack", "robnet_zoo")
    header = ["network", "hardware", "images", *(f"seconds, {name}" for name in names), SPEEDUP]
    return table([*header, *(f"robust, {name}" for name in names)], rows)


def training() -> str:
    rows = [
        [
            f"`{record['settings']['model']}`",
            hardware(record),
            str(record["settings"]["compile"] or "no"),
            str(record["settings"]["batch_size"]),
            *(number(rate) for rate in record["images_per_second"].values()),
            speedup(record),
            number(record["epochs_in_25_minutes"]["robnet_zoo"]),
        ]
        for record in records("training")
        if record["settings"]["channels"] is None
    ]
    header = ["network", "hardware", "compiled", "batch", "images/s, plain", "images/s, robnet_zoo"]
    return table([*header, SPEEDUP, "epochs in 25 minutes"], rows)


def supernet() -> str:
    rows = [
        [
            name,
            hardware(record),
            *(number(statistics.median(taken)) for taken in comparison["seconds"].values()),
            speedup(comparison),
        ]
        for record in records("supernet")
        for name, comparison in record["searches"].items()
    ]
    header = ["search", "hardware", "seconds a step, plain", "seconds a step, robnet_zoo"]
    return table([*header, SPEEDUP], rows)


def limits() -> str:
    rows = []
    for record in records("limits"):
        ceilings = record["ceilings"]
        for name, form in record["forms"].items():
            precision = "bfloat16" if "bfloat16" in name else "float32"
            rate, traffic = form["operations_per_second"], form["bytes_per_second"]
            rows.append(
                [
                    name,
                    hardware(record),
                    number(form["milliseconds_an_image"]),
                    number(rate / 1e9),
                    percent(rate / ceilings[f"convolution_{precision}"]),
                    number(form["bytes_an_image"] / 1e6),
                    number(traffic / 1e9),
                    percent(traffic / ceilings["copy"]),
                ]
            )
    header = ["form", "hardware", "ms an image", "GFLOP/s", "% of a convolution"]
    return table([*header, "MB an image", "GB/s", "% of a copy"], rows)


def ceilings() -> str:
    columns = {
        "product_float32": "product, float32 (GFLOP/s)",
        "product_bfloat16": "product, bfloat16",
        "convolution_float32": "convolution, float32",
        "convolution_bfloat16": "convolution, bfloat16",
        "copy": "copy (GB/s)",
    }
    rows = [
        [hardware(record), *(number(record["ceilings"][key] / 1e9) for key in columns)]
        for record in records("limits")
    ]
    return table(["hardware", *columns.values()], rows, words=1)


def profile() -> str:
    rows, header, charts = [], ["kind of operator", "hardware"], ""
    for record in records("limits"):
        forms = record["forms"]
        header = [*header[:2], *forms]
        for kind in kinds(forms):
            taken = [form["operators"].get(kind, 0.0) for form in forms.values()]
            rows.append([kind, hardware(record), *(f"{value:.3g}" for value in taken)])
        charts += f"\n![Where the time goes on {hardware(record)}]({chart(record)})\n"
    return table(header, rows) + charts


def start() -> str:
    rows = [
        [name, hardware(record), f"{seconds:.2f}"]
        for record in records("start")
        for name, seconds in record["median_seconds"].items()
    ]
    return table(["process", "hardware", "seconds"], rows)


def memory() -> str:
    rows = [
        [
            f"`{record['settings']['model']}`, {name}",
            hardware(record),
            str(record["settings"]["batch_size"]),
            *(f"{peak / 1e9:.2f}" for peak in peaks.values()),
        ]
        for record in records("memory")
        for name, peaks in record["peak_bytes"].items()
    ]
    return table(["step", "hardware", "batch", "GB, plain", "GB, robnet_zoo"], rows)


def trial_tables() -> dict[str, Callable[[], str]]:
    """Return what makes the tables of docs/trust.md, from the record of the trial."""
    record = next(records("checks"), None)
    return {
        name: partial(make, record) if record else lambda: "No record yet.\n"
        for name, make in trial.TABLES.items()
    }


TABLES: dict[str, Callable[[], str]] = {
    made.__name__: made
    for made in (
        evaluation,
        verdicts,
        autoattack,
        training,
        supernet,
        ceilings,
        limits,
        profile,
        start,
        memory,
    )
}


if __name__ == "__main__":
    sys.exit(console.run(main))
