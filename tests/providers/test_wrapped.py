"""Hooks of the caller's around the requests of a model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.call.resolve import resolve_model
from smelt.errors import SmeltAPIError, SmeltConfigError
from smelt.providers import Billing, CallFailed, Capabilities, Reply, Request, Usage
from smelt.providers.wrapped import Wrapped
from smelt.testing import ScriptedProvider, answered, run_jumping


class Company(BaseModel):
    sector: str


FRAME = pd.DataFrame({"name": ["Arm", "Sanofi", "Lego"]})
FAILURE = CallFailed("bad_request", Billing.REJECTED, "No.", status=400)


def scripted(*script: Any, **options: Any) -> ScriptedProvider:
    return ScriptedProvider(lambda row: {"sector": row["name"].lower()}, script=script, **options)


def ask(model: Any, frame: Any = FRAME, **options: Any) -> smelt.SmeltResult[Any]:
    return smelt.run(frame, "Classify {name}.", Company, model=model, progress=False, **options)


def sectors(result: smelt.SmeltResult[Any]) -> list[str | None]:
    return [one and one.sector for one in result.data]


def shouting(reply: Reply) -> Reply:
    rows = json.loads(reply.text)["rows"]
    return replace(reply, text=json.dumps({"rows": [{**row, "sector": row["sector"].upper()} for row in rows]}))


def test_before_changes_what_is_sent() -> None:
    model = scripted()

    ask(smelt.wrap(model, before=lambda request: replace(request, system="Be brief."), tag="v1"))

    assert {request.system for request in model.requests} == {"Be brief."}


def test_after_changes_the_reply() -> None:
    result = ask(smelt.wrap(scripted(), after=lambda request, reply: shouting(reply), tag="v1"))

    assert sectors(result) == ["ARM", "SANOFI", "LEGO"]


def test_a_hook_may_be_async_and_may_change_nothing() -> None:
    seen: list[object] = []

    async def before(request: Request) -> None:
        await asyncio.sleep(0)
        seen.append(request)

    async def after(request: Request, reply: Reply) -> None:
        await asyncio.sleep(0)
        seen.append(reply)

    result = ask(smelt.wrap(scripted(), before=before, after=after, tag="v1"))

    assert result.success
    assert [type(one) for one in seen] == [Request, Reply]


def test_a_reply_of_before_is_not_sent_and_costs_nothing() -> None:
    model = scripted()
    own = smelt.wrap(
        model,
        before=lambda request: replace(answered(request, lambda row: {"sector": "own"}), usage=Usage()),
        after=lambda request, reply: pytest.fail("a reply of before is not seen by after"),
        tag="v1",
    )

    result = ask(own)

    assert sectors(result) == ["own"] * 3
    assert model.requests == []
    assert (result.metrics.input_tokens, result.metrics.output_tokens) == (0, 0)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_on_error_says_what_a_failure_means(is_async: bool) -> None:
    def as_limit(request: Request, failure: CallFailed) -> CallFailed:
        return CallFailed("rate_limit", Billing.REJECTED, failure.message, retry_after=30)

    async def as_limit_later(request: Request, failure: CallFailed) -> CallFailed:
        return as_limit(request, failure)

    model = smelt.wrap(scripted(FAILURE), on_error=as_limit_later if is_async else as_limit)
    result, seconds = run_jumping(smelt.arun(FRAME, "Classify {name}.", Company, model=model, progress=False))

    assert result.success
    assert result.metrics.rate_limited == 1
    assert seconds >= 30


def test_on_error_may_leave_the_failure_as_it_is() -> None:
    seen: list[CallFailed] = []

    result = ask(smelt.wrap(scripted(FAILURE), on_error=lambda request, failure: seen.append(failure)))

    assert seen == [FAILURE]
    assert result.success  # The halves were answered.


def test_on_error_may_answer_in_place_of_the_model() -> None:
    failing = scripted(*[FAILURE] * 9)
    model = smelt.wrap(
        failing, on_error=lambda request, failure: answered(request, lambda row: {"sector": "unknown"}), tag="v1"
    )

    assert sectors(ask(model)) == ["unknown"] * 3


def test_a_call_failed_that_a_hook_raises_is_the_failure_of_the_request() -> None:
    refused: list[Request] = []

    def refuse_once(request: Request) -> None:
        if not refused:
            refused.append(request)
            raise CallFailed("rate_limit", Billing.NOT_SENT, "Not now.", retry_after=5)

    model = smelt.wrap(scripted(), before=refuse_once, tag="v1")
    result, seconds = run_jumping(smelt.arun(FRAME, "Classify {name}.", Company, model=model, progress=False))

    assert result.success
    assert seconds >= 5


def broken(*given: object) -> Any:
    raise ValueError("no such file, key sk-abcdefghijklmnop")


def cancelled(*given: object) -> Any:
    raise asyncio.CancelledError


BAD: dict[str, tuple[dict[str, Callable[..., Any]], str]] = {
    "before raises": (
        {"before": broken},
        r"hook before of smelt.wrap raised ValueError: no such file, key \[key\]\.",
    ),
    "after raises": ({"after": broken}, "The hook after of smelt.wrap raised ValueError"),
    "on_error raises": ({"on_error": broken}, "The hook on_error of smelt.wrap raised ValueError"),
    "before is cancelled": ({"before": cancelled}, "raised CancelledError"),
    "before gives text": ({"before": lambda request: "x"}, "before of smelt.wrap returned a str, not a Request"),
    "after gives text": ({"after": lambda request, reply: "x"}, "returned a str, not a Reply or None"),
    "on_error gives text": ({"on_error": lambda request, failure: "x"}, "returned a str, not a CallFailed"),
    "another schema": ({"before": lambda request: replace(request, schema={})}, "changed the schema"),
    "another class": ({"before": lambda request: replace(request, output_model=str)}, "changed the schema"),
    "no ids": ({"before": lambda request: replace(request, user="Arm?")}, "removed the id '.....' of a row"),
}


@pytest.mark.parametrize(("hooks", "said"), BAD.values(), ids=BAD)
def test_a_broken_hook_ends_the_run_with_a_sentence(hooks: dict[str, Any], said: str) -> None:
    model = scripted(FAILURE) if "on_error" in hooks else scripted()

    with pytest.raises(SmeltAPIError, match=said):
        ask(smelt.wrap(model, **hooks, tag="v1"))


def test_a_hook_that_breaks_later_leaves_what_was_answered() -> None:
    count = 0

    def third(request: Request, reply: Reply) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise ValueError("the third")

    with pytest.warns(smelt.SmeltWarning, match="The run stopped early: The hook after of smelt.wrap raised"):
        result = ask(smelt.wrap(scripted(), after=third, tag="v1"), batch_size=1, concurrency=1)

    assert result.metrics.successful_rows == 2
    assert {error.kind for error in result.errors} == {"stopped"}
    assert result.metrics.output_tokens > 0


def test_wrong_params_of_before_are_found() -> None:
    def hot(request: Request) -> Request:
        return replace(request, params={"temprature": 1})

    class Strict(ScriptedProvider):
        def check_params(self, params: Any) -> None:
            if params:
                raise SmeltConfigError("there is no parameter 'temprature'")

    with pytest.raises(SmeltAPIError, match="before of smelt.wrap returned wrong params: there is no parameter"):
        ask(smelt.wrap(Strict({"sector": "x"}), before=hot, tag="v1"))


@pytest.mark.parametrize("hook", ["before", "after"])
def test_a_tag_is_needed_for_what_changes_answers(hook: str) -> None:
    with pytest.raises(SmeltConfigError, match='wrap needs a tag, like tag="v1"'):
        smelt.wrap("openai:gpt-4.1-nano", **{hook: lambda *given: None})  # type: ignore[arg-type]


def test_a_reply_of_on_error_needs_a_tag_too() -> None:
    with pytest.raises(SmeltAPIError, match='so the answers need a name: pass tag="v1" to smelt.wrap'):
        ask(smelt.wrap(scripted(FAILURE), on_error=lambda request, failure: Reply(text="")))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "at least one of before, after and on_error"),
        ({"before": 1, "tag": "v1"}, "before must be a function"),
        ({"before": print, "tag": ""}, "tag must be a name without spaces"),
        ({"before": print, "tag": 1}, "tag must be a string"),
    ],
)
def test_a_wrong_argument_is_refused(options: Any, said: str) -> None:
    with pytest.raises(SmeltConfigError, match=said):
        smelt.wrap("openai:gpt-4.1-nano", **options)


def test_what_is_no_model_is_refused_at_once() -> None:
    with pytest.raises(SmeltConfigError, match="model must be a string like"):
        smelt.wrap(42, on_error=print)


def test_the_model_is_resolved_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model = smelt.wrap("openai:gpt-4.1-nano", on_error=lambda request, failure: None)

    with pytest.raises(SmeltConfigError, match="OPENAI_API_KEY"):
        ask(model)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-of-a-wrapped-model")
    provider, plain = resolve_model(model), resolve_model("openai:gpt-4.1-nano")

    assert isinstance(provider, Wrapped)
    for name in ("name", "model", "origin", "deployment", "key", "params", "thinking_tokens", "capabilities"):
        assert getattr(provider, name) == getattr(plain, name)


def kept(model: Any, ledger: Path) -> smelt.SmeltResult[Any]:
    return ask(model, ledger=str(ledger))


def test_the_ledger_keeps_wrapped_answers_apart(tmp_path: Path) -> None:
    ledger, plain = tmp_path / "ledger.sqlite", scripted()

    def loud(tag: str) -> Any:
        return smelt.wrap(plain, after=lambda request, reply: shouting(reply), tag=tag)

    kept(plain, ledger)
    with pytest.warns(smelt.SmeltWarning, match="'tag of smelt.wrap' added"):
        wrapped = kept(loud("v1"), ledger)
    again = kept(loud("v1"), ledger)
    with pytest.warns(smelt.SmeltWarning, match="'tag of smelt.wrap' changed"):
        other = kept(loud("v2"), ledger)

    assert sectors(kept(plain, ledger)) == ["arm", "sanofi", "lego"]
    assert sectors(wrapped) == sectors(again) == ["ARM", "SANOFI", "LEGO"]
    assert (wrapped.metrics.requests, again.metrics.requests, other.metrics.requests) == (1, 0, 1)


def test_a_classifier_of_errors_shares_the_answers_of_the_model(tmp_path: Path) -> None:
    ledger, plain = tmp_path / "ledger.sqlite", scripted()

    kept(plain, ledger)

    assert kept(smelt.wrap(plain, on_error=lambda request, failure: None), ledger).metrics.requests == 0


def test_wraps_nest_from_the_inside_out() -> None:
    inner = smelt.wrap(
        scripted(), after=lambda request, reply: replace(reply, text=reply.text.replace("arm", "Arm 1")), tag="a"
    )
    outer = smelt.wrap(
        inner, after=lambda request, reply: replace(reply, text=reply.text.replace("Arm 1", "Arm 2")), tag="b"
    )

    provider = resolve_model(outer)

    assert sectors(ask(outer))[0] == "Arm 2"
    assert isinstance(provider, Wrapped)
    assert provider.tags == ("a", "b")


def test_a_function_a_lazy_plan_a_stream_an_estimate_and_a_comparison_take_it() -> None:
    async def own(row: dict[str, Any]) -> dict[str, str]:
        return {"sector": row["name"].lower()}

    loud = smelt.wrap(own, after=lambda request, reply: shouting(reply), tag="v1")
    lazy: Any = pl.LazyFrame({"name": FRAME["name"].tolist()})
    lazy = lazy.smelt.transform("Classify {name}.", Company, model=loud, progress=False)
    estimate = smelt.estimate(FRAME, "Classify {name}.", Company, model=loud)
    frames = list(smelt.stream([FRAME, FRAME], "Classify {name}.", Company, model=loud, progress=False))
    known = FRAME.assign(truth=["ARM", "SANOFI", "LEGO"])
    table = smelt.compare(known, "Classify {name}.", Company, [loud, own], truth={"sector": "truth"}, progress=False)

    assert sectors(ask(loud)) == lazy.collect()["sector"].to_list() == ["ARM", "SANOFI", "LEGO"]
    assert estimate.model == "worker:own"
    assert pd.concat(frames)["sector"].tolist() == ["ARM", "SANOFI", "LEGO"] * 2
    assert table is not None


def test_a_provider_with_its_own_codec_keeps_it() -> None:
    keyed = scripted(capabilities=Capabilities(codec="keyed"))

    result = ask(smelt.wrap(keyed, before=lambda request: replace(request, system="x"), tag="v1"))

    assert sectors(result) == ["arm", "sanofi", "lego"]
