"""A fake OpenAI for other libraries: it finds the rows in each library's own prompt and answers in its shape.

    python -m tests.bench.contenders.server '{"latency": 0.5}'

The port is the first line printed; the server ends when stdin is closed, and prints what it has counted. Protocol,
limiter and bill (four bytes a token, of instructions, rows and answers) are those of `tests.fakeserver`.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.bench.contenders.questions import Fields, Write, asked, name_of
from tests.fakeserver.answers import Rule, expected
from tests.fakeserver.connection import Connection, Exchange, Request
from tests.fakeserver.faults import JSON, Response, status
from tests.fakeserver.limiter import Limit, Limiter
from tests.fakeserver.messages import Completion, WireProtocol
from tests.fakeserver.model import tokens_of
from tests.fakeserver.protocols import PROTOCOLS
from tests.fakeserver.scenario import AT_THE_GATE, Outgoing
from tests.fakeserver.server import PATHS, listen

RULES: dict[str, Rule] = {
    "echo": {"copy": "name"},
    "length": {"length": "name"},
    "sector": {"choice": ["tech", "finance", "health", "other"], "of": "name"},
    "is_odd": {"parity": "name"},
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a situation asks of the server.

    Attributes:
        latency: Seconds that every reply takes, whatever its size.
        limit: A rate limit, see `tests.fakeserver.limiter.Limit`.
        failing: The share of requests that are answered with 500 or 503.
        refused: The model refuses every request that has this row.
        invalid: The answer to this row is never valid.
        loud: If this is in a request, names are echoed in capitals.
    """

    latency: float = 0.0
    limit: Mapping[str, Any] | None = None
    failing: float = 0.0
    refused: str | None = None
    invalid: str | None = None
    loud: str | None = None


@dataclass
class Counters:
    """What has happened so far."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    tokens: int = 0
    paid: Counter[str] = field(default_factory=Counter)  # By the name of a row.
    delivered: Counter[str] = field(default_factory=Counter)  # Those of them whose reply has left.
    in_flight: int = 0
    max_in_flight: int = 0


class Call:
    """One request, while it is in flight."""

    def __init__(self, server: Server, protocol: WireProtocol, request: Request) -> None:
        self._server = server
        self._protocol = protocol
        self._body = json.loads(request.body)
        self._counters = server.counters
        self._rows: list[str] = []
        self._counters.in_flight += 1
        self._counters.max_in_flight = max(self._counters.max_in_flight, self._counters.in_flight)

    def answer(self) -> Outgoing:
        response = self._server.respond(self._protocol, self._body)
        self._rows = self._server.last_rows if response.status == 200 else []
        self._counters.requests += 1
        self._counters.statuses[response.status] += 1
        latency = self._server.config.latency
        return Outgoing(response, delay=min(latency, AT_THE_GATE) if response.status == 429 else latency)

    def done(self, *, abandoned: bool) -> None:
        self._counters.in_flight -= 1
        if not abandoned:
            self._counters.delivered.update(self._rows)


class Lost:
    """A path that the server does not have."""

    def answer(self) -> Outgoing:
        return Outgoing(Response(404, JSON, b'{"error": {"message": "Invalid URL"}}'))

    def done(self, *, abandoned: bool) -> None:
        pass


class Told(Lost):
    """What a benchmark asks while others run."""

    def __init__(self, told: Any) -> None:
        self._told = told

    def answer(self) -> Outgoing:
        return Outgoing(Response(200, JSON, json.dumps(self._told).encode()))


class Server:
    """Answers every library in its own shape, and counts."""

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        self.config = config
        self.counters = Counters()
        self.last_rows: list[str] = []  # Those of the request that was answered last.
        self._rng = random.Random(0)
        self._limiter = Limiter(Limit(**config.limit), clock) if config.limit is not None else None

    def route(self, request: Request, connection: Connection) -> Exchange:
        protocol = PATHS.get(request.path.partition("?")[0])
        if request.path == "/_paid":
            return Told([self.counters.paid, self.counters.delivered])
        if protocol is None or b'"messages": []' in request.body or b'"messages":[]' in request.body:
            return Lost()  # With no message, curator asks for its limits, which headers would tell.
        return Call(self, PROTOCOLS[protocol], request)

    def respond(self, protocol: WireProtocol, body: dict[str, Any]) -> Response:
        prompt = protocol.read(body, "")
        sent = tokens_of(prompt.system) + tokens_of(prompt.user)
        if self._limiter is not None:
            wait = self._limiter.refuse(sent + (prompt.max_tokens or 0), self.counters.in_flight)
            if wait is not None:
                return status({"kind": "rate_limit"} | protocol.waiting(wait), protocol)
        if self._rng.random() < self.config.failing:
            return status({"code": self._rng.choice((500, 503))}, protocol)
        return Response(200, JSON, json.dumps(protocol.write(self._completion(body, prompt.schema, sent))).encode())

    def _completion(self, body: dict[str, Any], schema: Mapping[str, Any] | None, sent: int) -> Completion:
        names, write = rows_and_shape(last_message(body), schema or {})
        refused = self.config.refused in names
        is_loud = self.config.loud is not None and self.config.loud in json.dumps(body)
        wanted = json.dumps(schema or body.get("text") or body.get("response_format"))
        found = [self.answered(name, is_loud=is_loud) for name in names]
        text = "" if refused else write([_only(one, wanted) for one in found])
        self.counters.paid.update(names)
        self.last_rows = names
        spent = {"input": sent, "output": tokens_of(text)}
        self.counters.tokens += sum(spent.values())
        finish: Any = "refused" if refused else "stop"
        number = f"{self.counters.requests:08x}"
        return Completion(text=text, finish=finish, model=body["model"], request_id=number, usage=spent)

    def answered(self, name: str, *, is_loud: bool = False) -> Fields:
        """The answer to one row."""
        answer = expected(RULES, {"name": name})
        answer["echo"] = name.upper() if is_loud else name
        return answer | {"length": -1} if name == self.config.invalid else answer


def _only(answer: Fields, wanted: str) -> Fields:
    """The fields of an *answer* that are in the schema *wanted*; all if it has none of them."""
    return {name: value for name, value in answer.items() if f'"{name}"' in wanted} or answer


def last_message(body: Mapping[str, Any]) -> str:
    """The text of the last message: what is asked about."""
    messages = body.get("messages") or body["input"]
    content = messages if isinstance(messages, str) else messages[-1]["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def rows_and_shape(text: str, schema: Mapping[str, Any]) -> tuple[list[str], Write]:
    """The names that a message asks about, and what writes their answers as the library wants to read them."""
    rows, write = asked(text, schema)
    return [name_of(row) for row in rows], write


async def serve(config: Config) -> None:
    """Serve until stdin is closed, then print the counters."""
    server = Server(config, asyncio.get_running_loop().time)
    await listen(server.route)
    print(json.dumps(vars(server.counters)))


if __name__ == "__main__":
    asyncio.run(serve(Config(**json.loads(sys.argv[1]))))
