"""How likely the model was to write each value of a reply."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from math import exp, log
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from smelt.plan.kinds import Field
from smelt.plan.packed import Layout
from smelt.plan.schema import read_output
from smelt.plan.scores import LEAST, MOST, Scores, Token, log_odds, scores_of, wanted_beside


class Place(BaseModel):
    city: str
    size: Literal["small", "large"]


class Mail(BaseModel):
    topic: Literal["order", "order late", "spam"]
    is_late: bool
    urgency: int
    day: datetime.date
    note: str
    tags: list[Literal["x", "y"]]
    place: Place
    mood: Literal["good", "goofy"] | None


class Small(BaseModel):
    topic: Literal["very good", "very bad"]
    is_late: bool


ANSWER: dict[str, Any] = {
    "topic": "order",
    "is_late": True,
    "urgency": 12,
    "day": "2026-11-30",
    "note": "é, 😀 and so on",
    "tags": ["x"],
    "place": {"city": "Oslo", "size": "large"},
    "mood": None,
}
FIELDS = read_output(Mail).fields


def odds(*chances: float) -> float:
    product = 1.0
    for one in chances:
        product *= one
    return pytest.approx(log(product / (1 - product)), abs=1e-3)  # type: ignore[return-value]


def cut(text: str, *pieces: str, chances: dict[str, float] | None = None) -> list[Token]:
    """Tokens of *text*: each of *pieces*, in their order, and what is between them; all sure but for *chances*."""
    tokens, at = [], 0
    for piece in pieces:
        start = text.index(piece, at)
        tokens += [text[at:start], piece]
        at = start + len(piece)
    found = chances or {}
    return [Token(one.encode(), log(found.get(one, 1.0))) for one in [*tokens, text[at:]] if one]


def scored(text: str, tokens: Sequence[Token], fields: Sequence[Field] = FIELDS, **options: Any) -> Scores:
    return scores_of(text, tokens, ["k7f2x", "q9mzt"], fields, **options).get("k7f2x", {})


REPLY = json.dumps({"rows": [{"id": "k7f2x", **ANSWER}]}, ensure_ascii=False)


def test_each_kind_of_value_is_scored_by_its_own_tokens() -> None:
    chances = {'order"': 0.9, "12": 0.8, "2026": 0.9, "-30": 0.5, "x": 0.75, "lar": 0.5, "ge": 0.5, "null": 0.7}
    tokens = cut(REPLY, 'order"', "12", "2026", "-30", "x", "lar", "ge", "null", chances=chances)

    found = scored(REPLY, tokens)

    assert found["topic"] == odds(0.9)
    assert found["urgency"] == odds(0.8)
    assert found["day"] == odds(0.9, 0.5)
    assert found["tags"] == odds(0.75)
    assert found["place.size"] == odds(0.5, 0.5)
    assert found["mood"] == odds(0.7)
    assert found["is_late"] == MOST
    assert not {"note", "place.city", "place"} & found.keys()


def test_a_label_counts_from_the_token_that_tells_it_apart_to_the_quote_that_ends_it() -> None:
    text = '{"k7f2x": {"topic": "very good", "is_late": false}}'
    tokens = cut(text, "very", " good", '"', chances={"very": 0.1, " good": 0.6, '"': 0.5})

    common = scored(text, tokens, read_output(Small).fields)
    text = '{"k7f2x": {"topic": "order", "urgency": 3}}'
    beginning = scored(text, cut(text, "order", '", ', chances={"order": 0.9, '", ': 0.4}))

    assert common["topic"] == odds(0.6)  # "very " is in both labels, and no label goes on behind "very good".
    assert beginning["topic"] == odds(0.9, 0.4)  # "order late" begins with it.


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([(b"true", 0.6), (b"false", 0.2)], 0.75),
        ([(b" true", 0.1), (b" false", 0.2), (b"true", 0.6), (b"False", 0.1)], 0.7),
        ([(b"true", 0.6), (b"tr", 0.2), (b"f", 0.2), (b"12", 0.1)], 0.8),
        ([(b"true", 0.6)], 0.6),
        ([], 0.6),
    ],
    ids=["beside the other", "with other spaces", "by their beginnings", "alone", "none"],
)
def test_true_is_scored_beside_false(others: list[tuple[bytes, float]], expected: float) -> None:
    text = '{"k7f2x": {"is_late": true}}'
    tops = [(data, log(chance)) for data, chance in others]
    tokens = [Token(b'{"k7f2x": {"is_late": ', 0.0), Token(b"true", log(0.6), tops), Token(b"}}", 0.0)]

    assert scored(text, tokens)["is_late"] == odds(expected)


def test_the_compact_wire_is_scored_by_its_words_and_codes() -> None:
    fields = read_output(Small).fields
    layout = Layout.of(fields)
    assert layout is not None
    text = '{"rows": ["q9mzt very_bad true", "k7f2x very_good false"]}'
    tokens = cut(
        text, "q9mzt", "k7f2x", " very", "_good", " false", chances={" very": 0.3, "_good": 0.9, " false": 0.6}
    )

    found = scored(text, tokens, fields, layout=layout)

    assert found == {"topic": odds(0.9), "is_late": odds(0.6)}
    told = '{"rows": [["k7f2x", "very good", "true"]]}'
    assert scored(told, cut(told, "good", chances={"good": 0.9}), fields, layout=layout)["topic"] == odds(0.9)
    assert scored(text.replace("_good", '\\"'), cut(text), fields, layout=layout) == {}


@given(st.lists(st.integers(1, 9), max_size=60), st.sampled_from(["", "<think>{}</think>\n", "```json\n"]))
def test_bytes_may_be_cut_anywhere(sizes: list[int], before: str) -> None:
    data, tokens, at = f"{before}{REPLY}".encode(), [], 0
    for size in [*sizes, 10_000]:
        tokens.append(Token(data[at : at + size], -0.01))
        at += size

    found = scored(data.decode(), tokens)

    assert found.keys() == {"topic", "is_late", "urgency", "day", "tags", "place.size", "mood"}


def torn(text: str) -> list[Token]:
    """A token for each byte, as a server writes them that makes text of each token."""
    return [Token(bytes([one]).decode(errors="replace").encode(), -0.01) for one in text.encode()]


def test_a_character_that_is_split_between_tokens_costs_only_its_own_place() -> None:
    found = scored(REPLY, torn(REPLY))

    assert found.keys() == {"topic", "is_late", "urgency", "day", "tags", "place.size", "mood"}
    assert found["urgency"] == odds(exp(-0.02))


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        cut(REPLY.replace("order", "spam")),
        cut(REPLY[: len(REPLY) // 2] + "?" + REPLY[len(REPLY) // 2 :]),
        [Token(b"", 0.0)] * 9,
    ],
    ids=["none", "another text", "one more", "empty"],
)
def test_tokens_of_another_text_give_no_score(tokens: list[Token]) -> None:
    assert scored(REPLY, tokens) == {}


def test_values_behind_the_last_token_that_came_have_no_score() -> None:
    tokens = cut(REPLY, "12", chances={"12": 0.5})[:2]

    assert scored(REPLY, tokens).keys() == {"topic", "is_late", "urgency"}


def test_a_token_without_a_probability_takes_the_score_of_its_value_only() -> None:
    tokens = [Token(one.data, None if one.data == b"12" else one.chance) for one in cut(REPLY, "12")]

    assert scored(REPLY, tokens).keys() == {"topic", "is_late", "day", "tags", "place.size", "mood"}


@pytest.mark.parametrize(
    "text", [f"{REPLY}\nNo: {REPLY}", f"Row k7f2x is an order.\n{REPLY}", f"{REPLY} (k7f2x: checked)"], ids=len
)
def test_a_reply_that_may_correct_itself_gives_no_score(text: str) -> None:
    assert scored(text, cut(text)) == {}


@pytest.mark.parametrize(
    "text", ["", "no JSON", '["k7f2x"]', '{"rows": [3, null, [], "", {}, {"id": 1}]}', "{" * 3_000]
)
def test_a_reply_of_another_shape_gives_no_score(text: str) -> None:
    assert scores_of(text, cut(text), ["k7f2x"], FIELDS) == {}


def test_log_odds_are_exact_near_one_and_bounded() -> None:
    assert log_odds(-1e-7) == pytest.approx(16.118, abs=0.001)
    assert log_odds(log(0.5)) == 0
    assert log_odds(-100.0) == -100
    assert (log_odds(0.0), log_odds(-1e9), log_odds(float("-inf"))) == (MOST, LEAST, LEAST)


def test_flags_ask_for_the_word_that_was_not_written() -> None:
    assert wanted_beside(read_output(Small).fields) > 1
    assert wanted_beside(read_output(Place).fields) == 1
