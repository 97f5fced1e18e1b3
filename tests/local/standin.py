"""Stand-ins for `vllm` and `ollama`.

That for `vllm` takes the flags of `vllm serve`, answers like the fake server, and fails as the real one does.

`python -m tests.local.standin serve MODEL --uds SOCKET …`. The variable STANDIN names what is wrong with it: `never`
(healthy), `cuda` (dies with a message in its log), `stubborn` (a worker that ignores SIGTERM), `dies` (a worker dies at
the third request, then the server ends; once for each file of STANDIN_PIDS). The variable STANDIN_PIDS names a file to
which it writes the process ids of itself and of its worker.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

from tests.fakeserver.config import Config
from tests.fakeserver.connection import Connection, Exchange, Request
from tests.fakeserver.scenario import Scenario
from tests.fakeserver.server import Plain, Server

CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 14.96 GiB. GPU 0 has a total capacity of 7.79 GiB"
WORKER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(3600)"


class StandIn:
    """The API server of vLLM in front of one scenario."""

    def __init__(self, mood: str) -> None:
        self._mood = mood
        self._requests = 0
        self._server = Server()
        answers = {"sector": {"choice": ["tech", "other"], "of": "name"}}
        self._server._scenarios["s"] = Scenario(Config(answers=answers), Server._now)

    def route(self, request: Request, connection: Connection) -> Exchange:
        if request.path in ("/health", "/api/version"):
            return Plain(503 if self._mood == "never" else 200, {})
        key = os.environ.get("VLLM_API_KEY")
        if key is not None and request.headers.get("authorization") != f"Bearer {key}":
            return Plain(401, {"error": "Unauthorized"})
        self._requests += 1
        if self._mood == "dies" and self._requests >= 3 and not is_second():
            asyncio.get_running_loop().call_later(0.01, os._exit, 1)
            return Plain(500, {"error": {"message": "EngineCore encountered an issue.", "code": 500}})
        return self._server.route(replace(request, path=f"/s{request.path}"), connection)


def is_second() -> bool:
    """Whether another stand-in of this test was started before."""
    return Path(os.environ["STANDIN_PIDS"]).read_text().count("\n") > 1


def worker() -> int:
    """A process of the server's session that ignores SIGTERM."""
    process = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    return process.pid


async def serve(address: str, mood: str) -> None:
    """Serve on a Unix socket, or on `HOST:PORT`."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = StandIn(mood)
    if address.startswith("/"):
        await loop.create_unix_server(lambda: Connection(server.route), address)
    else:
        host, _, port = address.partition(":")
        await loop.create_server(lambda: Connection(server.route), host, int(port))
    await stop.wait()


def ollama() -> None:
    """`ollama serve`, which finds its address in the environment and takes no key."""
    assert sys.argv[1:] == ["serve"]
    tell([os.getpid()])
    asyncio.run(serve(os.environ["OLLAMA_HOST"], os.environ.get("STANDIN", "")))


def tell(pids: list[int]) -> None:
    """Write into the file of the test what was started."""
    if "STANDIN_PIDS" in os.environ:
        about = {"pids": pids, "devices": os.environ.get("CUDA_VISIBLE_DEVICES"), "argv": sys.argv[1:]}
        with Path(os.environ["STANDIN_PIDS"]).open("a") as file:
            file.write(json.dumps(about) + "\n")


def main() -> None:
    parser = ArgumentParser(prog="vllm")
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--uds", required=True)
    parser.add_argument("--disable-uvicorn-access-log", action="store_true")
    for flag in ("--dtype", "--max-model-len", "--served-model-name", "--tensor-parallel-size"):
        parser.add_argument(flag)
    options = parser.parse_args()
    mood = os.environ.get("STANDIN", "")
    if mood == "cuda":
        sys.exit(f"INFO starting\n{CUDA}\nRuntimeError: Engine core initialization failed. See root cause above.")
    tell([os.getpid(), *([worker()] if mood == "stubborn" else [])])
    asyncio.run(serve(options.uds, mood))


if __name__ == "__main__":
    main()
