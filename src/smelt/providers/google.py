"""The adapter for Google's Gemini Developer API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import google.genai as genai  # So that a missing SDK is a ModuleNotFoundError that names it.
import httpx2
from google.genai import errors, types
from pydantic import ValidationError

from smelt.errors import SmeltConfigError
from smelt.plan.dialect import Dialect
from smelt.plan.media import Media
from smelt.providers import params as parameters
from smelt.providers.adapter import JOB_CONNECTIONS, Adapter, SDKConnection
from smelt.providers.base import ENDED, Answer, Capabilities, Connection, Finish, PrefixTerms, Reply, Request, Wire
from smelt.providers.batching import BatchConnection
from smelt.providers.bodies import (
    body_of,
    finish_of,
    first_with_json,
    noted,
    table,
    tables,
    thoughts_of,
    useless,
    word_in,
    words,
    written,
)
from smelt.providers.boundary import answer_of, refused, try_anew
from smelt.providers.failures import limits_in, request_id
from smelt.providers.google_decisions import DECIDER, PATH
from smelt.providers.google_prefixes import Contents, is_gone, least_prefix, storage_usd
from smelt.providers.http import Client, client_for
from smelt.providers.logprobs import tokens_of_gemini
from smelt.providers.medialimits import GEMINI, type_of_url
from smelt.providers.prefixes import Prefixes
from smelt.providers.redact import redact
from smelt.providers.secrets import Secret
from smelt.providers.shapes import STRICT, Manner, bears_schema, scores_in, system_in
from smelt.providers.splicing import spliced
from smelt.providers.usage import usage_of_google
from smelt.providers.ways import bare

# ai.google.dev/gemini-api/docs/structured-output, "JSON schema support". Read November 2026.
_DIALECT = Dialect(
    keywords=frozenset(["format", "minimum", "maximum", "minItems", "maxItems"]),
    formats=frozenset(["date-time", "date", "time"]),
)
_TAKES = {
    "temperature": parameters.number(0, 2),
    "top_p": parameters.number(0, 1),
    "top_k": parameters.whole(1, 10**6),
    "seed": parameters.whole(-(2**31), 2**31 - 1),
    "presence_penalty": parameters.number(-2, 2),
    "frequency_penalty": parameters.number(-2, 2),
    "thinking_config": parameters.TABLE,
    "media_resolution": parameters.TEXT,
    "safety_settings": parameters.TABLES,
    "service_tier": parameters.TEXT,
    # Shorter than a minute it would be made anew, and paid, again and again; each hour of it is paid.
    "cache_ttl": parameters.life(60, 168 * 3_600),
}
_LIFE = 3_600.0  # Seconds; that of the SDK, too.
# Keys of the API's answers; a blocked or an empty reply may have only some of them.
_MEMBERS = ("candidates", "promptFeedback", "usageMetadata", "modelVersion", "responseId")
# A gateway that uses protobuf may send an enum's number instead of its name (`FinishReason` of the v1beta API).
_NUMBERS: dict[object, Finish] = {2: "length", 3: "filtered", 4: "filtered", 6: "filtered", 7: "filtered"}
_NUMBERS |= {8: "filtered", 9: "filtered", 11: "filtered"}


def write(model: str, request: Request, params: Mapping[str, Any], manner: Manner = STRICT) -> dict[str, Any]:
    """The body of a request, as the arguments of the SDK's `generate_content`."""
    config = {
        **{name: value for name, value in params.items() if name != "cache_ttl"},
        "system_instruction": system_in(manner, request),
        "max_output_tokens": request.max_output_tokens,
    }
    if likeliest := scores_in(manner, request):
        config |= {"response_logprobs": True, "logprobs": likeliest}
    if manner.shape != "words":
        config["response_mime_type"] = "application/json"
    if bears_schema(manner):
        config["response_json_schema"] = request.schema
    if "media_resolution" not in config and (resolution := _resolution(request)):
        config["media_resolution"] = resolution
    parts = [_part(one) for one in request.parts]
    return {"model": model, "contents": [{"role": "user", "parts": parts}] if parts else request.user, "config": config}


def _part(part: str | Media) -> dict[str, Any]:
    if isinstance(part, str):
        return {"text": part}
    if part.url:
        return {"fileData": {"mimeType": type_of_url(part), "fileUri": part.url}}
    return {"inlineData": {"mimeType": part.type, "data": part.base64}}


def _sdk_part(part: str | Media) -> types.Part:
    """The same for the SDK, which encodes the bytes itself."""
    if isinstance(part, str):
        return types.Part(text=part)
    if part.url:
        return types.Part(file_data=types.FileData(mime_type=type_of_url(part), file_uri=part.url))
    return types.Part(inline_data=types.Blob(mime_type=part.type, data=part.data))


def _resolution(request: Request) -> str | None:
    """How closely to look at the media: one setting for a request."""
    details = {one.detail for one in request.parts if isinstance(one, Media)}
    return next((f"MEDIA_RESOLUTION_{detail.upper()}" for detail in ("high", "low") if detail in details), None)


