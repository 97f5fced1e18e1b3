"""The fake is trusted by every other test, so it is tested first: through the real SDKs, and fault by fault."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any, get_args

import anthropic
import openai
import pytest
from google import genai
from google.genai.errors import APIError as GoogleError

from tests.conftest import MakeScenario
from tests.fakeserver import FakeServer, Scenario
from tests.fakeserver.answers import TURN, Rule, expected, sample, value_of
from tests.fakeserver.client import ProtocolName
from tests.fakeserver.connection import TRANSPORTS as TRANSPORT_FUNCTIONS
from tests.fakeserver.errors import KINDS, TABLES
from tests.fakeserver.faults import COMPLETIONS, REFUSALS, RESPONSES, TRANSPORTS
from tests.fakeserver.limiter import Limit, Limiter
from tests.fakeserver.rowfaults import LISTS, ROWS
from tests.patience import BUSY

PROTOCOLS = get_args(ProtocolName)[:4]  # The clouds speak variants of them, or no SDK.
FIELDS = {
    "sector": {"type": "string", "enum": ["tech", "other"]},
    "size": {"type": "integer"},
    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
}
RULES: dict[str, Rule] = {
    "sector": {"choice": ["tech", "other"], "of": "name"},
    "size": {"length": "name"},
    "note": {"copy": "desc"},
}
ROW_DATA = [{"name": f"Acme {number}", "desc": None if number % 3 else f"Ümlaut {number}"} for number in range(5)]
IDS = [f"k{number}xa" for number in range(5)]


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


ARRAY = closed({"rows": {"type": "array", "items": closed({"id": {"type": "string"}, **FIELDS})}})
KEYED = closed({one: closed(FIELDS) for one in IDS})
USER = json.dumps([{"id": one, "row": row} for one, row in zip(IDS, ROW_DATA, strict=True)]) + "\nAnswer every row."


Send = Callable[[dict[str, Any]], Awaitable[Any]]


@asynccontextmanager
async def openai_sends(url: str) -> AsyncIterator[Send]:
    async with openai.AsyncOpenAI(base_url=url, api_key="key", max_retries=0) as client:

        async def send(schema: dict[str, Any]) -> Any:
            shape: Any = {"type": "json_schema", "name": "reply", "schema": schema, "strict": True}
            return await client.responses.create(
                model="fake-1", instructions="Classify.", input=USER, text={"format": shape}
            )

        yield send


@asynccontextmanager
async def compatible_sends(url: str) -> AsyncIterator[Send]:
    async with openai.AsyncOpenAI(base_url=url, api_key="key", max_retries=0) as client:

        async def send(schema: dict[str, Any]) -> Any:
            return await client.chat.completions.create(
                model="fake-1",
                messages=[{"role": "system", "content": "Classify."}, {"role": "user", "content": USER}],
                response_format={"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}},
            )

        yield send


@asynccontextmanager
async def anthropic_sends(url: str) -> AsyncIterator[Send]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="key", max_retries=0) as client:

        async def send(schema: dict[str, Any]) -> Any:
            return await client.messages.create(
                model="fake-1",
                system="Classify.",
                messages=[{"role": "user", "content": USER}],
                max_tokens=2_000,
                output_config={"format": {"type": "json_schema", "schema": schema}},
            )

        yield send


@asynccontextmanager
async def google_sends(url: str) -> AsyncIterator[Send]:
    options = genai.types.HttpOptions(base_url=url, retry_options=genai.types.HttpRetryOptions(attempts=1))
    client = genai.Client(api_key="key", http_options=options).aio

    async def send(schema: dict[str, Any]) -> Any:
        config = genai.types.GenerateContentConfig(
            system_instruction="Classify.", response_mime_type="application/json", response_json_schema=schema
        )
        return await client.models.generate_content(model="fake-1", contents=USER, config=config)

    yield send
    await client.aclose()


SENDS = {
    "openai": openai_sends,
    "compatible": compatible_sends,
    "anthropic": anthropic_sends,
    "google": google_sends,
}


async def ask(protocol: ProtocolName, scenario: Scenario, schema: dict[str, Any] = ARRAY, times: int = 1) -> list[Any]:
    """Send USER *times* times through the protocol's SDK; replies or exceptions."""
    async with SENDS[protocol](scenario.base_url(protocol)) as send:
        replies = []
        for _ in range(times):
            try:
                replies.append(await send(schema))
            except (openai.APIError, anthropic.APIError, GoogleError) as error:
                replies.append(error)
        return replies


