"""Faults 36 to 63 of the matrix: what a model gets wrong in a reply that arrives. The number is in each name or id."""

from __future__ import annotations

import json
import time
from typing import Any, Literal

import pandas as pd
import pytest
from pydantic import BaseModel, Field, field_validator

import smelt
from smelt.errors import SmeltWarning, UnavailableError
from smelt.plan.replies import read_reply
from smelt.providers.base import Capabilities, Reply, Request
from smelt.testing import ScriptedProvider, answered, asked
from tests.conftest import MakeScenario
from tests.exactness.companies import ask, assert_each_answer_is_on_its_own_row, companies, failures
from tests.fakeserver.answers import expected
from tests.growth import assert_time_grows_linearly
from tests.models import PROVIDERS, RULES, served

STRICT = ["openai", "anthropic", "google"]

# --- faults of one row ------------------------------------------------------------------------------------------------

# What strikes a row, and as what it is given up if it does so every time.
OF_ROWS: list[Any] = [
    pytest.param("drop", "missing", id="43-drop"),
    pytest.param({"fault": "duplicate", "copy": "equal"}, "missing", id="44-duplicate_equal"),
    pytest.param({"fault": "duplicate", "copy": "different"}, "missing", id="44-duplicate_different"),
    pytest.param("padded_ids", "missing", id="47-padded"),
    pytest.param("upper_ids", "missing", id="47-other_case"),
    pytest.param("split", "missing", id="49-split"),
    pytest.param("extra_fields", "invalid", id="51-extra_fields"),
    pytest.param("missing_field", "invalid", id="51-missing_field"),
    pytest.param("null_field", "invalid", id="51-null"),
    pytest.param({"fault": "wrong_type", "field": "length"}, "invalid", id="52-text_for_int"),
    pytest.param({"fault": "set", "field": "length", "value": True}, "invalid", id="52-bool_for_int"),
    pytest.param({"fault": "set", "field": "length", "value": 5.5}, "invalid", id="52-float_for_int"),
    pytest.param({"fault": "set", "field": "is_odd", "value": "true"}, "invalid", id="52-text_for_bool"),
    pytest.param("duplicate_keys", "invalid", id="53-doubled_key"),
    pytest.param("nan", "invalid", id="54-nan"),
    pytest.param("overflow", "invalid", id="54-1e999"),
    pytest.param({"fault": "huge_int", "digits": 20}, "invalid", id="55-20_digits"),
    pytest.param({"fault": "huge_int", "digits": 5_000}, "invalid", id="55-5000_digits"),
    pytest.param("surrogate", "invalid", id="57-surrogate"),
    pytest.param({"fault": "set", "field": "sector", "value": "Tech"}, "invalid", id="59-enum_case"),
    pytest.param("invalid", "invalid", id="59-enum"),
]


@pytest.mark.parametrize(("fault", "kind"), OF_ROWS)
def test_a_row_that_comes_wrong_once_is_asked_again_and_no_other(fault: Any, kind: str, scenario: MakeScenario) -> None:
    # A fault of rows strikes the first row of its request.
    slip = scenario(answers=RULES, script={1: fault}, count_by="number")
    frame = companies(12)

    result = ask(frame, served("openai", slip))

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    stats = slip.stats()
    assert stats.requests == 4  # It travels with the rows that follow: thirteen rows by four.
    assert stats.rows_sent_by == {str(at): 1 + (at == 4) for at in range(12)}


@pytest.mark.parametrize(("fault", "kind"), OF_ROWS)
def test_a_row_that_always_comes_wrong_is_given_up_alone(fault: Any, kind: str, scenario: MakeScenario) -> None:
    frame = companies(12)
    options = {"fault": fault} if isinstance(fault, str) else fault
    always = scenario(answers=RULES, poison={"column": "number", "values": [5], "fault": options}, count_by="number")

    result = ask(frame, served("openai", always))

    assert failures(result) == {5: kind}
    assert result.errors[0].attempts == 4
    assert_each_answer_is_on_its_own_row(frame, result.data, but=[5])
    assert pd.isna(result.frame["sector"][5])
    assert always.stats().rows_sent_by == {str(at): 4 if at == 5 else 1 for at in range(12)}
    assert always.stats().requests <= 3 + 3


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", ["invalid", "drop", "duplicate"])
def test_43_44_59_every_protocol_keeps_the_neighbours(provider: str, fault: str, scenario: MakeScenario) -> None:
    frame = companies(12)
    always = scenario(answers=RULES, poison={"column": "number", "values": [5], "fault": {"fault": fault}})

    result = ask(frame, served(provider, always))

    assert set(failures(result)) == {5}
    assert_each_answer_is_on_its_own_row(frame, result.data, but=[5])


