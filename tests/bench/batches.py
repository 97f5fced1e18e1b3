"""How answers at 1, 5 and 20 rows per request agree, and how many are right, on the embedded model.

`python -m tests.bench.batches` (needs `python -m smelt local pull`; 100 s of CPU, on 2 cores that others used as
well). The table in docs/evaluate.md is what it prints.
"""

from __future__ import annotations

import warnings

import pandas as pd

import smelt
from smelt.demo import PROMPT, Launch, missions
from smelt.evaluation.scores import Share

SIZES = (1, 5, 20)
MODEL = "local:smollm2-135m"
TRUTH = {"year": "year", "agency": "agency"}


def main(rows: int = 20) -> None:
    """Compare the sizes on *rows* rows, drawn by seed 0, and print a table in Markdown."""
    warnings.filterwarnings("ignore", "The answers of", category=smelt.SmeltWarning)
    known = pd.DataFrame(missions()).astype({"year": int})
    variants = {str(size): {"batch_size": size} for size in SIZES}
    compared = smelt.compare(known, PROMPT, Launch, variants, truth=TRUTH, n=rows, seed=0, model=MODEL, progress=False)

    print(
        "| rows per request | `year` right | `agency` right | `year` as at 1 | `agency` as at 1 | requests | tokens in "
        "|"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, found in compared.evaluations.items():
        right = [share(found.fields[field].accuracy) for field in TRUTH]
        same = [_agreement(compared, field, name) for field in TRUTH]
        cells = [name, *right, *same, f"{found.metrics.requests:,}", f"{found.metrics.input_tokens:,}"]
        print(f"| {' | '.join(cells)} |")


def share(found: Share) -> str:
    """A share as counts, with its interval."""
    low, high = found.interval or (0.0, 1.0)
    return f"{found.count} of {found.of} ({low:.0%} to {high:.0%})"


def _agreement(compared: smelt.Comparison, field: str, name: str) -> str:
    pairs = compared.pairs
    found = pairs[(pairs["field"] == field) & (pairs["first"] == str(SIZES[0])) & (pairs["second"] == name)]
    return "" if found.empty else f"{found['agreement'].iloc[0] * found['rows'].iloc[0]:.0f} of {found['rows'].iloc[0]}"


if __name__ == "__main__":
    main()
