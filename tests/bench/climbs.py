"""Bench: a cascade of two fake models over HTTP, with faults: what it saves, and whether the promise holds.

    python -m tests.bench.climbs [FRAMES] [ROWS]

The cheap model answers 90 % of the rows as the strong one does, wavers about 22 %, and has five votes. Replies are
shuffled, lack rows or have invalid ones, and some requests fail. Each frame has other rows.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from operator import ne
from pathlib import Path

import pandas as pd

import smelt
from tests.call.climbing import CHEAP, STRONG, Mood, models_of
from tests.fakeserver import FakeServer
from tests.fakeserver.answers import expected

_FAULTS = {"drop": 0.01, "invalid": 0.01, "shuffle": 0.5}
_HICCUPS = {at: {"fault": "status", "kind": "server"} for at in range(7, 400, 40)}
_VOTES = 5


def climb(server: FakeServer, frame: int, rows: int) -> tuple[int, int, float]:
    """One frame: wrong rows, how many may be wrong, and the share of strong calls that was saved."""
    servers = [server.scenario(answers=one, rates=_FAULTS, script=_HICCUPS, seed=frame) for one in (CHEAP, STRONG)]
    numbers = range(frame * rows, (frame + 1) * rows)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ledger = Path(folder) / "a.sqlite"
        result = smelt.run(
            pd.DataFrame({"n": numbers}),
            "Mood of {n}?",
            Mood,
            model=models_of(servers),
            output="mood",
            target_accuracy=0.95,
            votes=_VOTES,
            batch_size=50,
            ledger=ledger,
            progress=False,
        )
        with smelt.ledger.open(ledger) as opened:
            spent = sum(one["input_tokens"] for one in opened.spend())
    stats = [one.stats() for one in servers]
    assert spent == sum(one.input_tokens for one in stats), "The ledger's bill is another."
    assert result.success
    right = [expected(STRONG, {"n": number})["mood"] for number in numbers]
    for one in servers:
        one.close()
    return (
        sum(map(ne, result.frame["mood"], right)),
        result.cascade.allowed or 0,
        1 - result.cascade.answered["openai:fake-1"] / rows,
    )


def main() -> None:
    """Print a line for each frame."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    with FakeServer() as server:
        for frame in range(frames):
            wrong, allowed, saved = climb(server, frame, rows)
            kept = "kept" if wrong <= allowed else "BROKEN"
            print(
                f"{rows:,} rows: {wrong:,} differ of {allowed:,} allowed, {kept}; {saved:.3f} of the strong calls saved"
            )


if __name__ == "__main__":
    main()
