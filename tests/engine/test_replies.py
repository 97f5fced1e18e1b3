"""What a run notes about its server while it reads replies."""

from __future__ import annotations

import json
import random

import pytest

from smelt.engine.replies import ReplyReader
from smelt.plan.wire import draw_tokens
from smelt.providers.base import Reply, Usage

GOOD = '{"rows": [{"id": "a", "n": 1}]}'
TALK = "Here you are:\n" + GOOD
ANOTHER = draw_tokens(1, "", random.Random(0))[0]
STRANGE = GOOD.replace("a", ANOTHER)


def reader(notes: list[str], *, is_trusted: bool) -> ReplyReader:
    return ReplyReader(provider="openai", is_trusted=is_trusted, note=notes.append)


def reply(text: str) -> Reply:
    return Reply(text=text, usage=Usage(), finish="stop")


@pytest.mark.parametrize(
    ("texts", "is_trusted", "notes"),
    [
        ([TALK], True, 1),
        ([GOOD, TALK], True, 0),
        ([GOOD, TALK], False, 1),
        ([TALK, TALK], False, 1),
        ([GOOD, GOOD], False, 0),
    ],
    ids=["first reply", "later, of a server that promises", "later", "told once", "none"],
)
def test_a_server_that_does_not_enforce_the_schema_is_told_once(texts: list[str], is_trusted: bool, notes: int) -> None:
    said: list[str] = []
    replies = reader(said, is_trusted=is_trusted)

    found = [replies.read(reply(text), ["a"]) for text in texts]

    assert said == ["openai does not enforce the reply schema; every reply is checked here."] * notes
    assert replies.keeps_to_schema is (notes == 0)
    assert all("a" in rows.found for rows in found)


def test_a_fault_that_is_known_is_not_a_new_one() -> None:
    replies = reader([], is_trusted=False)

    strayed = []
    for text in (GOOD, TALK, TALK):
        replies.read(reply(text), ["a"])
        strayed.append(replies.just_strayed)

    assert strayed == [False, True, False]


def test_a_proxy_that_mixes_replies_up_is_suspected_at_the_second_one() -> None:
    said: list[str] = []
    replies = reader(said, is_trusted=True)

    told = []
    for _ in range(3):
        replies.read(reply(STRANGE), ["a"])
        told.append(len(said))

    assert told == [0, 1, 1]
    assert "is a proxy mixing them up?" in said[0]


def test_a_text_in_place_of_the_fields_of_a_row_is_of_no_other_request() -> None:
    said: list[str] = []
    replies = reader(said, is_trusted=False)
    own = draw_tokens(2, "", random.Random(1))

    for text in ('{"%s": "tech", "%s": "other"}', '{"%s": ["tech"], "%s": null}', 'Here: {"%s": "a", "%s": "b"}'):
        rows = replies.read(reply(text % tuple(own)), own, "keyed")
        assert (rows.strangers, rows.foreign) == (0, 0)

    assert not [one for one in said if "proxy" in one]


KEYED = '{"a": {"n": 1}, "b": {"n": 2}}'


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        (KEYED, False),
        ('{"a": {"n": 1}, "b": {"word": "\x11"}}', False),  # A control character, which grammars let into strings.
        ('{"a": {"n": 1}}', False),  # To ask for an array would not help.
        ('{"rows": [{"id": "a", "n": 1}, {"id": "b", "n": 2}]}', True),
        ("I cannot do that.", True),
        ("", False),
        ('{"a": {"n": 1}, "b": {"n', False),
    ],
    ids=["whole", "control character", "a row left out", "an array", "prose", "empty", "cut off"],
)
def test_a_reply_of_another_shape_than_an_object_of_rows_is_told(text: str, is_told: bool) -> None:
    replies = reader([], is_trusted=False)

    replies.read(reply(text), ["a", "b"], "keyed")

    assert replies.just_strayed is is_told


def test_indented_replies_are_told_once_with_what_to_do() -> None:
    said: list[str] = []
    replies = reader(said, is_trusted=True)
    rows = [{"id": token, "n": 1} for token in draw_tokens(50, "", random.Random(1))]

    for _ in range(4):
        replies.read(reply(json.dumps({"rows": rows}, indent=2)), [str(one["id"]) for one in rows])

    [told] = said
    assert told.startswith("Replies are indented: ")
    assert told.endswith("To the prompt, add: Write the JSON on one line, without spaces.")
