"""The model `mock:`: valid answers without a model."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from pydantic import BaseModel, Field, field_validator

import smelt
from smelt.errors import SmeltConfigError
from smelt.plan.dialect import Dialect
from smelt.plan.replies import read_reply
from smelt.plan.schema import read_output
from smelt.plan.wire import Codec, draw_tokens, reply_schema, user_text
from smelt.providers.base import Request
from smelt.providers.mock import Mock
from tests.plan.test_samples import MODELS

NAMES = [f"name {number}" for number in range(60)]
FRAME = pd.DataFrame({"name": NAMES})


class Company(BaseModel):
    sector: Literal["tech", "finance", "other"]
    score: float = Field(ge=0, le=1)
    staff: int | None


def ask(frame: Any = FRAME, output: Any = Company, **options: Any) -> smelt.SmeltResult[Any]:
    result: smelt.SmeltResult[Any] = frame.smelt.run("Classify {name}.", output, model="mock:", **options)
    return result


def answers(result: smelt.SmeltResult[Any]) -> dict[str, Any]:
    return dict(zip(result.frame["name"], result.data))


@given(MODELS)
@settings(max_examples=40, deadline=None)
def test_every_answer_is_accepted_by_the_first_request(model: type[BaseModel]) -> None:
    result = smelt.run([{"name": name} for name in NAMES[:7]], "Classify {name}.", model, model="mock:", progress=False)

    assert result.success
    assert result.metrics.total_retries == 0


def test_it_answers_by_the_content_of_a_row_and_not_by_its_place() -> None:
    usual = answers(ask())

    assert answers(ask(FRAME[::-1], batch_size=1)) == usual
    assert answers(ask(FRAME[:10])) == {name: usual[name] for name in NAMES[:10]}
    assert answers(ask(pl.DataFrame({"name": NAMES}))) == usual
    assert len({str(one) for one in usual.values()}) > 40


def test_a_seed_gives_other_answers_and_other_parameters_do_not_matter() -> None:
    assert answers(ask(params={"seed": 1})) != answers(ask()) == answers(ask(params={"temperature": 0}))
    assert answers(ask(params={"seed": 1})) == answers(ask(params={"seed": 1}))
    model = smelt.Model("mock", "", params={"seed": 1})
    assert smelt.run(FRAME, "Classify {name}.", Company, model=model).data == ask(params={"seed": 1}).data


def test_a_seed_that_is_no_integer_is_refused() -> None:
    with pytest.raises(SmeltConfigError, match=r"params\['seed'\] must be an integer"):
        ask(params={"seed": "one"})


def test_it_costs_nothing_and_reports_tokens() -> None:
    result = ask(max_cost=0.01)

    assert result.model == "mock:"
    assert result.metrics.cost_usd == 0
    assert result.metrics.input_tokens > 1_000
    assert result.metrics.output_tokens > 500


def test_free_text_is_answered_too() -> None:
    out = FRAME.smelt.transform("Sum up {name}.", str, model="mock:", output="summary")

    assert out["summary"].str.len().min() > 3


def test_its_answers_are_never_kept(tmp_path: Path) -> None:
    ledger = tmp_path / "kept.sqlite"

    assert ask(ledger=str(ledger)).metrics.requests == ask(ledger=str(ledger)).metrics.requests > 0
    assert not ledger.exists()


class Even(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("odd")
        return value


class Never(Even):
    @field_validator("number")
    @classmethod
    def even(cls, value: int) -> int:
        raise ValueError("no number is good enough")


def test_a_validator_gets_answers_until_it_accepts_one() -> None:
    result = ask(output=Even)

    assert result.success
    assert result.metrics.total_retries == 0


def test_a_validator_that_refuses_every_answer_marks_its_rows() -> None:
    with pytest.warns(smelt.SmeltWarning, match="Every row failed"):
        result = ask(FRAME[:2], Never)

    assert {error.kind for error in result.errors} == {"invalid"}
    assert "no number is good enough" in result.errors[0].message


def test_a_lazy_plan_gets_the_same_values_for_the_fields_that_it_uses() -> None:
    whole = ask(pl.DataFrame({"name": NAMES})).frame
    lazy: Any = pl.LazyFrame({"name": NAMES})
    lazy = lazy.smelt.transform("Classify {name}.", Company, model="mock:")

    assert lazy.select("name", "score").collect()["score"].to_list() == whole["score"].to_list()


def test_a_stream_an_estimate_and_an_evaluation_take_it() -> None:
    frames = [FRAME[:20], FRAME[20:]]

    streamed = pd.concat(smelt.stream(frames, "Classify {name}.", Company, model="mock:", progress=False))
    estimate = FRAME.smelt.estimate("Classify {name}.", Company, model="mock:")
    known = FRAME.assign(truth="tech")
    score = known.smelt.evaluate("Classify {name}.", Company, {"sector": "truth"}, model="mock:", progress=False)

    assert streamed["sector"].tolist() == ask().frame["sector"].tolist()
    assert (estimate.model, estimate.cost_usd) == ("mock:", 0)
    assert score.rows == len(NAMES)


@pytest.mark.parametrize("codec", ["array", "keyed"])
def test_it_answers_in_the_shape_that_the_schema_asks_for(codec: Codec) -> None:
    output = read_output(Company)
    tokens = draw_tokens(2, "ab", random.Random(1))
    rows = [(token, '{"name":"a"}', None) for token in tokens]
    whole = reply_schema(output.fields, Dialect(), codec, tokens)
    request = Request(system="", user=user_text(rows), schema=whole, max_output_tokens=100, output_model=Company)

    async def send() -> str:
        async with Mock().connect(connections=1) as connection:
            return (await connection.send(request)).text

    found = read_reply(asyncio.run(send()), tokens, codec).found

    assert list(found) == tokens
    assert found[tokens[0]] == found[tokens[1]]