def test_51_52_the_message_names_fields_and_no_values(scenario: MakeScenario) -> None:
    fault = {"fault": "set", "field": "length", "value": "secret value"}
    always = scenario(answers=RULES, poison={"column": "number", "values": [1], "fault": fault})

    result = ask(companies(2), served("openai", always))

    assert "length" in result.errors[0].message
    assert "secret" not in repr(result.errors)


def test_59_asking_again_tells_the_model_what_was_wrong(scenario: MakeScenario) -> None:
    slip = scenario(answers=RULES, script={0: {"fault": "set", "field": "sector", "value": "Tech"}}, log=True)

    ask(companies(2), served("openai", slip))

    again = slip.stats().log[1]["body"]["input"]
    assert "\"problem\":\"sector: Input should be 'tech', 'finance', 'health' or 'other'\"" in again


# --- faults of the whole reply ----------------------------------------------------------------------------------------

# What strikes a reply, and how many requests of 12 rows in chunks of 4 that may cost.
OF_REPLIES: list[Any] = [
    pytest.param("malformed", 5, id="36-malformed"),
    pytest.param("fenced", 5, id="36-fence"),
    pytest.param("prose", 5, id="36-prose"),
    pytest.param("trailing", 3, id="36-trailing"),
    pytest.param({"fault": "says", "text": "I am done."}, 5, id="36-no_json"),
    pytest.param({"fault": "says", "text": '{"rows": {"a": 1}}'}, 5, id="36-other_shape"),
    pytest.param("empty", 5, id="38-empty"),
    pytest.param("empty_list", 4, id="42-empty_list"),
    pytest.param({"fault": "stranger", "rows": "all"}, 3, id="45-strangers"),
    pytest.param("shuffle", 3, id="46-reordered"),
    pytest.param("numeric_ids", 4, id="47-counted_ids"),
    pytest.param("shift_ids", 4, id="48-shifted_ids"),
    pytest.param("merge_rows", 4, id="49-merged"),
    pytest.param({"fault": "stranger", "rows": [0]}, 3, id="50-extra_row"),
    pytest.param("nesting_bomb", 6, id="56-nesting_bomb"),
    pytest.param("no_usage", 3, id="60-no_usage"),
    pytest.param("absurd_usage", 3, id="60-negative_usage"),
    pytest.param({"fault": "absurd_usage", "tokens": 10**15}, 3, id="60-huge_usage"),
    pytest.param("no_model", 3, id="60-no_model"),
    pytest.param("other_request", 4, id="61-other_request"),
]


@pytest.mark.parametrize("provider", STRICT)
@pytest.mark.parametrize(("fault", "requests"), OF_REPLIES)
def test_a_reply_that_comes_wrong_once_costs_few_requests(
    provider: str, fault: Any, requests: int, scenario: MakeScenario
) -> None:
    slip = scenario(answers=RULES, script={1: fault})
    frame = companies(12)

    result = ask(frame, served(provider, slip))

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert slip.stats().requests <= requests


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        pytest.param({"fault": "says", "text": "I cannot."}, "malformed", 1 + 2 + 4 + 4, id="36-prose_only"),
        pytest.param("empty_list", "missing", 1 + 1 + 4 + 4, id="42-empty_list"),
        pytest.param("shift_ids", "missing", 1 + 1 + 4 + 4, id="48-shifted_ids"),
        pytest.param("numeric_ids", "missing", 1 + 1 + 4 + 4, id="48-counted_ids"),
    ],
)
def test_a_model_that_never_gets_it_right_costs_four_attempts_a_row(
    fault: str, kind: str, requests: int, scenario: MakeScenario
) -> None:
    hopeless = scenario(answers=RULES, always=fault, count_by="number")

    with pytest.warns(SmeltWarning, match="Every row failed"):
        result = ask(companies(4), served("openai", hopeless))

    assert failures(result) == dict.fromkeys(range(4), kind)
    assert result.data == [None] * 4
    assert set(hopeless.stats().rows_sent_by.values()) == {4}
    assert hopeless.stats().requests <= requests


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"fault": "says", "text": "I cannot."}, "The last one begins: I cannot"),
        ("empty_list", "The last one has none"),
        ("numeric_ids", "The last one has none"),
    ],
    ids=["prose", "no rows", "counted ids"],
)
def test_36_a_model_that_never_answers_ends_the_run(fault: Any, says: str, scenario: MakeScenario) -> None:
    deaf = scenario(answers=RULES, always=fault)

    with pytest.raises(UnavailableError, match=f"None of the first 32 replies has an answer .* {says}.*smelt.explain"):
        ask(companies(400), served("openai", deaf), concurrency=8)

    assert deaf.stats().requests <= 32 + 8