def asked(protocol: ProtocolName, scenario: Scenario, schema: dict[str, Any] = ARRAY, times: int = 1) -> list[Any]:
    return asyncio.run(ask(protocol, scenario, schema, times))


TEXT: dict[str, Callable[[Any], str]] = {
    "openai": lambda reply: reply.output_text,
    "compatible": lambda reply: reply.choices[0].message.content,
    "anthropic": lambda reply: reply.content[0].text,
    "google": lambda reply: reply.text,
}
FINISH: dict[str, Callable[[Any], Any]] = {
    "openai": lambda reply: reply.incomplete_details.reason if reply.incomplete_details else reply.status,
    "compatible": lambda reply: reply.choices[0].finish_reason,
    "anthropic": lambda reply: reply.stop_reason,
    "google": lambda reply: (
        reply.candidates[0].finish_reason.name if reply.candidates else reply.prompt_feedback.block_reason.name
    ),
}
TOKENS: dict[str, Callable[[Any], tuple[int, int]]] = {
    "openai": lambda reply: (reply.usage.input_tokens, reply.usage.output_tokens),
    "compatible": lambda reply: (reply.usage.prompt_tokens, reply.usage.completion_tokens),
    "anthropic": lambda reply: (
        reply.usage.input_tokens + reply.usage.cache_read_input_tokens,
        reply.usage.output_tokens,
    ),
    "google": lambda reply: (
        reply.usage_metadata.prompt_token_count,
        reply.usage_metadata.candidates_token_count + reply.usage_metadata.thoughts_token_count,
    ),
}
CODE: dict[str, Callable[[Any], int]] = {
    "openai": lambda error: error.status_code,
    "compatible": lambda error: error.status_code,
    "anthropic": lambda error: error.status_code,
    "google": lambda error: error.code,
}


# --- the four protocols, through the SDKs -----------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [ARRAY, KEYED], ids=["array", "keyed"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_answer_follows_from_its_own_row(
    scenario: MakeScenario, protocol: ProtocolName, schema: dict[str, Any]
) -> None:
    fake = scenario(answers=RULES)

    [reply] = asked(protocol, fake, schema)

    answer = json.loads(TEXT[protocol](reply))
    rows = {row.pop("id"): row for row in answer["rows"]} if "rows" in answer else answer
    assert rows == {one: expected(RULES, row) for one, row in zip(IDS, ROW_DATA, strict=True)}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_billed_tokens_are_the_reported_ones(scenario: MakeScenario, protocol: ProtocolName) -> None:
    fake = scenario(usage={"cached": 40, "reasoning": 30})

    [reply] = asked(protocol, fake)

    stats = fake.stats()
    assert TOKENS[protocol](reply) == (stats.input_tokens, stats.output_tokens)
    assert stats.output_tokens > 30


