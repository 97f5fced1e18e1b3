"""The adapter for servers that speak OpenAI's chat completions: vLLM, Ollama, llama.cpp, OpenRouter and others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import openai

from smelt.plan.media import Media
from smelt.providers import params as parameters
from smelt.providers.adapter import Adapter, posting
from smelt.providers.base import ENDED, Answer, Capabilities, Connection, Finish, Reply, Request, Wire
from smelt.providers.bodies import (
    body_of,
    check_error,
    failed_generation,
    finish_of,
    first_with_json,
    noted,
    table,
    tables,
    text_of,
    thoughts_of,
    useless,
    words,
    written,
)
from smelt.providers.failures import limits_in, request_id
from smelt.providers.logprobs import tokens_of_chat
from smelt.providers.medialimits import IMAGES
from smelt.providers.openai import headers_for_others
from smelt.providers.secrets import Secret
from smelt.providers.shapes import STRICT, Manner, named_shape, schema_in, scores_in, system_in, type_in
from smelt.providers.usage import usage_of_openai

_RESPONSE_FORMAT = parameters.Takes(
    wanted='{"type": "json_schema"}, {"type": "json_object"} or {"type": "text"}, to which smelt adds the schema',
    fits=lambda value: named_shape({"response_format": value}) is not None and set(value) == {"type"},
)
_TAKES = {
    "temperature": parameters.number(0, 2),
    "top_p": parameters.number(0, 1),
    "top_k": parameters.whole(-1, 10**6),
    "min_p": parameters.number(0, 1),
    "seed": parameters.whole(-(2**31)),
    "stop": parameters.TEXTS,
    "presence_penalty": parameters.number(-2, 2),
    "frequency_penalty": parameters.number(-2, 2),
    "repetition_penalty": parameters.number(0, 10),
    "repeat_penalty": parameters.number(0, 10),
    "reasoning": parameters.TABLE,
    "reasoning_effort": parameters.TEXT,
    "chat_template_kwargs": parameters.TABLE,
    "provider": parameters.TABLE,
    "response_format": _RESPONSE_FORMAT,
    "service_tier": parameters.TEXT,
    "metadata": parameters.TABLE,
    "user": parameters.TEXT,
}
# Parameters of single hosts; the table of vendors says whose.
_MORE = {
    "random_seed": parameters.whole(0),
    "safe_prompt": parameters.SWITCH,
    "prompt_mode": parameters.TEXT,
    "reasoning_format": parameters.TEXT,
    "search_mode": parameters.TEXT,
    "search_domain_filter": parameters.TEXTS,
    "search_recency_filter": parameters.TEXT,
    "search_after_date_filter": parameters.TEXT,
    "search_before_date_filter": parameters.TEXT,
    "web_search_options": parameters.TABLE,
    "disable_search": parameters.SWITCH,
    "return_related_questions": parameters.SWITCH,
    "models": parameters.TEXTS,
    "plugins": parameters.TABLES,
    "route": parameters.TEXT,
}

_usage = partial(usage_of_openai, given="prompt", made="completion")


def write(model: str, request: Request, params: Mapping[str, Any], manner: Manner = STRICT) -> dict[str, Any]:
    """The body of a request."""
    rows = [_part(one) for one in request.parts] or request.user
    messages = [{"role": "system", "content": system_in(manner, request)}, {"role": "user", "content": rows}]
    body = {
        **params,
        "model": model,
        "messages": messages,
        "response_format": {"type": type_in(manner)},
        manner.cap: request.max_output_tokens,
        "stream": False,
    }
    if likeliest := scores_in(manner, request):
        body |= {"logprobs": True, "top_logprobs": likeliest}
    if schema := schema_in(manner, request):
        body["response_format"]["json_schema"] = schema
    elif manner.shape == "words":  # Some servers refuse the type `text`, which is the default.
        del body["response_format"]
    return body


def _part(part: str | Media) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    match part.kind:
        case "document":
            # The name is ours: the user's may hold instructions.
            return {"type": "file", "file": {"filename": "document.pdf", "file_data": part.data_url}}
        case "audio":
            return {"type": "input_audio", "input_audio": {"data": part.base64, "format": part.format}}
        case "image":
            detail = {"detail": part.detail} if part.detail else {}
            return {"type": "image_url", "image_url": {"url": part.data_url, **detail}}


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
    if "choices" not in body:
        raise useless(answer, "the answer has no choices", secrets, _usage(body))
    choice = _first_whole(tables(body["choices"]))
    # OpenRouter sends this if the model behind it fails midway.
    check_error({**body, "error": choice.get("error")}, answer, _usage, secrets)
    message = _message(choice)
    refusal = words(message.get("refusal"))
    finish = "refused" if refusal else finish_of(choice.get("finish_reason"))
    return Reply(
        text=first_with_json(_texts(choice, message, finish)),
        usage=_usage(body),
        finish=finish,
        model=words(body.get("model")),
        request_id=request_id(answer.headers) or words(body.get("id")),
        limits=limits_in(answer.headers),
        detail=refusal,
        notes=_notes(body, choice),
        reasoning=_thoughts(message),
        tokens=tokens_of_chat(choice.get("logprobs")),
    )


def _first_whole(choices: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first choice that has text and was not cut off; else the first."""
    whole = (one for one in choices if finish_of(one.get("finish_reason")) in ENDED and _message(one).get("content"))
    return next(whole, choices[0] if choices else {})


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    return table(choice.get("message")) or table(choice.get("delta"))


def _thoughts(message: Mapping[str, Any]) -> str:
    """What the model thought, from the places in which servers put it."""
    told = words(message.get("reasoning_content")) or words(message.get("reasoning"))
    return told or thoughts_of(message.get("content"))


def _notes(body: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    """What the filters of Azure found, such as `hate: safe`."""
    prompts = [table(one.get("content_filter_results")) for one in tables(body.get("prompt_filter_results"))]
    found = [*prompts, table(choice.get("content_filter_results"))]
    return noted((name, table(one).get("severity")) for some in found for name, one in some.items())


def _texts(choice: Mapping[str, Any], message: Mapping[str, Any], finish: Finish) -> Iterator[str]:
    """Texts that may hold the answer, the usual place first."""
    yield text_of(message.get("content")) or text_of(choice.get("text"))
    yield written(message.get("parsed"))
    for call in [*tables(message.get("tool_calls")), message]:
        called = table(call.get("function")) or table(call.get("function_call"))
        yield written(called.get("arguments"))
    if finish in ENDED:
        # If a reasoning parser finds no end of the thoughts, it puts the answer into them, too. If the thoughts used
        # up the tokens, they hold only a draft.
        thoughts = (text_of(message.get(name)) for name in ("reasoning_content", "reasoning"))
        yield from (thought for thought in thoughts if "{" in thought)


class Compatible(Adapter):
    """A model behind an OpenAI-compatible server."""

    takes = _TAKES
    more = _MORE
    usual = Capabilities(enforces_schema=False, scores="tokens", **IMAGES)
    wire = Wire(write=write, read=read)

    @property
    def manner(self) -> Manner:
        first = super().manner
        named = named_shape(self.params)
        return first if named is None else replace(first, shape=named)

    def connect(self, *, connections: int) -> AbstractAsyncContextManager[Connection]:
        return posting(
            self,
            openai.AsyncOpenAI,
            openai.OpenAIError,
            "/chat/completions",
            connections=connections,
            headers=headers_for_others(self, os.environ),
            security={"bearer_auth": True},
        )