def test_36_one_answer_is_enough_to_go_on(scenario: MakeScenario) -> None:
    script = {str(number): {"fault": "says", "text": "I cannot."} for number in range(1, 60)}
    mute = scenario(answers=RULES, script=script)

    result = ask(companies(40), served("openai", mute))

    assert result.metrics.failed_rows == 0 or {error.kind for error in result.errors} == {"malformed"}
    assert mute.stats().requests > 60


@pytest.mark.parametrize("fault", ["fenced", "prose", "trailing"])
def test_36_a_server_without_enforcement_may_write_around_its_json(fault: str, scenario: MakeScenario) -> None:
    chatty = scenario(answers=RULES, always=fault)
    frame = companies(12)

    with pytest.warns(SmeltWarning, match="does not enforce the reply schema"):
        result = ask(frame, served("vllm", chatty))

    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert chatty.stats().requests == 3


@pytest.mark.parametrize("provider", PROVIDERS)
def test_63_the_first_answer_shows_that_the_schema_is_not_enforced(provider: str, scenario: MakeScenario) -> None:
    chatty = scenario(answers=RULES, always="fenced")
    frame = companies(60)

    with pytest.warns(SmeltWarning, match="does not enforce the reply schema") as warned:
        result = ask(frame, served(provider, chatty), batch_size="auto")

    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert len(warned) == 1
    assert result.metrics.total_retries == 0
    assert result.metrics.requests >= 60 / 12


@pytest.mark.parametrize("kind", ["no_usage", "absurd_usage"])
def test_60_what_is_not_known_to_be_used_has_no_price(kind: str, scenario: MakeScenario) -> None:
    silent = scenario(answers=RULES, always=kind)

    result = ask(companies(8), served("openai", silent))

    assert result.errors == []
    assert result.metrics.input_tokens == 0
    assert result.metrics.cost_usd is None


def test_61_replies_to_other_requests_are_never_taken_and_are_reported(scenario: MakeScenario) -> None:
    mixed = scenario(answers=RULES, script={1: "other_request", 2: "other_request"})
    frame = companies(12)

    with pytest.warns(SmeltWarning, match="is a proxy mixing them up"):
        result = ask(frame, served("openai", mixed))

    assert_each_answer_is_on_its_own_row(frame, result.data)


# --- 37 to 39: out of tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.3, 0.6, 0.99, 1.0])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_37_complete_rows_of_a_cut_reply_count(provider: str, fraction: float, scenario: MakeScenario) -> None:
    cut = scenario(answers=RULES, script={1: {"fault": "truncate", "fraction": fraction}}, log=True, count_by="number")
    frame = companies(24)

    result = ask(frame, served(provider, cut), batch_size=8)

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    stats = cut.stats()
    assert stats.requests <= 3 + 2 + 1  # The chunk in halves, and a smaller one after it.
    assert set(stats.rows_sent_by.values()) <= {1, 2}
    complete = int(8 * fraction)
    assert stats.rows_sent - 24 <= 8 - complete + 1


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("fault", "number"), [("reasoning_ate_it", 38), ("whitespace_runaway", 39)])
def test_38_39_a_budget_that_was_eaten_leads_to_less_rows_and_more_room(
    provider: str, fault: str, number: int, scenario: MakeScenario
) -> None:
    eaten = scenario(answers=RULES, script={1: fault})
    frame = companies(12)

    result = ask(frame, served(provider, eaten))

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert eaten.stats().requests <= 3 + 2 + 1  # The chunk in halves, and a smaller one after it.


