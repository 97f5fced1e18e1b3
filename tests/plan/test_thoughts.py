"""Answers before, between and behind thoughts: which of them count."""

from __future__ import annotations

import json

import pytest

from smelt.plan.replies import read_reply

TOKENS = ["kkkkb", "mmmmc", "wwwwd"]
TRUTH = {token: {"n": at} for at, token in enumerate(TOKENS)}
FINAL = json.dumps({"rows": [{"id": token, **fields} for token, fields in TRUTH.items()]})
DRAFT = FINAL.replace('"n": ', '"n": 9')
MARKS = [
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<reflection>", "</reflection>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
]


@pytest.mark.parametrize(("begin", "end"), MARKS, ids=[begin for begin, _ in MARKS])
@pytest.mark.parametrize(
    "text",
    [
        "{final}{begin}That was easy.{end}",
        '{final}\n{begin}I gave "kkkkb" a 0; is that right? Yes.{end}\n',
        "{final}{begin}Was it {draft}?{end}",
        "{final}{begin}It is {final}{end} Done.",
        "{final}{begin}Hm.{end}\n{begin}Or {draft}?{end}",
        "{begin}{draft}{end}{final}{begin}Fine.{end}",
        "{draft}{begin}No, that is wrong.{end}{final}",
        "{final}{begin}Or rather {draft}",
        "{final}{begin}Fine.{end}{begin}Or rather {draft}",
    ],
)
def test_an_answer_outside_of_the_thoughts_counts_and_the_last_one_does(text: str, begin: str, end: str) -> None:
    for mark, said in (("{final}", FINAL), ("{draft}", DRAFT), ("{begin}", begin), ("{end}", end)):
        text = text.replace(mark, said)

    assert read_reply(text, TOKENS, "array").found == TRUTH


@pytest.mark.parametrize(
    "text",
    [
        "{draft}</think>",
        "{draft}</think> That is it.",
        "{draft}</think><think>Fine.</think>",
        "{draft}<think>Hm.</think>No.</think>",
        "{draft}<think>Once more: <think>hm</think> no</think>",
        "<think>{draft}</think><think>Fine.</think>",
        "{draft}<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>I cannot tell.",
    ],
)
def test_before_an_end_whose_beginning_is_not_marked_all_is_a_thought(text: str) -> None:
    assert read_reply(text.replace("{draft}", DRAFT), TOKENS, "array").found == {}


def test_rows_that_an_answer_behind_a_thought_leaves_out_are_asked_again() -> None:
    part = json.dumps({"rows": [{"id": TOKENS[0], "n": 0}]})

    rows = read_reply(f"{DRAFT}<think>The first is wrong.</think>{part}", TOKENS, "array")

    assert rows.found == {TOKENS[0]: {"n": 0}}


@pytest.mark.parametrize("how", [{"is_cut": True}, {"may_be_cut": True}], ids=["said", "unsaid"])
@pytest.mark.parametrize("behind", ["Here is", '{"ro', "```json\n["])
def test_an_answer_does_not_count_if_another_may_have_been_cut_off_behind_a_thought(
    behind: str, how: dict[str, bool]
) -> None:
    rows = read_reply(f"{DRAFT}<think>No.</think>{behind}", TOKENS, "array", **how)

    assert (rows.found, rows.is_cut) == ({}, True)


def test_an_answer_before_a_thought_that_may_be_cut_counts_if_nothing_follows() -> None:
    assert read_reply(f"{FINAL}<think>Fine.</think>\n", TOKENS, "array", may_be_cut=True).found == TRUTH


@pytest.mark.parametrize("value", ["<think>", "</think>", "<think>x</think>", "◁/think▷"])
def test_marks_in_a_value_are_its_own_characters(value: str) -> None:
    text = json.dumps({"rows": [{"id": token, "text": value} for token in TOKENS]})

    found = read_reply(f"{text}<think>Fine.</think>", TOKENS, "array").found

    assert found == {token: {"text": value} for token in TOKENS}
