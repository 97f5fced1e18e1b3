"""The process: routes of the protocols, the scenarios' own routes, and its life as long as stdin is open."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import sys
from typing import Any
from urllib.parse import unquote

from tests.fakeserver.config import Config
from tests.fakeserver.connection import Connection, Exchange, Request, Route
from tests.fakeserver.decisions import DECISIONS
from tests.fakeserver.faults import JSON, Fault, Response
from tests.fakeserver.messages import WireProtocol
from tests.fakeserver.protocols import PROTOCOLS
from tests.fakeserver.scenario import Outgoing, Scenario

PATHS = {"/v1/responses": "openai", "/v1/chat/completions": "compatible", "/v1/messages": "anthropic"}
DECIDING = {"/v1/decisions": "openai-decisions", "/v1beta/decisions": "google-decisions"}
GEMINI = re.compile(r"/v1(?:alpha|beta)?/models/([^:/]+):generateContent")
_GOOGLE = r"/projects/acme/locations/[\w-]+/publishers"
CLOUDS = {
    re.compile(r"/openai/v1/responses"): "azure",
    re.compile(r"/anthropic/v1/messages"): "foundry",
    re.compile(rf"/v1beta1{_GOOGLE}/google/models/([^:/]+):generateContent"): "vertex",
    re.compile(rf"/v1{_GOOGLE}/anthropic/models/([^:/]+):rawPredict"): "vertex-claude",
    re.compile(r"/model/([^/]+)/converse"): "bedrock",
    re.compile(r"/mantle/v1/chat/completions"): "mantle",
    re.compile(r"/mantle/openai/v1/responses"): "mantle-openai",
    re.compile(r"/mantle/anthropic/v1/messages"): "mantle-claude",
}
MODELS = {"object": "list", "data": [{"id": "fake-1", "object": "model", "created": 0, "owned_by": "smelt"}]}


class Call:
    """A request to one of the protocols, while it is in flight."""

    def __init__(self, scenario: Scenario, protocol: WireProtocol, model: str, request: Request) -> None:
        self._scenario = scenario
        self._protocol = protocol
        self._model = model
        self._request = request
        counters = scenario.counters
        counters.in_flight += 1
        counters.max_in_flight = max(counters.max_in_flight, counters.in_flight)
        self._counters = counters

    def answer(self) -> Outgoing:
        return self._scenario.respond(
            self._protocol, self._model, self._request.headers, self._request.body, path=self._request.path
        )

    def done(self, *, abandoned: bool) -> None:
        self._counters.in_flight -= 1
        self._counters.abandoned += abandoned


class JobCall:
    """A request about jobs or kept contents; its work was done when it came."""

    def __init__(self, response: Response, transport: Fault | None) -> None:
        self._outgoing = Outgoing(response, transport)

    def answer(self) -> Outgoing:
        return self._outgoing

    def done(self, *, abandoned: bool) -> None:
        pass


class Plain:
    """A reply that needs no scenario."""

    def __init__(self, status: int, body: Any, delay: float = 0.0) -> None:
        self._outgoing = Outgoing(Response(status, JSON, json.dumps(body).encode()), delay=delay)

    def answer(self) -> Outgoing:
        return self._outgoing

    def done(self, *, abandoned: bool) -> None:
        pass


class Server:
    """All scenarios of one process."""

    def __init__(self) -> None:
        self._scenarios: dict[str, Scenario] = {}
        self._made = 0

    def route(self, request: Request, connection: Connection) -> Exchange:
        """What answers *request*."""
        path, _, query = request.path.partition("?")
        _, name, rest = (path + "/").split("/", 2)
        rest = "/" + rest.removesuffix("/")
        if name == "_pause":  # For a test that waits for another process, which needs the core meanwhile.
            return Plain(200, {}, delay=0.02)
        if name == "_scenarios":
            return self._control(request, rest[1:])
        scenario = self._scenarios.get(name)
        if scenario is None:
            return Plain(404, {"error": {"message": f"There is no scenario {name}.", "code": 404}})
        if name not in connection.seen:
            connection.seen.add(name)
            scenario.counters.connections += 1
        base = f"http://{request.headers.get('host', '')}/{name}"
        if (found := scenario.jobs.answer(request, rest, query, base)) is not None:
            return JobCall(*found)
        if (found := scenario.contents.answer(request, rest, query)) is not None:
            return JobCall(*found)
        if rest in PATHS:
            return Call(scenario, PROTOCOLS[PATHS[rest]], "", request)
        if rest in DECIDING:
            return Call(scenario, DECISIONS[DECIDING[rest]], "", request)
        if match := GEMINI.fullmatch(rest):
            return Call(scenario, PROTOCOLS["google"], match[1], request)
        for pattern, cloud in CLOUDS.items():
            if match := pattern.fullmatch(rest):
                model = unquote(match[1]) if pattern.groups else ""
                return Call(scenario, PROTOCOLS[cloud], model, request)
        if rest in ("/token", "/credentials"):
            response = scenario.gate.token() if rest == "/token" else scenario.gate.credentials()
            scenario.counters.tokens_issued = scenario.gate.issued
            return Plain(response.status, json.loads(response.body))
        if rest == "/v1/models":
            return Plain(200, MODELS)
        return Plain(404, {"error": {"message": f"Invalid URL ({request.method} {rest})", "code": 404}})

    def _control(self, request: Request, name: str) -> Exchange:
        """`POST /_scenarios` makes one, `PUT /_scenarios/ID` starts it afresh, `GET` reads it, `DELETE` ends it.

        `GET /_scenarios/ID/jobs` has its jobs and their bill; `POST /_scenarios/ID/clock` moves the clock of the jobs.
        """
        name, _, what = name.partition("/")
        try:
            match request.method:
                case "GET" if what == "jobs":
                    return Plain(200, self._scenarios[name].jobs.told())
                case "POST" if what == "clock":
                    self._scenarios[name].jobs.depot.advance(json.loads(request.body))
                    return Plain(200, {})
                case "POST":
                    self._made += 1
                    name = f"s{self._made}"
                    self._scenarios[name] = self._scenario(json.loads(request.body))
                    return Plain(200, {"id": name})
                case "PUT":
                    config = json.loads(request.body)
                    fresh = self._scenarios[name].config if config is None else None
                    self._scenarios[name] = self._scenario(config) if fresh is None else Scenario(fresh, self._now)
                    return Plain(200, {})
                case "DELETE":
                    del self._scenarios[name]
                    return Plain(200, {})
                case _:
                    return Plain(200, self._scenarios[name].told())
        except (TypeError, ValueError, KeyError) as problem:
            return Plain(400, {"problem": f"{type(problem).__name__}: {problem}"})

    def _scenario(self, config: dict[str, Any]) -> Scenario:
        return Scenario(Config(**config), self._now)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def serve() -> None:
    """Serve scenarios until stdin is closed."""
    # A huge integer in a reply is a fault that we offer; CPython would refuse to write it.
    sys.set_int_max_str_digits(0)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    await listen(Server().route)


async def listen(route: Route) -> None:
    """Listen on a free port of loopback, or of FAKESERVER_HOST; print the port, and end when stdin is closed."""
    host = os.environ.get("FAKESERVER_HOST", "127.0.0.1")
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Connection(route), host, 0, backlog=4096)
    print(listener.sockets[0].getsockname()[1], flush=True)
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await stdin.read()
    listener.close()
