"""What is tried next if a server refuses to be asked for JSON as it was asked, in the words of real hosts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest

from smelt.providers import compatible
from smelt.providers.base import Request
from smelt.providers.error_bodies import Complaint, read_complaint
from smelt.providers.fallback import MOST_STEPS, Manners, milder
from smelt.providers.shapes import Manner, Shape
from tests.fakeserver import hosts
from tests.fakeserver.errors import TABLES
from tests.providers.asking import request

SHAPES: tuple[Shape, ...] = get_args(Shape)


def ways_to(host: str, first: Manner, params: dict[str, Any]) -> list[Manner]:
    """The manners in which *host* is asked, until it does not refuse."""
    tried = [first]
    while (refused := hosts.HOSTS[host](compatible.write("m", request(), params, tried[-1]))) is not None:
        found = milder(tried[-1], refused[0], read_complaint(refused[1]))
        assert found is not None, refused
        tried.append(found)
    return tried


ROUTED = {"provider": {"require_parameters": True}}


@pytest.mark.parametrize(
    ("host", "first", "shapes", "caps"),
    [
        ("groq", Manner(), ["strict", "json_object"], ["max_tokens"]),
        ("deepseek", Manner(), ["strict", "json_object"], ["max_tokens"]),
        ("deepseek_once", Manner(), ["strict", "json_object"], ["max_tokens"]),
        ("openai", Manner(), ["strict", "json_object"], ["max_tokens", "max_completion_tokens"]),
        ("mistral", Manner(), ["strict"], ["max_tokens"]),
        ("mistral", Manner(cap="max_completion_tokens"), ["strict"], ["max_completion_tokens", "max_tokens"]),
        ("old_vllm", Manner(cap="max_completion_tokens"), ["strict"], ["max_completion_tokens", "max_tokens"]),
        ("nvidia", Manner(), ["strict", "json_object", "words"], ["max_tokens"]),
        ("perplexity", Manner(shape="json_object"), ["json_object", "words"], ["max_tokens"]),
        ("cloudflare", Manner(), ["strict", "json_object", "words"], ["max_tokens"]),
        ("lmstudio", Manner(shape="json_object"), ["json_object", "words"], ["max_tokens"]),
        ("openrouter", Manner(), ["strict", "json_object"], ["max_tokens"]),
        ("fireworks", Manner(), ["strict", "json_schema"], ["max_tokens"]),
        ("databricks", Manner(), ["strict", "json_schema"], ["max_tokens"]),
        ("gemini", Manner(shape="json_object"), ["json_object", "words"], ["max_tokens"]),
        ("ignoring", Manner(), ["strict"], ["max_tokens"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_host_is_asked_in_a_milder_way_until_it_does_not_refuse(
    host: str, first: Manner, shapes: list[str], caps: list[str]
) -> None:
    ways = ways_to(host, first, ROUTED if host == "openrouter" else {})

    assert list(dict.fromkeys(one.shape for one in ways)) == shapes
    assert list(dict.fromkeys(one.cap for one in ways)) == caps
    assert len(ways) <= MOST_STEPS + 1


@pytest.mark.parametrize("protocol", ["openai", "compatible"])
def test_no_other_refusal_is_taken_for_one_of_the_manner(protocol: str) -> None:
    for kind, (status, body) in TABLES[protocol].items():
        assert milder(Manner(), status, read_complaint(body)) is None, kind


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "`max_tokens` must be less than or equal to `40960`, the maximum value for `max_tokens`",
        "Invalid schema for response_format 'rows': In context=('properties', 'a'), 'uniqueItems' is not permitted.",
        "Unsupported JSON schema fields: {'minItems', 'items'}",
        "JSON Schema not supported: could not understand the instance `{'required': ['criteria']}`.",
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        "Model grok-4 does not support parameter presencePenalty.",
        "The model `m` does not exist",
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_wrong_with_a_value_or_with_the_schema_is_told(message: str, shape: Shape) -> None:
    assert milder(Manner(shape=shape), 400, read_complaint({"error": {"message": message}})) is None


@pytest.mark.parametrize("status", [401, 402, 403, 413, 429, 500, 503])
def test_only_a_refusal_of_the_request_itself_counts(status: int) -> None:
    complaint = read_complaint({"error": {"message": "response_format is not supported"}})

    assert milder(Manner(), 400, complaint) == Manner(shape="json_object")
    assert milder(Manner(), status, complaint) is None


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "logprobs are not supported with reasoning models."),
        (400, "Unsupported parameter: 'top_logprobs' is not supported with this model."),
        (400, "Logprobs is not enabled for models/gemini-3.5-flash"),
        (403, "You are not allowed to request logprobs from this model"),
        (404, "No endpoints found that can handle the requested parameters."),
        (422, "body -> logprobs: Extra inputs are not permitted"),
    ],
)
def test_a_server_that_gives_no_probabilities_is_asked_without_before_anything_else_changes(
    status: int, text: str
) -> None:
    scored = replace(request(), scores=5)

    found = milder(Manner(), status, Complaint(message=text), scored)

    assert found == Manner(asks_scores=False)
    assert milder(found, 403, Complaint(message=text), scored) is None
    assert milder(Manner(), 403, Complaint(message=text), request()) is None


def test_a_row_about_logprobs_costs_no_scores() -> None:
    scored = replace(request(), scores=5, user='[{"id": "a", "row": {"text": "my logprobs are broken today"}}]')

    assert milder(Manner(), 400, Complaint(message="Bad row: my logprobs are broken today"), scored) is None


def test_a_server_that_knows_neither_limit_is_not_asked_for_ever() -> None:
    complaint = read_complaint({"error": {"message": "Unknown fields: max_tokens, max_completion_tokens"}})

    other = milder(Manner(), 400, complaint)

    assert other == Manner(cap="max_completion_tokens", is_other_cap=True)
    assert milder(other, 400, complaint) is None


@pytest.mark.parametrize(
    "text",
    [
        "guided_json is not supported on this server",
        "This model does not support the requested output type",
        "Structured output is not available for this model.",
    ],
)
def test_other_words_for_structured_output_are_understood(text: str) -> None:
    found = milder(Manner(shape="json_schema"), 400, Complaint(message=text))

    assert found is not None
    assert found.shape == "json_object"


@pytest.mark.parametrize(
    "text",
    [
        # The reference, and vectorize-io/hindsight#3300.
        "This model doesn't support the outputConfig.textFormat field. Remove outputConfig.textFormat and try again.",
        "The model returned the following errors: output_config.format: Extra inputs are not permitted",
        "'claude-3-haiku-20240307' does not support output_format.",
        "JSON mode is not enabled for models/gemma-3-27b-it",
        "* GenerateContentRequest.generation_config.response_mime_type: `application/json` is not supported.",
    ],
)
def test_clouds_that_have_models_without_structured_output_are_understood(text: str) -> None:
    assert milder(Manner(shape="json_schema"), 400, Complaint(message=text)) == Manner(shape="json_object")


@pytest.mark.parametrize(
    "text",
    [
        "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
        "output_config.format.schema.properties.age: unsupported type 'int'",
    ],
)
def test_a_schema_that_a_cloud_refuses_is_told(text: str) -> None:
    assert milder(Manner(shape="json_schema"), 400, Complaint(message=text)) is None


COMPLAINT = "Our server says that response_format json_schema is not supported any more, what now?"


def about(row: str) -> Request:
    return replace(request(), user=json.dumps([{"id": "k7f2", "row": {"text": row}}]))


@pytest.mark.parametrize(
    "message",
    [
        f"The input was rejected: {COMPLAINT}",
        f"Invalid content in 'messages[1]': {json.dumps(COMPLAINT)}",
        f"Blocked by policy near: {COMPLAINT[11:70]}…",
    ],
)
def test_what_a_server_quotes_of_a_row_changes_nothing(message: str) -> None:
    complaint = Complaint(message=message)

    assert milder(Manner(), 400, complaint) is not None
    assert milder(Manner(), 400, complaint, about(COMPLAINT)) is None


def test_a_server_that_quotes_a_row_may_still_refuse_how_it_is_asked() -> None:
    refusal = Complaint(message=f"The parameter response_format is unsupported here. Request: {COMPLAINT}")

    assert milder(Manner(), 400, refusal, about(COMPLAINT)) == Manner(shape="json_object")


def test_what_was_refused_is_remembered_for_its_server_only() -> None:
    manners, lower = Manners(), Manner(shape="json_object")

    manners.lower("a", Manner(), refused=Manner(), found=lower)

    assert manners.of("a", Manner()) == lower
    assert manners.of("b", Manner()) == Manner()
    assert manners.of("a", Manner(shape="json_schema")) == Manner(shape="json_schema")  # The user asked for another.


def test_a_refusal_of_an_earlier_manner_lowers_nothing_further() -> None:
    manners = Manners()
    manners.lower("a", Manner(), refused=Manner(), found=Manner(shape="json_object"))

    manners.lower("a", Manner(), refused=Manner(), found=Manner(shape="words"))

    assert manners.of("a", Manner()) == Manner(shape="json_object")


def test_the_oldest_server_is_forgotten() -> None:
    manners = Manners(most=2)

    for server in "abc":
        manners.lower(server, Manner(), refused=Manner(), found=Manner(shape="words"))

    assert [manners.of(server, Manner()).shape for server in "abc"] == ["strict", "words", "words"]


def test_a_server_that_refuses_to_hear_of_its_cache_is_told_nothing_of_it() -> None:
    said = Complaint(message="Unknown parameter: 'prompt_cache_options'.", param="prompt_cache_options")

    found = milder(Manner(), 400, said)

    assert found == Manner(names_cache=False)
    assert milder(found, 400, said) is None