OUT_OF_TOKENS = {
    "openai": "max_output_tokens",
    "compatible": "length",
    "anthropic": "max_tokens",
    "google": "MAX_TOKENS",
}
ENDS: dict[str, dict[str, str]] = {
    "truncate": {
        "openai": "max_output_tokens",
        "compatible": "length",
        "anthropic": "max_tokens",
        "google": "MAX_TOKENS",
    },
    "reasoning_ate_it": OUT_OF_TOKENS,
    "filter": {
        "openai": "content_filter",
        "compatible": "content_filter",
        "anthropic": "refusal",
        "google": "SAFETY",
    },
    "refuse": {"openai": "completed", "compatible": "stop", "anthropic": "refusal", "google": "PROHIBITED_CONTENT"},
    "block_prompt": {
        "openai": "content_filter",
        "compatible": "content_filter",
        "anthropic": "refusal",
        "google": "PROHIBITED_CONTENT",
    },
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_reply_ends_in_the_providers_own_words(scenario: MakeScenario, protocol: ProtocolName) -> None:
    fake = scenario(script=dict(enumerate(ENDS)))

    replies = asked(protocol, fake, times=len(ENDS))

    assert [FINISH[protocol](reply) for reply in replies] == [words[protocol] for words in ENDS.values()]
    assert fake.stats().faults == dict.fromkeys(ENDS, 1)


def test_a_refusal_is_a_part_of_its_own(scenario: MakeScenario) -> None:
    [response] = asked("openai", scenario(always={"fault": "refuse", "detail": "No."}))
    [chat] = asked("compatible", scenario(always={"fault": "refuse", "detail": "No."}))
    [message] = asked("anthropic", scenario(always={"fault": "refuse", "detail": "No."}))

    assert response.output[0].content[0].refusal == "No."
    assert (chat.choices[0].message.refusal, chat.choices[0].message.content) == ("No.", None)
    assert message.stop_details.explanation == "No."


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_sdk_raises_every_kind_of_refusal_under_its_status(scenario: MakeScenario, protocol: ProtocolName) -> None:
    kinds = sorted(kind for kind in TABLES["openai"] if TABLES[protocol][kind][0] != 200)
    fake = scenario(script={number: {"fault": "status", "kind": kind} for number, kind in enumerate(kinds)})

    errors = asked(protocol, fake, times=len(kinds))

    assert {kind: CODE[protocol](error) for kind, error in zip(kinds, errors, strict=True)} == {
        kind: TABLES[protocol][kind][0] for kind in kinds
    }
    assert (fake.stats().input_tokens, fake.stats().rows_answered) == (0, 0)


def test_every_protocol_words_the_same_kinds() -> None:
    common = frozenset(TABLES["openai"])

    assert all(table.keys() >= common for table in TABLES.values())
    assert {frozenset(TABLES[protocol]) for protocol in PROTOCOLS} == {common}
    assert frozenset().union(*TABLES.values()) == KINDS


def test_an_open_schema_is_refused_where_the_provider_would(scenario: MakeScenario) -> None:
    fake = scenario()
    open_schema = {"type": "object", "properties": {"rows": {"type": "array", "items": {"type": "object"}}}}

    errors = [asked(protocol, fake, open_schema)[0] for protocol in ("openai", "anthropic")]

    assert [error.status_code for error in errors] == [400, 400]
    assert all("additionalProperties" in str(error) for error in errors)


# --- faults of rows and lists -----------------------------------------------------------------------------------------


def post(scenario: Scenario, *, user: str = USER, schema: Any = ARRAY, **body: Any) -> tuple[int, Any, bytes]:
    """One chat completion without an SDK: status, headers, body as it came."""
    message = {"messages": [{"role": "user", "content": user}], "model": "fake-1", **body}
    if schema is not None:
        message["response_format"] = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}
    host, _, path = scenario.base_url("compatible").removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=BUSY)
    try:
        connection.request("POST", f"/{path}/chat/completions", json.dumps(message), {"Authorization": "Bearer key"})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def said(scenario: Scenario, **body: Any) -> str:
    """The text of one chat completion."""
    text: str = json.loads(post(scenario, **body)[2])["choices"][0]["message"]["content"]
    return text


