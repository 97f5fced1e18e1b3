"""How a pipeline runs: what a failure, the budget, the deadline and an interrupt do to later steps."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.providers.base import Billing, CallFailed
from smelt.testing import ScriptedProvider
from tests.pipelines.test_eager import FRAMES, plain

pytestmark = pytest.mark.filterwarnings("ignore::smelt.SmeltWarning")


class Claim(BaseModel):
    claim: str
    sure: Literal["yes", "no"]


class Claims(BaseModel):
    claims: list[Claim]


class Verdict(BaseModel):
    verdict: str


def said(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Two claims of each article; none of a bad one, and no verdict about a second claim."""
    if "claim" in row:
        return None if row["claim"].endswith("2") else {"verdict": row["claim"].upper()}
    if row["article"] == "bad":
        return None
    return {"claims": [{"claim": f"{row['article']} {number}", "sure": "no"} for number in (1, 2)]}


def claims(provider: ScriptedProvider | None = None) -> smelt.Pipeline:
    start = smelt.pipeline("claims", model=provider or ScriptedProvider(said), max_attempts=1, progress=False)
    return start.transform("List what {article} claims.", Claims).explode("claims")


ARTICLES = [{"doc": 1, "article": "good"}, {"doc": 2, "article": "bad"}]


@pytest.mark.parametrize("kind", FRAMES)
def test_models_in_a_list_become_rows_and_a_failed_row_stays_with_its_reason(kind: str) -> None:
    result = claims().transform("Judge {claim}.", Verdict).run(FRAMES[kind](ARTICLES))

    rows = plain(result.frame)
    assert [(row["doc"], row["claim"], row["sure"], row["verdict"]) for row in rows] == [
        (1, "good 1", "no", "GOOD 1"),
        (1, "good 2", "no", None),
        (2, None, None, None),
    ]
    assert [(row["smelt_error"] or "").split(":")[0] for row in rows] == ["", "verdict", "claims"]
    assert [(one.step, one.position, one.kind) for one in result.errors] == [
        ("claims", 1, "missing"),
        ("verdict", 0, "missing"),
    ]
    assert result.steps["verdict"].skipped == 1
    assert not result.success


def test_labels_of_pandas_repeat_and_errors_have_that_of_the_input() -> None:
    result = claims().transform("Judge {claim}.", Verdict).run(pd.DataFrame(ARTICLES, index=["a", "b"]))

    assert result.frame.index.tolist() == ["a", "a", "b"]
    assert [one.label for one in result.errors] == ["b", "a"]
    assert result.frame["sure"].dtype == pd.CategoricalDtype(["yes", "no"])


@pytest.mark.parametrize("kind", FRAMES)
def test_implode_goes_back_to_the_rows_with_lists(kind: str) -> None:
    pipe = claims().transform("Judge {claim}.", Verdict).implode()

    rows = plain(pipe(FRAMES[kind](ARTICLES)))

    assert [(row["doc"], row["claim"], row["verdict"]) for row in rows] == [
        (1, ["good 1", "good 2"], ["GOOD 1", None]),
        (2, None, None),
    ]
    assert [(row["smelt_error"] or "").split(":")[0] for row in rows] == ["verdict", "claims"]


def test_a_step_that_needs_nothing_of_a_failed_one_asks_its_rows() -> None:
    fails = ScriptedProvider(lambda row: None)
    asked = ScriptedProvider({"verdict": "fine"})
    pipe = smelt.pipeline(model=asked, max_attempts=1, progress=False)
    pipe = pipe.transform("List {article}.", Claim, model=fails).transform("Judge {article}.", Verdict)

    result = pipe.transform("Mend {claim}.", {"mended": str}).run(ARTICLES)

    assert [row["verdict"] for row in result.frame] == ["fine", "fine"]
    assert [row["mended"] for row in result.frame] == [None, None]
    assert result.steps["mended"].skipped == 2


