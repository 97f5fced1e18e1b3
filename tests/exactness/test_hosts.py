"""Hosts that refuse how they are asked for JSON, or ignore it: every row is answered, and little is asked in vain."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

import smelt
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.fakeserver.hosts import HOSTS
from tests.models import RULES, Company, served

# A reply that no schema shaped is noticed, and told.
pytestmark = pytest.mark.filterwarnings(r"ignore:\w+ does not enforce the reply schema")

ROWS = 120
FRAME = pd.DataFrame({"name": [f"company {at}" for at in range(ROWS)], "number": range(ROWS)})


@pytest.mark.parametrize("host", HOSTS)
def test_every_row_is_answered_whatever_the_host_refuses(host: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, host=host)
    model = smelt.Model("vllm", "fake-1", base_url=fake.base_url("compatible"))

    result = FRAME.smelt.run("Describe {name} {number}.", Company, model=model, batch_size=10, concurrency=4)

    assert result.frame.smelt_error.isna().all()
    assert result.frame.echo.tolist() == FRAME.name.tolist()
    stats = fake.stats()
    refused = stats.requests - stats.statuses[200]
    assert stats.statuses[200] == ROWS / 10
    assert refused <= 4 * 4  # At most once for each way, by each of the requests that are in flight at first.


def refusing(message: str, param: str) -> dict[str, object]:
    return {"fault": "raw", "code": 400, "body": {"error": {"message": message, "param": param, "code": None}}}


def test_an_older_model_of_openai_is_asked_for_json_with_the_schema_in_words(scenario: MakeScenario) -> None:
    words = (
        "Invalid parameter: 'text.format' of type 'json_schema' is not supported with model version `gpt-3.5-turbo`."
    )
    fake = scenario(answers=RULES, script={"0": refusing(words, "text.format")}, log=True)

    result = FRAME.smelt.run(
        "Describe {name} {number}.", Company, model=served("openai", fake), batch_size=40, concurrency=1
    )

    assert result.frame.echo.tolist() == FRAME.name.tolist()
    kinds = [one["body"]["text"]["format"]["type"] for one in fake.stats().log]
    assert kinds == ["json_schema", "json_object", "json_object", "json_object"]


def test_a_host_that_refuses_every_way_ends_the_run_with_its_words(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, always=refusing("response_format is not supported", "response_format"))

    with pytest.raises(smelt.errors.BadRequestError, match=r"response_format is not supported.*smelt.explain"):
        FRAME.smelt.run("Describe {name} {number}.", Company, model=served("vllm", fake), concurrency=1)

    assert fake.stats().requests == 3  # With the schema, for JSON, and in words.


def test_many_requests_at_the_same_time_are_refused_once_each_at_the_most(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, host="groq", latency=0.05)

    result = FRAME.smelt.run("{name} {number}", Company, model=served("vllm", fake), batch_size=2, concurrency=32)

    stats = fake.stats()
    assert result.frame.smelt_error.isna().all()
    assert stats.requests - stats.statuses[200] <= stats.max_in_flight


def described(fake: Scenario, model: smelt.Model) -> int:
    """The requests that a run of all rows is refused."""
    before = fake.stats()
    result = FRAME.smelt.run(
        "Describe {name} {number}.", Company, model=model, batch_size=40, concurrency=1, ledger=False
    )
    after = fake.stats()
    assert result.frame.echo.tolist() == FRAME.name.tolist()
    assert after.statuses[200] - before.statuses.get(200, 0) == ROWS / 40
    return after.requests - before.requests - ROWS // 40


@pytest.mark.parametrize("provider", ["bedrock", "anthropic", "google"])
def test_a_model_of_a_cloud_without_structured_output_gets_the_schema_in_words(
    provider: str, scenario: MakeScenario
) -> None:
    fake = scenario(answers=RULES, host="unstructured", log=True)

    refused = described(fake, served(provider, fake))

    assert refused == (2 if provider == "google" else 1)  # Gemini is also asked for JSON without a schema.
    assert "JSON Schema" in json.dumps(fake.stats().log[-1]["body"])


def test_a_second_run_begins_with_what_the_first_one_learnt(scenario: MakeScenario) -> None:
    fake, other = scenario(answers=RULES, host="groq"), scenario(answers=RULES, host="groq")
    model = served("vllm", fake)

    assert [described(fake, model), described(fake, model)] == [1, 0]
    assert described(fake, replace(model, api_key="token-of-another-plan")) == 1
    assert described(fake, replace(model, name="fake-2")) == 1
    assert described(other, served("vllm", other)) == 1


def test_a_refusal_that_quotes_a_row_changes_nothing_for_the_others(scenario: MakeScenario) -> None:
    text = "our server says response_format json_schema is not supported any more"
    quoting = refusing(f"The input was not accepted: {text}", "messages")
    fake = scenario(answers=RULES, script={"0": quoting}, log=True)
    frame = pd.DataFrame({"name": [text] * 8, "number": range(8)})

    frame.smelt.run(
        "{name} {number}", Company, model=served("vllm", fake), batch_size=2, concurrency=1, on_error="mark"
    )

    assert {one["body"]["response_format"]["type"] for one in fake.stats().log} == {"json_schema"}
