"""The front door: a job, its verbs, and what they give back."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import runpy
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.call.defaults import OPTIONS
from smelt.errors import (
    AuthenticationError,
    CollisionError,
    SmeltConfigError,
    SmeltExhaustionError,
    SmeltWarning,
)
from smelt.providers.base import Billing, CallFailed, Capabilities, Provider
from smelt.testing import ScriptedProvider, asked


class Company(BaseModel):
    sector: Literal["tech", "finance", "health", "other"]
    is_public: bool
    year: int


class Length(BaseModel):
    length: int


class Place(BaseModel):
    city: str
    floor: int | None


class Office(BaseModel):
    place: Place
    seats: int


def about(row: Any) -> dict[str, Any]:
    """What the scripted model answers: something that only this row can lead to."""
    number = int(row["name"].split()[1])
    return {
        "sector": ["tech", "finance", "health", "other"][number % 4],
        "is_public": number % 2 == 0,
        "year": 1900 + number,
    }


def companies(count: int) -> Any:  # A pandas frame: its stubs do not know the accessor.
    words = "the company makes software for banks and hospitals since it was founded in a small town near the lake"
    return pd.DataFrame({"name": [f"Company {number}" for number in range(count)], "desc": words})


PROMPT = "Classify {name} by what {desc} says."
JOB = smelt.Job(PROMPT, Company, progress=False)


@pytest.fixture(autouse=True)
def bare_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("SMELT_MODEL", "SMELT_BATCH_SIZE", "SMELT_CONCURRENCY", "SMELT_TIMEOUT"):
        monkeypatch.delenv(variable, raising=False)
    yield
    smelt.configure(**dict.fromkeys(OPTIONS))


# The verbs


def test_a_job_runs_on_any_data_and_any_model() -> None:
    frame = companies(30)
    expected = [about({"name": name}) for name in frame["name"]]

    for data in (frame, pl.from_pandas(frame), frame.to_dict("records")):
        result = JOB.run(ScriptedProvider(about), data=data)

        assert [one.model_dump() for one in result.data if one] == expected
        assert type(result.frame) is type(data)
        assert result.success


async def test_the_awaited_verbs_answer_alike() -> None:
    frame = companies(7)
    columns = frame.assign(
        **{name: [about({"name": one})[name] for one in frame["name"]] for name in Company.model_fields}
    )

    results = [
        await JOB.arun(ScriptedProvider(about), data=frame),
        await smelt.arun(frame, PROMPT, Company, model=ScriptedProvider(about), progress=False),
    ]
    frames = [
        await smelt.atransform(frame, PROMPT, Company, model=ScriptedProvider(about), progress=False),
        await frame.smelt.atransform(PROMPT, Company, model=ScriptedProvider(about), progress=False),
        (await frame.smelt.arun(PROMPT, Company, model=ScriptedProvider(about), progress=False)).frame,
    ]

    for out in (*(result.frame for result in results), *frames):
        assert out["smelt_error"].isna().all()
        pd.testing.assert_frame_equal(
            out.drop(columns="smelt_error"), columns, check_dtype=False, check_categorical=False
        )


@pytest.mark.parametrize("data", [companies(9), pl.from_pandas(companies(9)), companies(9).to_dict("records")],
                         ids=["pandas", "polars", "records"])  # fmt: skip
async def test_a_test_pays_for_the_first_row_alone(data: Any) -> None:
    provider = ScriptedProvider(about)

    result = await JOB.atest(provider, data=data)

    assert provider.rows_sent == 1
    assert asked(provider.requests[0])[0][1]["name"] == "Company 0"
    assert result.data == [Company(**about({"name": "Company 0"}))]
    assert len(result.frame) == 1


def test_one_row_of_a_list_may_lack_a_key_that_the_prompt_names() -> None:
    data: list[dict[str, Any]] = [{"name": "Company 1"}, {"name": "Company 2", "desc": "x"}]

    result = JOB.test(ScriptedProvider(about), data=data)

    assert result.frame == [{"name": "Company 1", **about(data[0]), "smelt_error": None}]


def test_one_row_of_a_list_may_lack_a_key_that_an_answer_replaces() -> None:
    job = smelt.Job("Classify {name}.", Place, on_conflict="replace", progress=False)

    result = job.test(ScriptedProvider({"city": "Lyon", "floor": 2}), data=[{"name": "a"}, {"name": "b", "city": "?"}])

    assert result.frame == [{"name": "a", "city": "Lyon", "floor": 2, "smelt_error": None}]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_a_preview_pays_for_a_seeded_sample_in_the_frames_order(make: Any) -> None:
    frame = make(companies(200).to_dict("list"))

    def preview(seed: int) -> tuple[list[str], int]:
        provider = ScriptedProvider(about)
        out = frame.smelt.preview(PROMPT, Company, 12, model=provider, seed=seed, progress=False)
        return list(out["name"]), provider.rows_sent

    names, paid = preview(1)

    assert paid == len(names) == 12
    numbers = [int(name.split()[1]) for name in names]
    assert numbers == sorted(numbers)
    assert preview(1) == (names, 12)
    assert preview(2)[0] != names


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, lambda rows: rows], ids=["pandas", "polars", "list"])
def test_a_job_previews_what_the_function_previews(make: Any) -> None:
    data, provider = make([{"name": "ab"}, {"name": "abc"}]), ScriptedProvider({"length": 2})

    by_job = smelt.Job("How long is {name}?", Length, progress=False).preview(provider, data=data, n=1)
    by_function = smelt.preview(data, "How long is {name}?", Length, 1, model=provider, progress=False)

    assert type(by_job) is type(by_function) is type(data)
    assert len(by_job) == 1
    assert str(by_job) == str(by_function)


def test_a_preview_of_more_rows_than_there_are_is_the_whole_frame() -> None:
    out = companies(3).smelt.preview(PROMPT, Company, 100, model=ScriptedProvider(about), progress=False)

    assert list(out["name"]) == ["Company 0", "Company 1", "Company 2"]


def test_a_preview_keeps_the_index_labels_of_its_rows() -> None:
    frame = companies(50).set_index(pd.Index(range(1_000, 1_050), name="key"))

    out = frame.smelt.preview(PROMPT, Company, 5, model=ScriptedProvider(about), progress=False)

    assert out.index.name == "key"
    assert [f"Company {label - 1_000}" for label in out.index] == list(out["name"])


# What it would do


def without_tokens(user: str) -> str:
    rows, end = json.JSONDecoder().raw_decode(user)
    return json.dumps([row["row"] for row in rows]) + user[end:]


UNEVEN = pd.DataFrame({"name": ["Company 1", "Company 2", "\ud800", "Company 4"] * 4,
                       "desc": ["x", "y" * 23_500, "z", "w" * 900] * 4},
                      dtype=object)  # fmt: skip


@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
@pytest.mark.parametrize("codec", ["array", "keyed"])
@pytest.mark.parametrize(
    "options", [{}, {"batch_size": 7}, {"isolation": "row"}, {"seed": 5}, {"null_rows": "skip"}], ids=str
)
@pytest.mark.parametrize(
    "frame", [companies(60), UNEVEN, companies(1), companies(0)], ids=["even", "uneven", "one", "none"]
)
def test_the_explanation_is_the_first_request_but_for_its_tokens(
    frame: pd.DataFrame, options: Any, codec: Any, shuffle: bool
) -> None:
    provider = ScriptedProvider({}, script=[None] * 9, capabilities=Capabilities(codec=codec))
    job = smelt.Job(PROMPT, Company, progress=False, shuffle=shuffle, max_attempts=1, **options)

    explanation = job.explain(provider, data=frame)
    explained = len(provider.requests)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmeltWarning)  # Nobody answers here.
        job.run(provider, data=frame)

    assert explained == 0
    if not provider.requests:
        assert explanation.rows == 0
        return
    sent = provider.requests[0]
    assert explanation.system == sent.system
    assert without_tokens(explanation.user) == without_tokens(sent.user)
    assert explanation.rows == len(asked(sent))
    if codec == "array":
        assert explanation.schema == sent.schema
    else:
        assert list(explanation.schema["properties"].values()) == list(sent.schema["properties"].values())


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (1, {}),
        (30, {}),
        (200, {}),
        (1_000, {}),
        (300, {"batch_size": 20}),
        (40, {"isolation": "row"}),
        (300, {"concurrency": 2}),
    ],
    ids=str,
)
@pytest.mark.parametrize("output", [Company, str], ids=["model", "text"])
def test_an_estimate_is_near_what_is_counted_and_sends_nothing(rows: int, options: Any, output: Any) -> None:
    provider = ScriptedProvider(about if output is Company else {"text": "words " * 27})
    job = smelt.Job(PROMPT, output, progress=False, **options)
    frame = companies(rows)

    estimate = job.estimate(provider, data=frame)
    sent = len(provider.requests)
    counted = job.run(provider, data=frame).metrics

    assert sent == 0
    assert (estimate.rows, estimate.distinct_rows) == (rows, rows)
    assert estimate.input_tokens == pytest.approx(counted.input_tokens, rel=0.15)
    assert estimate.output_tokens == pytest.approx(counted.output_tokens, rel=0.15)


def test_an_estimate_is_near_what_the_server_counts(scenario: Any) -> None:
    from tests.models import RULES, served
    from tests.models import Company as Served

    frame = pd.DataFrame({"name": [f"Company {number}" for number in range(200)], "number": range(200)})
    server = scenario(answers=RULES)
    job = smelt.Job("Read {name} and {number}.", Served, progress=False, batch_size=10)

    estimate = job.estimate(served("openai", server), data=frame)
    assert server.stats().requests == 0
    job.run(served("openai", server), data=frame)

    counted = server.stats()
    assert estimate.requests == counted.requests
    assert estimate.input_tokens == pytest.approx(counted.input_tokens, rel=0.15)


def test_equal_rows_are_estimated_once() -> None:
    frame = pd.concat([companies(10)] * 20)

    estimate = JOB.estimate(ScriptedProvider(about), data=frame)

    assert (estimate.rows, estimate.distinct_rows) == (200, 10)


def test_a_price_that_is_not_known_is_none_and_says_so() -> None:
    frame = companies(3)
    named = JOB.estimate(ScriptedProvider(about), data=frame)
    priced = JOB.estimate(smelt.Model("openai", "gpt-4.1-mini", api_key="sk-proj-test"), data=frame)

    assert named.cost_usd is None
    assert "price unknown" in str(named)
    assert priced.cost_usd is not None and 0 < priced.cost_usd < 0.01
    assert JOB.run(ScriptedProvider(about), data=frame).metrics.cost_usd is None


# What comes back


def test_a_result_is_aligned_with_its_input() -> None:
    frame = companies(6).set_index(pd.Index(list("abcdef")))
    provider = ScriptedProvider(lambda row: None if row["name"] == "Company 2" else about(row))

    result = smelt.Job(PROMPT, Company, progress=False, max_attempts=2).run(provider, data=frame)

    assert [one and one.year for one in result.data] == [1900, 1901, None, 1903, 1904, 1905]
    assert not result.success
    (error,) = result.errors
    assert (error.position, error.label, error.kind, error.attempts) == (2, "c", "missing", 2)
    assert result.frame["smelt_error"].notna().tolist() == [False, False, True, False, False, False]
    metrics = result.metrics
    assert (metrics.total_rows, metrics.successful_rows, metrics.failed_rows) == (6, 5, 1)
    assert metrics.requests == len(provider.requests)
    assert result.model == "scripted:script"


def test_free_text_is_one_column_of_any_name() -> None:
    frame = companies(3)
    provider = ScriptedProvider(lambda row: {"text": row["name"].upper()})

    usual = frame.smelt.transform("Shout {name}.", str, model=provider, progress=False)
    named = frame.smelt.transform("Shout {name}.", str, model=provider, output="shout", progress=False)
    result = smelt.run(frame, "Shout {name}.", str, model=provider, progress=False)

    assert list(usual.columns) == ["name", "desc", "smelt_text", "smelt_error"]
    assert list(named["shout"]) == ["COMPANY 0", "COMPANY 1", "COMPANY 2"]
    assert result.data == ["COMPANY 0", "COMPANY 1", "COMPANY 2"]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_flattening_spreads_a_nested_model_over_columns(make: Any) -> None:
    frame = make({"name": ["a", "b"]})
    provider = ScriptedProvider(lambda row: {"place": {"city": row["name"], "floor": None}, "seats": 3})

    out = frame.smelt.transform("Where is {name}?", Office, model=provider, flatten=True, progress=False)

    assert list(out.columns) == ["name", "place.city", "place.floor", "seats", "smelt_error"]
    assert list(out["place.city"]) == ["a", "b"]
    assert out["place.floor"].isna().all() if make is pd.DataFrame else out["place.floor"].null_count() == 2


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
@pytest.mark.parametrize(
    ("on_conflict", "columns"),
    [
        ("suffix", ["text", "smelt_text", "smelt_error", "smelt_text_smelt", "smelt_error_smelt"]),
        ("replace", ["text", "smelt_text", "smelt_error"]),
    ],
)
def test_a_second_run_keeps_both_or_replaces(make: Any, on_conflict: Any, columns: list[str]) -> None:
    first, second = ScriptedProvider({"text": "one"}), ScriptedProvider({"text": "two"})
    once = make({"text": ["a"]}).smelt.transform("Say {text}.", str, model=first, progress=False)

    twice = once.smelt.transform("Say {text}.", str, model=second, on_conflict=on_conflict, progress=False)

    assert list(twice.columns) == columns
    assert list(twice[columns[-2]]) == ["two"]
    assert list(once["smelt_text"]) == ["one"]


def test_the_error_column_has_the_name_that_it_is_given() -> None:
    frame: Any = pd.DataFrame({"smelt_error": ["mine"]})
    provider = ScriptedProvider({"text": "x"})

    out = frame.smelt.transform("Say it.", str, model=provider, error_column="why", progress=False)

    assert list(out.columns) == ["smelt_error", "smelt_text", "why"]
    with pytest.raises(CollisionError, match="smelt_error"):
        frame.smelt.transform("Say it.", str, model=provider)


@pytest.mark.parametrize("how", [{"on_error": "raise"}, {"stop_on_exhaustion": True}], ids=str)
def test_a_failed_row_may_raise_with_everything_that_was_answered(how: Any) -> None:
    provider = ScriptedProvider(lambda row: None if row["name"] == "Company 7" else about(row))
    job = smelt.Job(PROMPT, Company, progress=False, shuffle=False, max_retries=0, concurrency=1, **how)

    with pytest.raises(SmeltExhaustionError, match=r"Row 7 failed \(missing\): .* in `.partial_result`") as caught:
        job.run(provider, data=companies(8))

    partial = caught.value.partial_result
    assert partial is not None
    assert [one is not None for one in partial.data] == [True] * 7 + [False]


def test_an_account_that_is_refused_raises_after_one_request() -> None:
    refused = CallFailed("auth", Billing.REJECTED, "scripted does not accept the key.", status=401)
    provider = ScriptedProvider(about, script=[refused] * 9)

    with pytest.raises(AuthenticationError, match="does not accept the key") as caught:
        JOB.run(provider, data=companies(100))

    assert len(provider.requests) == 1
    assert caught.value.status == 401


# Which model answers


def test_a_model_is_taken_from_the_call_then_from_configure_then_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = companies(1)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-test")
    monkeypatch.setenv("SMELT_MODEL", "openai:from-environment")
    from_environment = JOB.estimate(data=frame).model
    smelt.configure(model="openai:from-configure")
    from_configure = JOB.estimate(data=frame).model
    from_call = JOB.estimate("openai:from-call", data=frame).model

    assert (from_environment, from_configure, from_call) == (
        "openai:from-environment", "openai:from-configure", "openai:from-call",
    )  # fmt: skip


def test_without_any_model_the_error_names_every_way_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # As where the extra is not installed.

    with pytest.raises(SmeltConfigError, match=r"(?s)model=.*smelt\.configure\(model=.*SMELT_MODEL.*dfsmelt\[local\]"):
        companies(1).smelt.transform(PROMPT, Company)


def test_an_object_of_the_users_own_is_a_model() -> None:
    assert isinstance(ScriptedProvider(about), Provider)


# Reprs

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table><iframe src='javascript:alert(1)'>",
    "'-alert(1)-'",
    "&lt;b&gt;&#x3c;i&#x3e;",
    "<!-- -->",
    "]]><svg/onload=alert(1)>",
    "\x1b[31mred\x1b]8;;http://evil\x1b\\link",
    "a\rb\nc\x00d\x7f\x9b31m",
    "\u202egnp.exe\u2066\u200b\u200f\ufeff",
    "$$\\href{javascript:alert(1)}{x}$$",
    "x" * 100_000,
]


class Elements(HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(attrs)))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_data(self, data: str) -> None:
        self.text += data


def result_that_says(payload: str) -> smelt.SmeltResult[Any]:
    """A result into which *payload* comes by every way that there is: a label, a model's name, a provider's words."""
    frame = pd.DataFrame({"name": ["Company 0", "Company 1"]}, index=[payload, "plain"])
    failure = CallFailed("filtered", Billing.PAID_BAD, payload)
    provider = ScriptedProvider(about, script=[None, failure], model=payload)
    job = smelt.Job("Classify {name}.", Company, progress=False, batch_size=1, shuffle=False, concurrency=1)
    job_result = job.run(provider, data=frame.iloc[::-1])
    assert job_result.errors[0].label == payload
    assert job_result.errors[0].message
    return job_result


def steering(text: str) -> set[str]:
    return {unicodedata.name(one, hex(ord(one))) for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs")} - {
        "0xa"
    }


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda one: ascii(one)[:20])
def test_no_repr_lets_text_become_markup_or_steer_a_terminal(payload: str) -> None:
    plain, result = result_that_says("plain text"), result_that_says(payload)

    html = Elements(result._repr_html_())
    assert html.found == Elements(plain._repr_html_()).found
    assert not steering(html.text)
    for text in (repr(result), str(result), repr(result.errors), repr(result.metrics)):
        assert not steering(text)
    assert len(repr(result)) < 3_000
    assert repr(result).count("\n") == repr(plain).count("\n")


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda one: ascii(one)[:20])
def test_an_explanation_shows_rows_without_being_steered_by_them(payload: str) -> None:
    prompt = f"Read it: {payload}".replace("{", "{{").replace("}", "}}")
    explanation = smelt.explain(pd.DataFrame({payload: [payload]}), prompt, str, model=ScriptedProvider({}))

    assert not steering(str(explanation)) - {"CHARACTER TABULATION"}
    html = Elements(explanation._repr_html_())
    assert not steering(html.text) - {"CHARACTER TABULATION"}
    assert not {"script", "b", "img"} & {tag for tag, _ in html.found}
    assert html.text.count("reply schema") == 1
    assert '{\n  "type": "object"' in html.text  # Line by line.
    assert json.JSONDecoder().raw_decode(explanation.user)[0][0]["row"] == {payload: payload}


def test_a_result_reads_well_in_a_terminal_and_in_a_notebook() -> None:
    frame = companies(9)
    provider = ScriptedProvider(
        lambda row: None if int(row["name"].split()[1]) in (1, 2, 3, 4, 5, 6, 7) else about(row)
    )

    result = smelt.Job(PROMPT, Company, progress=False, max_attempts=1).run(provider, data=frame)

    first, *lines = repr(result).splitlines()
    assert first == "SmeltResult(2 of 9 rows answered by scripted:script)"
    assert lines[0] == "  rows: 9 (9 distinct), 7 failed"
    assert "  cost: unknown" in lines
    assert sum(line.startswith("  row ") for line in lines) == 5
    assert lines[-1] == "  …: and 2 more in .errors"
    assert "and 2 more" in Elements(result._repr_html_()).text


def test_a_long_prompt_does_not_flood_the_repr_of_its_job() -> None:
    assert len(repr(smelt.Job("x" * 10_000, Company))) < 200
    assert repr(JOB) == f"Job({PROMPT!r}, Company)"


# Sync calls in a running loop, and where warnings point

SCRIPT = """
import asyncio
import pandas as pd
import smelt
from smelt.testing import ScriptedProvider

