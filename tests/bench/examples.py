"""What examples do to answers: 0, 3 and 8 of them, one of each label at most, on the embedded model.

`python -m tests.bench.examples` (needs `python -m smelt local pull`; 224 s of CPU). The table in docs/howto/examples.md
is what it prints. The rows that are examples are left out for all variants, so all are graded on the same rows.
"""

from __future__ import annotations

import sys
import warnings
from typing import Literal

import pandas as pd

import smelt
from smelt.demo import packages
from tests.bench.batches import MODEL, share

COUNTS = (0, 3, 8)
PROMPT = "To which section does the program {name} belong? It is: {summary}"


def main(rows: int = 100) -> None:
    """Compare the numbers of examples on *rows* packages, drawn by seed 0, and print a table in Markdown."""
    warnings.filterwarnings("ignore", "The answers of", category=smelt.SmeltWarning)
    known = pd.DataFrame(packages()).rename(columns={"section": "known"})
    taught = known.groupby("known").first().reset_index().rename(columns={"known": "section"})
    labels = taught["section"].tolist()
    variants = {str(count): {"examples": taught.head(count)} for count in COUNTS}
    compared = smelt.compare(
        known,
        PROMPT,
        {"section": Literal[tuple(labels)]},
        variants,
        truth={"section": "known"},
        n=rows,
        seed=0,
        model=MODEL,
        batch_size=1,
        progress=False,
    )
    print("| examples | right | tokens in |\n| --- | --- | --- |")
    for name, found in compared.evaluations.items():
        print(f"| {name} | {share(found.fields['section'].accuracy)} | {found.metrics.input_tokens:,} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
