"""The wire: an answer is taken only under a token that was sent, whatever is wrong with the reply."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.plan.wire import draw_tokens, read_reply, user_text

TOKENS = ["kkkkb", "pppp2", "zzzz5"]


def rows(*values: object) -> str:
    return json.dumps({"rows": list(values)})


def test_tokens_are_unique_and_two_places_apart() -> None:
    tokens = draw_tokens(1_000, "", random.Random(1))

    assert len(set(tokens)) == 1_000
    near = {token[:at] + "?" + token[at + 1 :] for token in tokens for at in range(5)}
    assert len(near) == 5_000


def test_no_token_occurs_in_a_cell() -> None:
    drawn = draw_tokens(50, "", random.Random(7))

    again = draw_tokens(50, " ".join(drawn), random.Random(7))

    assert not set(drawn) & set(again)


class Stuck(random.Random):
    """Draws one and the same token, as if all others stood in the cells."""

    def randbytes(self, n: int) -> bytes:
        return bytes(n)


def test_cells_that_hold_every_short_token_do_not_keep_a_request_from_leaving() -> None:
    drawn = draw_tokens(1, "", Stuck())

    (longer,) = draw_tokens(1, drawn[0], Stuck())

    assert longer not in drawn[0]


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
def test_prose_and_fences_are_borne_only_where_nothing_enforces_the_schema(text: str) -> None:
    text = text.replace("{rows}", rows({"id": "kkkkb", "x": 1}))

    strict, lenient = (read_reply(text, TOKENS, "array", lenient=lenient) for lenient in (False, True))

    assert list(lenient.found) == ["kkkkb"]
    assert not strict.is_whole


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
    for reply in (at_once, row_by_row):
        reply.is_whole = reply.is_cut = False
    assert repr(at_once) == repr(row_by_row)  # Compared as text, since no NaN is equal to another.


def test_keyed_replies_are_read_by_their_keys() -> None:
    reply = read_reply('{"kkkkb":{"x":1},"nope":{"x":2},"pppp2":{"x":3', TOKENS, "keyed")

    assert reply.found == {"kkkkb": {"x": 1}}
    assert reply.strangers == 1
    assert reply.is_cut


@given(
    st.lists(st.dictionaries(st.text(), st.text() | st.none() | st.integers()), min_size=1, max_size=8),
    st.integers(0, 2**32),
)
def test_any_text_travels_unchanged_and_no_cell_can_be_taken_for_protocol(
    cells: list[dict[str, object]], seed: int
) -> None:
    texts = [json.dumps(cell, ensure_ascii=False) for cell in cells]
    tokens = draw_tokens(len(texts), "".join(texts), random.Random(seed))

    user = user_text([(token, text, None) for token, text in zip(tokens, texts, strict=True)])

    sent, _ = json.JSONDecoder().raw_decode(user)
    assert [row["id"] for row in sent] == tokens
    assert [row["row"] for row in sent] == cells


def test_a_row_asked_again_says_what_was_wrong() -> None:
    user = user_text([("kkkkb", '{"a":1}', 'x: not "one"')])

    assert json.JSONDecoder().raw_decode(user)[0][0]["problem"] == 'x: not "one"'
