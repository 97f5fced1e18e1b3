"""The whole policy as a table: what becomes of each row after a reply or a failure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, field_validator

from smelt.call.options import Settings
from smelt.engine.decide import decide_failure, decide_reply
from smelt.engine.doubt import Doubt
from smelt.engine.policy import Doubts, Policy, Verdict
from smelt.plan.chunks import Chunk, Pending
from smelt.plan.replies import read_reply
from smelt.plan.schema import read_output
from smelt.plan.validate import Accepted, InvalidRow, Validator, json_text
from smelt.providers.base import Billing, CallFailed, Finish, Reply


class Label(BaseModel):
    label: Literal["a", "b"]

    @field_validator("label", mode="before")
    @classmethod
    def _broken_on_demand(cls, value: object) -> object:
        if value == "crash":
            raise RuntimeError("boom")
        return value


VALIDATOR = Validator(read_output(Label))


def chunk_of(count: int, **state: Any) -> Chunk:
    attempts = state.pop("attempts", 0)
    return Chunk(rows=tuple(Pending(at, "{}", attempts=attempts) for at in range(count)), **state)


def judged(
    chunk: Chunk, labels: dict[int, object] | str, finish: Finish = "stop", policy: Policy = Policy()
) -> Verdict:
    """The verdict on a reply that gives *labels* by position, or is the text *labels*."""
    tokens = [f"t{at}" for at in range(len(chunk.rows))]
    if isinstance(labels, str):
        text = labels
    else:
        text = json.dumps({"rows": [{"id": tokens[at], "label": label} for at, label in labels.items()]})
    rows = read_reply(text, tokens, "array")
    return decide_reply(chunk, tokens, Reply(text=text, finish=finish), rows, VALIDATOR, policy)


def sizes(verdict: Verdict) -> list[int]:
    return [len(chunk.rows) for chunk in verdict.chunks]


def test_valid_rows_are_accepted_and_only_the_rest_is_asked_again() -> None:
    verdict = judged(chunk_of(4), {0: "a", 1: "nope", 3: "b"})

    assert [(one.row.position, one.values) for one in verdict.accepted] == [(0, ("a",)), (3, ("b",))]
    assert sorted(row.position for row in verdict.again) == [1, 2]
    assert {row.position: row.problem for row in verdict.again} == {
        1: "label: Input should be 'a' or 'b'",
        2: "it was left out",
    }


class Strange(BaseModel):
    """A model whose validator returns what it likes."""

    label: Literal["a", "b", "list"] | None
    number: int
    word: str

    @field_validator("label")
    @classmethod
    def _strays(cls, value: object) -> object:
        return [] if value == "list" else value  # No member of a set can be looked up with it.

    @field_validator("word")
    @classmethod
    def _returns_nothing(cls, value: str) -> str | None:
        if value == "crash":
            raise RuntimeError("boom")
        return None if value == "nothing" else value


STRANGE = Validator(read_output(Strange))
PARTS: list[dict[str, object]] = [
    {},
    {"label": None},
    {"word": "é"},
    {"label": "list"},
    {"label": "c"},
    {"number": 2**63},
    {"number": True},
    {"word": "\ud800"},
    {"word": "nothing"},
    {"word": "crash"},
    {"extra": 1},
]
ANSWERS = st.sampled_from(PARTS).map(lambda part: {"label": "a", "number": 1, "word": "-", **part})


def told(outcome: Accepted | InvalidRow) -> tuple[object, object]:
    return (str(outcome), outcome.is_final) if isinstance(outcome, InvalidRow) else (outcome.values, outcome.text)


def told_alone(answer: dict[str, Any]) -> tuple[object, object]:
    try:
        text = json_text(answer)
        return STRANGE.values(text), text
    except InvalidRow as problem:
        return told(problem)


@given(st.lists(ANSWERS, max_size=6))
def test_rows_are_validated_together_as_each_would_be_alone(answers: list[dict[str, Any]]) -> None:
    outcomes = STRANGE.accept([Pending(at, "{}") for at in range(len(answers))], answers)

    assert list(map(told, outcomes)) == list(map(told_alone, answers))


def test_a_row_that_fails_twice_is_asked_alone_and_then_given_up() -> None:
    second = judged(chunk_of(3, attempts=1), {0: "a"})
    last = judged(chunk_of(1, attempts=3), {})

    assert sizes(second) == [1, 1]
    assert [(failed.kind, failed.row.attempts) for failed in last.failed] == [("missing", 4)]
    assert "after 4 attempts: it was left out" in last.failed[0].message


def test_one_attempt_means_one() -> None:
    verdict = judged(chunk_of(2), {0: "a", 1: "nope"}, policy=Policy(max_attempts=1))

    assert [failed.kind for failed in verdict.failed] == ["invalid"]
    assert not verdict.again
    assert not verdict.chunks


def test_the_message_of_an_invalid_row_names_fields_and_no_values() -> None:
    verdict = judged(chunk_of(1, attempts=3), {0: "secret value"})

    assert "label" in verdict.failed[0].message
    assert "secret" not in verdict.failed[0].message


def test_a_cut_reply_keeps_its_rows_and_the_rest_gets_smaller_chunks_with_more_room() -> None:
    text = '{"rows":[{"id":"t0","label":"a"},{"id":"t1","label":"b"},{"id":"t2","la'

    verdict = judged(chunk_of(8), text, "length")

    assert len(verdict.accepted) == 2
    assert sizes(verdict) == [3, 3]
    assert {chunk.room for chunk in verdict.chunks} == {2}
    assert all(row.attempts == 0 for chunk in verdict.chunks for row in chunk.rows)


def test_a_second_cut_leads_to_single_rows() -> None:
    assert sizes(judged(chunk_of(4, cuts=1), "", "length")) == [1, 1, 1, 1]


def test_a_single_row_that_never_fits_is_given_up_without_sending_the_same_again() -> None:
    chunk, requests = chunk_of(1), 0
    while True:
        verdict = judged(chunk, "", "length")
        requests += 1
        if verdict.failed:
            break
        assert verdict.chunks[0].room == chunk.room * 2
        chunk = verdict.chunks[0]

    assert verdict.failed[0].kind == "truncated"
    assert requests == 4


@pytest.mark.parametrize(("finish", "kind"), [("refused", "refused"), ("filtered", "filtered")])
def test_a_refusal_is_halved_down_to_the_guilty_row_and_costs_no_attempt(finish: Finish, kind: str) -> None:
    many = judged(chunk_of(5), "", finish)
    one = judged(chunk_of(1), "", finish)

    assert sizes(many) == [3, 2]
    assert all(row.attempts == 0 for chunk in many.chunks for row in chunk.rows)
    assert [failed.kind for failed in one.failed] == [kind]


def test_nonsense_is_halved_and_the_last_attempt_is_made_alone() -> None:
    first = judged(chunk_of(8), "garbage")
    third = judged(chunk_of(2, attempts=2), "garbage")
    last = judged(chunk_of(1, attempts=3), "garbage")

    assert sizes(first) == [4, 4]
    assert sizes(third) == [1, 1]
    assert [failed.kind for failed in last.failed] == ["malformed"]


def test_a_broken_validator_fails_its_row_at_once_and_no_other() -> None:
    verdict = judged(chunk_of(2), {0: "crash", 1: "a"})

    assert [(failed.kind, failed.row.position) for failed in verdict.failed] == [("validator", 0)]
    assert "RuntimeError" in verdict.failed[0].message
    assert len(verdict.accepted) == 1


def failure(kind: Any, billing: Billing = Billing.REJECTED) -> CallFailed:
    return CallFailed(kind, billing, "it said no")


@pytest.mark.parametrize("kind", ["auth", "quota", "redirect", "certificate", "not_found"])
@pytest.mark.parametrize("answered", [0, 7])
def test_account_errors_end_the_run_with_their_rows_kept(kind: str, answered: int) -> None:
    verdict = decide_failure(chunk_of(3), failure(kind), Policy(), answered=answered, now=0.0)

    assert verdict.stop is not None
    assert sizes(verdict) == [3]


def test_a_wrong_schema_ends_the_run_before_the_first_reply_and_is_a_rows_fault_later() -> None:
    assert decide_failure(chunk_of(3), failure("schema"), Policy(), answered=0, now=0.0).stop is not None
    assert sizes(decide_failure(chunk_of(3), failure("schema"), Policy(), answered=1, now=0.0)) == [2, 1]


@pytest.mark.parametrize(
    ("kind", "given_up_as"),
    [("bad_request", "bad_request"), ("too_long", "too_long"), ("too_large", "too_long"), ("filtered", "filtered")],
)
def test_a_refused_request_is_halved_down_to_the_guilty_row(kind: str, given_up_as: str) -> None:
    many = decide_failure(chunk_of(20), failure(kind), Policy(), answered=1, now=0.0)
    one = decide_failure(chunk_of(1), failure(kind), Policy(), answered=1, now=0.0)

    assert sizes(many) == [10, 10]
    assert [failed.kind for failed in one.failed] == [given_up_as]


@pytest.mark.parametrize("kind", ["rate_limit", "server"])
def test_a_refusal_to_serve_costs_no_attempt(kind: str) -> None:
    verdict = decide_failure(chunk_of(3), failure(kind), Policy(), answered=1, now=0.0)

    (chunk,) = [*verdict.chunks, *verdict.later]
    assert [row.attempts for row in chunk.rows] == [0, 0, 0]


def test_a_rate_limit_never_fails_a_row() -> None:
    chunk = chunk_of(3)
    for _ in range(1_000):
        (chunk,) = decide_failure(chunk, failure("rate_limit"), Policy(), answered=1, now=0.0).chunks

    assert len(chunk.rows) == 3


def refused_until_given_up(chunk: Chunk, *, answered_between: int, every: float = 10.0) -> tuple[int, list[str]]:
    """How many requests, one *every* so many seconds, *chunk* takes if all of them fail, and how it ends."""
    chunks, requests, answered = [chunk], 0, 1
    kinds: list[str] = []
    while chunks and requests < 1_000:
        now = requests * every
        verdict = decide_failure(chunks.pop(0), failure("server"), Policy(), answered=answered, now=now)
        chunks += [*verdict.chunks, *verdict.later]
        kinds += [one.kind for one in verdict.failed]
        requests += 1
        answered += answered_between
    return requests, kinds


def test_a_row_that_breaks_its_server_while_others_are_answered_is_given_up_soon() -> None:
    assert refused_until_given_up(chunk_of(1), answered_between=1) == (4, ["server"])


@pytest.mark.parametrize("every", [1.0, 10.0, 60.0])
def test_a_row_that_meets_an_outage_is_given_up_by_time_however_often_it_is_asked(every: float) -> None:
    requests, kinds = refused_until_given_up(chunk_of(1), answered_between=0, every=every)

    assert kinds == ["server"]
    assert (requests - 1) * every == Policy().stall


def test_an_outage_of_ten_minutes_is_over_before_a_row_is_given_up_and_a_run_waits_longer_than_that() -> None:
    assert 600.0 < Policy().stall < Settings().max_wait


def test_a_chunk_that_nobody_answers_is_halved_in_time_and_lets_others_go_first() -> None:
    first = decide_failure(chunk_of(4), failure("server"), Policy(), answered=1, now=0.0)
    second = decide_failure(first.chunks[0], failure("server"), Policy(), answered=1, now=29.0)
    third = decide_failure(second.later[0], failure("server"), Policy(), answered=1, now=31.0)

    assert [len(chunk.rows) for chunk in third.later] == [2, 2]


def test_an_answer_to_others_ends_the_stall() -> None:
    (chunk,) = decide_failure(chunk_of(1), failure("server"), Policy(), answered=1, now=0.0).chunks

    (chunk,) = decide_failure(chunk, failure("server"), Policy(), answered=2, now=5_000.0).chunks

    assert (chunk.refusals, chunk.stalled_since) == (2, 5_000.0)


def test_a_chunk_that_breaks_its_server_is_halved_whoever_else_is_answered() -> None:
    assert refused_until_given_up(chunk_of(4), answered_between=1) == (4 + 8 + 16, ["server"] * 4)


def test_no_row_is_given_up_for_an_outage_before_the_first_answer() -> None:
    chunk = chunk_of(1)
    for _ in range(100):
        verdict = decide_failure(chunk, failure("server"), Policy(), answered=0, now=0.0)
        (chunk,) = [*verdict.chunks, *verdict.later]


@pytest.mark.parametrize(("kind", "given_up_as"), [("timeout", "timeout"), ("connection", "connection")])
def test_what_may_have_been_billed_is_sent_once_more_and_then_in_halves(kind: str, given_up_as: str) -> None:
    silence = failure(kind, Billing.UNKNOWN)

    first = decide_failure(chunk_of(2), silence, Policy(), answered=1, now=0.0)
    second = decide_failure(first.chunks[0], silence, Policy(), answered=1, now=0.0)
    third = decide_failure(second.chunks[0], silence, Policy(), answered=1, now=0.0)

    assert sizes(first) == [2]
    assert sizes(second) == [1, 1]
    assert [one.kind for one in third.failed] == [given_up_as]


def test_what_was_never_sent_is_free_to_try_again_but_not_for_ever_at_the_start() -> None:
    chunk = chunk_of(2)
    for _ in range(3):
        verdict = decide_failure(chunk, failure("connection", Billing.NOT_SENT), Policy(), answered=0, now=0.0)
        assert verdict.stop is None
        (chunk,) = verdict.chunks

    assert (
        decide_failure(chunk, failure("connection", Billing.NOT_SENT), Policy(), answered=0, now=0.0).stop is not None
    )
    assert decide_failure(chunk, failure("connection", Billing.NOT_SENT), Policy(), answered=1, now=0.0).stop is None


def test_a_page_instead_of_an_answer_is_tried_again_and_then_ends_a_run_that_never_had_one() -> None:
    page = failure("protocol", Billing.UNKNOWN)
    chunk = chunk_of(1)
    for total in range(1, 4):
        verdict = decide_failure(chunk, page, Policy(), answered=0, now=0.0, doubts=Doubts(total=total))
        assert verdict.stop is None
        (chunk,) = verdict.later

    assert decide_failure(chunk, page, Policy(), answered=0, now=0.0, doubts=Doubts(total=4)).stop is not None


def test_a_page_for_one_row_among_others_is_found_by_halves_and_costs_that_row() -> None:
    """The server answers whatever does not hold row 0; nothing else is in line."""
    chunks, answered, failed, requests = [chunk_of(8)], 5, [], 0
    while chunks and requests < 100:
        chunk, requests = chunks.pop(0), requests + 1
        if all(row.position for row in chunk.rows):
            answered += 1
            continue
        verdict = decide_failure(chunk, failure("protocol", Billing.UNKNOWN), Policy(), answered=answered, now=0.0)
        chunks = [*verdict.chunks, *chunks, *verdict.later]
        failed += [one.row.position for one in verdict.failed]

    assert failed == [0]
    assert answered == 5 + 3
    assert requests <= 10


def refused(status: int, *, is_named: bool = False) -> CallFailed:
    kind: Any = {404: "not_found", 405: "not_found", 307: "redirect"}.get(status, "auth")
    return CallFailed(kind, Billing.REJECTED, "it said no", status=status, is_named=is_named)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 307])
@pytest.mark.parametrize("is_named", [True, False])
def test_after_an_answer_a_refusal_of_the_account_is_halved_and_waits_for_another_row(
    status: int, is_named: bool
) -> None:
    first = Doubts(others=1, total=1)

    no = refused(status, is_named=is_named)
    many = decide_failure(chunk_of(8), no, Policy(), answered=1, now=0.0, doubts=first)
    one = decide_failure(chunk_of(1), no, Policy(), answered=1, now=0.0, doubts=first)
    again = decide_failure(one.later[0], no, Policy(), answered=1, now=0.0, doubts=first)

    assert many.stop is None
    assert [len(chunk.rows) for chunk in many.later] == [4, 4]
    assert (len(one.later), one.failed) == (1, ())
    assert [failed.kind for failed in again.failed] == ["bad_request"]
    assert again.is_doubtful


@pytest.mark.parametrize(("status", "is_named", "others"), [(403, True, 2), (401, False, 2), (403, False, 8)])
def test_rows_of_elsewhere_that_are_refused_too_end_the_run(status: int, is_named: bool, others: int) -> None:
    no = refused(status, is_named=is_named)

    def after(count: int) -> Verdict:
        doubts = Doubts(others=count, total=count)
        return decide_failure(chunk_of(8), no, Policy(), answered=1, now=0.0, doubts=doubts)

    assert after(others - 1).stop is None
    assert after(others).stop is no


def test_parts_that_are_refused_do_not_end_the_run_while_other_rows_are_on_their_way() -> None:
    def after(*, are_all: bool) -> Verdict:
        doubts = Doubts(others=1, singles=40, total=80, are_all=are_all)
        return decide_failure(chunk_of(2), refused(403), Policy(), answered=1, now=0.0, doubts=doubts)

    assert after(are_all=False).stop is None
    assert after(are_all=True).stop is not None


@pytest.mark.parametrize(("status", "stops"), [(401, True), (403, False), (404, False), (307, False)])
def test_the_last_rows_of_a_run_may_all_be_bad(status: int, stops: bool) -> None:
    doubts = Doubts(others=8, singles=40, total=80, are_all=True, is_end=True)

    verdict = decide_failure(chunk_of(1), refused(status), Policy(), answered=1, now=0.0, doubts=doubts)

    assert (verdict.stop is not None) == stops


@pytest.mark.parametrize("is_last", [True, False])
def test_a_page_for_a_last_row_is_believed_after_half_a_minute(is_last: bool) -> None:
    chunk, page = chunk_of(1), failure("protocol", Billing.UNKNOWN)
    for now in (0.0, 10.0, 20.0):
        (chunk,) = decide_failure(chunk, page, Policy(), answered=5, now=now, doubts=Doubts(are_all=is_last)).later

    verdict = decide_failure(chunk, page, Policy(), answered=5, now=30.0, doubts=Doubts(are_all=is_last))

    assert [one.kind for one in verdict.failed] == (["server"] if is_last else [])


def test_rows_are_on_their_way_from_the_line_to_the_reply_and_those_refused_before_are_no_others() -> None:
    doubt = Doubt()

    with doubt.asking(replace(chunk_of(2), doubts=1)):
        parts = doubt.is_asking_others
    with doubt.asking(chunk_of(2)):
        others = doubt.is_asking_others

    assert (parts, others, doubt.is_asking_others) == (False, True, False)


@pytest.mark.parametrize(
    ("statuses", "stops"),
    [((404, 404), True), ((403, 404), False), ((401, 404), False), ((401, 404, 401), True)],
    ids=["the same", "a firewall's and a stray one", "two stray ones", "the same with a stray one"],
)
def test_only_refusals_of_one_kind_are_signs_of_the_same(statuses: tuple[int, ...], stops: bool) -> None:
    doubt = Doubt()
    for status in statuses:
        no = refused(status, is_named=status != 403)
        doubt.refused(chunk_of(8), no, left_at=1.0, now=1.0)

    verdict = decide_failure(chunk_of(8), no, Policy(), answered=9, now=1.0, doubts=doubt.count)

    assert (verdict.stop is not None) == stops


@pytest.mark.parametrize(
    ("status", "is_named", "is_known", "stops"),
    [
        pytest.param(401, True, False, True, id="a key"),
        pytest.param(401, True, True, True, id="a key, after answers in the ledger"),
        pytest.param(403, True, False, True, id="rights"),
        pytest.param(404, True, False, True, id="a model"),
        pytest.param(307, False, False, True, id="another address"),
        pytest.param(403, False, False, False, id="a page"),
        pytest.param(404, False, False, False, id="a page that is not found"),
        pytest.param(307, False, True, False, id="a redirect, after answers in the ledger"),
    ],
)
def test_before_the_first_answer_one_refusal_is_enough_if_it_has_a_word_for_it(
    status: int, is_named: bool, is_known: bool, stops: bool
) -> None:
    no, first = refused(status, is_named=is_named), Doubts(others=1, total=1)

    verdict = decide_failure(chunk_of(8), no, Policy(), answered=0, now=0.0, doubts=first, is_known=is_known)

    assert (verdict.stop is not None) == stops


def test_thoughts_that_took_the_room_leave_the_chunk_as_it_is() -> None:
    chunk, tokens = chunk_of(8), [f"t{at}" for at in range(8)]
    reply = Reply(text="", finish="length")

    verdict = decide_reply(chunk, tokens, reply, read_reply("", tokens, "array"), VALIDATOR, Policy(), is_crowded=True)

    assert [(len(one.rows), one.room, one.cuts) for one in verdict.chunks] == [(8, 1, 0)]
    assert not verdict.was_cut
    assert all(row.attempts == 0 for row in chunk.rows)


@pytest.mark.parametrize(("billing", "attempts"), [(Billing.PAID_BAD, 1), (Billing.UNKNOWN, 0)])
def test_a_page_that_no_model_wrote_costs_no_attempt_once_there_was_an_answer(billing: Billing, attempts: int) -> None:
    verdict = decide_failure(chunk_of(2), failure("protocol", billing), Policy(), answered=1, now=0.0)

    assert {row.attempts for chunk in [*verdict.chunks, *verdict.later] for row in chunk.rows} == {attempts}


def everywhere(verdict: Verdict) -> list[int]:
    rows = [one.row.position for one in verdict.accepted] + [row.position for row in verdict.again]
    rows += [row.position for chunk in [*verdict.chunks, *verdict.later] for row in chunk.rows]
    return sorted(rows + [failed.row.position for failed in verdict.failed])


@pytest.mark.parametrize("finish", ["stop", "length", "refused", "filtered"])
@pytest.mark.parametrize("attempts", range(4))
@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize(
    "labels",
    [
        {},
        {0: "a"},
        {0: "nope"},
        {0: "crash"},
        "garbage",
        '{"rows":[{"id":"t0"',
        '{"rows":[{"id":"t0","label":"crash"} and then nonsense',
    ],
    ids=str,
)
def test_every_row_ends_in_exactly_one_place(finish: Finish, attempts: int, count: int, labels: Any) -> None:
    assert everywhere(judged(chunk_of(count, attempts=attempts), labels, finish)) == list(range(count))