def rows_said(scenario: Scenario, **body: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(said(scenario, **body))["rows"]
    return rows


def ids_of(rows: list[dict[str, Any]]) -> list[Any]:
    return [row["id"] for row in rows]


FIRST, *REST = [{"id": one, **expected(RULES, row)} for one, row in zip(IDS, ROW_DATA, strict=True)]
ROW_CASES: dict[str, tuple[Any, Callable[[list[dict[str, Any]]], bool]]] = {
    "drop": ("drop", lambda rows: rows == REST),
    "duplicate-equal": ({"fault": "duplicate", "copy": "equal"}, lambda rows: rows == [FIRST, FIRST, *REST]),
    "duplicate-different": (
        {"fault": "duplicate", "copy": "different"},
        lambda rows: rows[1]["id"] == FIRST["id"] and rows[1]["size"] != FIRST["size"] and rows[2:] == REST,
    ),
    "split": ("split", lambda rows: rows[0].keys() | rows[1].keys() == FIRST.keys() and rows[2:] == REST),
    "stranger": ("stranger", lambda rows: rows[0] == FIRST and rows[1]["id"] not in IDS and rows[2:] == REST),
    "invalid": ("invalid", lambda rows: rows[0] == {**FIRST, "sector": "none-of-these"}),
    "invalid-integer": ({"fault": "invalid", "field": "size"}, lambda rows: rows[0] == {**FIRST, "size": "many"}),
    "wrong_type": ({"fault": "wrong_type", "field": "size"}, lambda rows: rows[0] == {**FIRST, "size": "6"}),
    "set": ({"fault": "set", "field": "sector", "value": "Tech"}, lambda rows: rows[0] == {**FIRST, "sector": "Tech"}),
    "null_field": ("null_field", lambda rows: rows[0] == {**FIRST, "sector": None}),
    "missing_field": ("missing_field", lambda rows: rows[0].keys() == FIRST.keys() - {"sector"}),
    "extra_fields": ("extra_fields", lambda rows: len(rows[0]) == len(FIRST) + 1),
    "nan": ("nan", lambda rows: math.isnan(rows[0]["size"])),
    "infinity": ("infinity", lambda rows: rows[0]["size"] == math.inf),
    "overflow": ("overflow", lambda rows: rows[0]["size"] == math.inf),
    "surrogate": ("surrogate", lambda rows: rows[0]["note"].endswith("\ud800")),
    "padded_ids": (
        {"fault": "padded_ids", "rows": "all"},
        lambda rows: ids_of(rows) == [f" {one} " for one in IDS],
    ),
    "upper_ids": (
        {"fault": "upper_ids", "rows": [1, 2]},
        lambda rows: ids_of(rows)[:3] == ["k0xa", "K1XA", "K2XA"],
    ),
    "shuffle": ("shuffle", lambda rows: rows != [FIRST, *REST] and len(rows) == 5 and all(r in rows for r in REST)),
    "empty_list": ("empty_list", lambda rows: rows == []),
    "shift_ids": ("shift_ids", lambda rows: ids_of(rows) == [f"k{n}xb" for n in range(5)]),
    "numeric_ids": ("numeric_ids", lambda rows: ids_of(rows) == [1, 2, 3, 4, 5]),
    "swap_ids": ("swap_ids", lambda rows: rows[0] == {**FIRST, "id": IDS[1]} and rows[2:] == REST[1:]),
    "merge_rows": ("merge_rows", lambda rows: rows == [FIRST, *REST[1:]]),
    "other_request": ("other_request", lambda rows: not set(ids_of(rows)) & set(IDS)),
}


@pytest.mark.parametrize(("fault", "holds"), ROW_CASES.values(), ids=ROW_CASES.keys())
def test_a_fault_of_rows_does_what_it_is_called(
    scenario: MakeScenario, fault: Any, holds: Callable[[list[dict[str, Any]]], bool]
) -> None:
    rows = rows_said(scenario(answers=RULES, always=fault))

    assert holds(rows), rows


def test_every_fault_of_rows_has_a_case() -> None:
    cased = {name.partition("-")[0] for name in ROW_CASES}

    assert cased | {"duplicate_keys", "huge_int"} == ROWS.keys() | LISTS.keys()


def test_a_huge_integer_is_longer_than_python_parses(scenario: MakeScenario) -> None:
    text = said(scenario(always="huge_int"))

    assert "7" * 5_000 in text


def test_a_key_can_stand_twice_with_different_values(scenario: MakeScenario) -> None:
    first = said(scenario(answers=RULES, always="duplicate_keys")).split("}")[0]

    assert {'"sector":"tech"', '"sector":"other"'} <= set(first.replace("{", ",").split(","))


def test_a_duplicate_of_the_keyed_codec_is_a_doubled_key(scenario: MakeScenario) -> None:
    text = said(scenario(always="duplicate"), schema=KEYED)

    assert text.count(f'"{IDS[0]}"') == 2


def test_another_requests_answers_bear_its_ids(scenario: MakeScenario) -> None:
    fake = scenario(script={1: "other_request"})
    other = json.dumps([{"id": "mine", "row": ROW_DATA[0]}])

    rows_said(fake)
    rows = rows_said(fake, user=other)

    assert [row["id"] for row in rows] == IDS[:1]


# --- faults of text and HTTP ------------------------------------------------------------------------------------------

COMPLETION_CASES: dict[str, tuple[Any, Callable[[str], bool]]] = {
    "truncate": ({"fault": "truncate", "fraction": 0.5}, lambda text: text.startswith('{"rows"') and text[-1] != "}"),
    "empty": ("empty", lambda text: text == ""),
    "fenced": ("fenced", lambda text: text.startswith("```json\n{") and text.endswith("}\n```")),
    "prose": ("prose", lambda text: text.startswith("Here") and '{"rows"' in text),
    "trailing": ("trailing", lambda text: text.startswith("{") and text.endswith("Done.")),
    "malformed": ("malformed", lambda text: text.startswith('{"rows" [')),
    "says": ({"fault": "says", "text": "no"}, lambda text: text == "no"),
    "filter": ("filter", lambda text: text == ""),
    "block_prompt": ("block_prompt", lambda text: text == ""),
    "nesting_bomb": ("nesting_bomb", lambda text: text == "[" * 100_000),
    "reasoning_ate_it": ("reasoning_ate_it", lambda text: text == ""),
    "whitespace_runaway": ("whitespace_runaway", lambda text: text.startswith("{") and text.endswith(" \n" * 900)),
}


@pytest.mark.parametrize(("fault", "holds"), COMPLETION_CASES.values(), ids=COMPLETION_CASES.keys())
def test_a_fault_of_text_does_what_it_is_called(
    scenario: MakeScenario, fault: Any, holds: Callable[[str], bool]
) -> None:
    text = said(scenario(always=fault))

    assert holds(text), text[:200]


WHOLE_CASES: dict[str, tuple[Any, Callable[[int, Any, bytes], bool]]] = {
    "no_content": ("no_content", lambda status, headers, body: json.loads(body)["choices"] == []),
    "refuse": ("refuse", lambda status, headers, body: json.loads(body)["choices"][0]["message"]["refusal"] != ""),
    "no_usage": ("no_usage", lambda status, headers, body: "usage" not in json.loads(body)),
    "absurd_usage": ("absurd_usage", lambda status, headers, body: json.loads(body)["usage"]["prompt_tokens"] == -1),
    "no_model": ("no_model", lambda status, headers, body: json.loads(body)["model"] is None),
    "html": ({"fault": "html", "code": 502}, lambda status, headers, body: status == 502 and body[:9] == b"<!DOCTYPE"),
    "error_object_200": (
        "error_object_200",
        lambda status, headers, body: status == 200 and "error" in json.loads(body),
    ),
    "echo": (
        {"fault": "echo", "text": "sk-1", "code": 403},
        lambda status, headers, body: status == 403 and body.count(b"sk-1") == 4,
    ),
    "redirect": (
        {"fault": "redirect", "to": "http://127.0.0.1:9/"},
        lambda status, headers, body: status == 307 and headers["location"] == "http://127.0.0.1:9/",
    ),
    "status": ({"fault": "status", "code": 418}, lambda status, headers, body: status == 418),
    "wrong_content_type": ("wrong_content_type", lambda status, headers, body: headers["content-type"] == "text/plain"),
    "bom": ("bom", lambda status, headers, body: body[:4] == b"\xef\xbb\xbf{"),
    "wrong_charset": ("wrong_charset", lambda status, headers, body: "choices" in json.loads(body.decode("utf-16"))),
    "unrequested_gzip": (
        "unrequested_gzip",
        lambda status, headers, body: headers["content-encoding"] == "gzip" and b"choices" in gzip.decompress(body),
    ),
    "gzip_bomb": (
        {"fault": "gzip_bomb", "megabytes": 2},
        lambda status, headers, body: len(body) < 10_000 and len(gzip.decompress(body)) == 2 << 20,
    ),
    "huge_body": ({"fault": "huge_body", "megabytes": 2}, lambda status, headers, body: len(body) > 2 << 20),
    "empty_body": ("empty_body", lambda status, headers, body: (status, body) == (200, b"")),
    "cut_json": ("cut_json", lambda status, headers, body: body[:1] == b"{" and body[-1:] != b"}"),
}


@pytest.mark.parametrize(("fault", "holds"), WHOLE_CASES.values(), ids=WHOLE_CASES.keys())
def test_a_fault_of_http_does_what_it_is_called(
    scenario: MakeScenario, fault: Any, holds: Callable[[int, Any, bytes], bool]
) -> None:
    status, headers, body = post(scenario(always=fault))

    assert holds(status, headers, body), (status, headers, body[:200])


def test_every_fault_of_text_and_http_has_a_case() -> None:
    told = {
        "raw",
        "edit",
        "packed",
        "another_status",
        "streamed",
        "failed_generation",
        "decide",
    }  # What to give: test_conformance.py of the providers, test_failed_generation.py and test_decisions.py do.

    assert COMPLETION_CASES.keys() | WHOLE_CASES.keys() | told == (
        COMPLETIONS.keys() | REFUSALS.keys() | RESPONSES.keys()
    )


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"retry_after": "7"}, "retry-after", "7"),
        ({"retry_after": "1e999"}, "retry-after", "1e999"),
        ({"retry_after_ms": 120}, "retry-after-ms", "120"),
        ({"should_retry": "false"}, "x-should-retry", "false"),
        ({"headers": {"x-ratelimit-remaining-requests": "-1"}}, "x-ratelimit-remaining-requests", "-1"),
    ],
    ids=["seconds", "garbage", "milliseconds", "should-retry", "any"],
)
def test_a_refusal_bears_the_headers_it_was_given(
    scenario: MakeScenario, options: dict[str, Any], header: str, value: str
) -> None:
    status, headers, _ = post(scenario(always={"fault": "status", "kind": "rate_limit", **options}))

    assert (status, headers[header]) == (429, value)