def test_branches_ask_the_same_as_chained_steps() -> None:
    provider = ScriptedProvider(lambda row: {"draft": f"d{row.get('article')}", "final": f"f{row.get('draft')}"})
    two = smelt.pipeline().transform("Draft {article}.", {"draft": str}).transform("Mend {draft}.", {"final": str})
    pipe = smelt.pipeline(progress=False).branch(a=two.using(provider), b=two.using(provider))

    rows = pipe(ARTICLES)

    assert rows[0] == {
        "doc": 1,
        "article": "good",
        "a_draft": "dgood",
        "a_final": "fdgood",
        "b_draft": "dgood",
        "b_final": "fdgood",
        "smelt_error": None,
    }
    # A branch does not see its own prefix.
    assert any('"draft":"dgood"' in request.user for request in provider.requests)


def test_a_filter_and_an_expression_of_polars() -> None:
    pipe = claims().filter(pl.col("claim").str.ends_with("1")).assign(pl.col("claim").str.len_chars().alias("long"))

    out = pipe(pl.DataFrame(ARTICLES))

    assert out.select("doc", "claim", "long").rows() == [(1, "good 1", 6), (2, None, None)]


@pytest.mark.parametrize("kind", FRAMES)
def test_a_map_may_drop_rows_and_failed_rows_come_after_the_others(kind: str) -> None:
    async def first(frame: Any) -> Any:
        return frame[:1]

    out = plain(claims().map(first)(FRAMES[kind]([*reversed(ARTICLES)])))

    assert [row["claim"] for row in out] == ["good 1", None]
    assert [(row["smelt_error"] or "").split(":")[0] for row in out] == ["", "claims"]


def test_one_budget_is_for_all_steps() -> None:
    provider = ScriptedProvider(lambda row: {"a": "x", "b": "y"})
    rows = [{"text": f"row {number}"} for number in range(60)]
    pipe = smelt.pipeline(model=provider, batch_size=5, shuffle=False, concurrency=1, progress=False)
    pipe = pipe.transform("A of {text}.", {"a": str}).transform("B of {a} and {text}.", {"b": str})
    whole = pipe.run(rows).metrics
    most = (whole.input_tokens + whole.output_tokens) * 3 // 4

    result = pipe.run(rows, max_tokens_total=most)

    spent = result.metrics.input_tokens + result.metrics.output_tokens
    assert 0.8 * most < spent <= most
    assert result.steps["b"].metrics.successful_rows > 0
    assert {error.kind for error in result.errors} == {"budget"}


def test_a_price_is_known_before_a_step_is_paid() -> None:
    provider = ScriptedProvider({"a": "x"})
    pipe = smelt.pipeline(model=provider).transform("A of {text}.", {"a": str})

    with pytest.raises(smelt.SmeltConfigError, match=r"Step 'a': max_cost"):
        pipe.run([{"text": "x"}], max_cost=1)
    assert provider.requests == []


def test_one_deadline_is_for_all_steps() -> None:
    async def main() -> Any:
        slow = smelt.worker(answer, name="slow")
        pipe = smelt.pipeline(model=slow, ledger=False, progress=False)
        pipe = pipe.transform("A of {text}.", {"a": str}).transform("B of {a}.", {"b": str})
        return await pipe.arun([{"text": "x"}], deadline=10)

    async def answer(row: Mapping[str, Any]) -> dict[str, str]:
        await asyncio.sleep(6)
        return {"a": "x"} if "text" in row else {"b": "y"}

    result = smelt.testing.run_jumping(main()).result

    assert [(error.step, error.kind) for error in result.errors] == [("b", "deadline")]


def test_the_first_failed_row_can_end_all_steps() -> None:
    pipe = claims().transform("Judge {claim}.", Verdict)

    with pytest.raises(smelt.SmeltExhaustionError, match=r"Row 1 failed") as caught:
        pipe.run(ARTICLES, on_error="raise", shuffle=False)

    partial: Any = caught.value.partial_result
    assert list(partial.steps) == ["claims"]
    assert "in step 'claims' of the pipeline 'claims'" in caught.value.__notes__[0]