@pytest.mark.parametrize("provider", PROVIDERS)
def test_38_a_budget_that_is_always_eaten_gives_the_rows_up_and_never_asks_the_same_twice(
    provider: str, scenario: MakeScenario
) -> None:
    eaten = scenario(answers=RULES, always="reasoning_ate_it", log=True)

    with pytest.warns(SmeltWarning, match="output limit"):
        result = ask(companies(4), served(provider, eaten))

    assert set(failures(result).values()) == {"truncated"}
    sizes = [_asked_for(entry["body"]) for entry in eaten.stats().log]
    # As it is with ever more room for thoughts, in halves, and each row with ever more room for its answer.
    assert len(sizes) == len(set(sizes)) <= 1 + 4 + 2 + 4 * 3


def _asked_for(body: dict[str, Any]) -> tuple[str, Any]:
    """The rows of a request without their tokens, and the room it was given."""
    if "input" in body:
        return _names(body["input"]), body["max_output_tokens"]
    if "contents" in body:
        return _names(body["contents"][0]["parts"][0]["text"]), body["generationConfig"]["maxOutputTokens"]
    return _names(body["messages"][-1]["content"]), body.get("max_tokens")


def _names(user: str) -> str:
    request = Request(system="", user=user, schema={}, max_output_tokens=1)
    return "/".join(row["name"] for _, row in asked(request))


# --- 40, 41: would not answer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "fault", "kind", "words"),
    [
        pytest.param("openai", {"fault": "refuse", "detail": "Not for me."}, "refused", "Not for me", id="40-openai"),
        pytest.param("vllm", {"fault": "refuse", "detail": "Not for me."}, "refused", "Not for me", id="40-vllm"),
        pytest.param(
            "anthropic", {"fault": "refuse", "detail": "Not for me."}, "refused", "Not for me", id="40-anthropic"
        ),
        pytest.param("google", {"fault": "refuse"}, "filtered", "PROHIBITED_CONTENT", id="40-google"),
        pytest.param("openai", {"fault": "filter"}, "filtered", "filter", id="41-openai"),
        pytest.param("vllm", {"fault": "filter"}, "filtered", "filter", id="41-vllm"),
        pytest.param("google", {"fault": "filter"}, "filtered", "SAFETY", id="41-safety"),
        pytest.param(
            "google", {"fault": "filter", "reason": "RECITATION"}, "filtered", "RECITATION", id="41-recitation"
        ),
        pytest.param("google", {"fault": "block_prompt"}, "filtered", "PROHIBITED_CONTENT", id="41-blocked"),
    ],
)
@pytest.mark.parametrize("guilty", [0, 13])
def test_a_row_that_a_model_would_not_answer_is_found_at_no_cost_to_others(
    provider: str, fault: Any, kind: str, words: str, guilty: int, scenario: MakeScenario
) -> None:
    shy = scenario(answers=RULES, poison={"column": "number", "values": [guilty], "fault": fault}, count_by="number")
    frame = companies(16)

    result = ask(frame, served(provider, shy), batch_size=8)

    assert failures(result) == {guilty: kind}
    assert words in result.errors[0].message
    assert_each_answer_is_on_its_own_row(frame, result.data, but=[guilty])
    assert shy.stats().requests <= 2 + 2 * 3
    assert shy.stats().rows_sent_by[str(guilty)] == 4  # 8, 4, 2, 1: never the same request twice.


@pytest.mark.parametrize("provider", ["openai", "google"], ids=["no_text", "no_candidates"])
def test_41_a_reply_without_any_content_or_reason_is_asked_again(provider: str, scenario: MakeScenario) -> None:
    blank = scenario(answers=RULES, script={1: "no_content"})
    frame = companies(12)

    result = ask(frame, served(provider, blank))

    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert blank.stats().requests == 5


# --- 54, 56, 57: values -----------------------------------------------------------------------------------------------


class Measure(BaseModel):
    share: float
    free: float | None = Field(default=None, allow_inf_nan=True)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_54_a_number_that_is_not_finite_is_taken_only_where_the_field_says_so(value: str) -> None:
    def reply(request: Request) -> Reply:
        (token, _), (other, _) = asked(request)
        text = (
            f'{{"rows":[{{"id":"{token}","share":{value},"free":0.5}},{{"id":"{other}","share":0.5,"free":{value}}}]}}'
        )
        return Reply(text=text)

    provider = ScriptedProvider({"share": 1.0, "free": 1.0}, script=[reply])

    result = smelt.run(
        [{"n": 1}, {"n": 2}], "Measure {n}.", Measure, model=provider, max_attempts=1, shuffle=False, progress=False
    )

    assert failures(result) == {0: "invalid"}
    assert "not finite" in result.errors[0].message
    assert result.data[1] is not None
    assert result.data[1].share == 0.5


