"""The adapter for OpenAI's Responses API."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any

import openai

from smelt.plan.dialect import Dialect
from smelt.plan.media import Media
from smelt.providers import params as parameters
from smelt.providers.adapter import JOB_CONNECTIONS, Adapter, header_names, opened, posting
from smelt.providers.base import Answer, Capabilities, Connection, Finish, PrefixTerms, Reply, Request, Wire
from smelt.providers.batching import BatchConnection
from smelt.providers.bodies import (
    body_of,
    failed_generation,
    finish_of,
    first_with_json,
    table,
    tables,
    text_of,
    thoughts_of,
    useless,
    word_in,
    words,
    written,
)
from smelt.providers.failures import limits_in, request_id
from smelt.providers.logprobs import tokens_of
from smelt.providers.medialimits import RESPONSES
from smelt.providers.openai_decisions import DECIDER
from smelt.providers.secrets import Secret
from smelt.providers.shapes import STRICT, Manner, schema_in, scores_in, system_in, type_in
from smelt.providers.usage import usage_of_openai

# platform.openai.com/docs/guides/structured-outputs, "Supported schemas"; as of February 2026 also at
# jsonschemaprofiles.unitvectorylabs.com/schemas/openai. Read November 2026.
_DIALECT = Dialect(
    keywords=frozenset(
        [
            "pattern",
            "format",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
            "minItems",
            "maxItems",
        ]
    ),
    formats=frozenset(["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]),
    max_properties=5_000,
    max_depth=10,
    max_enum_values=1_000,
)
_TAKES = {
    "temperature": parameters.number(0, 2),
    "top_p": parameters.number(0, 1),
    "reasoning": parameters.TABLE,
    "service_tier": parameters.TEXT,
    "metadata": parameters.TABLE,
    "user": parameters.TEXT,
    "safety_identifier": parameters.TEXT,
    "prompt_cache_key": parameters.TEXT,
    "prompt_cache_retention": parameters.TEXT,
    "prompt_cache_options": parameters.TABLE,
}

# developers.openai.com/api/docs/guides/prompt-caching, November 2026: from gpt-5.6 on.
_WRITING = (5, 6)
_VERSION = re.compile(r"(?:ft:)?gpt-(\d{1,3})(?:\.(\d{1,3}))?(?![\w.])")
_PREFIX = PrefixTerms(least=1_024, seconds=1_800.0)
_EXPLICIT = {"mode": "explicit"}

_usage = partial(usage_of_openai, given="input", made="output")


def write(model: str, request: Request, params: Mapping[str, Any], manner: Manner = STRICT) -> dict[str, Any]:
    """The body of a request."""
    likeliest = scores_in(manner, request)
    return {
        **params,
        **({"include": ["message.output_text.logprobs"], "top_logprobs": likeliest} if likeliest else {}),
        "model": model,
        "instructions": system_in(manner, request),
        "input": _input(request),
        "text": {"format": {"type": type_in(manner), **schema_in(manner, request)}},
        "max_output_tokens": request.max_output_tokens,
        "store": False,
        "stream": False,
    }


def _input(request: Request) -> Any:
    """The rows: text, or a message of parts if they have media."""
    if not request.parts:
        return request.user
    return [{"role": "user", "content": [_part(one) for one in request.parts]}]


def _marked(body: dict[str, Any]) -> dict[str, Any]:
    """*body* with a breakpoint behind the instructions: a message can carry one, the field `instructions` cannot.

    The key sends requests with the same prefix to the same machine.
    """
    told, rows = body.pop("instructions"), body["input"]
    first = {"type": "input_text", "text": told, "prompt_cache_breakpoint": _EXPLICIT}
    messages = [{"role": "user", "content": rows}] if isinstance(rows, str) else rows
    body["input"] = [{"role": "developer", "content": [first]}, *messages]
    body.setdefault("prompt_cache_key", _key_of(told))
    return body


@lru_cache(maxsize=16)
def _key_of(text: str) -> str:
    return f"smelt-{blake2b(text.encode(errors='surrogatepass'), digest_size=12).hexdigest()}"


def _part(part: str | Media) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "input_text", "text": part}
    if part.kind == "document":
        # The name is ours: the user's may hold instructions.
        source = {"file_url": part.url} if part.url else {"filename": "document.pdf", "file_data": part.data_url}
        return {"type": "input_file", **source}
    return {"type": "input_image", "image_url": part.data_url, **({"detail": part.detail} if part.detail else {})}


def read(answer: Answer, secrets: Sequence[Secret] = ()) -> Reply:
    """Parse an answer into a reply.

    Raises:
        CallFailed: There is no reply in it.
    """
    if salvaged := failed_generation(answer):
        text, finish = salvaged
        limits = limits_in(answer.headers)
        return Reply(text=text, finish=finish, request_id=request_id(answer.headers), limits=limits)
    body = body_of(answer, _usage, secrets)
    if "output" not in body:
        raise useless(answer, "the answer has no output", secrets, _usage(body))
    items = tables(body["output"])
    parts = [part for item in items if _is_final(item) for part in tables(item.get("content"))]
    refusal = "".join(words(part.get("refusal")) or "" for part in parts)
    return Reply(
        text=first_with_json(_texts(parts, items)),
        usage=_usage(body),
        finish="refused" if refusal else _finish(body),
        model=words(body.get("model")),
        request_id=request_id(answer.headers),
        limits=limits_in(answer.headers),
        detail=refusal or None,
        reasoning=thoughts_of(items),
        tokens=tokens_of([one for part in parts for one in tables(part.get("logprobs"))]),
    )


def _is_final(item: Mapping[str, Any]) -> bool:
    """Whether *item* is a message of the final answer; messages before it have the phase `commentary`."""
    if word_in(item.get("type")) not in ("message", None) or word_in(item.get("role")) not in ("assistant", None):
        return False
    phase = word_in(item.get("phase"))
    return phase is None or phase.startswith("final")


def _texts(parts: Sequence[Mapping[str, Any]], items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Texts that may hold the answer: the text parts, then the arguments of unrequested tool calls."""
    yield "".join(text_of(part) for part in parts if word_in(part.get("type")) in ("output_text", "text", None))
    for item in items:
        if word_in(item.get("type")) == "function_call":
            yield written(item.get("arguments"))