def test_a_refused_key_ends_the_run_with_the_answers_so_far() -> None:
    refused = CallFailed(kind="auth", billing=Billing.REJECTED, message="The key is wrong.", status=401)
    broken = ScriptedProvider(said, script=[refused])
    pipe = claims().transform("Judge {claim}.", Verdict, model=broken)

    with pytest.raises(smelt.errors.AuthenticationError, match="key is wrong") as caught:
        pipe.run(ARTICLES)

    partial: Any = caught.value.partial_result
    assert [row["claim"] for row in partial.frame] == ["good 1", "good 2", None]


def test_warnings_name_the_step() -> None:
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        claims(ScriptedProvider(lambda row: None)).run(ARTICLES)

    (warning,) = given
    assert str(warning.message).startswith("Step 'claims': Every row failed")
    assert warning.filename == __file__


def test_an_exception_of_the_users_function_says_the_step() -> None:
    pipe = claims().filter(lambda row: row["nothing"])

    with pytest.raises(KeyError, match="nothing") as caught:
        pipe.run(ARTICLES)

    assert "step 'filter'" in caught.value.__notes__[0]


def test_a_mask_must_fit_the_rows() -> None:
    with pytest.raises(smelt.SmeltConfigError, match=r"The test of step 'filter' gave 1 values for 2 rows"):
        claims().filter(lambda df: [True])(pd.DataFrame(ARTICLES))
    with pytest.raises(smelt.SmeltConfigError, match=r"must give True or False for each row"):
        claims().filter(lambda df: df["claim"])(pd.DataFrame(ARTICLES))


@pytest.mark.parametrize("kind", FRAMES)
def test_an_empty_frame_has_the_columns_of_a_full_one(kind: str) -> None:
    full = FRAMES[kind](ARTICLES)
    pipe = claims().transform("Judge {claim}.", Verdict)

    none, some = pipe(full[:0]), pipe(full)

    if kind != "records":
        assert list(none.columns) == list(some.columns)
    assert len(none) == 0


class Slow(ScriptedProvider):
    """Answers after some virtual seconds, and counts the rows of each request."""

    def __init__(self, answer: Any, seconds: float = 0.1) -> None:
        super().__init__(answer, keep=False)
        self.seconds = seconds
        self.sizes: list[int] = []

    async def send(self, request: Any) -> Any:
        self.sizes.append(request.user.count('"row":{'))
        await asyncio.sleep(self.seconds)
        return await super().send(request)


FIELDS = "abc"


def equal_steps(steps: int, providers: list[Slow], **options: Any) -> smelt.Pipeline:
    """Steps that each read the answers of the one before."""
    pipe = smelt.pipeline(progress=False, ledger=False, concurrency=8, **options)
    for at in range(steps):
        before = f" after {{{FIELDS[at - 1]}}}" if at else ""
        pipe = pipe.transform(f"Judge {{text}}{before}.", {FIELDS[at]: int}, model=providers[at])
    return pipe


def slow() -> list[Slow]:
    return [Slow(lambda row: dict.fromkeys(FIELDS, 1)) for _ in range(3)]


TEXTS = [{"text": f"row {number}"} for number in range(1_000)]


@pytest.mark.parametrize("steps", [2, 3])
def test_equal_steps_take_hardly_longer_than_one_and_fill_their_requests(steps: int) -> None:
    one, several = slow(), slow()
    alone = smelt.testing.run_jumping(equal_steps(1, one).arun(TEXTS))
    together = smelt.testing.run_jumping(equal_steps(steps, several).arun(TEXTS))

    assert together.result.success
    assert together.seconds <= 1.2 * alone.seconds + steps * 0.1
    for provider in several[1:steps]:
        assert sum(provider.sizes) == 1_000
        assert 1_000 / len(provider.sizes) >= 0.9 * 1_000 / len(one[0].sizes)


def test_requests_of_a_step_behind_a_slow_one_are_full() -> None:
    providers = slow()
    providers[1].seconds = 0.01

    smelt.testing.run_jumping(equal_steps(2, providers).arun(TEXTS, batch_size=10))

    assert providers[1].sizes.count(10) >= 0.9 * len(providers[1].sizes)