def test_a_retry_date_counts_from_the_servers_clock(scenario: MakeScenario) -> None:
    fault = {"fault": "status", "kind": "overloaded", "retry_date": 60, "clock_skew": 86_400}

    _, headers, _ = post(scenario(always=fault))

    dates = [parsedate_to_datetime(headers[name]) for name in ("date", "retry-after")]
    assert (dates[1] - dates[0]).total_seconds() == 60
    assert dates[0].timestamp() - time.time() > 80_000


def test_gemini_says_in_the_body_how_long_to_wait(scenario: MakeScenario) -> None:
    [error] = asked("google", scenario(always={"fault": "status", "kind": "rate_limit", "retry_info": "7s"}))

    assert error.details["error"]["details"][-1]["retryDelay"] == "7s"


# --- faults of transport ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("reset_before", (ConnectionResetError,)),
        ("reset_mid_body", (ConnectionResetError, http.client.IncompleteRead)),
        ("short_body", (http.client.IncompleteRead,)),
        ("hang", (TimeoutError,)),
        ("bad_status_line", (http.client.BadStatusLine,)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_transport_breaks_the_call(
    scenario: MakeScenario, fault: str, error: tuple[type[Exception], ...]
) -> None:
    fake = scenario(always={"fault": fault})
    host, _, path = fake.base_url("compatible").removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=0.1 if fault == "hang" else BUSY)
    body = json.dumps({"messages": [{"role": "user", "content": USER}], "model": "fake-1"})

    def call() -> bytes:
        connection.request("POST", f"/{path}/chat/completions", body)
        return connection.getresponse().read()

    with pytest.raises(error):  # The words are the standard library's, another in each version.
        call()

    connection.close()
    assert fake.stats().faults == {fault: 1}