def _finish(body: Mapping[str, Any]) -> Finish:
    """Why the model stopped. `incomplete_details` counts whatever the status is, because gateways change the status."""
    reason = finish_of(table(body.get("incomplete_details")).get("reason"))
    is_unfinished = word_in(body.get("status")) == "incomplete"
    if reason == "unknown":
        return "length" if is_unfinished else finish_of(body.get("status"))
    return "length" if reason == "stop" else reason


class OpenAI(Adapter):
    """A model of OpenAI."""

    takes = _TAKES
    usual = Capabilities(dialect=_DIALECT, scores="tokens", **RESPONSES)
    wire = Wire(write=write, read=read)
    decider = DECIDER

    @property
    def capabilities(self) -> Capabilities:
        found = super().capabilities
        return replace(found, prefix=_PREFIX) if self._writes_prompts else found

    def written(self, request: Request, manner: Manner | None = None) -> tuple[dict[str, Any], Mapping[str, str]]:
        """The body of *request*, and the headers that the caller adds.

        Newer models of OpenAI write every prompt to the cache, for a quarter more than its price, and no other request
        has the same rows. So they are told to write the instructions only, if those are to be kept, or else nothing.
        """
        body, headers = super().written(request, manner)
        is_silent = not (manner or self.manner).names_cache or "prompt_cache_retention" in body
        if is_silent or not self._writes_prompts:
            return body, headers
        options = body.setdefault("prompt_cache_options", _EXPLICIT)
        return (_marked(body) if request.keeps != "no" and options.get("mode") == "explicit" else body), headers

    @property
    def _writes_prompts(self) -> bool:
        """Whether the server is the vendor's own, and the model is of those that write prompts by themselves."""
        version = _VERSION.match(self.model)
        is_newer = version is not None and (int(version[1]), int(version[2] or 0)) >= _WRITING
        return is_newer and self._is_own and self.is_at_home

    @property
    def _is_own(self) -> bool:
        """Whether the vendor is the company of the SDK; then the SDK's other variables are meant for it, too."""
        return "OPENAI_API_KEY" in self.vendor.key_variables

    def connect(self, *, connections: int) -> AbstractAsyncContextManager[Connection]:
        return posting(
            self,
            openai.AsyncOpenAI,
            openai.OpenAIError,
            "/responses",
            connections=connections,
            headers=self._headers(),
            security={"bearer_auth": True},
        )

    def job_client(self) -> type[Any]:
        from smelt.providers.openai_jobs import OpenAIJobs

        return OpenAIJobs

    @asynccontextmanager
    async def connect_batches(self) -> AsyncIterator[BatchConnection]:
        async with opened(self, openai.AsyncOpenAI, connections=JOB_CONNECTIONS, headers=self._headers()) as sdk:
            yield self.job_client()(self, sdk)

    def _headers(self) -> dict[str, Any] | None:
        return None if self._is_own else headers_for_others(self, os.environ)


def headers_for_others(provider: Adapter, environ: Mapping[str, str]) -> dict[str, Any]:
    """The key of *provider*, and no header that the SDK reads from OpenAI's own variables.

    Servers of other companies must not get them.
    """
    named = header_names(environ.get("OPENAI_CUSTOM_HEADERS", ""))
    taken = ["OpenAI-Organization", "OpenAI-Project", *(name for name in named if name.lower() != "authorization")]
    return {"Authorization": f"Bearer {provider.reveal_key()}", **dict.fromkeys(taken, openai.Omit())}