def test_one_step_after_the_other_if_the_schedule_says_so() -> None:
    providers = slow()
    seen: list[tuple[str, str]] = []
    pipe = equal_steps(2, providers, observers=[lambda event: seen.append((event.step, type(event).__name__))])

    result = smelt.testing.run_jumping(pipe.arun(TEXTS[:100], schedule="steps")).result

    assert result.success
    requests = [step for step, kind in seen if kind == "RequestEnded"]
    assert requests == sorted(requests) and set(requests) == {"a", "b"}
    with pytest.raises(smelt.SmeltConfigError, match="schedule must be 'rows' or 'steps'"):
        pipe.run(TEXTS, schedule="columns")  # type: ignore[arg-type]


def test_independent_steps_are_in_flight_together() -> None:
    providers = slow()
    pipe = smelt.pipeline(progress=False, ledger=False)
    for at in range(2):
        pipe = pipe.transform("Judge {text}.", {FIELDS[at]: int}, model=providers[at])
    pipe = pipe.transform("Compare {a} and {b}.", {"c": int}, model=providers[2])

    assert smelt.testing.run_jumping(pipe.arun(TEXTS[:5])).seconds == pytest.approx(0.2)


def test_windows_join_to_the_frame_that_one_window_makes() -> None:
    rows = [{"id": at, "text": f"row {at % 70}"} for at in range(100)]
    provider = Slow(lambda row: None if row["text"] == "row 3" else {"a": len(row["text"]), "b": 2})
    pipe = smelt.pipeline(progress=False, ledger=False, model=provider, max_attempts=1)
    pipe = pipe.transform("A of {text}.", {"a": int}).assign(c=lambda df: df["a"] + 1)
    pipe = pipe.transform("B of {text}, {c}.", {"b": int}, where=lambda df: df["a"] > 5)
    whole = pipe.run(pd.DataFrame(rows))
    asked = provider.rows_sent

    pieces = pipe.run(pd.DataFrame(rows), window=7)

    pd.testing.assert_frame_equal(whole.frame, pieces.frame, check_dtype=False)
    assert provider.rows_sent == 2 * asked  # Equal rows of two windows are asked once.
    assert [error.position for error in pieces.errors] == [error.position for error in whole.errors] == [3, 73]
    assert pieces.frame.index.equals(whole.frame.index) and type(pieces.frame.index) is pd.RangeIndex


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_functions_get_all_rows_as_in_eager_code(kind: str) -> None:
    rows = [{"text": f"row {at}"} for at in range(2_100)]
    provider = ScriptedProvider(lambda row: {"a": int(row["text"][4:]), "b": 2}, keep=False)
    pipe = smelt.pipeline(progress=False, ledger=False, model=provider).transform("A of {text}.", {"a": int})
    pipe = pipe.assign(share=lambda df: df["a"] / df["a"].max()).filter(lambda df: df["share"] > df["share"].mean())
    pipe = pipe.transform("B of {text}.", {"b": int}, where=lambda df: df["a"].rank() <= 10)

    for schedule in ("rows", "steps"):
        out = plain(pipe.run(FRAMES[kind](rows), schedule=schedule).frame)

        assert [row["a"] for row in out] == list(range(1_050, 2_100))
        assert out[0]["share"] == 1_050 / 2_099
        assert [row["a"] for row in out if row["b"] == 2] == list(range(1_050, 1_060))
    assert len(pipe.run(FRAMES[kind](rows), window=100).frame) == 21 * 50
    with pytest.raises(smelt.SmeltConfigError, match="window must be an integer from 1"):
        pipe.run(FRAMES[kind](rows), window=0)


def test_rows_flow_past_an_expression_that_looks_at_each_alone() -> None:
    def between(test: Any) -> float:
        providers = slow()
        pipe = smelt.pipeline(progress=False, ledger=False, concurrency=8)
        pipe = pipe.transform("A of {text}.", {"a": int}, model=providers[0]).filter(test)
        pipe = pipe.transform("B of {text} {a}.", {"b": int}, model=providers[1])
        texts = pl.DataFrame({"text": [f"row {number}" for number in range(3_000)]})
        return smelt.testing.run_jumping(pipe.arun(texts)).seconds

    assert between(pl.col("a") > 0) <= 0.85 * between(pl.col("a") >= pl.col("a").mean())


