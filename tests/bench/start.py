"""What a fresh process does before its first request leaves: smelt beside the raw SDK, pandas loaded in both.

    python -m tests.bench.start [PROVIDER ...]

Starts processes in turn, each of which loads pandas and the SDK, asks for a few rows, and ends where the first byte is
written to the network, over plain HTTP and without an answer. Prints CPU and wall seconds from the end of the SDK's
import on: `import smelt`, a ledger of its own and the SDK's own late imports included. More than 0.15 s of CPU over
the raw SDK ends it with an error. Of four rounds the first, which compiles, does not count, and the least of the
others does: a busy machine only adds.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

_ROOT = Path(__file__).parents[2]
_SDKS = {"openai": "openai", "vllm": "openai", "anthropic": "anthropic", "google": "google.genai"}
_ROUNDS, _LIMIT = 4, 0.15


def main(providers: list[str]) -> None:
    """Run and print."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        for provider in providers:
            least: dict[str, tuple[float, float]] = {}
            for way in ("sdk", "smelt"):
                rounds = [_measured(way, provider, address, Path(folder), at) for at in range(_ROUNDS)][1:]
                cpu, wall = (min(one[at] for one in rounds) for at in (0, 1))
                least[way] = cpu, wall
                print(
                    f"{provider:10} {way:6} {cpu * 1e3:4.0f} ms CPU, {wall * 1e3:4.0f} ms until the first request "
                    "leaves"
                )
            worst = max(worst, least["smelt"][0] - least["sdk"][0])
    print(f"at the most {worst * 1e3:.0f} ms of CPU more than the raw SDK, limit {_LIMIT * 1e3:.0f}")
    if worst > _LIMIT:
        sys.exit("over the limit")


def _measured(way: str, provider: str, address: str, folder: Path, at: int) -> tuple[float, float]:
    """CPU and wall seconds of one process, whose compiled modules are kept in *folder*."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    command = [
        sys.executable,
        "-m",
        "tests.bench.start",
        "--child",
        way,
        provider,
        address,
        str(folder / f"{provider}-{at}"),
    ]
    cpu, wall = subprocess.run(
        command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    return float(cpu), float(wall)


def child(way: str, provider: str, address: str, ledger: str) -> None:
    """Ask, and end the process where the first byte is written."""
    import pandas as pd

    sdk: Any = import_module(_SDKS[provider])
    cpu, wall = time.process_time(), time.perf_counter()

    def written(self: Any, data: bytes) -> NoReturn:
        print(time.process_time() - cpu, time.perf_counter() - wall, flush=True)
        os._exit(0)

    transport: Any = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    transport.write = written
    frame = pd.DataFrame({"name": [f"company {at}" for at in range(200)], "number": range(200)})
    if way == "smelt":
        _with_smelt(frame, provider, address, ledger)
    else:
        asyncio.run(_with_sdk(sdk, provider, address))


def _with_smelt(frame: Any, provider: str, address: str, ledger: str) -> None:
    from pydantic import BaseModel

    import smelt

    class Company(BaseModel):
        sector: str
        size: int

    model = smelt.Model(provider, "fake-1", base_url=address, api_key="sk-test-0123456789")
    smelt.transform(frame, "Describe {name} {number}.", Company, model=model, ledger=f"{ledger}.sqlite")


async def _with_sdk(sdk: Any, provider: str, address: str) -> None:
    said = [{"role": "user", "content": "Describe company 1."}]
    if provider == "google":
        client = sdk.Client(api_key="test", http_options={"base_url": address})
        await client.aio.models.generate_content(model="fake-1", contents=said[0]["content"])
        return
    make = sdk.AsyncAnthropic if provider == "anthropic" else sdk.AsyncOpenAI
    async with make(api_key="test", base_url=address, max_retries=0) as client:
        if provider == "anthropic":
            await client.messages.create(model="fake-1", max_tokens=100, messages=said)
        elif provider == "openai":
            await client.responses.create(model="fake-1", input=said)
        else:
            await client.chat.completions.create(model="fake-1", messages=said)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main(sys.argv[1:] or list(_SDKS))
