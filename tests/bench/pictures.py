"""Small distinct pictures over four protocols, with every kind of odd reply: none may be answered under another row.

    python -m tests.bench.pictures [ROWS] [PROVIDER …]

Asks for a quarter of ROWS (100,000) from each of the four protocols, four pictures a request, in slices of 5,000. The
fake reads the parts of each request, and answers with a checksum of the bytes that came behind the row's own name, so a
wrong checksum is a picture under a wrong token. Oddities as in `tests.bench.hostile`. Prints what came of it; a wrong
answer, or a row without one, ends it with an error.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections import Counter

import pandas as pd

import smelt
from smelt.errors import SmeltWarning
from tests.fakeserver import FakeServer, oddities
from tests.media.pictures import Seen, crc, png
from tests.models import PROVIDERS, served

_SLICE = 5_000
_BATCH = 4
_ATTEMPTS = 8  # With 5 % of each kind of fault, one row in 25,000 meets four of them in a row.
# Not those of the account: two in a row, which a short slice meets by chance, rightly end a run.
_ODDITIES = {name: rate for name, rate in oddities.rates(0.05, lost=0.01).items() if name not in oddities.ONCE}
_ANSWERS = {"crc": {"crc": "photo"}, "colour": {"colour": "picture"}}


def main(rows: int = 100_000, providers: tuple[str, ...] = tuple(PROVIDERS)) -> None:
    """Run and print."""
    os.environ["SMELT_LEDGER"] = "off"
    warnings.simplefilter("ignore", SmeltWarning)  # Of a server that does not keep to the schema.
    with FakeServer() as fake:
        wrong = sum(_asked(fake, provider, rows // len(providers)) for provider in providers)
    if wrong:
        sys.exit("pictures under a wrong token, or without an answer")


def _asked(fake: FakeServer, provider: str, rows: int) -> int:
    wrong = requests = 0
    failed = Counter[str]()
    cpu, started = 0.0, time.monotonic()
    for first in range(0, rows, _SLICE):
        pictures = [png(number) for number in range(first, min(first + _SLICE, rows))]
        frame = pd.DataFrame({"photo": pd.Series(pictures, dtype=object)})
        scenario = fake.scenario(answers=_ANSWERS, oddities=_ODDITIES, seed=first)
        before = time.process_time()
        out = smelt.transform(
            frame,
            "What is in {photo}?",
            Seen,
            model=served(provider, scenario),
            batch_size=_BATCH,
            max_attempts=_ATTEMPTS,
            progress=False,
        )
        cpu += time.process_time() - before
        requests += scenario.stats().requests
        scenario.close()
        answered = out["crc"].notna()
        failed.update(str(one) for one in out["smelt_error"][~answered])
        wrong += sum(said != crc(pictures[at]) for at, said in out["crc"][answered].items())
    print(
        f"{provider}: {rows:,} pictures in {requests:,} requests, {wrong} under a wrong token, {failed.total()} "
        f"without an answer, {cpu / rows * 1e6:.0f} us CPU per picture, {time.monotonic() - started:.0f} s",
        flush=True,
    )
    for reason, count in failed.most_common(3):
        print(f"    {count} x {reason:.200}")
    return wrong + failed.total()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, tuple(sys.argv[2:]) or tuple(PROVIDERS))
