"""The start page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.reports.leaderboard import accuracy_under
from robnet_zoo.runtime.tables import markdown_table
from website.checkout import DOCS, repository

PAGE = "index.md"
PICTURE = "zoo.svg"
FIRST = 5  # rows of the leaderboard


def home(records: Mapping[str, EvaluationRecord]) -> dict[str, str | Path]:
    """Return the page and its picture.

    Args:
        records: by the names of weights.
    """
    header = ["weights", "clean", "AutoAttack"]
    judged = {
        name: (record.clean.accuracy, robust)
        for name, record in records.items()
        if record.data.name == "digits"
        if (robust := accuracy_under(record, "autoattack")) is not None
    }
    best = sorted(judged, key=lambda name: -judged[name][1].accuracy)[:FIRST]
    rows = [
        [
            f"[`{name}`](models/{name.partition('.')[0]}.md)",
            *(
                f"{100 * rate.accuracy:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
                for rate in judged[name]
            ),
        ]
        for name in best
    ]
    text = f"""---
hide: [navigation, toc]
---

# robnet_zoo

Networks whose *architecture* was found by a search for robustness, with adversarially trained
weights, the searches themselves, and an evaluation that checks itself.

![A search finds a cell, every image gets a verdict, at every strength of the attack]({PICTURE})

```bash
git clone {repository()} && cd robnet_zoo && python -m pip install '.[eval]'
python -m robnet_zoo.eval --model racl.digits --attack pgd100
```

<div class="grid" markdown>

[**Leaderboard**<br>every evaluation, sortable](leaderboard.md)
[**Models**<br>cells, weights, records](models/index.md)
[**How to read a robust accuracy**<br>what the numbers mean, and what they do not](reading.md)
[**Judge your own model**<br>three lines of Python](own-model.md)
[**Searches**<br>four papers' searches, rebuilt](search.md)
[**Certificates**<br>what is certain, whatever the attack](certificates.md)

</div>

## The digits networks that stand best

{markdown_table(header, rows, right=header[1:])}
Accuracy on 450 test images of handwritten digits, Linf 0.15, with 95 % intervals. [All of them, and
CIFAR-10](leaderboard.md).
"""
    return {PAGE: text, PICTURE: DOCS / PICTURE}