@pytest.mark.parametrize("fault", ["trickle", "slow_headers"])
def test_a_trickle_brings_the_whole_body_slowly(scenario: MakeScenario, fault: str) -> None:
    started = time.monotonic()
    text = said(scenario(always={"fault": fault, "bytes": 200, "every": 0.01}))

    assert text.endswith("}")
    assert time.monotonic() - started > 0.02


def test_a_long_body_is_cut_where_its_length_says(scenario: MakeScenario) -> None:
    status, headers, body = post(scenario(always="long_body"))

    assert (status, len(body)) == (200, int(headers["content-length"]))
    assert body[-1:] != b"}"


@pytest.mark.parametrize("fault", ["early_hints", "close_after"])
def test_a_lawful_surprise_still_answers(scenario: MakeScenario, fault: str) -> None:
    replies = asked("compatible", scenario(always=fault), times=2)

    assert [FINISH["compatible"](reply) for reply in replies] == ["stop", "stop"]


def test_a_flood_goes_on_as_long_as_someone_reads(scenario: MakeScenario) -> None:
    fake = scenario(always={"fault": "flood", "gigabytes": 1})
    host, _, path = fake.base_url("compatible").removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=BUSY)
    connection.request("POST", f"/{path}/chat/completions", json.dumps({"messages": [], "model": "fake-1"}))

    response = connection.getresponse()
    read = response.read(3 << 20)
    connection.close()

    assert response.headers["content-length"] == str(1 << 30)
    assert read == b" " * (3 << 20)


def test_every_fault_of_transport_has_a_function() -> None:
    assert TRANSPORT_FUNCTIONS.keys() == TRANSPORTS


# --- when faults strike -----------------------------------------------------------------------------------------------


def test_script_strikes_by_request_and_always_ends_with_until_ok(scenario: MakeScenario) -> None:
    fake = scenario(script={3: {"fault": "status", "kind": "auth"}}, always="empty_body", until_ok=2)

    replies = [post(fake) for _ in range(5)]

    assert [(status, bool(body)) for status, _, body in replies] == [
        (200, False),
        (200, False),
        (200, True),
        (401, True),
        (200, True),
    ]
    assert fake.stats().statuses == {200: 4, 401: 1}


def test_rates_strike_rows_about_as_often_as_asked_and_the_same_way_for_a_seed(scenario: MakeScenario) -> None:
    rates = {"drop": 0.05, "invalid": 0.1, "shuffle": 1.0}
    user = json.dumps([{"id": f"k{number}", "row": ROW_DATA[0]} for number in range(500)])

    texts = [said(scenario(rates=rates, seed=3), user=user) for _ in range(2)]
    other = said(scenario(rates=rates, seed=4), user=user)

    assert texts[0] == texts[1] != other
    rows = json.loads(texts[0])["rows"]
    assert 450 < len(rows) < 490
    assert 25 < sum(row["sector"] == "none-of-these" for row in rows) < 75


def test_poison_refuses_every_request_that_has_the_row(scenario: MakeScenario) -> None:
    fake = scenario(poison={"column": "name", "values": ["Acme 3"], "status": "bad_request"})
    healthy = json.dumps([{"id": "a", "row": ROW_DATA[0]}])

    assert [post(fake)[0], post(fake, user=healthy)[0]] == [400, 200]


