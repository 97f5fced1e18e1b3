"""The review job by smelt on six models, each by its vendor's own API: batch and compact against live and keyed.

    python -m tests.bench.sixmodels [ROWS]

One fake server bills all of them by the published rules, four bytes a token; see `tests.fakeserver.till`. Rewrites its
table in docs/benchmarks.md if the number of rows is the usual one. Takes a few minutes, most of it between two looks
at a job.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

import smelt
from smelt.call.resolve import resolve_model
from tests.bench.contenders.shop import MODELS
from tests.bench.contenders.shoppers import BEST, TODAY
from tests.bench.economy import head, row, shown
from tests.bench.peers import put
from tests.economy_jobs import REVIEW
from tests.fakeserver import FakeServer, Scenario

MARKS = "<!-- six models: written by python -m tests.bench.sixmodels -->\n", "<!-- end of six models -->\n"
ROWS = 2_000


def main(rows: int = ROWS) -> None:
    """Run, print, and write the page."""
    lines = []
    for line in table(rows):
        print(line, flush=True)
        lines.append(line)
    if rows == ROWS:
        put(lines, *MARKS)


def table(rows: int) -> Iterator[str]:
    """The lines of the table, as soon as each is known."""
    frame = pd.DataFrame(REVIEW.rows(rows))
    yield from head(("model", "rows wrong", "before, $", "best, $", "ratio", "ledger of bill"))
    with FakeServer() as server, tempfile.TemporaryDirectory() as home:
        for model in MODELS:
            bills, wrong, kept = [], 0, 1.0
            for way, options in (("before", TODAY), ("best", BEST)):
                fake = server.scenario(answers=REVIEW.rules, bills={}, jobs={"per_look": 200.0}, latency=0.05)
                result = bought(frame, model, fake, ledger=Path(home) / f"{model} {way}.sqlite", **options)
                right = [REVIEW.answer(one) for one in REVIEW.rows(rows)]
                wrong += sum(
                    answer is None or answer.model_dump(mode="json") != one
                    for answer, one in zip(result.data, right, strict=True)
                )
                bills.append(fake.stats().dollars)
                kept = (result.metrics.cost_usd or 0.0) / bills[-1]
                fake.close()
            before, best = bills
            yield row([model, str(wrong), shown(before), shown(best), f"{best / before:.2f}", f"{kept:.3f}"])


def bought(frame: pd.DataFrame, model: str, fake: Scenario, **options: Any) -> smelt.SmeltResult[Any]:
    """Ask *model* at the fake, which stands at the vendor's own address."""
    seller: Literal["openai", "anthropic", "google"] = (
        "openai" if model.startswith("gpt") else "anthropic" if model.startswith("claude") else "google"
    )
    provider: Any = resolve_model(smelt.Model(seller, model, api_key="k-of-a-test", base_url=fake.base_url(seller)))
    provider = replace(provider, vendor=replace(provider.vendor, base_url=provider.access.base_url))
    known = inspect.signature(smelt.run).parameters
    asked = {name: value for name, value in options.items() if name in known}
    return smelt.run(frame, REVIEW.prompt, REVIEW.model, model=provider, progress=False, **asked)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
