"""Odd replies: whatever stands around the answer or is spoilt in it, no value is wrong and no good row is lost."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.plan.replies import read_reply
from smelt.plan.wire import Codec, draw_tokens
from tests.conftest import whole
from tests.fakeserver.oddrows import DAMAGES
from tests.growth import assert_time_grows_linearly

TOKENS = draw_tokens(6, "", random.Random(12))
TRUTH: dict[str, dict[str, object]] = {
    token: {"label": f"right {at}", "n": at, "on": at % 2 == 0} for at, token in enumerate(TOKENS)
}
DRAFT: dict[str, dict[str, object]] = {token: {"label": "draft", "n": -1, "on": None} for token in TOKENS}


def document(answers: Mapping[str, Mapping[str, object]], codec: Codec = "array") -> str:
    if codec == "keyed":
        return json.dumps(answers)
    return json.dumps({"rows": [{"id": token, **fields} for token, fields in answers.items()]})


FINAL, FALSE = document(TRUTH), document(DRAFT)
HALF = document({token: DRAFT[token] for token in TOKENS[:3]})


def read(text: str, codec: Codec = "array", *, is_cut: bool = False) -> dict[str, dict[str, object]]:
    return read_reply(text, TOKENS, codec, is_cut=is_cut).found


@pytest.mark.parametrize(
    "text",
    [
        "<think>First: {draft} No.</think>\n{final}",
        "First: {draft} No.\n</think>\n{final}",
        "[THINK]{draft}[/THINK]{final}",
        "◁think▷{draft}◁/think▷{final}",
        "<reasoning>{draft}</reasoning>{final}",
        "<seed:think>{draft}</seed:think>{final}",
        "<|channel>thought\n{draft}<channel|>{final}",
        "<|START_THINKING|>{draft}<|END_THINKING|><|START_RESPONSE|>{final}<|END_RESPONSE|>",
        "<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant<|channel|>final<|message|>{final}<|return|>",
        "<|channel|>analysis<|message|>{draft}<|end|>{final}",
        (
            "<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant<|channel|>final "
            "<|constrain|>json<|message|>{final}"
        ),
        "analysisFirst {draft}assistantfinal{final}",
        "{final}\n<think>Or rather {draft}",
        "<think>{half}</think>{draft}</think>{final}",
        "```json\n{draft}\n```\nWait, correction:\n```json\n{final}\n```",
        "{draft}{final}",
        "{half}{final}",
        "{final}{final}",
        'Reply with {"rows": [{"id": "…", "label": …}]}.\n{final}',
    ],
)
def test_the_answer_is_taken_and_the_draft_is_not(text: str) -> None:
    for mark, one in (("{draft}", FALSE), ("{half}", HALF), ("{final}", FINAL)):
        text = text.replace(mark, one)

    assert read(text) == TRUTH


def test_the_same_key_twice_does_not_hide_the_second_array() -> None:
    assert read(FALSE[:-1] + "," + FINAL[1:]) == TRUTH


@pytest.mark.parametrize(
    "text",
    [
        "<think>{draft} and then",
        "{draft}</think>",
        "{final}<think>{draft}</think>",
        "{draft}\nCorrection: {half}",
        "<|channel|>analysis<|message|>{draft}",
    ],
)
def test_what_may_be_a_draft_is_asked_again(text: str) -> None:
    half = document({token: TRUTH[token] for token in TOKENS[:2]})
    text = text.replace("{draft}", FALSE).replace("{half}", half).replace("{final}", FINAL)

    assert not {token for token, fields in read(text).items() if fields == DRAFT[token]}


@pytest.mark.parametrize("before", [FALSE, f"First: {FALSE} No, ", f"First: {FALSE} No.</think>", "", "```json\n"])
@pytest.mark.parametrize("is_said", [True, False], ids=["said", "unsaid"])
def test_no_draft_counts_wherever_the_reply_is_cut(before: str, is_said: bool) -> None:
    text = before + FINAL
    for end in range(len(before) + (1 if is_said else 15), len(text)):
        found = read(text[:end], is_cut=is_said)

        assert found.items() <= TRUTH.items()


WORDS = "\nNo, that is wrong. I should look at each"


@pytest.mark.parametrize("before", ["", "First try:\n", "```json\n"])
@pytest.mark.parametrize("end", range(2, len(WORDS), 3))
def test_a_draft_in_a_thought_that_may_be_cut_is_no_answer(before: str, end: int) -> None:
    rows = read_reply(before + FALSE + WORDS[:end], TOKENS, "array", may_be_cut=True)

    assert (rows.found, rows.is_cut) == ({}, True)


@pytest.mark.parametrize("before", ["analysisMaybe ", "</think>First try:\n"])
def test_a_draft_that_may_be_cut_between_two_rows_is_no_answer(before: str) -> None:
    text = before + FALSE[: FALSE.index("},") + 2]

    assert read_reply(text, TOKENS, "array", may_be_cut=True).found == {}


@pytest.mark.parametrize("before", ["", "Sure, here it is:\n", "<think>{draft}</think>"])
@pytest.mark.parametrize("behind", ["", "\n", "\n```", "</answer>", "<|im_end|>", '\n], "count": 3}', "\n}."])
def test_a_document_at_the_end_of_a_reply_that_may_be_cut_is_read(before: str, behind: str) -> None:
    text = before.replace("{draft}", FALSE) + FINAL + behind

    assert read_reply(text, TOKENS, "array", may_be_cut=True).found == TRUTH


@pytest.mark.parametrize("codec", ["array", "keyed"])
def test_the_complete_rows_before_a_cut_are_read_wherever_that_is(codec: Codec) -> None:
    text = document(TRUTH, codec)
    for end in range(len(text)):
        found = read_reply(text[:end], TOKENS, codec, is_cut=True).found

        assert found == {token: TRUTH[token] for token in TOKENS if _end_of(text, token) <= end}, text[:end]


def _end_of(text: str, token: str) -> int:
    return text.index("}", text.index(token)) + 1


ROW = f'{{"id":"{TOKENS[0]}","label":"x"}}'
LARGE = {
    "objects": "{",
    "arrays": "[",
    "objects in arrays": "[{",
    "keys": '{"a":',
    "bare keys": "{a ",
    "single quotes": "{'a':",
    "wide quotes": "{“a”：“b”，",
    "openings of answers": '{"rows":[',
    "quotes": '" ',
    "escaped quotes": '\\"',
    "backslashes": "\\",
    "codes": "\\u0022",
    "thoughts": "<think>",
    "ends of thoughts": "</think>",
    "channels": "<|channel|>analysis<|message|>",
    "tokens": f'"{TOKENS[0]}" ',
    "ids": f'{{"id":"{TOKENS[0]}",',
    "broken rows": f'{{"id":"{TOKENS[0]}","label":"a"b"}},',
    "keyed rows": f'"{TOKENS[0]}":{{"a":',
    "rows": ROW + ",",
    "documents": FALSE + "\n",
    "comments": "{/* ",
    "prose": 'the {name} of [1] and {"a": x} ',
}


@pytest.mark.parametrize(
    ("before", "behind"), whole((FINAL, ""), ("", ""), ("", FINAL)), ids=["last", "alone", "first"]
)
@pytest.mark.parametrize("part", LARGE.values(), ids=LARGE.keys())
def test_a_large_reply_of_any_shape_is_read_in_linear_time(part: str, before: str, behind: str) -> None:
    assert_time_grows_linearly(
        lambda size: read_reply(before + part * (size // len(part)) + behind, TOKENS, "array"), 20_000
    )


def test_escapes_are_taken_out_as_json_means_them() -> None:
    answers = {token: {"label": f"\\n \n \\\\ \ue000 😀 {token} é"} for token in TOKENS}
    text = document(answers)
    for _ in range(2):
        text = json.dumps(text)[1:-1]

        assert read(text) == answers


def test_marks_and_openings_inside_of_a_value_are_data() -> None:
    answers = {token: {"label": f'</think> {{"rows":[{{"id":"{token}"}}]}} <think>'} for token in TOKENS}

    assert read(f"Here:\n{document(answers)}\nDone.") == answers


SHAPES = {
    "bare array": json.dumps(json.loads(FINAL)["rows"]),
    "rows as a string": json.dumps({"rows": json.dumps(json.loads(FINAL)["rows"])}),
    "all as a string": json.dumps(FINAL),
    "escaped once too often": FINAL.replace('"', '\\"'),
    "another key": json.dumps({"results": json.loads(FINAL)["rows"]}),
    "enclosed": json.dumps({"result": json.loads(FINAL)}),
    "by token": document(TRUTH, "keyed"),
    "rows by token": json.dumps({"rows": TRUTH}),
    "lines": "\n".join(json.dumps(row) for row in json.loads(FINAL)["rows"]),
    "id last": json.dumps({"rows": [{**fields, "id": token} for token, fields in TRUTH.items()]}),
    "foreign rows first": json.dumps({"rows": [{"id": "other", "label": "x"}, *json.loads(FINAL)["rows"]]}),
    "no bracket at the end": FINAL[:-2],
    "python": repr(json.loads(FINAL)),
    "commas missing": FINAL.replace("}, {", "} {"),
    "comments": FINAL.replace("}, {", "}, // next\n{"),
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("codec", ["array", "keyed"])
def test_rows_are_read_wherever_their_tokens_are(text: str, codec: Codec) -> None:
    assert read(text, codec) == TRUTH
    assert read(f"Sure:\n{text}\n", codec) == TRUTH


def test_one_bare_object_is_an_answer_to_one_row() -> None:
    assert read(json.dumps({"id": TOKENS[0], "n": 1})) == {TOKENS[0]: {"n": 1}}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a\nb\tc\x0b", "a\nb\tc\x0b"),
        (r"a\'b", "a'b"),
        (r"costs \$5", r"costs \$5"),
        (r"\d+ \(x\) said \"y\"", r'\d+ \(x\) said "y"'),
    ],
)
def test_a_string_with_one_reading_is_mended(written: str, meant: str) -> None:
    text = FINAL.replace('"right 2"', f'"{written}"')

    assert read(text) == {**TRUTH, TOKENS[2]: {**TRUTH[TOKENS[2]], "label": meant}}


@pytest.mark.parametrize(
    "written",
    [r"\x41", r"\u12", r"\$5\n", r"C:\Program\new", r"\\server\share", 'a "b" c', "no end", r"\012"],
)
def test_a_string_with_two_readings_costs_its_own_row_which_is_told_why(written: str) -> None:
    closing = "" if written == "no end" else '"'

    reply = read_reply(FINAL.replace('"right 2"', f'"{written}{closing}'), TOKENS, "array")

    assert reply.found == {token: fields for token, fields in TRUTH.items() if token != TOKENS[2]}
    assert list(reply.problems) == [TOKENS[2]]
    assert reply.problems[TOKENS[2]].startswith("the JSON of this row was broken: ")


PROSE = ["", "Sure! ", "```json\n", "\n", "{x} [2]\n", 'I read {name} [1] "as asked": it\'s ']
BEFORE, BEHIND = st.sampled_from([*PROSE, '{"rows": [', "</think>"]), st.sampled_from(PROSE)
AROUND = st.sampled_from(
    [
        "{f}",
        "<think>{d}</think>{f}",
        "{d}\n</think>{f}",
        "{d}{f}",
        "```json\n{d}\n```\nNo:\n```json\n{f}\n```",
        "[THINK]{h}[/THINK]{f}",
    ]
)


@given(BEFORE, AROUND, BEHIND, st.sampled_from(sorted(DAMAGES)), st.integers(0, 5), st.sampled_from(["array", "keyed"]))
def test_no_value_is_ever_wrong_and_rows_that_are_not_spoilt_are_found(
    before: str, around: str, behind: str, damage: str, at: int, codec: Codec
) -> None:
    truth = {token: {"label": f'it\'s \\$5 "n"\t{n}', "n": n} for n, token in enumerate(TOKENS)}
    rows = [json.dumps({"id": token, **fields}, separators=(",", ":")) for token, fields in truth.items()]
    rows[at] = DAMAGES[damage](rows[at])
    final = f'{{"rows":[{",".join(rows)}]}}'
    text = (
        before
        + around.replace("{d}", FALSE).replace("{h}", HALF).replace("{f}", final)
        + behind.replace("</think>", "")
    )

    found = read(text, codec)

    spoilt = found.pop(TOKENS[at], None)
    assert spoilt is None or spoilt["n"] == at
    assert spoilt is None or spoilt["label"] in (truth[TOKENS[at]]["label"], 'it\'s \\$5 "n"\t' + str(at))
    assert found == {token: fields for token, fields in truth.items() if token != TOKENS[at]}


HOSTILE = {
    "openings": '{"rows":[',
    "heads": f'{{"id":"{TOKENS[0]}",',
    "nested heads": f'{{"id":"{TOKENS[0]}","a":[',
    "strings": f'{{"id":"{TOKENS[0]}","x":"',
    "comments": f'{{"id":"{TOKENS[0]}" /* ',
    "keys": f'{{"{TOKENS[0]}":{{"x":',
    "rows": f'{{"id":"{TOKENS[0]}","x":1}},',
    "broken rows": f'{{"id":"{TOKENS[0]}","x":tru}},',
    "documents": f'{{"rows":[{{"id":"{TOKENS[0]}","x":1}}]}}\n',
    "doubled keys": f'{{"rows":[{{"id":"{TOKENS[0]}","x":1,"x":1}}]}}',
    "python": f"{{'id':'{TOKENS[0]}','x':'a ",
    "escapes": f'{{\\"id\\":\\"{TOKENS[0]}\\",',
    "backslashes": "\\",
    "braces": "{",
    "marks": "<|channel|>final ",
    "turns": f'{{"id":"{TOKENS[0]}",,"x":"<|im_end|>"',
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE.keys())
def test_the_time_grows_with_the_text_and_no_faster(piece: str) -> None:
    assert_time_grows_linearly(lambda size: read(piece * (size // len(piece))), 10_000)