FRAME = pd.DataFrame({"name": ["a", "b"]})

def call():
    return CALL  # here

async def main():
    return call()

OUT = asyncio.run(main())
"""
CALLS = {
    'FRAME.smelt.transform("x", str, model=MODEL, progress=False)': "atransform",
    'FRAME.smelt.run("x", str, model=MODEL, progress=False).frame': "arun",
    'smelt.transform(FRAME, "x", str, model=MODEL, progress=False)': "atransform",
    'FRAME.pipe(smelt.transform, "x", str, model=MODEL, progress=False)': "atransform",
    'smelt.Job("x", str, progress=False).run(MODEL, data=FRAME).frame': "arun",
    'smelt.Job("x", str, progress=False).test(MODEL, data=FRAME).frame': "atest",
}


@pytest.mark.parametrize(("call", "awaited"), CALLS.items(), ids=list(CALLS))
def test_a_sync_call_in_a_running_loop_works_and_recommends_its_awaited_form(
    call: str, awaited: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        SCRIPT.replace("CALL", call).replace("MODEL", 'ScriptedProvider({"text": "x"})'), encoding="utf-8"
    )

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        out = runpy.run_path(str(script))["OUT"]

    (warning,) = [one for one in caught if one.category is SmeltWarning]
    assert f"await {awaited}() instead" in str(warning.message)
    assert warning.filename == str(script)
    assert "# here" in script.read_text(encoding="utf-8").splitlines()[warning.lineno - 1]
    assert set(out["smelt_text"]) == {"x"}


async def test_a_sync_call_in_a_coroutine_leaves_the_loop_as_it_was() -> None:
    ticker = asyncio.create_task(asyncio.sleep(0, "ticked"))

    with pytest.warns(SmeltWarning, match="await atransform"):
        companies(3).smelt.transform(PROMPT, Company, model=ScriptedProvider(about), progress=False)

    assert asyncio.current_task() is not None
    assert await ticker == "ticked"


def test_a_warning_of_a_run_points_at_the_line_that_called() -> None:
    frame, provider = companies(2), ScriptedProvider(lambda row: None)

    with pytest.warns(SmeltWarning, match=r"Every row failed; the first one \(missing\)") as caught:
        frame.smelt.transform(PROMPT, Company, model=provider, progress=False)
        line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]  # CPython has frames.

    assert (caught[0].filename, caught[0].lineno) == (__file__, line)


def test_the_words_of_a_provider_cannot_steer_a_terminal_through_a_warning_or_an_exception() -> None:
    refused = CallFailed("auth", Billing.REJECTED, "no\x1b[31m key\u202e")
    filtered = CallFailed("filtered", Billing.PAID_BAD, "no\x1b[31m text\u202e")

    with pytest.raises(AuthenticationError, match=r"no.\[31m key") as caught:
        JOB.run(ScriptedProvider(about, script=[refused]), data=companies(1))
    with pytest.warns(SmeltWarning, match=r"no.\[31m text") as warned:
        JOB.run(ScriptedProvider(about, script=[filtered] * 4), data=companies(1))
    strict = smelt.Job(PROMPT, Company, on_error="raise", progress=False)
    with pytest.raises(SmeltExhaustionError, match=r"no.\[31m text") as raised:
        strict.run(ScriptedProvider(about, script=[filtered] * 4), data=companies(1))

    for text in (str(caught.value), str(warned[0].message), str(raised.value)):
        assert not steering(text)
        assert re.search(r"no.\[31m", text)


def test_a_model_for_a_job_is_told_where_it_goes() -> None:
    with pytest.raises(smelt.errors.ConfigTypeError, match=r"A job takes no model=. Pass the model when it runs"):
        smelt.Job("Label {t}.", str, model="openai:gpt-4.1-mini")