def read(answer: Answer, secrets: Sequence[Secret] = ()) -> Reply:
    """Parse an answer into a reply.

    Raises:
        CallFailed: There is no reply in it.
    """
    usage_of = partial(usage_of_google, headers=answer.headers)
    body = body_of(answer, usage_of, secrets)
    if not any(name in body for name in _MEMBERS):
        raise useless(answer, "the answer has no candidates", secrets, usage_of(body))
    candidate = _first_whole(tables(body.get("candidates")))
    finish = _finish(body, candidate)
    return Reply(
        text=first_with_json(_texts(candidate)),
        usage=usage_of(body),
        finish=finish,
        model=words(body.get("modelVersion")),
        request_id=request_id(answer.headers) or words(body.get("responseId")),
        limits=limits_in(answer.headers),
        detail=_reason(body, candidate) if finish == "filtered" else None,
        notes=_ratings(body, candidate),
        reasoning=thoughts_of(table(candidate.get("content")).get("parts")),
        tokens=tokens_of_gemini(candidate.get("logprobsResult")),
    )


def _ratings(body: Mapping[str, Any], candidate: Mapping[str, Any]) -> str:
    """The ratings of the prompt's and the answer's safety, such as `HATE_SPEECH: NEGLIGIBLE`."""
    rated = [*tables(table(body.get("promptFeedback")).get("safetyRatings")), *tables(candidate.get("safetyRatings"))]
    return noted((str(one.get("category")).removeprefix("HARM_CATEGORY_"), one.get("probability")) for one in rated)


