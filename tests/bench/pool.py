"""What a connection pool costs with many requests in flight: our client, httpx2's own pool, the SDKs' aiohttp.

    python -m tests.bench.pool [SECONDS]

Each keeps 32, 128 and 512 requests in flight for some seconds (5) against the fake server in another process, which
answers after 0.3 s, give or take 0.1. Prints requests per second and CPU per request. aiohttp is tried where it is
installed; nothing of smelt needs it. Our client taking more CPU at 512 in flight than at 32 by half ends it with an
error.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable

import httpx2
import openai

from smelt.loop.one_thread import OneThreadLoop
from smelt.providers.access import Access
from smelt.providers.http import client_for
from smelt.providers.ways import tls
from tests.fakeserver import FakeServer

Make = Callable[[str, int], httpx2.AsyncClient]
_ROWS = [{"id": f"k{at:03}", "row": {"name": f"company {at}", "number": at}} for at in range(20)]
_BODY = json.dumps({"model": "fake-1", "instructions": "Label each row. " * 25, "input": json.dumps(_ROWS)}).encode()
_HEADERS = {"content-type": "application/json", "authorization": "Bearer sk-test"}
_WARM_UP = 1.0


def main(seconds: float = 5.0) -> None:
    """Run and print."""
    spent = {}
    with FakeServer() as server:
        url = server.scenario(latency=0.3, jitter=0.1).base_url("openai")
        for in_flight in (32, 128, 512):
            for name, make in _makers().items():
                with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
                    rate, cpu = runner.run(_measure(make(url, in_flight), url, in_flight, seconds))
                spent[name, in_flight] = cpu
                print(f"{in_flight:4} in flight  {name:11} {rate:6,.0f} requests/s  {cpu * 1e3:.2f} ms CPU per request")
    if spent["smelt", 512] > 1.5 * spent["smelt", 32]:
        sys.exit("over the limit")


def _makers() -> dict[str, Make]:
    makers: dict[str, Make] = {"smelt": _ours, "httpx2 pool": _pooled}
    try:
        openai.DefaultAioHttpClient()
    except RuntimeError:
        print("aiohttp is not installed")
    else:
        makers["aiohttp"] = _with_aiohttp
    return makers


def _ours(url: str, connections: int) -> httpx2.AsyncClient:
    return client_for(Access(base_url=url), connections=connections)


def _pooled(url: str, connections: int) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(limits=_limits(connections), verify=tls())


def _with_aiohttp(url: str, connections: int) -> httpx2.AsyncClient:
    return openai.DefaultAioHttpClient(limits=_limits(connections))


def _limits(connections: int) -> httpx2.Limits:
    return httpx2.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=4.0)


async def _measure(client: httpx2.AsyncClient, url: str, in_flight: int, seconds: float) -> tuple[float, float]:
    """Requests per second, and seconds of CPU per request."""
    done, is_over = 0, False

    async def keep_asking() -> None:
        nonlocal done
        while not is_over:
            reply = await client.post(url + "/responses", content=_BODY, headers=_HEADERS, timeout=30.0)
            assert reply.status_code == 200
            done += 1

    async with client, asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(keep_asking())
        await asyncio.sleep(_WARM_UP)
        before, wall, cpu = done, time.perf_counter(), time.process_time()
        await asyncio.sleep(seconds)
        count, wall, cpu = done - before, time.perf_counter() - wall, time.process_time() - cpu
        is_over = True
    return count / wall, cpu / count


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
