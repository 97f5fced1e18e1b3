"""What answer stores do: rows a second and bytes a row of each kind, and what one costs beside the ledger.

    python -m tests.bench.stores [postgres] [redis]

Over servers of the bench's own. First the store alone, with batches as runs put and get them. Then 40,000 rows by
script: microseconds of CPU of this process for a row, without the server's, and seconds of wall time. 30 s each.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pandas as pd

import smelt
from smelt.ledger.session import store_at
from smelt.loop.bridge import run_blocking
from smelt.testing import ScriptedProvider
from tests import postgres, redis

ROWS = 40_000
MANY, AT_ONCE = 200_000, 2_000  # Rows of the store alone; rows of a batch, as in `smelt.ledger.exchange`.
_ANSWER = b'{"sector":"tech","is_public":true,"note":"%b"}'
SERVERS: dict[str, Any] = {"postgres": postgres.running, "redis": redis.running}


def main(*kinds: str) -> None:
    """Measure these *kinds*, all if none is named."""
    for kind in kinds or SERVERS:
        with SERVERS[kind]() as server, tempfile.TemporaryDirectory() as folder:
            print(f"{kind}:", flush=True)
            _alone(server)
            server.empty()
            _beside(server.url(), Path(folder))


def _alone(server: Any) -> None:
    keys = [blake2b(b"%d" % at, digest_size=16).digest() for at in range(MANY)]
    batches = [keys[at : at + AT_ONCE] for at in range(0, MANY, AT_ONCE)]

    async def use() -> tuple[float, float]:
        store = store_at(server.empty())
        await store.open()
        try:
            begun = time.perf_counter()
            for some in batches:
                await store.put(
                    {key: b'{"sector":"tech","is_public":true,"note":"%b"}' % key.hex().encode() for key in some}
                )
            between = time.perf_counter()
            for some in batches:
                assert None not in await store.get(some)
            return between - begun, time.perf_counter() - between
        finally:
            store.close()

    empty = _size(server, server.empty())
    put, get = run_blocking(use())
    size = (_size(server, server.url()) - empty) / MANY
    rates = f"{MANY / put:9,.0f} rows a second put, {MANY / get:9,.0f} got"
    print(f"  {rates}, {size:.0f} bytes a row, of which the answer has {len(_ANSWER) + 30}", flush=True)


def _size(server: Any, url: str) -> int:
    async def opened() -> None:
        store = store_at(url)
        await store.open()
        store.close()

    run_blocking(opened())
    return int(server.size())


def _beside(url: str, folder: Path) -> None:
    frame = pd.DataFrame({"name": [f"company {at}" for at in range(ROWS)]})
    for machine, place, what in (
        ("alone", True, "asked, ledger only"),
        ("alone", True, "again, ledger only"),
        ("first", url, "asked, with a store"),
        ("second", url, "on a second machine"),
        ("second", url, "there again"),
    ):
        os.environ["SMELT_LEDGER"] = str(folder / f"{machine}.sqlite")
        begun, before = time.perf_counter(), time.process_time()
        provider = ScriptedProvider(lambda row: {"word": row["name"]})
        result = smelt.run(frame, "Say {name}.", {"word": str}, model=provider, ledger=place, progress=False)
        assert result.success
        cpu, wall = time.process_time() - before, time.perf_counter() - begun
        requests = len(provider.requests)
        print(f"  {what:22} {1e6 * cpu / ROWS:6.1f} µs a row, {wall:5.1f} s, {requests} requests", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
