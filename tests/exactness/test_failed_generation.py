"""Groq refuses an answer that does not fit the schema, and shows it: its rows are read, the others asked again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import MakeScenario
from tests.exactness.companies import ask, assert_each_answer_is_on_its_own_row, companies, failures
from tests.models import RULES, served

ROWS = 12
CUT = "max completion tokens reached before generating a valid document"

pytestmark = pytest.mark.filterwarnings("ignore::smelt.SmeltWarning")  # It says that the schema is not enforced.


@pytest.mark.parametrize("options", [{}, {"message": CUT}], ids=["unfinished", "at-the-limit"])
def test_its_complete_rows_are_read_and_the_others_get_more_room(
    options: dict[str, Any], scenario: MakeScenario
) -> None:
    groq = scenario(answers=RULES, script={0: {"fault": "failed_generation", **options}}, log=True)
    frame = companies(ROWS)

    result = ask(frame, served("vllm", groq), batch_size=ROWS)

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert ROWS < groq.stats().rows_sent < 2 * ROWS
    first, second = (one["body"]["max_tokens"] for one in groq.stats().log[:2])
    assert second > first


def test_a_whole_one_costs_no_second_request(scenario: MakeScenario) -> None:
    groq = scenario(answers=RULES, script={0: {"fault": "failed_generation", "fraction": 1.0}})
    frame = companies(ROWS)

    result = ask(frame, served("vllm", groq), batch_size=ROWS)

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert groq.stats().requests == 1


def test_rows_whose_answer_never_has_an_end_are_truncated(scenario: MakeScenario) -> None:
    groq = scenario(answers=RULES, always={"fault": "failed_generation", "fraction": 0.15})

    result = ask(companies(2), served("vllm", groq), batch_size=2)

    assert failures(result) == {0: "truncated", 1: "truncated"}