@pytest.mark.parametrize("opening", ["[", '{"a":'], ids=["arrays", "objects"])
def test_56_a_row_that_is_nested_without_end_costs_its_own_reply_only(opening: str) -> None:
    def bomb(request: Request) -> Reply:
        _, bad = asked(request)
        text = answered(request, lambda row: expected(RULES, row)).text
        first = text[: text.index("}") + 1]
        return Reply(text=f'{first},{{"id":"{bad[0]}","echo":{opening * 100_000}')

    frame = companies(4)
    provider = ScriptedProvider(lambda row: expected(RULES, row), script=[None, bomb])

    result = ask(frame, provider, batch_size=2)

    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert len(provider.requests) == 3


@pytest.mark.parametrize(
    "text", ["a\u0000b", "a\u202eb", "a\u200bb", "\U0001f600"], ids=["nul", "bidi", "zero-width", "emoji"]
)
def test_57_odd_characters_that_a_column_can_hold_are_kept(text: str) -> None:
    provider = ScriptedProvider(lambda row: expected(RULES, row) | {"echo": text})

    result = ask(companies(2), provider)

    assert list(result.frame["echo"]) == [text, text]


# --- 58, 62: the caller's own validators ------------------------------------------------------------------------------


class Picky(BaseModel):
    word: Literal["yes", "no"]

    @field_validator("word")
    @classmethod
    def _not_at_first(cls, value: str) -> str:
        if value == "no":
            raise ValueError("must be in favour")
        return value


def test_58_what_the_callers_validator_rejects_is_asked_again_with_its_words() -> None:
    provider = ScriptedProvider(
        {"word": "yes"}, script=[lambda request: answered(request, lambda row: {"word": "no" if row["n"] else "yes"})]
    )

    result = smelt.run([{"n": 0}, {"n": 1}], "Vote on {n}.", Picky, model=provider, progress=False)

    assert result.errors == []
    assert provider.rows_sent == 1  # Of the scripted first reply it does not know.
    assert "must be in favour" in provider.requests[1].user


class Broken(BaseModel):
    word: str

    @field_validator("word")
    @classmethod
    def _breaks(cls, value: str) -> str:
        if value == "break":
            raise KeyError("a mistake of the caller's")
        return value


def test_62_a_validator_that_raises_fails_its_row_at_once_and_names_the_exception() -> None:
    provider = ScriptedProvider(lambda row: {"word": "break" if row["n"] == 1 else "fine"})

    result = smelt.run([{"n": 0}, {"n": 1}, {"n": 2}], "Say {n}.", Broken, model=provider, progress=False)

    assert failures(result) == {1: "validator"}
    assert "KeyError" in result.errors[0].message
    assert "a mistake" not in result.errors[0].message
    assert len(provider.requests) == 1


class Slow(BaseModel):
    word: str

    @field_validator("word")
    @classmethod
    def _dawdles(cls, value: str) -> str:
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until:
            pass
        return value


def test_62_a_slow_validator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smelt.engine.applier._SLOW_VALIDATION", 0.01)

    with pytest.warns(SmeltWarning, match="look at Slow"):
        smelt.run([{"n": 0}], "Say {n}.", Slow, model=ScriptedProvider({"word": "so"}), progress=False)


# --- 48 and the tokens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["array", "keyed"])
def test_48_a_reply_by_position_names_nobody(codec: Any) -> None:
    def by_position(request: Request) -> Reply:
        rows = {str(at): expected(RULES, row) for at, (_, row) in enumerate(asked(request))}
        text = json.dumps(rows if codec == "keyed" else {"rows": [{"id": key, **value} for key, value in rows.items()]})
        return Reply(text=text)

    provider = ScriptedProvider(
        lambda row: expected(RULES, row), script=[by_position], capabilities=Capabilities(codec=codec)
    )
    frame = companies(4)

    result = ask(frame, provider)

    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert len(provider.requests) == 2


@pytest.mark.parametrize(
    "piece", [" ", "{ ", '{"rows":[', '{"rows"' + " " * 1_000], ids=["blanks", "braces", "openings", "almost"]
)
def test_39_a_runaway_text_is_read_in_linear_time(piece: str) -> None:
    assert_time_grows_linearly(lambda size: read_reply(piece * (size // len(piece)), ["kkkkb"], "array"), 40_000)
