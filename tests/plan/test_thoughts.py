"""Answers before, between and behind thoughts: which of them count."""

from __future__ import annotations

import json
from typing import Any

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
    behind: str, how: dict[str, Any]
) -> None:
    rows = read_reply(f"{DRAFT}<think>No.</think>{behind}", TOKENS, "array", **how)

    assert (rows.found, rows.is_cut) == ({}, True)


def test_an_answer_before_a_thought_that_may_be_cut_counts_if_nothing_follows() -> None:
    assert read_reply(f"{FINAL}<think>Fine.</think>\n", TOKENS, "array", may_be_cut=True).found == TRUTH


ROWS = json.dumps([{"id": token, "row": {"name": "x"}} for token in TOKENS])
TURNS = [
    "<|im_end|>\n<|im_start|>user\n{rows}<|im_end|>\n<|im_start|>assistant\n{draft}",
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n{draft}",
    "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n{rows}",
    "<end_of_turn>\n<start_of_turn>user\nAnd now?<end_of_turn>\n<start_of_turn>model\n{draft}",
    "</s><s>[INST] Once more. [/INST] {draft}",
    "<|end|>\n<|user|>\n{rows}<|end|>\n<|assistant|>\n{draft}",
    "<\uff5cend▁of▁sentence\uff5c><\uff5cUser\uff5c>{rows}<\uff5cAssistant\uff5c>{draft}",
    "<|endoftext|>{draft}",
]


@pytest.mark.parametrize("how", [{}, {"is_cut": True}, {"may_be_cut": True}], ids=["whole", "cut", "untold"])
@pytest.mark.parametrize("before", ["", "<|im_start|>assistant\n", "<think>{draft}</think>", "Here it is:\n"])
@pytest.mark.parametrize("behind", TURNS)
def test_what_a_model_makes_up_behind_the_end_of_its_turn_does_not_count(
    behind: str, before: str, how: dict[str, Any]
) -> None:
    text = (before + FINAL + behind).replace("{draft}", DRAFT).replace("{rows}", ROWS)

    rows = read_reply(text, TOKENS, "array", **how)

    assert (rows.found, rows.is_cut) == (TRUTH, False)


@pytest.mark.parametrize(
    "text",
    [
        "<think>{draft}</think><|im_end|>\n<|im_start|>assistant\n{final}",
        "<|im_start|>think\n{draft}<|im_start|>answer\n{final}",
        "{draft}</think><|im_end|>\n<|im_start|>assistant\n{final}",
        "<think>{draft}<|im_end|></think>{final}",
    ],
)
def test_a_turn_that_holds_thoughts_only_is_no_end(text: str) -> None:
    assert read_reply(text.replace("{draft}", DRAFT).replace("{final}", FINAL), TOKENS, "array").found == TRUTH


@pytest.mark.parametrize("mark", ["<|im_end|>", "</s><s>", "[INST]", "<|user|>"])
def test_a_mark_of_a_turn_in_a_value_is_its_own_characters(mark: str) -> None:
    answers = {token: {"text": f"{mark} {at}"} for at, token in enumerate(TOKENS)}
    text = json.dumps({"rows": [{"id": token, **fields} for token, fields in answers.items()]})
    broken = text.replace('"}', '",,}', 1)  # The first row only, so that the document is read row by row.

    assert read_reply(f"So: {text}", TOKENS, "array").found == answers
    assert read_reply(broken, TOKENS, "array").found.items() >= dict(list(answers.items())[1:]).items()


@pytest.mark.parametrize("end", ["", '"}', '"', '","more":"'], ids=["whole", "closed", "string", "middle"])
def test_a_row_that_cannot_be_read_is_not_taken_from_the_next_turn(end: str) -> None:
    row = json.dumps({"id": TOKENS[0], "nested": {"label": 'said "so"'}}).removesuffix('"}}') + end
    text = f"{row}<|im_end|>\n<|im_start|>user\nOnce more.<|im_end|>\n<|im_start|>assistant\n{DRAFT}"

    assert read_reply(text, TOKENS[:1], "array").found == {}


def test_an_answer_behind_the_rows_as_they_were_sent_is_no_correction() -> None:
    """A model without marks makes up the next question and answers that; or it looks again. Nobody knows."""
    text = f"{FINAL}\n\nUser: {ROWS}\n\nAssistant: "

    assert read_reply(text + DRAFT, TOKENS, "array").found == {}
    assert read_reply(text + FINAL, TOKENS, "array").found == TRUTH
    assert read_reply(f"{ROWS}\n{FINAL}", TOKENS, "array").found == TRUTH


@pytest.mark.parametrize("value", ["<think>", "</think>", "<think>x</think>", "◁/think▷"])
def test_marks_in_a_value_are_its_own_characters(value: str) -> None:
    text = json.dumps({"rows": [{"id": token, "text": value} for token in TOKENS]})

    found = read_reply(f"{text}<think>Fine.</think>", TOKENS, "array").found

    assert found == {token: {"text": value} for token in TOKENS}
