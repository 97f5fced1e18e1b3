"""The handle that tests hold: it starts the server, makes scenarios, reads their counters. Starts no thread."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tests.patience import HANGING

ProtocolName = Literal[
    "openai",
    "compatible",
    "anthropic",
    "google",
    "azure",
    "foundry",
    "vertex",
    "vertex-claude",
    "bedrock",
    "mantle",
    "mantle-openai",
    "mantle-claude",
]
PATHS = {
    "openai": "/v1",
    "compatible": "/v1",
    "azure": "/openai/v1",
    "foundry": "/anthropic",
    "vertex": "/v1/projects/acme/locations/global",
    "vertex-claude": "/v1/projects/acme/locations/europe-west1",
    "mantle": "/mantle/v1",
    "mantle-openai": "/mantle/openai/v1",
    "mantle-claude": "/mantle/anthropic",
}
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Stats:
    """What a scenario has seen so far.

    Attributes:
        requests: Requests received, whatever became of them.
        rows_sent: Rows in all of these requests.
        rows_answered: Rows in the requests that a model answered.
        statuses: How often each HTTP status was given.
        faults: How often each fault struck.
        max_in_flight: The most requests at a time.
        in_flight: Requests at this moment.
        abandoned: Requests whose client hung up before the reply was out.
        input_tokens: Tokens billed, at four bytes each.
        output_tokens: The same for replies.
        dollars: With `bills`, what all requests cost.
        written_tokens: With `bills`, tokens written to a cache, or kept as contents.
        read_tokens: With `bills`, tokens read from a cache.
        stored_dollars: With `bills`, what contents that are gone cost while they were kept; part of `dollars`.
        contents: Contents that are kept now.
        content_calls: How often each operation on kept contents was asked for.
        useful_thoughts: Tokens of thought before replies that were not cut off.
        connections: Connections that carried requests of this scenario.
        tokens_issued: Tokens and keys that its endpoints for them handed out.
        paths: How often each path was asked, as it arrived.
        rows_sent_by: How often each value of the column `count_by` was sent, by its text.
        timeline: With a `limit`, for every second since the first request: requests admitted, requests refused, tokens
            admitted.
        log: With `log=True`, per request: `headers`, names of the `secrets` among them, parsed `body`.
    """

    requests: int
    rows_sent: int
    rows_answered: int
    statuses: Mapping[int, int]
    faults: Mapping[str, int]
    max_in_flight: int
    in_flight: int
    abandoned: int
    input_tokens: int
    output_tokens: int
    dollars: float
    written_tokens: int
    read_tokens: int
    stored_dollars: float
    contents: int
    content_calls: Mapping[str, int]
    useful_thoughts: int
    connections: int
    tokens_issued: int
    paths: Mapping[str, int]
    rows_sent_by: Mapping[str, int]
    timeline: list[list[int]]
    log: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """The Batch API of a scenario so far.

    Attributes:
        now: Its clock, in seconds since 1970.
        jobs: Its jobs, the oldest first: `id`, `tag`, `model`, `lines`, how many were `run`, how they `end` (None while
            they run), when `made`, name of the `upload`.
        bill: The lines that were run: `job`, `id`, `status`, whether they are `charged` (None: nobody knows), their
            `input_tokens` and `output_tokens`, their `dollars` with `bills`, and the `rows` in them, by the column
            `count_by`.
        calls: How often each operation was asked for.
        files: Name and size of each file that is there, by its id.
        log: With `log=True`, every call.
    """

    now: float
    jobs: list[dict[str, Any]]
    bill: list[dict[str, Any]]
    calls: Mapping[str, int]
    files: Mapping[str, Any]
    log: list[dict[str, Any]]


class Scenario:
    """One test's private provider."""

    def __init__(self, server: FakeServer, name: str) -> None:
        self._server = server
        self.name = name

    def base_url(self, protocol: ProtocolName) -> str:
        """The address to hand to the SDK of *protocol*."""
        return self.url(PATHS.get(protocol, ""))

    def url(self, path: str) -> str:
        """An address of this scenario."""
        return f"{self._server.origin}/{self.name}{path}"

    def stats(self) -> Stats:
        """The counters at this moment."""
        counters = self._server.ask("GET", f"/_scenarios/{self.name}")
        counters["statuses"] = {int(status): count for status, count in counters["statuses"].items()}
        return Stats(**{one.name: counters[one.name] for one in fields(Stats)})

    def jobs(self) -> Jobs:
        """Its jobs at this moment, and the bill."""
        return Jobs(**self._server.ask("GET", f"/_scenarios/{self.name}/jobs"))

    def advance(self, seconds: float) -> None:
        """Move the clock of its jobs and caches."""
        self._server.ask("POST", f"/_scenarios/{self.name}/clock", seconds)

    def wait_until(self, reached: Callable[[Stats], bool]) -> Stats:
        """The counters as soon as they are as wanted.

        Raises:
            TimeoutError: They never are; the process that was to ask may have died.
        """
        until = time.monotonic() + HANGING
        while not reached(stats := self.stats()):
            if time.monotonic() > until:
                raise TimeoutError(f"The server waits for requests in vain: {stats}")
            self._server.ask("GET", "/_pause")
        return stats

    def reset(self, **config: Any) -> None:
        """Start afresh under the same address: counters, seed and script; with *config* as another scenario."""
        self._server.ask("PUT", f"/_scenarios/{self.name}", config or None)

    def close(self) -> None:
        """Forget the scenario; later requests get a 404."""
        self._server.ask("DELETE", f"/_scenarios/{self.name}")


class FakeServer:
    """The server's process. Use as a context manager; the process ends with it, and with ours."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.fakeserver"]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the tests; the closing of stdin ends the server.
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port)
        self._lock = threading.Lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.communicate()

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process, for benchmarks that measure its CPU."""
        return self._process.pid

    def scenario(self, **config: Any) -> Scenario:
        """Make a scenario; the options are those of `config.Config`.

        Raises:
            ValueError: The server does not know an option, a rule or a fault.
        """
        return Scenario(self, self.ask("POST", "/_scenarios", config)["id"])

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the server's own routes. Several threads of a test may call at a time."""
        with self._lock:
            try:
                self._connection.request(method, path, json.dumps(body))
                response = self._connection.getresponse()
                reply = json.loads(response.read())
            except BaseException:  # Ctrl-C of a test, for one: half a call is left, and the next one begins anew.
                self._connection.close()
                raise
        if response.status != 200:
            raise ValueError(reply.get("problem", reply))
        return reply
