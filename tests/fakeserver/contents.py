"""Gemini's kept contents (`cachedContents`, Developer API): made, renewed, named by requests, deleted, and billed.

Every content belongs to a key and a model. Google answers the same 403 for a content that is gone and for one that
belongs to another key, and a 400 with both counts for a content below the model's minimum (words as in reports of
2026). A list has all contents of the key, in pages, without a filter. `contents=` of a scenario (`Terms`) says what
it allows, and what goes wrong:

    fake.scenario(bills={}, contents={"http": {"create": {"0": {"fault": "status", "kind": "server"}}}})
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from tests.fakeserver.config import faults_in
from tests.fakeserver.doors import struck
from tests.fakeserver.faults import JSON, Fault, Response, refused
from tests.fakeserver.messages import BadRequest, Headers, Json
from tests.fakeserver.protocols import PROTOCOLS
from tests.fakeserver.till import RATES, Till

_PATHS = tuple(f"/{version}/cachedContents" for version in ("v1", "v1beta"))
_OPERATIONS = {"POST": "create", "GET": "look", "PATCH": "renew", "DELETE": "delete"}
GONE = (403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a scenario allows of kept contents.

    Attributes:
        least: Tokens of the smallest content, if the model's own minimum is not meant.
        most: The most tokens that a project may keep; 0 is the free tier.
        gone_after: Requests that name a content, after which all contents are gone.
        gone: What answers a request about a content that is gone: status, its name, and words.
        lists_late: Lists that do not show the contents yet.
        page: The most contents in an answer.
        http: Faults of calls by operation (create, list, look, renew, delete) and the number of the call.
    """

    least: int | None = None
    most: int | None = None
    gone_after: int | None = None
    gone: tuple[int, str, str] = GONE
    lists_late: int = 0
    page: int = 2
    http: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(kw_only=True)
class Content:
    """A kept content. Times are those of the scenario."""

    name: str
    owner: str
    model: str
    system: str
    tokens: int
    made: float
    until: float
    label: str = ""


class Refused(Exception):
    """A refusal: status, its name, and words."""


