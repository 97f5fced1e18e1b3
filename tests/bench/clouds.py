"""CPU per call through each adapter of a cloud, beside OpenAI's own: what credentials and signatures add.

    python -m tests.bench.clouds [CALLS]

Milliseconds of this process per request of two rows, the median of rounds; the fake server runs in another process.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from smelt.call.resolve import resolve_model
from smelt.loop.one_thread import OneThreadLoop
from smelt.model import Model
from smelt.providers.base import CompleteProvider
from tests.fakeserver import FakeServer
from tests.fakeserver.account import service_account
from tests.fakeserver.clouds import STATIC
from tests.models import KEYS
from tests.providers.asking import request

_ROUNDS, _IN_FLIGHT = 5, 16


def main(calls: int = 300) -> None:
    """Run and print."""
    with FakeServer() as server, tempfile.TemporaryDirectory() as folder:
        fake = server.scenario()
        os.environ |= {
            "GOOGLE_APPLICATION_CREDENTIALS": str(service_account(Path(folder), fake)),
            "GOOGLE_VERTEX_BASE_URL": fake.base_url("vertex"),
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": fake.base_url("bedrock"),
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "AKIAFAKESTATIC",
            "AWS_SECRET_ACCESS_KEY": STATIC["AKIAFAKESTATIC"],
        }
        url, key = fake.base_url("openai"), KEYS["openai"]
        providers = {
            "openai, key": resolve_model(Model("openai", "m", api_key=key, base_url=url)),
            "openai, function": resolve_model(Model("openai", "m", api_key=lambda: key, base_url=url)),
            "google, key": resolve_model(
                Model("google", "m", api_key=KEYS["google"], base_url=fake.base_url("google"))
            ),
            "azure, key": resolve_model(Model("azure", "m", api_key=KEYS["azure"], base_url=fake.base_url("azure"))),
            "vertex, Gemini": resolve_model("vertex:gemini"),
            "vertex, Claude": resolve_model("vertex:claude"),
            "bedrock, signed": resolve_model("bedrock:m"),
        }
        spent: dict[str, list[float]] = {name: [] for name in providers}
        for _ in range(_ROUNDS + 1):
            for name, provider in providers.items():
                spent[name].append(_cpu(provider, calls))
        for name, rounds in spent.items():
            print(f"{name:18} {statistics.median(rounds[1:]) * 1e3:.2f} ms per call")


def _cpu(provider: CompleteProvider, calls: int) -> float:
    async def work() -> float:
        async with provider.connect(connections=_IN_FLIGHT) as connection:
            await connection.send(request())
            begun = time.process_time()
            await asyncio.gather(*(connection.send(request()) for _ in range(calls)))
            return (time.process_time() - begun) / calls

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        return runner.run(work())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
