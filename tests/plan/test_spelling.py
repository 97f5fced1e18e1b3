"""Rows without field names in replies that are no clean JSON: nothing is guessed from half a row or a stray quote."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from smelt.plan.packed import Layout
from smelt.plan.replies import read_reply
from smelt.plan.replyrows import ReplyRows
from smelt.plan.wire import draw_tokens
from tests.plan.test_packed import layout_of

TOKENS = draw_tokens(3, "", random.Random(2))
ONE, TWO, THREE = TOKENS
NOTES = ['He said "no", then left', 'a\n"b"', "plain, with a comma]"]
PACKED = layout_of(int, bool, str)
ARRAYS = layout_of(str, int, str)
LAYOUTS = pytest.mark.parametrize("layout", [PACKED, ARRAYS], ids=["packed", "positional"])


def answers(layout: Layout) -> dict[str, dict[str, Any]]:
    if layout is PACKED:
        return {one: {"f0": at, "f1": at == 1, "f2": NOTES[at]} for at, one in enumerate(TOKENS)}
    return {one: {"f0": NOTES[at], "f1": at, "f2": NOTES[at - 1]} for at, one in enumerate(TOKENS)}


def text_of(layout: Layout, **options: Any) -> str:
    return json.dumps({"rows": [layout.write(token, one) for token, one in answers(layout).items()]}, **options)


def read(layout: Layout, text: str, **how: bool) -> ReplyRows:
    return read_reply(text, TOKENS, "array", layout=layout, **how)


@LAYOUTS
@pytest.mark.parametrize(
    "around",
    [
        "```json\n{}\n```",
        "Sure, here it is: {} Let me know.",
        "<think>Hm.</think>{}",
        '<think>First {{"rows": ["' + ONE + ' 9 true | x"]}}</think>{}',
        "<|channel|>final <|message|>{}<|return|>",
    ],
)
def test_text_around_the_rows_is_no_matter(layout: Layout, around: str) -> None:
    rows = read(layout, around.format(text_of(layout)) if "{{" not in around else around.replace("{}", text_of(layout)))

    assert rows.found == answers(layout)


@LAYOUTS
def test_escaped_json_is_read(layout: Layout) -> None:
    text = text_of(layout)

    assert read(layout, json.dumps(text)).found == answers(layout)
    assert read(layout, json.dumps(text)[1:-1]).found == answers(layout)
    assert read(layout, text_of(layout, indent=2)).found == answers(layout)


@LAYOUTS
def test_a_reply_cut_anywhere_keeps_its_whole_rows_and_no_half_one(layout: Layout) -> None:
    text, wanted = text_of(layout), answers(layout)
    # Behind a text that is no array, only the next token shows that its quote was the last one.
    ends = [text.index(one) + 1 if layout is PACKED else text.index(f'["{one}') for one in TOKENS]
    for end in range(1, len(text)):
        rows = read(layout, text[:end], is_cut=True)

        assert rows.found.items() <= wanted.items(), text[:end]
        assert len(rows.found) >= sum(end >= start for start in ends[1:]), text[:end]


@LAYOUTS
def test_a_quote_that_is_not_escaped_breaks_its_row_only(layout: Layout) -> None:
    text = text_of(layout).replace('He said \\"no\\", then left', 'He said "no", then left')

    rows = read(layout, text)

    wanted = answers(layout)
    assert all(rows.found[token] == wanted[token] for token in rows.found)
    assert (ONE not in rows.found) and THREE in (rows.found if layout is PACKED else [*rows.found, THREE])


@LAYOUTS
def test_a_draft_that_is_corrected_is_no_answer(layout: Layout) -> None:
    text = text_of(layout)
    draft = text.replace("plain", "draft")

    rows = read(layout, f"```json\n{draft}\n```\nNo, corrected:\n```json\n{text}\n```")

    assert rows.found == answers(layout)


@LAYOUTS
def test_two_half_answers_that_differ_are_none(layout: Layout) -> None:
    first = json.dumps({"rows": [layout.write(ONE, answers(layout)[ONE])]})
    other = json.dumps({"rows": [layout.write(ONE, {**answers(layout)[ONE], "f1": True if layout is PACKED else 7})]})

    rows = read(layout, f"{first}\n{other}")

    assert rows.found == {}
    assert rows.doubled == {ONE}


def test_rows_as_they_were_sent_are_no_answer() -> None:
    question = f'id ["name"]\n{ONE} ["Acme", 1, "x"]\n{TWO} ["Blum", 2, "y"]'

    assert read(ARRAYS, question).found == {}
    assert read(ARRAYS, f"{question}\n{text_of(ARRAYS)}").found == answers(ARRAYS)


def test_a_broken_escape_breaks_its_row_only() -> None:
    text = text_of(PACKED).replace("plain", "\\$5 plain")

    rows = read(PACKED, text)

    assert rows.found.keys() == {ONE, TWO}
    assert rows.problems == {THREE: "the JSON of this row was broken"}


def test_a_fault_of_length_is_told_in_a_fenced_reply_too() -> None:
    rows = read(PACKED, f'```json\n{{"rows":["{ONE} 4","{TWO} 4 true | x"]}}\n```')

    assert rows.found == {TWO: {"f0": 4, "f1": True, "f2": "x"}}
    assert rows.problems == {ONE: "the text behind | was missing"}
