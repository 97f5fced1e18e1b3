"""Room for thoughts: models that think before they answer get through, whoever they are and whatever they report."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel

import smelt
from smelt.call.thinking import room_of
from smelt.engine.room import Grant, RefusedLimit, Room, refused_limit, thoughts_in
from smelt.model import Model
from smelt.providers.base import Billing, CallFailed, Capabilities, Reply, Usage
from smelt.providers.own import complete
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.exactness.companies import PROMPT, companies
from tests.fakeserver import Scenario
from tests.fakeserver.answers import expected
from tests.models import KEYS, PROTOCOLS, PROVIDERS
from tests.models import RULES as ALL_RULES

KNOWN = {"openai": "gpt-5-mini", "vllm": "Qwen/Qwen3-8B", "anthropic": "claude-haiku-5-5", "google": "gemini-2.5-flash"}


RULES = {name: ALL_RULES[name] for name in ("sector", "is_odd")}


ROWS = 50


def model(provider: str, scenario: Scenario, name: str = "fake-1", **options: Any) -> Model:
    return Model(provider, name, api_key=KEYS[provider], base_url=scenario.base_url(PROTOCOLS[provider]), **options)


class Kind(BaseModel):
    """Short answers: the less there is to say, the less room there is for thoughts."""

    sector: Literal["tech", "finance", "health", "other"]
    is_odd: bool


def ask(rows: int, target: Model, **options: Any) -> Any:
    frame = companies(rows)
    result = smelt.run(frame, PROMPT, Kind, model=target, progress=False, **options)
    told: list[Any] = frame.to_dict("records")
    assert [row and row.model_dump() for row in result.data] == [expected(RULES, row) for row in told]
    return result


@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
@pytest.mark.parametrize("thoughts", [[300, 300], [800, 800], [3000, 3000], [300, 3000]], ids=str)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_model_that_thinks_costs_its_thoughts_and_little_more(
    provider: str, is_known: bool, thoughts: list[int], told: bool, scenario: MakeScenario
) -> None:
    thinking = scenario(answers=RULES, thoughts={"tokens": thoughts, "told": told})
    name = KNOWN[provider] if is_known else "fake-1"

    result = ask(ROWS, model(provider, thinking, name))

    stats = thinking.stats()
    answers = ROWS * len('{"id":"bcdfg","sector":"finance","is_odd":false},') // 4
    needed = stats.useful_thoughts + answers  # What was paid beyond that only showed how much room is wanted.
    assert result.errors == []
    assert stats.requests <= 10
    assert stats.output_tokens <= 1.2 * needed


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_limit_that_the_server_refuses_is_lowered_to_what_it_says(provider: str, scenario: MakeScenario) -> None:
    small = scenario(answers=RULES, thoughts={"tokens": [500, 500], "told": True}, most_output=2_048, log=True)

    result = ask(ROWS, model(provider, small, KNOWN[provider]), concurrency=1)

    assert result.errors == []
    limits = [_limit(one["body"]) for one in small.stats().log]
    assert limits[0] > 2_048
    assert max(limits[1:]) == 2_048


def _limit(body: dict[str, Any]) -> int:
    config = body.get("generationConfig") or body
    names = ("max_tokens", "max_output_tokens", "maxOutputTokens")
    limit: int = next(config[name] for name in names if name in config)
    return limit


def test_the_next_run_knows_what_the_last_one_learnt(scenario: MakeScenario) -> None:
    thinking = scenario(answers=RULES, thoughts={"tokens": [3_000, 3_000], "told": False})
    ask(20, model("vllm", thinking), batch_size=10)
    thinking.reset(answers=RULES, thoughts={"tokens": [3_000, 3_000], "told": False})

    ask(20, model("vllm", thinking), batch_size=10)

    assert thinking.stats().requests == 2


def test_a_budget_for_thoughts_in_the_parameters_comes_on_top_of_the_answers(scenario: MakeScenario) -> None:
    thinking = scenario(answers=RULES, log=True)
    params = {
        "thinking": {"type": "enabled", "budget_tokens": 30_000}
    }  # More than the SDK lets pass without a timeout.

    ask(4, model("anthropic", thinking, params=params))

    (request,) = thinking.stats().log
    assert request["body"]["max_tokens"] > 30_000


def test_the_room_can_be_set_and_is_no_part_of_what_makes_an_answer_known(
    scenario: MakeScenario, tmp_path: Any
) -> None:
    thinking, ledger = scenario(answers=RULES, log=True), tmp_path / "ledger.sqlite"
    ask(4, model("openai", thinking, thinking_tokens=9_000), ledger=ledger)

    again = ask(4, model("openai", thinking, thinking_tokens=100), ledger=ledger)

    (request,) = thinking.stats().log
    assert request["body"]["max_output_tokens"] > 9_000
    assert again.metrics.requests == 0


@pytest.mark.parametrize("value", [-1, 1.5, True, "many"])
def test_a_room_that_is_no_number_of_tokens_is_refused(value: Any) -> None:
    with pytest.raises(smelt.SmeltConfigError, match="thinking_tokens"):
        Model("openai", "gpt-5-mini", thinking_tokens=value)


def test_a_reply_of_blanks_is_not_taken_for_thoughts() -> None:
    room = Room()
    blanks = Reply(text='{"rows":[' + "\n" * 400, finish="length", usage=Usage(output_tokens=404))

    is_crowded = room.learn(blanks, Grant(limit=404, answers=404, input_tokens=10), has_rows=False, is_cut=True)

    assert not is_crowded
    assert room.tokens == 0


def test_an_estimate_counts_thoughts_and_says_so() -> None:
    frame, prompt = companies(100), PROMPT
    quiet = smelt.Job(prompt, Kind).estimate(Model("openai", "gpt-4.1-mini", api_key=KEYS["openai"]), data=frame)

    thinking = smelt.Job(prompt, Kind).estimate(Model("openai", "gpt-5-mini", api_key=KEYS["openai"]), data=frame)

    assert quiet.thinking_tokens == 0
    assert "thoughts" not in str(quiet)
    assert thinking.thinking_tokens == 1_000 * thinking.requests
    assert thinking.output_tokens > thinking.thinking_tokens
    assert f"(perhaps {thinking.thinking_tokens:,} of them thoughts)" in str(thinking)


def test_an_estimate_counts_the_thoughts_that_were_seen(scenario: MakeScenario) -> None:
    seen = scenario(answers=RULES, thoughts={"tokens": [700, 700], "told": True})
    ask(20, model("openai", seen))

    forecast = smelt.Job(PROMPT, Kind).estimate(model("openai", seen), data=companies(100))

    assert forecast.thinking_tokens == 700 * forecast.requests


GRANT = Grant(limit=421, answers=421, input_tokens=300)


def cut(text: str = "", **usage: Any) -> Reply:
    return Reply(text=text, finish="length", usage=Usage(**usage))


def test_a_cut_before_the_first_row_makes_room_at_once() -> None:
    room = Room()

    assert room.learn(cut(output_tokens=421), GRANT, has_rows=False, is_cut=True)
    assert room.tokens == 4_000


def test_a_second_cut_before_the_first_row_doubles_the_room() -> None:
    room = Room(tokens=4_000)
    grant = room.grant(421, 300)

    assert room.learn(cut(output_tokens=grant.limit, reasoning_tokens=grant.limit), grant, has_rows=False, is_cut=True)
    assert room.tokens >= 8_000


def test_requests_that_left_before_the_room_grew_do_not_make_it_grow_again() -> None:
    room = Room(tokens=4_000)
    grant = room.grant(421, 300)
    for _ in range(8):
        assert room.learn(cut(output_tokens=grant.limit), grant, has_rows=False, is_cut=True)

    assert room.tokens == 2 * grant.limit


def test_the_largest_thoughts_seen_fit_twice() -> None:
    room = Room()
    reply = Reply(text="x" * 400, usage=Usage(output_tokens=3_100, reasoning_tokens=3_000))

    assert not room.learn(reply, Grant(limit=4_000, answers=421, input_tokens=1), has_rows=True, is_cut=False)
    assert room.tokens == 6_000


def test_at_the_models_own_limit_a_cut_is_about_the_answers_again() -> None:
    room = Room(tokens=4_000, most=4_096)
    grant = room.grant(421, 300)

    assert grant.limit == 4_096
    assert not room.learn(cut(output_tokens=4_096), grant, has_rows=False, is_cut=True)


def test_room_has_an_end() -> None:
    room, requests = Room(), 0
    while room.learn(cut(), grant := room.grant(421, 300), has_rows=False, is_cut=True):
        requests += 1
        assert requests < 10

    assert grant.limit == 421 + 32_000


@pytest.mark.parametrize(
    ("text", "usage", "thoughts"),
    [
        pytest.param("", Usage(output_tokens=421), 421, id="nothing but thoughts"),
        pytest.param("", Usage(), 500, id="nothing at all, and no word of tokens"),
        pytest.param('{"rows":[' + "x" * 391, Usage(output_tokens=110), 0, id="an answer"),
        pytest.param('{"rows":[' + "字" * 200, Usage(output_tokens=300), 0, id="an answer in Chinese"),
        pytest.param('{"rows":[' + "x" * 391, Usage(output_tokens=1_100), 1_000, id="an answer and thoughts"),
        pytest.param("<think>" + "y " * 2_000, Usage(output_tokens=1_000), 1_000, id="thoughts in the text"),
        pytest.param(
            "<think>" + "y " * 2_000 + '</think>{"rows":[' + "x" * 391,
            Usage(output_tokens=1_100),
            1_000,
            id="both in it",
        ),
        pytest.param("x", Usage(output_tokens=900, reasoning_tokens=77), 77, id="what is reported counts"),
    ],
)
def test_thoughts_are_what_the_text_leaves_unexplained(text: str, usage: Usage, thoughts: int) -> None:
    assert thoughts_in(Reply(text=text, usage=usage), limit=500, is_cut=True) == thoughts


REFUSALS = [
    (
        (
            "max_tokens is too large: 20000. This model supports at most 8192 completion tokens, whereas you provided "
            "20000."
        ),
        8_192,
    ),
    (
        "Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 8192, but got 20000 instead.",
        8_192,
    ),
    (
        "max_tokens: 20000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-haiku-20241022",
        8_192,
    ),
    (
        (
            "Unable to submit request because it has a maxOutputTokens value of 20000 but the supported range is from "
            "1 (inclusive) to 8193 (exclusive)."
        ),
        8_192,
    ),
    ("`max_completion_tokens` must be less than or equal to `8192`, the maximum value for this model", 8_192),
    ("Invalid max_tokens value, the valid range of max_tokens is [1, 8,192]", 8_192),
    (
        (
            "The maximum tokens you requested exceeds the model limit of 8193. Try again with a maximum tokens value "
            "that is lower than 8193."
        ),
        8_192,
    ),
    ("max_tokens is too large", 10_000),
]


@pytest.mark.parametrize(("message", "most"), REFUSALS)
def test_the_most_that_a_model_may_write_is_read_from_its_refusal(message: str, most: int) -> None:
    assert refused_limit(f"HTTP 400: {message}", 20_000) == RefusedLimit(most=most)


@pytest.mark.parametrize(
    "message",
    [
        (
            "'max_tokens' is too large: 20000. This model's maximum context length is 8192 tokens and your request has "
            "300 input tokens (20000 > 8192 - 300)."
        ),
        (
            "This model's maximum context length is 8192 tokens. However, you requested 20300 tokens (300 in the "
            "messages, 20000 in the completion). Please reduce the length of the messages or completion."
        ),
        (
            "max_tokens=20000 cannot be greater than max_model_len=8192. Please request fewer output tokens. "
            "(parameter=max_tokens, value=20000)"
        ),
    ],
)
def test_what_a_context_leaves_for_output_is_read_from_its_refusal(message: str) -> None:
    room = Room(tokens=19_579)
    grant = room.grant(421, 300)

    assert room.refused(CallFailed("too_long", Billing.REJECTED, message), grant)
    assert 7_000 < room.grant(421, 300).limit <= 8_192 - 300


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 208310 tokens > 200000 maximum",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
        "The text could not be processed.",
    ],
)
def test_refusals_of_something_else_lower_no_limit(message: str) -> None:
    room = Room(tokens=4_000)

    assert not room.refused(CallFailed("bad_request", Billing.REJECTED, message), room.grant(421, 9_000))
    assert room.most is None


def test_a_provider_of_ones_own_says_how_much_it_thinks() -> None:
    thinker = ScriptedProvider({"text": "x"})
    thinker.capabilities = Capabilities(thinking_tokens=500)

    assert room_of(complete(thinker), {}).tokens == 500
