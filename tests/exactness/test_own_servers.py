"""Own servers hold rows to their tokens, or are asked in another way; their tokenizers differ from every estimate."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import smelt
from smelt.model import Model
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.models import RULES, Company

OWN = ("vllm", "sglang", "ollama", "llamacpp", "lmstudio")
ROWS = 200
FRAME = pd.DataFrame({"name": [f"company {at}" for at in range(ROWS)], "number": range(ROWS)})
PROMPT = "Describe {name} {number}."


def ask(fake: Scenario, provider: str = "vllm", **options: Any) -> Any:
    model = Model(provider, "fake-1", base_url=fake.base_url("compatible"))
    result = FRAME.smelt.run(PROMPT, Company, model=model, **options)
    assert result.errors == []
    assert result.frame.echo.tolist() == FRAME.name.tolist()
    return result


@pytest.mark.parametrize("provider", OWN)
def test_a_model_that_copies_no_token_answers_every_row_under_its_own(provider: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, is_random=True)

    ask(fake, provider, batch_size=20)

    assert fake.stats().requests == ROWS / 20


@pytest.mark.parametrize("rows", [1, 5, 20])
@pytest.mark.parametrize("dearness", [1, 2, 4], ids="{0} times".format)
def test_a_tokenizer_that_takes_more_than_is_reckoned_costs_few_truncated_replies(
    dearness: int, rows: int, scenario: MakeScenario
) -> None:
    fake = scenario(answers=RULES, bytes_per_token=4 / dearness)

    ask(fake, batch_size=rows, concurrency=4)

    assert fake.stats().requests <= ROWS / rows + 1  # One reply shows what rows take.


def test_the_next_run_knows_what_rows_take(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, bytes_per_token=1)
    ask(fake, batch_size=20, concurrency=1)
    fake.reset(answers=RULES, bytes_per_token=1)

    ask(fake, batch_size=20, concurrency=4)

    assert fake.stats().requests == ROWS / 20


@pytest.mark.filterwarnings("ignore:vllm does not enforce the reply schema")
@pytest.mark.parametrize("host", ["arrays", "fixed"])
def test_a_server_that_holds_no_row_to_its_token_is_asked_for_arrays(host: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, host=host, log=True)

    ask(fake, batch_size=20, concurrency=1)

    asked = [one["body"]["response_format"]["json_schema"]["schema"]["properties"] for one in fake.stats().log]
    told = [one["body"]["messages"][0]["content"] for one in fake.stats().log]
    assert [list(one) == ["rows"] for one in asked] == [False, *[True] * (len(asked) - 1)]
    assert ['{"rows": [' in one for one in told] == [False, *[True] * (len(asked) - 1)]
    assert fake.stats().statuses[200] == ROWS / 20


@pytest.mark.filterwarnings("ignore:vllm does not enforce the reply schema")
def test_the_next_run_asks_for_arrays_at_once(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, host="arrays")
    ask(fake, batch_size=20)
    fake.reset(answers=RULES, host="arrays", log=True)

    ask(fake, batch_size=20)

    assert all(
        list(one["body"]["response_format"]["json_schema"]["schema"]["properties"]) == ["rows"]
        for one in fake.stats().log
    )


def test_a_truncated_reply_does_not_count_against_the_server(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, script={0: {"fault": "truncate", "fraction": 0.5}}, is_random=True)

    ask(fake, batch_size=20, concurrency=1)  # Asked for arrays, no row would be answered.


def test_tokens_are_sent_in_the_order_of_the_alphabet(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, log=True)

    smelt.run(FRAME[:20], PROMPT, Company, model=Model("vllm", "fake-1", base_url=fake.base_url("compatible")))

    for one in fake.stats().log:
        properties = list(one["body"]["response_format"]["json_schema"]["schema"]["properties"])
        assert properties == sorted(properties)