@pytest.mark.parametrize("seconds", [0.05, 0.15, 0.35, 0.55])
def test_an_interrupted_run_goes_on_without_asking_a_row_again(seconds: float, tmp_path: Path) -> None:
    providers = slow()
    pipe = equal_steps(3, providers)
    ledger = tmp_path / "answers.sqlite"

    async def broken_off() -> None:
        task = asyncio.create_task(pipe.arun(TEXTS, ledger=ledger))
        await asyncio.sleep(seconds)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        smelt.testing.run_jumping(broken_off())
    before = [provider.rows_sent for provider in providers]
    result = smelt.testing.run_jumping(pipe.arun(TEXTS, ledger=ledger)).result

    assert before[0] < 1_000
    assert [provider.rows_sent for provider in providers] == [1_000] * 3
    assert result.success and result.metrics.ledger_rows == sum(before)


def test_a_budget_ends_in_whole_rows() -> None:
    providers = [Slow(lambda row: dict.fromkeys("abcd", 1)) for _ in range(4)]
    pipe = smelt.pipeline(progress=False, ledger=False, concurrency=8)
    for at, name in enumerate("abcd"):
        before = f" after {{{'abcd'[at - 1]}}}" if at else ""
        pipe = pipe.transform(f"Judge {{text}}{before}.", {name: int}, model=providers[at])
    rows = [{"text": f"row {number}"} for number in range(3_000)]
    most = 150_000

    result = smelt.testing.run_jumping(pipe.arun(rows, max_tokens_total=most)).result

    spent = {name: step.metrics.input_tokens + step.metrics.output_tokens for name, step in result.steps.items()}
    whole = result.steps["d"].metrics.successful_rows
    share = sum(
        spent[name] * whole / step.metrics.successful_rows
        for name, step in result.steps.items()
        if step.metrics.successful_rows
    )
    assert sum(spent.values()) <= most
    assert share >= 0.9 * sum(spent.values()) >= 0.75 * most


def test_a_price_limit_over_two_models_ends_in_whole_rows() -> None:
    def priced(model: str) -> Slow:
        provider = Slow(lambda row: dict.fromkeys("abcd", 1))
        provider.name, provider.model = "openai", model
        return provider

    models = [priced(model) for model in ("gpt-4.1-nano", "gpt-4.1-mini") * 2]
    pipe = smelt.pipeline(progress=False, ledger=False, concurrency=8)
    for at, name in enumerate("abcd"):
        before = f" after {{{'abcd'[at - 1]}}}" if at else ""
        pipe = pipe.transform(f"Judge {{text}}{before}.", {name: int}, model=models[at])
    most = 0.03

    result = smelt.testing.run_jumping(
        pipe.arun([{"text": f"row {number}"} for number in range(3_000)], max_cost=most)
    ).result

    steps = result.steps.values()
    spent = sum(step.metrics.cost_usd or 0.0 for step in steps)
    in_flight = sum(
        8 * (step.metrics.cost_usd or 0.0) / step.metrics.requests for step in steps if step.metrics.requests
    )
    whole_rows = result.steps["d"].metrics.successful_rows
    share = sum((one.metrics.cost_usd or 0.0) * whole_rows / one.metrics.successful_rows for one in steps)
    assert {step.model for step in steps} == {"openai:gpt-4.1-nano", "openai:gpt-4.1-mini"}
    assert 0.75 * most <= spent <= most + in_flight
    assert share >= 0.9 * spent


def test_a_budget_that_ends_early_leaves_no_step_waiting() -> None:
    for most in (3_000, 5_000, 9_000, 20_000):
        result = smelt.testing.run_jumping(equal_steps(3, slow()).arun(TEXTS[:333], max_tokens_total=most)).result

        assert {error.kind for error in result.errors} == {"budget"}
        assert result.metrics.input_tokens + result.metrics.output_tokens <= most