def test_poison_of_rows_strikes_only_the_guilty_row(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, poison={"column": "name", "values": ["Acme 0"], "fault": "invalid"})

    rows = rows_said(fake)

    assert rows == [{**FIRST, "sector": "none-of-these"}, *REST]


# --- limits and counters ----------------------------------------------------------------------------------------------


def test_a_reply_ends_at_the_token_limit(scenario: MakeScenario) -> None:
    [capped, free] = [
        json.loads(post(scenario(honour_max_tokens=honour), max_tokens=20)[2]) for honour in (True, False)
    ]

    assert capped["choices"][0]["finish_reason"] == "length"
    assert len(capped["choices"][0]["message"]["content"]) == 80
    assert capped["usage"]["completion_tokens"] == 20
    assert free["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("config", "status"),
    [({"context_tokens": 50}, 400), ({"max_body_bytes": 200}, 413)],
    ids=["context", "body"],
)
def test_too_much_is_refused(scenario: MakeScenario, config: dict[str, Any], status: int) -> None:
    assert post(scenario(**config))[0] == status


def test_the_limiter_refuses_announces_and_recovers(scenario: MakeScenario) -> None:
    fake = scenario(limit={"requests_per_minute": 1_200, "burst": 0.1})

    replies = [post(fake) for _ in range(4)]

    refused = [headers for status, headers, _ in replies if status == 429]
    assert [status for status, _, _ in replies[:2]] == [200, 200]
    assert refused[0]["retry-after"] == "1"
    assert 1 <= int(refused[0]["retry-after-ms"]) <= 50
    assert replies[0][1]["x-ratelimit-limit-requests"] == "1200"
    assert replies[0][1]["x-ratelimit-remaining-requests"] == "1"


def test_a_limit_changes_when_it_is_told_to() -> None:
    now = 0.0
    limiter = Limiter(Limit(requests_per_minute=600, changes=[(10.0, 0.1), (20.0, 1.0)]), lambda: now)

    def admitted(at: float) -> int:
        nonlocal now
        now = at
        return sum(limiter.refuse(0, 1) is None for _ in range(20))

    assert [admitted(at) for at in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)] == [10, 10, 1, 1, 1, 10]
    assert [second[:2] for second in limiter.timeline[::5]] == [[10, 10], [10, 10], [1, 19], [1, 19], [1, 19], [10, 10]]


def test_the_stats_tell_what_was_admitted_and_when(scenario: MakeScenario) -> None:
    fake = scenario(limit={"requests_per_minute": 60})

    _, _ = post(fake), post(fake)

    [[admitted, refused, tokens]] = fake.stats().timeline
    assert (admitted, refused) == (1, 1)
    assert tokens > 0


def test_a_silent_limiter_says_nothing(scenario: MakeScenario) -> None:
    fake = scenario(limit={"requests_per_minute": 60, "announce": False, "retry_after": False})

    _, (status, headers, _) = post(fake), post(fake)

    assert status == 429
    assert not [name for name in headers if "ratelimit" in name or "retry" in name]


@pytest.mark.parametrize(
    ("protocol", "header"), [("openai", "x-ratelimit-reset-tokens"), ("anthropic", "anthropic-ratelimit-tokens-reset")]
)
def test_limits_are_announced_in_the_providers_headers(
    scenario: MakeScenario, protocol: ProtocolName, header: str
) -> None:
    fake = scenario(limit={"requests_per_minute": 1, "tokens_per_minute": 90_000})

    asked(protocol, fake)
    [error] = asked(protocol, fake)

    assert error.response.headers[header]


def test_calls_that_hang_up_are_counted_as_abandoned(scenario: MakeScenario) -> None:
    fake = scenario(latency=3_600.0)

    async def hang_up() -> None:
        calls = [asyncio.create_task(ask("compatible", fake)) for _ in range(2)]
        while fake.stats().in_flight < 2:
            await asyncio.sleep(0.01)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        while fake.stats().in_flight:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(hang_up(), timeout=BUSY))

    stats = fake.stats()
    assert (stats.requests, stats.max_in_flight, stats.abandoned) == (2, 2, 2)


