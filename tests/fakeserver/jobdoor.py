"""The door to the jobs of a scenario: which protocol is meant, who may enter, and what goes wrong on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.fakeserver.anthropic_jobs import AnthropicJobs
from tests.fakeserver.config import faults_in
from tests.fakeserver.doors import struck
from tests.fakeserver.faults import Fault, Response
from tests.fakeserver.google_jobs import GoogleJobs
from tests.fakeserver.jobs import Call, Depot, Done, Route
from tests.fakeserver.messages import Json, WireProtocol
from tests.fakeserver.openai_jobs import OpenAIJobs
from tests.fakeserver.protocols import PROTOCOLS

if TYPE_CHECKING:
    from tests.fakeserver.connection import Request
    from tests.fakeserver.scenario import Scenario

HIDDEN = ("authorization", "x-api-key", "x-goog-api-key")
OPERATIONS = ("upload", "piece", "create", "look", "list", "results", "cancel", "delete")


class JobDoor:
    """The routes of the Batch APIs of one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.depot = Depot(scenario.config.jobs, scenario.rng)
        self._http = {
            operation: {int(number): faults_in(value) for number, value in calls.items() if number != "always"}
            for operation, calls in self.depot.terms.http.items()
        }
        self._always = {
            operation: faults_in(calls["always"])
            for operation, calls in self.depot.terms.http.items()
            if "always" in calls
        }
        if unknown := self.depot.terms.http.keys() - set(OPERATIONS):
            raise ValueError(f"unknown operations {sorted(unknown)}; there are {OPERATIONS}")
        self._routes: dict[str, Any] = {
            "openai": OpenAIJobs(self.depot, partial(self._run, "openai")),
            "anthropic": AnthropicJobs(self.depot, partial(self._run, "anthropic")),
            "google": GoogleJobs(self.depot, partial(self._run, "google")),
        }

    def _run(self, name: str, body: Json, faults: Sequence[Fault]) -> Done:
        is_chat = name == "openai" and "messages" in body
        return self._scenario.run_line(PROTOCOLS["compatible" if is_chat else name], body, faults)

    def answer(self, request: Request, path: str, query: str, base: str) -> tuple[Response, Fault | None] | None:
        """What answers a request, and how it travels; None if it has nothing to do with jobs."""
        headers = request.headers
        is_google = "x-goog-api-key" in headers or path.startswith(("/upload/", "/pieces"))
        name = "google" if is_google else "anthropic" if path.startswith("/v1/messages/batches") else "openai"
        routes = self._routes.get(name)
        route = None if routes is None else routes.route(request.method, path)
        if route is None:
            return None
        number = self.depot.calls[route.operation]
        self.depot.calls[route.operation] += 1
        call = Call(query=query, headers=headers, body=request.body, base=base)
        self._log(route.operation, f"{request.method} {path}", call)
        return self._struck(PROTOCOLS[name], route, call, number)

    def _struck(
        self, protocol: WireProtocol, route: Route, call: Call, number: int
    ) -> tuple[Response, Fault | None] | None:
        faults = [*self._http.get(route.operation, {}).get(number, ()), *self._always.get(route.operation, ())]
        is_open = route.operation == "piece"
        return struck(protocol, call.headers, faults, lambda: route.answer(call), is_open=is_open)

    def _log(self, operation: str, line: str, call: Call) -> None:
        if not self._scenario.config.log:
            return
        shown = {name: value for name, value in call.headers.items() if name not in HIDDEN}
        entry = {"operation": operation, "line": line, "query": call.query, "headers": shown, "size": len(call.body)}
        secrets = sorted(call.headers.keys() & set(HIDDEN))
        self.depot.log.append(entry | {"secrets": secrets, "body": call.body[:2_000].decode("latin-1")})

    def told(self) -> Mapping[str, Any]:
        """What a test may ask."""
        depot = self.depot
        return {
            "now": depot.now,
            "jobs": depot.described(),
            "bill": [asdict(one) for one in depot.bill],
            "calls": dict(depot.calls),
            "files": {one.id: {"name": one.name, "bytes": len(one.content)} for one in depot.files.values()},
            "log": depot.log,
        }
