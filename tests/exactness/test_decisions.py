"""`via="decisions"` over the real SDKs: values with their probabilities, no wrong one on a bad day, and the bill."""

from __future__ import annotations

import threading
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel, Field

import smelt
from smelt.errors import ModelNotFoundError, SchemaError, SmeltConfigError, SmeltWarning
from tests.conftest import MakeScenario
from tests.fakeserver.answers import expected
from tests.fakeserver.client import Scenario
from tests.fakeserver.decisions import BAD_DAYS, chance_of

MODELS = {"openai": "gpt-6-luna", "google": "gemini-decision-1"}


class Size(StrEnum):
    SMALL = "small"
    LARGE = "very large"


class Company(BaseModel):
    sector: Literal["tech", "größe", ""]
    is_public: bool = True
    stars: Annotated[int, Field(ge=1, le=5)] = 3
    size: Size | None = None


RULES: dict[str, Any] = {
    "sector": {"choice": ["tech", "größe", "option 3"], "of": "name"},
    "is_public": {"parity": "name"},
    "stars": {"choice": [1, 2, 3, 4, 5], "of": "name"},
    "size": {"choice": ["small", "very large", None], "of": "name"},
}
FRAME = pd.DataFrame({"name": ["a" * at for at in range(1, 31)]})


@pytest.fixture(params=MODELS)
def seller(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


def model_of(fake: Scenario, seller: str, name: str = "", **more: Any) -> smelt.Model:
    base_url: Any = fake.base_url(seller)  # type: ignore[arg-type]  # One of its protocols.
    return smelt.Model(seller, name or MODELS[seller], api_key="k-of-a-test", base_url=base_url, **more)


def ask(fake: Scenario, seller: str, frame: Any = FRAME, output: Any = Company, **options: Any) -> Any:
    usual: dict[str, Any] = {"model": model_of(fake, seller), "via": "decisions", "progress": False}
    return smelt.run(frame, "Sort {name}.", output, **{**usual, **options})


def right(name: str) -> dict[str, Any]:
    """What the fake says of a row: the values, and their probabilities."""
    said = expected(RULES, {"name": name})
    chances = {f"{field}_p": pytest.approx(chance_of(value)) for field, value in said.items()}
    return {**said, "sector": said["sector"].replace("option 3", ""), **chances}


def check(result: Any, names: Any = FRAME["name"]) -> None:
    """Every answered row has its own right values."""
    for name, answer in zip(names, result.data, strict=True):
        assert answer is None or answer.model_dump() == right(name)


def test_every_value_comes_with_its_probability(seller: str, scenario: MakeScenario, path: Path) -> None:
    fake = scenario(answers=RULES, bills={}, log=True)
    before = threading.active_count()

    result = ask(fake, seller, ledger=path)

    check(result)
    assert result.success
    assert threading.active_count() == before
    frame, stats = result.frame, fake.stats()
    assert [str(frame[f"{one}_p"].dtype) for one in RULES] == ["Float64"] * 4
    assert str(frame["is_public"].dtype) == "boolean"
    assert set(stats.paths) == {{"openai": "v1/decisions", "google": "v1beta/decisions"}[seller]}
    assert result.metrics.cost_usd == pytest.approx(stats.dollars)
    with smelt.ledger.open(path) as ledger:
        assert ledger.spend()[0]["cost_usd"] == pytest.approx(stats.dollars)
    assert result.metrics.output_tokens == 0


def test_answers_are_found_again_and_not_mixed_with_generated_ones(scenario: MakeScenario, path: Path) -> None:
    fake = scenario(answers={**RULES, "sector": {"const": "tech"}})

    ask(fake, "openai", FRAME[:5], ledger=path, via="generation")
    with pytest.warns(SmeltWarning, match=r"params \('via=' added\)"):
        ask(fake, "openai", FRAME[:5], ledger=path)
    again = ask(fake, "openai", FRAME[:5], ledger=path)
    last = ask(fake, "openai", FRAME[:5], ledger=path, via="generation")

    assert (fake.stats().rows_sent, again.metrics.ledger_rows, last.metrics.ledger_rows) == (10, 5, 5)
    assert again.frame["sector_p"].notna().all()


@pytest.mark.parametrize("what", BAD_DAYS)
def test_no_wrong_value_on_a_bad_day(what: str, seller: str, scenario: MakeScenario) -> None:
    fake = scenario(
        answers=RULES, script={"0": {"fault": "decide", "what": what}, "2": {"fault": "decide", "what": what}}
    )

    result = ask(fake, seller, batch_size=10)

    check(result)
    assert result.success


def test_a_row_that_is_never_answered_rightly_fails_and_has_no_default(seller: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, always={"fault": "decide", "what": "nan"})

    result = ask(fake, seller, FRAME[:3], max_attempts=2)

    check(result, FRAME["name"][:3])
    assert not result.success
    assert {one.kind for one in result.errors} <= {"invalid", "missing"}
    assert result.frame["is_public"][0:1].isna().all()


@pytest.mark.parametrize(
    "fault", ["drop", "cut_json", "refuse", "empty_body", "status", "reset_mid_body", "html", "short_body"]
)
def test_faults_of_the_way_cost_no_row(fault: str, seller: str, scenario: MakeScenario) -> None:
    bad = {"fault": "status", "kind": "rate_limit", "retry_after_ms": 1} if fault == "status" else fault
    fake = scenario(answers=RULES, script={"1": bad})

    result = ask(fake, seller, FRAME[:10], batch_size=3)

    check(result, FRAME["name"][:10])
    assert result.success


def test_rates_of_faults_give_no_wrong_value(seller: str, scenario: MakeScenario) -> None:
    rates = {"drop": 0.1, "missing_field": 0.1, "stranger": 0.05, "padded_ids": 0.05}
    names = [f"row {at}" for at in range(120)]
    fake = scenario(answers=RULES, rates=rates, seed=7)

    result = ask(fake, seller, pd.DataFrame({"name": names}), max_attempts=6)

    check(result, names)
    assert result.metrics.successful_rows > 100


def test_a_key_without_the_endpoint_stops_the_run(seller: str, scenario: MakeScenario) -> None:
    fake = scenario(always={"fault": "status", "kind": "not_found"})

    with pytest.raises(ModelNotFoundError, match=r"."):
        ask(fake, seller)

    assert fake.stats().requests == 1


def test_questions_are_counted_by_the_limit_of_the_provider(scenario: MakeScenario) -> None:
    fields = {f"f{at}": bool for at in range(90)}
    fake = scenario(answers={name: {"const": True} for name in fields})

    result = ask(fake, "openai", FRAME[:9], fields, batch_size=100)

    assert result.success
    assert result.metrics.requests == 3  # Four rows of 90 questions are 360.


REFUSED = [
    ({"mode": "batch"}, "no Batch API"),
    ({"mode": "flex"}, 'via="decisions" and mode="flex" do not go together'),
    ({"wire": "compact"}, 'wire="compact"'),
    ({"extend": True}, "extend=True"),
    ({"media": ["name"]}, "text only"),
    ({"params": {"user": "x"}}, "no parameter 'user'"),
    ({"output_model": str}, "'smelt_text' is text"),
    ({"output_model": {"x": Literal["a", "b"], "y": float}}, "'y' is a number"),
    ({"output_model": {f"f{at}": bool for at in range(401)}}, "401 fields"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_does_not_go_together_is_refused_before_anything_is_sent(
    options: dict[str, Any], said: str, scenario: MakeScenario
) -> None:
    fake = scenario()
    options = dict(options)

    with pytest.raises((SmeltConfigError, SchemaError), match=said):
        ask(fake, "openai", output=options.pop("output_model", Company), **options)

    assert fake.stats().requests == 0


@pytest.mark.parametrize(
    "model",
    ["openai:gpt-4.1-mini", "openai:gpt-6-luna-pro", "google:gemini-3.8-flash", "azure:gpt-6-luna", "mock:"],
)
def test_other_models_are_refused_in_a_sentence(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "GOOGLE_API_KEY", "AZURE_OPENAI_API_KEY"):
        monkeypatch.setenv(name, "k-of-a-test")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://acme.openai.azure.com")

    with pytest.raises(SmeltConfigError, match="needs an endpoint for decisions, and smelt knows none of"):
        smelt.run(FRAME, "Sort {name}.", Company, model=model, via="decisions")


def test_a_gateway_is_not_asked_for_decisions() -> None:
    model = smelt.Model("openai", "gpt-6-luna", api_key="k", base_url="https://gateway.example/v1")

    with pytest.raises(SmeltConfigError, match=r"at https://gateway.example"):
        smelt.run(FRAME, "Sort {name}.", Company, model=model, via="decisions")


def test_a_single_label_a_stream_a_plan_and_a_series_get_the_column(scenario: MakeScenario) -> None:
    fake = scenario(answers={"mood": {"choice": ["good", "bad"], "of": "name"}})
    options: dict[str, Any] = {"model": model_of(fake, "openai"), "via": "decisions", "output": "mood"}
    labels = ["good", "bad"]
    frame: Any = pl.DataFrame({"name": ["x", "yy", "zzz"]})

    eager = frame.smelt.classify("Mood of {name}", labels, **options)
    lazy = frame.lazy().smelt.transform("Mood of {name}", Literal["good", "bad"], **options)
    parts = list(smelt.stream([frame], "Mood of {name}", Literal["good", "bad"], **options))
    series = frame["name"].smelt.classify(labels, "Mood of {}", **options)

    wanted = ["name", "mood", "mood_p", "smelt_error"]
    assert eager.columns == wanted == list(lazy.collect_schema()) == parts[0].columns
    assert series.columns == wanted[1:]
    assert lazy.select("mood_p").collect()["mood_p"].to_list() == eager["mood_p"].to_list()
    assert lazy.filter(pl.col("mood_p") > 0.99).collect().height == 0
    assert frame.smelt.run("Mood of {name}", Literal["good", "bad"], **options).data == eager["mood"].to_list()


def test_a_pipeline_filters_by_the_probability(scenario: MakeScenario) -> None:
    fake = scenario(answers={"good": {"parity": "name"}})
    model = model_of(fake, "openai")
    steps = (
        smelt.pipeline("sure", model=model)
        .transform("Is {name} good?", {"good": bool}, via="decisions")
        .filter(lambda frame: frame["good_p"] > 0.6)
    )

    found = steps(pd.DataFrame({"name": ["a", "bb", "ccc"]}), progress=False)

    sure = [name for name in ("a", "bb", "ccc") if chance_of(len(name) % 2 == 1) > 0.6]
    assert found["name"].tolist() == sure
    assert 0 < len(sure) < 3


def test_examples_are_shown_without_probabilities(scenario: MakeScenario) -> None:
    fake = scenario(answers={"good": {"parity": "name"}}, log=True)

    ask(fake, "openai", FRAME[:2], {"good": bool}, examples=[{"name": "x", "good": True}])

    told = fake.stats().log[0]["body"]["input"][0]["content"]
    assert '{"row":{"name":"x"},"answer":{"good":true}}' in told


def test_evaluate_grades_what_was_decided(scenario: MakeScenario) -> None:
    fake = scenario(answers={"good": {"parity": "name"}})
    frame = FRAME[:6].assign(known=[len(name) % 2 == 1 for name in FRAME["name"][:6]])

    found = frame.smelt.evaluate(
        "Is {name} good?", {"good": bool}, truth={"good": "known"}, model=model_of(fake, "openai"), via="decisions"
    )

    assert found.fields["good"].accuracy.count == 6


def test_the_estimate_prices_the_questions(seller: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, bills={})
    frame = pd.DataFrame({"name": [f"company {at}" for at in range(200)]})
    options: dict[str, Any] = {"model": model_of(fake, seller), "via": "decisions"}

    estimate = frame.smelt.estimate("Sort {name}.", Company, **options)
    result = ask(fake, seller, frame, max_cost=1.0)

    assert estimate.output_tokens == estimate.thinking_tokens == 0
    assert estimate.input_tokens == pytest.approx(result.metrics.input_tokens, rel=0.4)
    assert estimate.cost_usd == pytest.approx(fake.stats().dollars, rel=0.4)
    assert "decisions" in str(estimate)
    shown = str(frame.smelt.explain("Sort {name}.", Company, **options))
    assert 'what is "sector"? [tech | größe | option 3]' in shown


def test_a_price_of_the_callers_own_holds_for_decisions(seller: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES)
    own = model_of(fake, seller, price={"input": 1.0, "output": 99.0})

    result = ask(fake, seller, FRAME[:5], model=own, max_cost=1.0)

    check(result, FRAME["name"][:5])
    assert result.metrics.cost_usd == pytest.approx(result.metrics.input_tokens * 1e-6)


def test_a_budget_stops_decisions(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, bills={})
    frame = pd.DataFrame({"name": [f"company {at}" for at in range(200)]})

    with pytest.warns(SmeltWarning, match="budget is spent"):
        result = ask(fake, "google", frame, max_cost=0.002)

    assert 0 < fake.stats().dollars <= 0.0022
    assert {one.kind for one in result.errors} == {"budget"}