def _first_whole(candidates: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first candidate that has content and was not cut off; else the first."""
    whole = (one for one in candidates if _end(one) in ENDED and one.get("content"))
    return next(whole, candidates[0] if candidates else {})


def _texts(candidate: Mapping[str, Any]) -> Iterator[str]:
    """Texts that may hold the answer: the text parts, then the arguments of unrequested tool calls. Not thoughts."""
    parts = [part for part in tables(table(candidate.get("content")).get("parts")) if not part.get("thought")]
    yield "".join(words(part.get("text")) or "" for part in parts)
    for part in parts:
        yield written(table(part.get("functionCall")).get("args"))


def _finish(body: Mapping[str, Any], candidate: Mapping[str, Any]) -> Finish:
    """Why the model stopped. Without a candidate it is filtered only if the body says so: some replies are empty."""
    if candidate:
        return _end(candidate)
    return "filtered" if word_in(table(body.get("promptFeedback")).get("blockReason")) else "stop"


def _end(candidate: Mapping[str, Any]) -> Finish:
    reason = candidate.get("finishReason")
    return _NUMBERS.get(reason, "stop") if isinstance(reason, int) else finish_of(reason)


def _reason(body: Mapping[str, Any], candidate: Mapping[str, Any]) -> str:
    feedback = table(body.get("promptFeedback"))
    said = [feedback.get("blockReason"), feedback.get("blockReasonMessage")]
    said += [candidate.get("finishReason"), candidate.get("finishMessage")]
    return ": ".join(word for one in said if (word := word_in(one))) or "no candidates"


class Google(Adapter):
    """A Gemini model."""

    takes = _TAKES
    usual = Capabilities(dialect=_DIALECT, scores="tokens", **GEMINI)
    wire = Wire(write=write, read=read)
    decider = DECIDER

    @property
    def capabilities(self) -> Capabilities:
        found, seconds = super().capabilities, self.seconds_kept
        if not seconds:
            return found
        # Below four requests an hour, the storage costs more than is saved.
        terms = PrefixTerms(least=least_prefix(self.model), requests=4, seconds=seconds, outlasts_run=False)
        return replace(found, prefix=terms)

    @property
    def seconds_kept(self) -> float:
        """For how long contents are kept; 0 if none are: the caller says so, or the server is not the vendor's own."""
        asked = self.params.get("cache_ttl")
        return parameters.seconds_of(asked, _LIFE) if self.is_at_home else 0.0

    def check_params(self, params: Mapping[str, Any]) -> None:
        super().check_params(params)
        plain = {name: value for name, value in params.items() if name not in ("extra_headers", "cache_ttl")}
        try:
            types.GenerateContentConfig(**plain)
        except ValidationError as problem:
            first = problem.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
        else:
            return
        raise SmeltConfigError(f"{self.name} does not take params at {where!r}: {redact(first['msg'])}.")

    def job_client(self) -> type[Any]:
        from smelt.providers.google_jobs import GoogleJobs

        return GoogleJobs

    @asynccontextmanager
    async def connect_batches(self) -> AsyncIterator[BatchConnection]:
        async with client_for(self.access, connections=JOB_CONNECTIONS) as http:
            options = options_for(self.access.base_url, http)
            sdk = genai.Client(api_key=self.reveal_key(), vertexai=False, http_options=options)
            yield self.job_client()(self, sdk, http)

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[Connection]:
        async with client_for(self.access, connections=connections) as http:
            options = options_for(self.access.base_url, http)
            sdk = genai.Client(api_key=self.reveal_key(), vertexai=False, http_options=options)
            prefixes = None
            if seconds := self.seconds_kept:
                whose = "\0".join([self.name, self.deployment, self.model, self.reveal_key()])
                prefixes = Prefixes(Contents(sdk, self.model), whose, seconds=seconds)
            try:
                yield GoogleConnection(self, sdk, http, prefixes)
                if (
                    prefixes is not None
                ):  # After an interrupt the same call may follow soon: then it is left to its life.
                    await prefixes.close()
            finally:
                if prefixes is not None:
                    prefixes.stop()


def options_for(base_url: str, http: httpx2.AsyncClient) -> types.HttpOptions:
    """Options of the SDK's client: our own HTTP client, and no retries."""
    return types.HttpOptions(
        base_url=base_url,
        httpx_async_client=http,  # Otherwise the SDK uses aiohttp if it is importable (python-genai#2090).
        # Never used. Otherwise the SDK loads the system's certificates for each of them, which takes 60 ms.
        httpx_client=httpx2.Client(verify=bare(), trust_env=False),
        async_client_args={"ssl": bare()},
        retry_options=types.HttpRetryOptions(attempts=1),
    )


class GoogleConnection(SDKConnection):
    """An open client of the SDK.

    Args:
        provider: The adapter.
        sdk: The client.
        http: Our own, under it.
        prefixes: The instructions that the server keeps for this run; None if it keeps none.
    """

    def __init__(self, provider: Google, sdk: genai.Client, http: Client, prefixes: Prefixes | None = None) -> None:
        super().__init__(provider, errors.APIError)
        self._http = http
        self._sdk = sdk  # Kept alive: its `__del__` closes the client that it shares with `aio`.
        self._generate = sdk.aio.models.generate_content
        self._prefixes = prefixes

    async def send(self, request: Request) -> Reply:
        reply = await super().send(request)
        return reply if self._prefixes is None else self._billed(reply, self._prefixes)

    def _billed(self, reply: Reply, prefixes: Prefixes) -> Reply:
        """*reply* with what the kept contents cost since the last one."""
        written, hours = prefixes.take_bill()
        if not (written or hours):
            return reply
        usage = reply.usage
        stored = storage_usd(self.provider.model, hours, self.provider.price)
        if written and usage.input_tokens is not None:
            sums = usage.input_tokens + written, (usage.written_input_tokens or 0) + written
            usage = replace(usage, input_tokens=sums[0], written_input_tokens=sums[1])
        return replace(reply, usage=replace(usage, stored_usd=stored))

    async def decide(self, request: Request) -> Answer:
        body, headers = self.provider.asked(request)
        asked = self._http.build_request(
            "POST",
            f"{self.provider.access.base_url}{PATH}",
            content=spliced(body),
            headers={**headers, "content-type": "application/json", "x-goog-api-key": self.provider.reveal_key()},
            timeout=request.timeout,
        )
        return answer_of(await self._http.send(asked))

    async def ask(self, request: Request, manner: Manner) -> Answer:
        body, added = self.provider.written(replace(request, parts=()), manner)
        if request.parts:
            body["contents"] = types.Content(role="user", parts=[_sdk_part(one) for one in request.parts])
            if resolution := _resolution(request):
                body["config"].setdefault("media_resolution", resolution)
        options = types.HttpOptions(timeout=max(1, int(request.timeout * 1000)), headers=dict(added) if added else None)
        if self._prefixes is None:
            return await self._answered(body, options)
        seconds = parameters.seconds_of(request.params.get("cache_ttl"), self._prefixes.seconds)
        makes = request.keeps != "no" and seconds > 0
        name = await self._prefixes.name_of(body["config"]["system_instruction"], makes=makes, seconds=seconds)
        if name is None:
            return await self._answered(body, options)
        rest = {key: value for key, value in body["config"].items() if key != "system_instruction"}
        try:
            return await self._answered({**body, "config": {**rest, "cached_content": name}}, options)
        except errors.APIError:
            if not is_gone(refused()):
                raise
        self._prefixes.gone(name)  # The next request has it made anew.
        try_anew()
        return await self._answered(body, options)

    async def _answered(self, body: dict[str, Any], options: types.HttpOptions) -> Answer:
        config = types.GenerateContentConfig(
            **body["config"],
            http_options=options,
            # Returns the raw body: the SDK's own parser takes an empty body for an empty reply.
            should_return_http_response=True,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            automatic_continuation=False,
        )
        raw = await self._generate(**{**body, "config": config})
        response = raw.sdk_http_response
        found = response.headers if response else None
        headers = {name.lower(): value for name, value in (found or {}).items()}
        return Answer(status=200, headers=headers, text=(response.body if response else None) or "")