def test_counters_count_rows_by_value_and_reset_to_zero(scenario: MakeScenario) -> None:
    fake = scenario(count_by="name")

    post(fake)
    post(fake, user=json.dumps([{"id": "a", "row": ROW_DATA[0]}]))

    stats = fake.stats()
    assert (stats.requests, stats.rows_sent, stats.rows_answered, stats.connections) == (2, 6, 6, 2)
    assert stats.rows_sent_by == {"Acme 0": 2, "Acme 1": 1, "Acme 2": 1, "Acme 3": 1, "Acme 4": 1}
    fake.reset(always="empty")
    assert fake.stats().requests == 0
    assert said(fake) == ""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_log_shows_what_was_sent_but_no_key(scenario: MakeScenario, protocol: ProtocolName) -> None:
    fake = scenario(log=True)

    asked(protocol, fake)

    [entry] = fake.stats().log
    assert entry["secrets"]
    assert "key" not in entry["headers"].values()
    assert USER in json.dumps(entry["body"]) or json.dumps(USER)[1:-1] in json.dumps(entry["body"])


def test_a_call_without_a_key_is_refused(scenario: MakeScenario) -> None:
    fake = scenario()
    host, _, path = fake.base_url("openai").removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host)

    connection.request("POST", f"/{path}/responses", json.dumps({"model": "fake-1", "input": USER}))

    assert connection.getresponse().status == 401
    connection.close()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rates": {"drip": 0.1}}, "unknown fault 'drip'"),
        ({"always": {"fault": "status", "kind": "grumpy"}}, "a status needs a code"),
        ({"answers": {"a": {"guess": "b"}}}, "unknown rule"),
        ({"speed": 3}, "unexpected keyword argument 'speed'"),
    ],
    ids=["fault", "kind", "rule", "option"],
)
def test_a_scenario_that_cannot_be_is_refused(scenario: MakeScenario, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scenario(**config)


# --- answers, and the process -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": ["integer", "null"], "minimum": 3}, 3),
        ({"type": "number", "exclusiveMinimum": 0}, 1),
        ({"type": "integer", "maximum": -4}, -4),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, ["text", "text"]),
        ({"type": "string", "format": "date"}, "2024-02-29"),
        ({"type": "STRING", "minLength": 6}, "textxx"),
        ({"$ref": "#/$defs/Inner"}, {"grade": "a"}),
    ],
    ids=["minimum", "exclusive", "maximum", "nullable", "array", "format", "length", "reference"],
)
def test_a_field_without_a_rule_holds_what_its_schema_allows(schema: dict[str, Any], value: Any) -> None:
    root = {"$defs": {"Inner": {"type": "object", "properties": {"grade": {"enum": ["a", "b"]}}}}}

    assert sample(schema, root) == value


def test_rules_are_pure_functions_of_the_row() -> None:
    rules: dict[str, Rule] = {"a": {"parity": "n"}, "b": {"const": 3}, "c": {"length": "gone"}, "d": {"copy": "text"}}

    assert expected(rules, {"n": 7, "text": "x"}) == {"a": True, "b": 3, "c": 0, "d": "x"}


def test_a_wavering_rule_is_mostly_right_and_changes_its_mind_about_hard_rows() -> None:
    rule: Rule = {"waver": ["a", "b", "c"], "of": "n", "hard": 0.25, "wrong": [0.0, 0.5]}
    right: Rule = {"choice": ["a", "b", "c"], "of": "n"}

    asked = [
        [value_of(rule, {"n": row, TURN: turn}) == value_of(right, {"n": row}) for turn in (0, 1)]
        for row in range(2_000)
    ]

    assert sum(first for first, _ in asked) / 2_000 == pytest.approx(0.875, abs=0.02)
    assert sum(first != second for first, second in asked) / 2_000 == pytest.approx(0.125, abs=0.02)


def test_a_message_without_rows_gets_a_sample_of_its_schema(scenario: MakeScenario) -> None:
    fake = scenario()

    assert json.loads(said(fake, user="Say hello.", schema=closed(FIELDS))) == {
        "sector": "tech",
        "size": 0,
        "note": "text",
    }
    assert said(fake, user="Say hello.", schema=None) == "ok"


def test_the_server_ends_with_its_handle() -> None:
    with FakeServer() as server:
        process = server._process

    assert process.returncode == 0


def test_it_keeps_up_with_many_connections(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES)
    host, port, path = fake.base_url("compatible").removeprefix("http://").replace("/", ":", 1).split(":")
    body = json.dumps({"model": "fake-1", "messages": [{"role": "user", "content": USER}]}).encode()
    request = f"POST /{path}/chat/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body

    async def worker() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(5):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.close()
        await writer.wait_closed()

    async def all_workers() -> None:
        await asyncio.gather(*(worker() for _ in range(40)))

    started = time.monotonic()
    asyncio.run(all_workers())

    assert fake.stats().requests == 200
    assert time.monotonic() - started < BUSY