class Contents:
    """The kept contents of one scenario."""

    def __init__(self, terms: Mapping[str, Any], till: Till | None, clock: Callable[[], float]) -> None:
        self.terms = Terms(**terms)
        self.calls: Counter[str] = Counter()
        self.live: dict[str, Content] = {}
        self.dollars = self.stored_dollars = 0.0
        self.written_tokens = 0
        self._till = till or Till()
        self._clock = clock
        self._named = 0

    def answer(self, request: Any, path: str, query: str = "") -> tuple[Response, Fault | None] | None:
        """What answers a request, and how it travels; None if it is about something else."""
        start = next((one for one in _PATHS if path == one or path.startswith(f"{one}/")), None)
        if start is None or (operation := _OPERATIONS.get(request.method)) is None:
            return None
        name = path.removeprefix(start).removeprefix("/")
        if operation == "look" and not name:
            operation = "list"
        number = self.calls[operation]
        self.calls[operation] += 1
        faults = faults_in(self.terms.http.get(operation, {}).get(str(number), ()))
        return struck(
            PROTOCOLS["google"], request.headers, faults, lambda: self._answer(operation, name, request, query)
        )

    def _answer(self, operation: str, name: str, request: Any, query: str) -> Response:
        self.settle()
        body = json.loads(request.body or b"{}")
        try:
            match operation:
                case "create":
                    return _said(self._made(body, request.headers))
                case "renew":
                    found = self._found(f"cachedContents/{name}", request.headers)
                    found.until = self._clock() + _seconds(body["ttl"])
                    return _said(self._told(found))
                case "list":
                    return _said(self._listed(query, request.headers))
                case "look":
                    return _said(self._told(self._found(f"cachedContents/{name}", request.headers)))
                case _:
                    self._end(self._found(f"cachedContents/{name}", request.headers))
                    return _said({})
        except Refused as problem:
            return _refusal(*problem.args)

    def _made(self, body: Json, headers: Headers) -> Json:
        model = body["model"].removeprefix("models/")
        parts = (body.get("systemInstruction") or {}).get("parts", [])
        system = "".join(part["text"] for part in parts)
        tokens = self._till.tokens(system)
        rate = RATES.get(model)
        least = self.terms.least or (rate.least if rate else 1_024)
        if tokens < least:
            words = f"Cached content is too small. total_token_count={tokens}, min_total_token_count={least}"
            raise Refused(400, "INVALID_ARGUMENT", words)
        if self.terms.most is not None and tokens > self.terms.most:
            words = f"TotalCachedContentStorageTokensPerModelFreeTier limit exceeded for model {model}: "
            raise Refused(429, "RESOURCE_EXHAUSTED", f"{words}limit={self.terms.most}, requested={tokens}")
        now, number = self._clock(), self.calls["create"]
        content = Content(
            name=f"cachedContents/c{number:x}",
            owner=headers.get("x-goog-api-key", ""),
            model=model,
            system=system,
            tokens=tokens,
            made=now,
            until=now + _seconds(body.get("ttl", "3600s")),
            label=body.get("displayName", ""),
        )
        self.live[content.name] = content
        self.written_tokens += tokens
        self.dollars += tokens * (rate.given if rate else 0.0) / 1_000_000
        return self._told(content)

    def named_by(self, body: Json, model: str, headers: Headers) -> Content | None:
        """The content that a request names, if it names one.

        Raises:
            Refused: It is gone.
            BadRequest: The request says what only the content may say.
        """
        name = body.get("cachedContent")
        if name is None:
            return None
        if {"systemInstruction", "tools", "toolConfig"} & body.keys():
            raise BadRequest(
                "CachedContent can not be used with GenerateContent request setting system_instruction, tools or "
                "tool_config. Proposed fix: move those values to CachedContent from GenerateContent request."
            )
        self._named += 1
        if self._named == self.terms.gone_after:
            for one in list(self.live.values()):
                self._end(one)
        self.settle()
        content = self._found(name, headers)
        if content.model != model:
            raise BadRequest(
                f"Model used by GenerateContent request (models/{model}) and CachedContent has to be the same."
            )
        return content

    def settle(self) -> None:
        """End the contents whose time is over."""
        for one in list(self.live.values()):
            if one.until <= self._clock():
                self._end(one)

    def _end(self, content: Content) -> None:
        del self.live[content.name]
        hours = (min(self._clock(), content.until) - content.made) / 3_600
        rate = RATES.get(content.model)
        spent = content.tokens * hours * (rate.stored if rate else 0.0) / 1_000_000
        self.stored_dollars += spent
        self.dollars += spent

    def _found(self, name: str, headers: Headers) -> Content:
        found = self.live.get(name)
        if found is None or found.owner != headers.get("x-goog-api-key", ""):
            raise Refused(*self.terms.gone)
        return found

    def _listed(self, query: str, headers: Headers) -> Json:
        asked = parse_qs(query)
        first, most = int(asked.get("pageToken", ["0"])[0]), int(asked.get("pageSize", ["50"])[0])
        owner, last = headers.get("x-goog-api-key", ""), first + min(most, self.terms.page)
        found = [one for one in self.live.values() if one.owner == owner]
        if not found or self.calls["list"] <= self.terms.lists_late:
            return {}
        more = {"nextPageToken": str(last)} if last < len(found) else {}
        return {"cachedContents": [self._told(one) for one in found[first:last]], **more}

    def _told(self, content: Content) -> Json:
        return {
            "name": content.name,
            **({"displayName": content.label} if content.label else {}),
            "model": f"models/{content.model}",
            "createTime": _moment(content.made),
            "updateTime": _moment(self._clock()),
            "expireTime": _moment(content.until),
            "usageMetadata": {"totalTokenCount": content.tokens},
        }


def _seconds(ttl: str) -> float:
    return float(ttl.removesuffix("s"))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _said(body: Json) -> Response:
    return Response(200, JSON, json.dumps(body).encode())


def _refusal(code: int, status: str, message: str) -> Response:
    return refused(code, {"error": {"code": code, "message": message, "status": status}})
