"""Replies: an answer is taken only under a token that was sent, whatever is wrong with the text around it."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.plan.replies import read_reply
from smelt.plan.wire import Codec, draw_tokens

TOKENS = ["kkkkb", "pppp2", "zzzz5"]


def rows(*values: object) -> str:
    return json.dumps({"rows": list(values)})


def test_rows_come_back_by_token_in_any_order() -> None:
    text = rows({"id": "zzzz5", "x": 3}, {"id": "kkkkb", "x": 1}, {"id": "pppp2", "x": 2})

    reply = read_reply(text, TOKENS, "array")

    assert reply.found == {"kkkkb": {"x": 1}, "pppp2": {"x": 2}, "zzzz5": {"x": 3}}
    assert reply.is_whole


@pytest.mark.parametrize("copy", [{"id": "kkkkb", "x": 1}, {"id": "kkkkb", "x": 2}], ids=["equal", "different"])
def test_a_row_answered_twice_is_not_guessed(copy: dict[str, object]) -> None:
    reply = read_reply(rows({"id": "kkkkb", "x": 1}, copy, {"id": "kkkkb", "x": 1}), TOKENS, "array")

    assert reply.doubled == {"kkkkb"}
    assert not reply.found


@pytest.mark.parametrize(
    "stranger",
    [
        {"id": "kkkk2", "x": 1},
        {"id": 0, "x": 1},
        {"id": None},
        {"x": 1},
        3,
        "kkkkb",
        [],
        {"id": "KKKKB"},
        {"id": " kkkkb"},
    ],
    ids=str,
)
def test_a_row_under_no_token_that_was_sent_is_dropped_and_counted(stranger: object) -> None:
    reply = read_reply(rows(stranger, {"id": "pppp2", "x": 2}), TOKENS, "array")

    assert reply.strangers == 1
    assert list(reply.found) == ["pppp2"]


@pytest.mark.parametrize("at", range(62))
def test_complete_rows_of_a_cut_reply_count(at: int) -> None:
    whole = '{"rows":[{"id":"kkkkb","x":1},{"id":"pppp2","x":"two"},{"id":'
    complete = (whole[:at].count("}") >= 1) + (whole[:at].count("}") >= 2)

    reply = read_reply(whole[:at], TOKENS, "array")

    assert len(reply.found) == complete
    assert not reply.is_whole
    assert reply.is_cut or at == 0


@pytest.mark.parametrize(
    "text",
    ["Sure! {rows}", "```json\n{rows}\n```", "{rows} Anything else?"],
    ids=["prose", "fence", "trailing"],
)
@pytest.mark.parametrize("codec", ["array", "keyed"])
def test_prose_and_fences_are_borne(text: str, codec: Codec) -> None:
    reply = read_reply(text.replace("{rows}", rows({"id": "kkkkb", "x": 1})), TOKENS, codec)

    assert reply.found == {"kkkkb": {"x": 1}}
    assert not reply.is_whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "null",
        "[]",
        "{}",
        '{"rows":{}}',
        "<html>",
        '{"rows":[' + "[" * 100_000,
        '{"rows":[' + '{"a":' * 100_000,
        "9" * 9_999,
    ],
    ids=["empty", "blank", "null", "array", "object", "no array", "html", "bomb", "nested bomb", "digits"],
)
def test_nonsense_gives_no_rows_and_no_exception(text: str) -> None:
    assert not read_reply(text, TOKENS, "array").found


def test_a_fault_in_the_json_of_a_row_stays_with_that_row() -> None:
    text = '{"rows":[{"id":"kkkkb","x":1,"x":2},{"id":"pppp2","x":%s},{"id":"zzzz5","x":3}]}' % ("9" * 5_000)

    reply = read_reply(text, TOKENS, "array")

    assert set(reply.problems) == {"kkkkb", "pppp2"}
    assert reply.found["zzzz5"] == {"x": 3}


def test_a_byte_order_mark_is_no_fault() -> None:
    assert read_reply("\ufeff" + rows({"id": "kkkkb"}), TOKENS, "array").is_whole


ROW_TEXTS = [
    '{"id":"kkkkb","x":1}',
    '{"id": "kkkkb", "x": -1.5e3}',
    '{"x":NaN,"id":"pppp2"}',
    '{"id":"pppp2","x":{"y":1}}',
    '{"id":"zzzz5","x":"a: b"}',
    '{"id":"zzzz5","x":1,"x":2}',
    '{"id":"zzzz5","x":1,"\\u0078":2}',
    '{"id":"pppp2","x":[{"y":1,"y":":"}]}',
    f'{{"id":"kkkkb","x":{"9" * 41}}}',
    f'{{"id":"kkkkb","x":{"9" * 5_000}}}',
    '{"id":"kkkkb","id":"pppp2"}',
    '{"id":"nope","x":1}',
    f'{{"id":"{draw_tokens(1, "", random.Random(3))[0]}"}}',
    '{"id":["kkkkb"]}',
    '{"x":1}',
    '"kkkkb: 1"',
    "null",
]


@given(st.lists(st.sampled_from(ROW_TEXTS), max_size=5), st.sampled_from(["", " ", "\n"]))
def test_a_reply_that_is_read_at_once_is_read_as_it_would_be_row_by_row(texts: list[str], blank: str) -> None:
    text = f'{{{blank}"rows"{blank}:[{f"{blank},".join(texts)}]{blank}}}'

    at_once, row_by_row = read_reply(text, TOKENS, "array"), read_reply(text[:-1], TOKENS, "array")

    assert at_once.is_whole
    assert not row_by_row.is_whole  # Its last brace is missing, so it cannot be read at once.
    for token, value in at_once.found.items():  # What is no object parts the rows, so that doubts may reach farther.
        assert repr(row_by_row.found.get(token)) in (repr(value), repr(None) if at_once.strangers else "")
    # It may end in a row, which is then no fault of that.
    assert at_once.strangers or row_by_row.problems.items() <= at_once.problems.items()


def test_keyed_replies_are_read_by_their_keys() -> None:
    reply = read_reply('{"kkkkb":{"x":1},"nope":{"x":2},"pppp2":{"x":3', TOKENS, "keyed")

    assert reply.found == {"kkkkb": {"x": 1}}
    assert reply.strangers == 1
    assert reply.is_cut


DRAFT = r'{"rows":"[{\"id\":\"k7f2x\",\"n\":0}]"}'


WHOLE = '{"rows":[{"id":"k7f2x","n":0},{"id":"pppp2","n":0}]}'


@pytest.mark.parametrize(
    "text",
    [
        f"<think>{DRAFT} No.</think>" + r'{"rows":"[{id:\"k7f2x\",\"n\":5}]"}',
        f"<think>{DRAFT} No, I should",
        f"{DRAFT}\n" + r'{"rows":"[{id:\"k7f2x\",\"n\":5}]"}',
        f"analysisLet me see {WHOLE} okassistantfinal",
        f"{WHOLE}\nWait, the answer is:\n" + r'"{\"rows\":[{\"id\":\"k7f2x\",',
        f"{WHOLE}\n" + r'{"rows":"[{\u0022id\u0022:\u0022k7f2x\u0022,\u0022n\u0022: +5}]"}',
        f"{WHOLE}\n" + '<tool_call>{"arguments":{"rows":[{id:"k7f2x",n',
        f"{WHOLE}\nRow k7f2x: {{",
        f'{{"draft":{WHOLE},"final":' + r'{"rows":"[{\"id\":\"k7f2x\",\"n\": +5},{\"id\":\"pppp2\",\"n\": 5%}]"}}',
        f'{WHOLE}\nCorrected:\n{{"rows":[{{"id":"k7f2x","row":{{"n":5}}}},{{"id":"pppp2","row":{{"n":6}}}}]}}',
    ],
    ids=[
        "thought",
        "endless-thought",
        "two-documents",
        "glued-mark",
        "cut-string",
        "escaped-quotes",
        "cut-bare-keys",
        "cut-at-once",
        "unreadable-beside",
        "wrapped-fields",
    ],
)
def test_a_draft_is_no_answer_where_the_answer_cannot_be_read(text: str) -> None:
    found = read_reply(text, ["k7f2x", "pppp2"], "array").found

    assert [row for row in found.values() if "row" not in row] == []


def test_a_broken_row_costs_no_other_row_where_its_token_stands_last() -> None:
    broken = '{"n":2,"s":"say "hi" now","id":"pppp2"}'

    reply = read_reply(f'{{"rows":[{{"n":1,"id":"kkkkb"}},{broken},{{"n":3,"id":"zzzz5"}}]}}', TOKENS, "array")

    assert reply.found == {"kkkkb": {"n": 1}, "zzzz5": {"n": 3}}


def test_a_second_fence_behind_a_cut_reply_is_no_end_of_the_first() -> None:
    text = '```json\n{"rows":[{"id":"kkkkb","x":1}]}\n```\n```'

    assert read_reply(text, ["kkkkb"], "array", is_cut=True).found == {}
