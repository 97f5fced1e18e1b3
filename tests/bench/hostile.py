"""A model on its worst days: a million rows over four protocols, with every kind of odd reply at once.

    python -m tests.bench.hostile [ROWS] [FORM] [PROVIDER …] [FIRST]

FORM is how replies are asked for: `keyed`, or `packed` or `positional` on the compact wire (`readings.FORMS`); with
`-wide` behind it a row has 45 numbers more, so that ten million cells take a quarter of an hour per wire. FIRST is the
number of the first row, which also seeds the oddities: a later piece of the same run.

Asks for a quarter of ROWS (1,000,000) from each of the four protocols, in slices of 50,000, with every kind of oddity
(`tests/fakeserver/oddities.py`) at 5 % of the requests. The kinds that leave nothing to read, so that all of a reply's
rows have to be asked again whatever is done, and that the issue does not count among the 5 %, come at 1 % each. One
row in 2,000 holds words that a firewall or a provider refuses; it cannot be answered. Prints what came of it and what
it cost. A wrong value, a value on another row, a row without an answer that could have one, or more than 1.25 rows sent
per row end it with an error.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.exactness.readings import FORMS, Marks, is_refused, marked, read, readings
from tests.fakeserver import FakeServer, oddities
from tests.models import PROVIDERS, served

_SLICE = 50_000
_BATCH = 10  # So few that thoughts of 3,000 tokens do not fit beside the answers unless there is room for them.
_RATE, _LOST = 0.05, 0.01
_SHUNNED = 2_000
_MOST_SENT = 1.25


def main(rows: int = 1_000_000, form: str = "keyed", providers: Sequence[str] = (), first: int = 0) -> None:
    """Run and print."""
    os.environ["SMELT_LEDGER"] = "off"
    found: list[Marks] = []
    providers = providers or tuple(PROVIDERS)
    with FakeServer() as fake:
        for provider in providers:
            found += _asked(fake, provider, form, first, rows // len(providers))
    total = _sum(found)
    _print(f"all, {form}", total, 0.0, Counter())
    if total.wrong or total.misplaced or total.failed or total.share > _MOST_SENT:
        sys.exit("over the limit")


def _asked(fake: FakeServer, provider: str, form: str, start: int, rows: int) -> list[Marks]:
    found, struck, cpu = [], Counter[str](), 0.0
    for first in range(start, start + rows, _SLICE):
        count = min(_SLICE, start + rows - first)
        scenario = fake.scenario(answers=FORMS[form][1], oddities=oddities.rates(_RATE, lost=_LOST), seed=first)
        frame = readings(count, first=first, shunned=_SHUNNED)
        before = time.process_time()
        result = read(frame, served(provider, scenario), form, batch_size=_BATCH)
        cpu += time.process_time() - before
        stats = scenario.stats()
        struck.update(stats.faults)
        refused = {at for at, text in enumerate(frame["text"]) if is_refused(text)}
        found.append(marked(frame, result, stats.rows_sent, form, but=refused))
        scenario.close()
        _print(f"{provider}, {form}", _sum(found), cpu, struck)
    return found


def _sum(found: list[Marks]) -> Marks:
    failed = Counter[str]()
    for one in found:
        failed.update(one.failed)
    return Marks(
        rows=sum(one.rows for one in found),
        cells=sum(one.cells for one in found),
        wrong=sum(one.wrong for one in found),
        misplaced=sum(one.misplaced for one in found),
        failed=failed,
        sent=sum(one.sent for one in found),
    )


def _print(name: str, marks: Marks, cpu: float, struck: Counter[str]) -> None:
    each = f", {cpu / marks.rows * 1e6:.0f} us CPU per row, {struck.total():,} oddities" if cpu else ""
    print(
        f"{name}: {marks.rows:,} rows, {marks.cells:,} cells with an answer, {marks.misplaced} misplaced, "
        f"{marks.wrong} wrong, {marks.share:.3f} rows sent per row{each}; "
        f"without an answer: {dict(marks.failed) or 'none but those refused'}",
        flush=True,
    )


if __name__ == "__main__":
    named = [one for one in sys.argv[2:] if one in FORMS]
    asked = [one for one in sys.argv[2:] if one in PROVIDERS]
    numbers = [int(one) for one in sys.argv[1:] if one.isdecimal()]
    main(numbers[0] if numbers else 1_000_000, named[0] if named else "keyed", asked, *numbers[1:])
