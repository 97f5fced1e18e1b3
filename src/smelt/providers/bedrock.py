"""The adapter for Amazon Bedrock's Converse API, over our own HTTP client: AWS's SDK is synchronous.

Converse has the same request for all models of Bedrock. A new schema is compiled for minutes before its first answer.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx2

from smelt.plan.dialect import Dialect
from smelt.plan.media import Media
from smelt.providers import params as parameters
from smelt.providers.adapter import Adapter, SDKConnection
from smelt.providers.base import Answer, Capabilities, Connection, Reply, Request, Wire
from smelt.providers.bodies import (
    body_of,
    finish_of,
    first_with_json,
    table,
    tables,
    useless,
    words,
    written,
)
from smelt.providers.boundary import answer_of
from smelt.providers.failures import limits_in, request_id
from smelt.providers.http import Client, client_for
from smelt.providers.medialimits import CONVERSE
from smelt.providers.secrets import Secret
from smelt.providers.shapes import STRICT, Manner, bears_schema, system_in
from smelt.providers.splicing import spliced
from smelt.providers.usage import usage_of_bedrock

# docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html: no bounds, lengths, multiples or recursion, and
# objects are closed. Read November 2026.
_DIALECT = Dialect(
    keywords=frozenset({"format"}),
    formats=frozenset(["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"]),
)
_TAKES = {
    "temperature": parameters.number(0, 1),
    "topP": parameters.number(0, 1),
    "stopSequences": parameters.TEXTS,
    "additionalModelRequestFields": parameters.TABLE,
    "guardrailConfig": parameters.TABLE,
    "performanceConfig": parameters.TABLE,
    "requestMetadata": parameters.TABLE,
    "serviceTier": parameters.TABLE,
}
_INFERENCE = ("temperature", "topP", "stopSequences")


def write(model: str, request: Request, params: Mapping[str, Any], manner: Manner = STRICT) -> dict[str, Any]:
    """The body of a request. The model is in its path. Models without structured outputs get the schema in words."""
    inference = {name: params[name] for name in _INFERENCE if name in params}
    body = {
        **{name: value for name, value in params.items() if name not in _INFERENCE},
        "system": [{"text": system_in(manner, request)}],
        "messages": [{"role": "user", "content": _content(request)}],
        "inferenceConfig": {**inference, "maxTokens": request.max_output_tokens},
    }
    if bears_schema(manner):
        structure = {"jsonSchema": {"name": "rows", "schema": json.dumps(request.schema, separators=(",", ":"))}}
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": structure}}
    return body


def _content(request: Request) -> list[dict[str, Any]]:
    parts = request.parts or (request.user,)
    return [_part(one, number) for number, one in enumerate(parts, start=1)]


def _part(part: str | Media, number: int) -> dict[str, Any]:
    if isinstance(part, str):
        return {"text": part}
    # The name is ours, because the user's may hold instructions; no two may be equal.
    named = {"name": f"document-{number}"} if part.kind == "document" else {}
    return {part.kind: {"format": part.format, **named, "source": {"bytes": part.base64}}}


def read(answer: Answer, secrets: Sequence[Secret] = ()) -> Reply:
    """Parse an answer into a reply.

    Raises:
        CallFailed: There is no reply in it.
    """
    body = body_of(answer, usage_of_bedrock, secrets)
    if "output" not in body:
        raise useless(answer, "the answer has no output", secrets, usage_of_bedrock(body))
    finish = finish_of(body.get("stopReason"))
    return Reply(
        text=first_with_json(_texts(table(table(body["output"]).get("message")).get("content"))),
        usage=usage_of_bedrock(body),
        finish=finish,
        model=words(table(table(body.get("trace")).get("promptRouter")).get("invokedModelId")),
        request_id=request_id(answer.headers),
        limits=limits_in(answer.headers),
        detail=words(body.get("stopReason")) if finish in ("filtered", "refused") else None,
        reasoning=_thoughts(table(table(body["output"]).get("message")).get("content")),
    )


def _thoughts(content: object) -> str:
    """What the model thought, if it is told."""
    parts = [table(table(part.get("reasoningContent")).get("reasoningText")) for part in tables(content)]
    return "\n".join(text for part in parts if (text := words(part.get("text"))))


def _texts(content: object) -> Iterator[str]:
    """Texts that may hold the answer: the text blocks, then the input of unrequested tool calls. Not the reasoning."""
    yield "".join(words(part.get("text")) or "" for part in tables(content))
    for part in tables(content):
        yield written(table(part.get("toolUse")).get("input"))


class Bedrock(Adapter):
    """A model of Bedrock."""

    takes = _TAKES
    usual = Capabilities(dialect=_DIALECT, first_seconds=300.0, **CONVERSE)
    wire = Wire(write=write, read=read)

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[Connection]:
        async with client_for(self.access, connections=connections) as http:
            yield _Connection(self, http)


class _Connection(SDKConnection):
    def __init__(self, provider: Bedrock, http: Client) -> None:
        super().__init__(provider, httpx2.HTTPError)
        self._http = http
        # An inference profile may be named by its ARN, which has colons and slashes.
        self._url = f"{provider.access.base_url}/model/{quote(provider.model, safe='')}/converse"

    async def ask(self, request: Request, manner: Manner) -> Answer:
        body, headers = self.provider.written(request, manner)
        content = spliced(body)
        asked = self._http.build_request(
            "POST",
            self._url,
            content=content,
            headers={"content-type": "application/json", "accept": "application/json", **headers},
            timeout=request.timeout,
        )
        return answer_of(await self._http.send(asked))
