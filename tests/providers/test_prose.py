"""The words of a refusal without the request's own."""

from __future__ import annotations

import html
import json
from collections.abc import Callable

import pytest

from smelt.providers.base import FailureKind, Request
from smelt.providers.failures import from_status
from smelt.providers.prose import Prose
from tests.providers.quoting import ASKED, error

QUOTES: list[tuple[str, int, str]] = [
    ("in quotes", 400, "Could not process input 'ticket 77 billing is wrong'"),
    ("with another kind of quotes", 400, "Could not process \u201cticket 77 billing is wrong\u201d"),
    ("cut off", 400, "Could not process input 'ticket 77 billing…"),
    ("in capitals", 400, "COULD NOT PROCESS TICKET 77 BILLING IS WRONG"),
    ("a whole cell of one word", 400, "Could not process: schema"),
    (
        "as JSON",
        400,
        'Invalid content: {"text": "He said: \\"context window\\"\\nand the maximum context length is 4"}',
    ),
    ("as Python", 422, "Value error, input was 'He said: \"context window\"\\nand the maximum context length is 4'"),
    ("several words", 400, "flagged: The quota per day; content policy of 2026, incorrect API key"),
    (
        "the instructions",
        400,
        "Bad message: Check the grammar of {text}, and whether the tone fits our billing schema.",
    ),
    ("a description", 400, "Bad message: Which unknown model it is about"),
    ("a name before a colon", 400, "ticket: 77 billing is wrong"),
]


@pytest.mark.parametrize(("status", "message"), [case[1:] for case in QUOTES], ids=[case[0] for case in QUOTES])
def test_words_of_the_request_are_no_verdict(status: int, message: str) -> None:
    failure = from_status(status, {}, error(message, type="invalid_request_error"), asked=ASKED)

    assert failure.kind == "bad_request"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Billing is not active on this account.", "quota"),
        ("Failed to compile the grammar: unknown node", "schema"),
        ("Invalid schema for response_format 'rows'", "schema"),
        ("This model's maximum context length is 4096 tokens, you asked for 5000", "too_long"),
        ("Billing hard limit: could not process 'ticket 77 billing is wrong'", "quota"),
    ],
)
def test_the_providers_own_words_still_count(message: str, kind: FailureKind) -> None:
    assert from_status(400, {}, error(message), asked=ASKED).kind == kind


@pytest.mark.parametrize(
    "quoted",
    [repr, json.dumps, html.escape, lambda text: json.dumps(json.dumps(text)), lambda text: f"{text[:50]}…"],
    ids=["repr", "json", "html", "json-in-json", "cut"],
)
def test_a_row_is_recognised_however_it_is_quoted(quoted: Callable[[str], str]) -> None:
    row = 'it is "new"\n\tand\\or it\'s\x0b schema <b> & \x07 billing is'
    asked = Request(
        system="Sort.", user=json.dumps([{"id": "a", "row": {"text": row}}]), schema={}, max_output_tokens=9
    )

    prose = Prose(f"Could not process input {quoted(row)}", asked)

    assert not prose.says(("schema", "billing"))
    assert Prose("Invalid schema for response_format", asked).says(("schema",))
