"""The server of `tests/bench/peers.py` understands every library that it compares; else they could not be compared."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bench.contenders.server import RULES, Config, Server, last_message, rows_and_shape
from tests.bench.resumes import NAMES, SECONDS, figures
from tests.fakeserver.answers import expected
from tests.fakeserver.protocols import PROTOCOLS
from tests.models import Company

ROWS = ["Acme", "Globex, Inc."]
ANSWERS = [{"length": 4}, {"length": 12}]
REPLY = {"properties": {"rows": {"items": Company.model_json_schema()}}}


@pytest.mark.parametrize(
    ("message", "schema", "wanted"),
    [
        pytest.param(
            json.dumps([{"id": f"k{at}", "row": {"name": name}} for at, name in enumerate(ROWS)])
            + "\nAnswer every row.",
            REPLY,
            {"rows": [{"id": "k0", "length": 4}, {"id": "k1", "length": 12}]},
            id="smelt",
        ),
        pytest.param(
            json.dumps({"user_messages": [{"id": at, "body": name} for at, name in enumerate(ROWS)]}),
            {},
            {"assistant_messages": [{"id": 0, "body": {"length": 4}}, {"id": 1, "body": {"length": 12}}]},
            id="openaivec",
        ),
        pytest.param(
            json.dumps([{"row_id": at, "name": name} for at, name in enumerate(ROWS)], indent=2),
            {},
            {"rows": [{"row_id": 0, "length": 4}, {"row_id": 1, "length": 12}]},
            id="smelt-ai",
        ),
        pytest.param(
            "Process these 2 items and return a JSON array.\n\nINPUT:\n"
            + json.dumps([{"id": at, "input": f"Describe.\n{name}"} for at, name in enumerate(ROWS, 1)])
            + "\n\nCRITICAL OUTPUT REQUIREMENTS:",
            {},
            {"items": [{"length": 4, "id": 1}, {"length": 12, "id": 2}]},
            id="ondine packed",
        ),
    ],
)
def test_every_library_is_asked_about_its_rows_and_answered_in_its_shape(
    message: str, schema: Any, wanted: Any
) -> None:
    rows, write = rows_and_shape(message, schema)

    assert rows == ROWS
    assert json.loads(write(ANSWERS)) == wanted


def test_a_message_that_is_only_a_text_is_one_row() -> None:
    parts = [
        {"role": "system", "content": "Describe."},
        {"role": "user", "content": [{"type": "text", "text": "Acme"}]},
    ]

    rows, write = rows_and_shape(last_message({"input": parts}), {})

    assert rows == ["Acme"]
    assert json.loads(write(ANSWERS[:1])) == {"length": 4}


@pytest.mark.parametrize(
    "message",
    [
        '<row_data>\n{"name": "Acme"}\n</row_data>\n\nAnalyze the provided data.',
        "Describe the company.\nAcme",
        "Describe the company.\n\nTexto a analisar:\nAcme",
    ],
    ids=["accrue", "ondine enrich", "dataframeit"],
)
def test_libraries_with_a_row_per_request_are_answered_with_its_fields(message: str) -> None:
    rows, write = rows_and_shape(message, {})

    assert rows == ["Acme"]
    assert json.loads(write(ANSWERS[:1])) == {"length": 4}


def test_rows_paid_twice_and_stale_answers_are_told_apart() -> None:
    edited = next(one for one in SECONDS if one.name == "every tenth row edited")
    answers: list[Any] = [edited.right(name) for name in edited.names]
    answers[0] = expected(RULES, {"name": NAMES[0]})  # Of the row before it was edited.
    answers[1] = edited.right(NAMES[2])
    answers[3] = None
    before = {NAMES[1]: 1, NAMES[2]: 1, NAMES[5]: 1}, {NAMES[1]: 1, NAMES[2]: 1}
    after = {**dict.fromkeys(edited.names, 1), NAMES[2]: 2, NAMES[5]: 2}

    assert figures(edited, before, after, {"answers": answers, "end": ""}) == ["2", "1", "1", "1", "1", "1", ""]


def test_another_question_is_answered_otherwise() -> None:
    server = Server(Config(loud="in capitals"), lambda: 0.0)
    asked = {"model": "fake-1", "instructions": SECONDS[-1].prompt, "input": "Acme"}

    reply = json.loads(server.respond(PROTOCOLS["openai"], asked).body)

    assert json.loads(reply["output"][0]["content"][0]["text"])["echo"] == "ACME"
    assert server.counters.paid == {"Acme": 1}


@pytest.mark.parametrize(
    ("config", "statuses"),
    [
        pytest.param(Config(limit={"requests_per_minute": 60, "announce": False}), {200, 429}, id="limit"),
        pytest.param(Config(failing=1.0), {500, 503}, id="failing"),
        pytest.param(Config(), {200}, id="healthy"),
    ],
)
def test_a_situation_is_what_it_is_called(config: Config, statuses: set[int]) -> None:
    server = Server(config, lambda: 0.0)

    replies = [server.respond(PROTOCOLS["openai"], {"model": "fake-1", "input": "Acme"}) for _ in range(9)]

    assert {reply.status for reply in replies} == statuses


def test_a_refused_row_takes_its_whole_request_with_it() -> None:
    server = Server(Config(refused="Acme"), lambda: 0.0)
    message = json.dumps([{"row_id": at, "name": name} for at, name in enumerate(ROWS)])

    reply = json.loads(server.respond(PROTOCOLS["openai"], {"model": "fake-1", "input": message}).body)

    assert reply["output"][0]["content"][0]["type"] == "refusal"
