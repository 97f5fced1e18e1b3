"""Every adapter, through its real SDK, over real HTTP, against the fake providers: they must all behave alike."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import pickle
import socket
import threading
import traceback
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from anthropic._constants import ANTHROPIC_API_VERSION

from smelt.errors import SmeltConfigError
from smelt.loop.one_thread import OneThreadLoop
from smelt.providers.base import ENDED, Billing, CallFailed, FailureKind, Finish
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.fakeserver.oddwire import ENVELOPES, RESPONSES
from tests.models import MODELS, PROTOCOLS, PROVIDERS, SPOKEN
from tests.providers.asking import CANARY, EACH, KEYS, ROW, adapter, ask, failure_of, request


@pytest.fixture(params=EACH)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _a_project_for_a_bare_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme")


def url(scenario: Scenario, name: str) -> str:
    return scenario.base_url(PROTOCOLS[name])


def test_a_good_reply_brings_text_usage_model_and_limits(name: str, scenario: MakeScenario) -> None:
    fake = scenario(
        answers={"label": {"copy": "name"}},
        usage={"input": 100, "output": 40, "cached": 60, "reasoning": 10},
        headers={"x-ratelimit-remaining-requests": "7"},
    )

    reply = ask(adapter(name, url(fake, name)))

    assert json.loads(reply.text) == {"rows": [{"id": "k7f2", "label": "Acme"}, {"id": "p3xw", "label": "Größe"}]}
    assert reply.finish == "stop"
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (100, 40)
    assert reply.usage.cached_input_tokens == 60
    assert reply.model == {"bedrock": None}.get(name, MODELS.get(name, ("", "fake-1"))[1])  # Converse names none.
    assert reply.request_id
    assert reply.limits["x-ratelimit-remaining-requests"] == "7"


def test_the_key_is_there_for_the_ledger_to_tell_accounts_apart(name: str) -> None:
    key = adapter(name, "http://localhost:1").key

    assert key is not None
    assert key.reveal() == KEYS[name]
    assert CANARY not in repr(key)


def test_reasoning_is_a_part_of_the_output_tokens(scenario: MakeScenario, name: str) -> None:
    if name == "bedrock":
        pytest.skip("Converse does not say how many tokens were reasoning.")
    fake = scenario(usage={"input": 100, "output": 40, "reasoning": 10})

    usage = ask(adapter(name, url(fake, name))).usage

    assert (usage.output_tokens, usage.reasoning_tokens) == (40, 10)


def test_the_request_says_all_that_it_must(name: str, scenario: MakeScenario) -> None:
    fake = scenario(log=True)

    params = params_of(name)

    ask(adapter(name, url(fake, name), params=params), request(max_output_tokens=321))

    sent = fake.stats().log[0]
    text = (
        json.dumps(sent["body"]).replace('\\"', '"').replace('","', '", "')
    )  # A schema may stand in the instructions.
    assert "Label each row." in text
    assert "k7f2" in text
    assert "321" in text
    assert json.dumps(ROW["required"]) in text or (name == "bedrock" and '[\\"id\\",\\"label\\"]' in text)
    assert all(json.dumps(value) in text for value in params.values())
    assert sent["headers"]["accept-encoding"] == "identity"
    assert len(sent["secrets"]) == (2 if name in ("azure", "foundry") else 1)  # Each of two APIs reads one of them.


def params_of(name: str) -> dict[str, Any]:
    special: dict[str, dict[str, Any]] = {"anthropic": {"effort": "low"}, "vllm": {"temperature": 0.25, "top_k": 7}}
    return special.get(SPOKEN.get(name, name), {"temperature": 0.25})


def test_the_wire_writes_the_body_that_is_sent(name: str, scenario: MakeScenario) -> None:
    fake = scenario(log=True)
    provider: Any = adapter(name, url(fake, name))

    params = {**provider.vendor.params, **params_of(name)}

    written = provider.wire.write(provider.model, request(max_output_tokens=321), params, provider.manner)
    ask(provider, request(max_output_tokens=321, **params_of(name)))

    sent = fake.stats().log[0]["body"]
    if name == "vertex-claude":  # Google has the model in the path.
        del written["model"]
        written["anthropic_version"] = ANTHROPIC_API_VERSION
    if SPOKEN.get(name, name) == "google":  # The SDK has other names for the parts of the body.
        sent = {"model": "fake-1", "contents": sent["contents"][0]["parts"][0]["text"], "config": _config(sent)}
    assert json.loads(json.dumps(written)) == sent


def _config(sent: dict[str, Any]) -> dict[str, Any]:
    camel = {"response_mime_type": "responseMimeType", "response_json_schema": "responseJsonSchema"}
    camel |= {"max_output_tokens": "maxOutputTokens", "temperature": "temperature"}
    system = sent["systemInstruction"]["parts"][0]["text"]
    return {"system_instruction": system} | {ours: sent["generationConfig"][theirs] for ours, theirs in camel.items()}


REFUSALS: list[tuple[str, FailureKind]] = [
    ("auth", "auth"),
    ("permission", "auth"),
    ("quota", "quota"),
    ("insufficient_quota", "quota"),
    ("billing", "quota"),
    ("not_found", "not_found"),
    ("schema", "schema"),
    ("param", "schema"),
    ("context_length", "too_long"),
    ("content_filter", "filtered"),
    ("bad_request", "bad_request"),
    ("too_large", "too_large"),
    ("unprocessable", "bad_request"),
    ("rate_limit", "rate_limit"),
    ("server", "server"),
    ("overloaded", "server"),
    ("timeout", "server"),
]


@pytest.mark.parametrize(("refusal", "kind"), REFUSALS, ids=[refusal for refusal, _ in REFUSALS])
def test_a_refusal_is_told_apart(name: str, scenario: MakeScenario, refusal: str, kind: FailureKind) -> None:
    fake = scenario(always={"fault": "status", "kind": refusal})
    if (SPOKEN.get(name, name), refusal) == ("google", "content_filter"):  # Gemini says it with a 200.
        assert ask(adapter(name, url(fake, name))).finish == "filtered"
        return

    failure = failure_of(adapter(name, url(fake, name)))

    assert (failure.kind, failure.billing) == (kind, Billing.REJECTED)
    assert failure.status
    assert failure.request_id
    assert fake.stats().requests == 1  # No SDK tries again.


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (302, "redirect"),
        (405, "not_found"),
        (407, "auth"),
        (408, "server"),
        (409, "server"),
        (418, "bad_request"),
        (425, "server"),
        (502, "server"),
        (529, "server"),
        (599, "server"),
    ],
)
def test_a_bare_status_is_told_apart(name: str, scenario: MakeScenario, code: int, kind: FailureKind) -> None:
    fake = scenario(always={"fault": "status", "code": code})

    failure = failure_of(adapter(name, url(fake, name)))

    assert (failure.kind, failure.status) == (kind, code)
    assert fake.stats().requests == 1


@pytest.mark.parametrize("kind", ["rate_limit", "overloaded", "auth", "not_found"])
def test_an_error_object_in_a_200_counts_as_the_error(name: str, scenario: MakeScenario, kind: str) -> None:
    expected = dict(REFUSALS)[kind] if name != "bedrock" else "protocol"  # AWS has no object for errors.
    fake = scenario(always={"fault": "error_object_200", "kind": kind})

    failure = failure_of(adapter(name, url(fake, name)))

    # The openai wording of "overloaded" carries no word that stands for a status; it is still no answer.
    assert failure.kind in (expected, "protocol" if kind == "overloaded" else expected)


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"retry_after": 7}, 7.0),
        ({"retry_after": 1, "retry_after_ms": 2500}, 2.5),
        ({"retry_date": 90, "clock_skew": -86_400}, 90.0),
        ({"retry_after": -3}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "1e999"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": 864_000}, 864_000.0),
    ],
    ids=["seconds", "milliseconds", "date", "negative", "nan", "infinite", "garbage", "ten-days"],
)
def test_the_wait_that_a_provider_asks_for_is_read(
    name: str, scenario: MakeScenario, options: dict[str, Any], seconds: float | None
) -> None:
    fake = scenario(always={"fault": "status", "kind": "rate_limit", **options})

    failure = failure_of(adapter(name, url(fake, name)))

    assert failure.retry_after == seconds


def test_the_retry_info_of_gemini_is_read(scenario: MakeScenario) -> None:
    fake = scenario(always={"fault": "status", "kind": "rate_limit", "retry_info": "7.5s"})

    assert failure_of(adapter("google", url(fake, "google"))).retry_after == 7.5


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(name: str, scenario: MakeScenario, code: int) -> None:
    other = scenario(log=True)
    fake = scenario(always={"fault": "redirect", "code": code, "to": url(other, name) + "/stolen"})

    failure = failure_of(adapter(name, url(fake, name)))

    assert failure.kind == "redirect"
    assert "127.0.0.1" in failure.message
    assert other.stats().requests == 0
    assert fake.stats().requests == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_no_connection_is_made_to_where_a_redirect_leads(name: str, scenario: MakeScenario, code: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.setblocking(False)
        target = f"http://127.0.0.1:{other.getsockname()[1]}/v1/responses"
        fake = scenario(always={"fault": "redirect", "code": code, "to": target})

        failure = failure_of(adapter(name, url(fake, name)))

        assert failure.kind == "redirect"
        with pytest.raises(BlockingIOError, match="temporarily unavailable"):
            other.accept()


UNUSABLE: list[tuple[Any, Billing]] = [
    ("html", Billing.UNKNOWN),
    ("empty_body", Billing.UNKNOWN),
    ("cut_json", Billing.PAID_BAD),
    ("long_body", Billing.PAID_BAD),
    ("wrong_charset", Billing.PAID_BAD),
    ({"fault": "packed", "encoding": "gzip, gzip, gzip, gzip"}, Billing.PAID_BAD),
    ("gzip_bomb", Billing.PAID_BAD),
]


@pytest.mark.parametrize(("fault", "billing"), UNUSABLE, ids=[str(fault) for fault, _ in UNUSABLE])
def test_a_200_that_is_no_answer_is_no_success(name: str, scenario: MakeScenario, fault: Any, billing: Billing) -> None:
    fake = scenario(always=fault)

    failure = failure_of(adapter(name, url(fake, name)))

    assert (failure.kind, failure.billing) == ("protocol", billing)


def test_an_answer_without_content_is_never_taken_for_an_answer(name: str, scenario: MakeScenario) -> None:
    fake = scenario(always="no_content")

    reply = ask(adapter(name, url(fake, name)))

    assert reply.text == ""
    assert reply.finish in ENDED  # Nothing says that a filter did it, so the rows are asked again.


def test_a_web_page_is_quoted_in_one_line(name: str, scenario: MakeScenario) -> None:
    fake = scenario(always="html")

    message = failure_of(adapter(name, url(fake, name))).message

    assert "Please sign in to the network." in message
    assert "\n" not in message
    assert len(message) <= 300


STRANGE: list[Any] = [
    "bom",
    "wrong_content_type",
    "early_hints",
    "unrequested_gzip",
    {"fault": "packed", "encoding": "deflate"},
    {"fault": "packed", "encoding": "raw"},
    {"fault": "packed", "encoding": "gzip, deflate"},
    {"fault": "another_status", "code": 201},
    {"fault": "another_status", "code": 202},
    "streamed",
    {"fault": "streamed", "characters": 1},
    {"fault": "edit", "set": {"error": None}},
    {"fault": "edit", "set": {"error": {"code": None, "message": "", "metadata": {}}}},
    {"fault": "edit", "set": {"error": ""}},
    {"fault": "edit", "set": {"error": {"code": 0, "message": "success"}}},
]


@pytest.mark.parametrize("fault", STRANGE, ids=str)
def test_a_strange_but_whole_answer_is_read(name: str, scenario: MakeScenario, fault: Any) -> None:
    if name == "bedrock" and "streamed" in str(fault):
        pytest.skip("Converse streams by another method, and in a binary format.")
    fake = scenario(always=fault, answers={"label": {"copy": "name"}})

    assert "Größe" in json.loads(ask(adapter(name, url(fake, name))).text)["rows"][1]["label"]


@pytest.mark.parametrize("oddity", [*ENVELOPES, *RESPONSES, "stream"])
def test_every_envelope_of_the_hostile_model_is_opened(name: str, scenario: MakeScenario, oddity: str) -> None:
    fake = scenario(oddities={oddity: 1.0}, answers={"label": {"copy": "name"}})

    reply = ask(adapter(name, url(fake, name)))

    assert [row["label"] for row in json.loads(reply.text)["rows"]] == ["Acme", "Größe"]
    assert reply.with_end(4_000).finish == "stop"


# What counts the bytes is one for all SDKs (`gzip_bomb` above asks each), and to send so many takes half a second.
@pytest.mark.parametrize(
    "name",
    [PROVIDERS[0], *(pytest.param(name, marks=pytest.mark.hosts) for name in PROTOCOLS if name != PROVIDERS[0])],
    indirect=True,
)
def test_a_body_over_the_cap_is_given_up(name: str, scenario: MakeScenario) -> None:
    fake = scenario(always="huge_body")

    failure = failure_of(adapter(name, url(fake, name)))

    assert (failure.kind, failure.billing) == ("protocol", Billing.PAID_BAD)
    assert "64 MB" in failure.message


@pytest.mark.parametrize("fault", ["reset_before", "reset_mid_body", "short_body", "bad_status_line"])
def test_a_connection_that_breaks_may_have_been_billed(name: str, scenario: MakeScenario, fault: str) -> None:
    fake = scenario(always=fault)

    failure = failure_of(adapter(name, url(fake, name)))

    assert (failure.kind, failure.billing) == ("connection", Billing.UNKNOWN)
    assert failure.status is None
    assert fake.stats().requests == 1


def test_a_refused_connection_costs_nothing_and_names_the_host(name: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]

    failure = failure_of(adapter(name, f"http://127.0.0.1:{port}"))

    assert (failure.kind, failure.billing) == ("connection", Billing.NOT_SENT)
    assert f"http://127.0.0.1:{port}" in failure.message


def test_a_name_that_does_not_resolve_costs_nothing(name: str) -> None:
    failure = failure_of(adapter(name, "https://no-such-host.invalid"))

    assert (failure.kind, failure.billing) == ("connection", Billing.NOT_SENT)


@pytest.mark.parametrize("fault", ["hang", "trickle", "slow_headers"])
def test_a_call_that_is_given_up_leaves_its_room_to_the_next(name: str, scenario: MakeScenario, fault: str) -> None:
    fake = scenario(script={"0": fault})
    provider = adapter(name, url(fake, name))

    async def work() -> str:
        async with provider.connect(connections=1) as connection:
            call = asyncio.ensure_future(connection.send(request()))
            while not fake.stats().requests:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert not call.done()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            return (await connection.send(request())).text

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        assert json.loads(runner.run(work()))["rows"]  # The one connection that there may be is free again.


FINISHES: list[tuple[Any, Finish]] = [
    ("truncate", "length"),
    ("reasoning_ate_it", "length"),
    ({"fault": "refuse", "detail": "I would rather not."}, "refused"),
    ({"fault": "filter", "reason": "RECITATION"}, "filtered"),
    ("block_prompt", "filtered"),
    ("empty", "stop"),
]


@pytest.mark.parametrize(
    ("fault", "finish"), FINISHES, ids=["cut", "reasoning", "refusal", "filter", "blocked-prompt", "empty"]
)
def test_the_end_of_an_answer_is_told_apart(name: str, scenario: MakeScenario, fault: Any, finish: Finish) -> None:
    fake = scenario(always=fault)

    reply = ask(adapter(name, url(fake, name)))

    # Anthropic knows only refusals, Gemini only filters.
    spoken = SPOKEN.get(name, name)
    same = {"anthropic": {"filtered": "refused"}, "google": {"refused": "filtered"}}.get(spoken, {})
    assert reply.finish == same.get(finish, finish)
    if finish == "refused" and spoken not in ("google", "bedrock"):
        assert reply.detail == "I would rather not."
    if finish in ("refused", "filtered"):
        assert reply.text == ""


def test_counts_of_tokens_that_cannot_be_are_unknown(name: str, scenario: MakeScenario) -> None:
    fake = scenario(script={"0": "absurd_usage", "1": {"fault": "absurd_usage", "tokens": 10**12}, "2": "no_usage"})
    provider = adapter(name, url(fake, name))

    usages = [ask(provider).usage for _ in range(3)]

    assert [usage.input_tokens for usage in usages] == [None, None, None]
    assert [usage.output_tokens for usage in usages] == [None, None, None]


def test_a_model_that_is_not_named_is_none(name: str, scenario: MakeScenario) -> None:
    fake = scenario(always="no_model")

    assert ask(adapter(name, url(fake, name))).model is None


LEAKS = ["auth", "rate_limit", "server", "html", "reset_before", "cut_json", "redirect", "refused"]


@pytest.mark.parametrize("fault", LEAKS)
def test_the_key_is_nowhere_in_a_failure(
    name: str, scenario: MakeScenario, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = {"fault": "status", "kind": fault, "headers": {"x-request-id": "r-1"}}
    options: Any = {"fault": "redirect", "to": "http://127.0.0.1:1/"} if fault == "redirect" else fault
    fake = scenario(always=echo if fault in ("auth", "rate_limit", "server") else options if fault != "refused" else ())
    provider = adapter(name, "http://127.0.0.1:1" if fault == "refused" else url(fake, name))

    failure = failure_of(provider)

    assert failure.__cause__ is None
    assert failure.__context__ is None
    shown = "".join(traceback.TracebackException.from_exception(failure, capture_locals=True).format())
    places = [str(failure), repr(failure), repr(failure.args), repr(vars(failure)), repr(provider), shown, caplog.text]
    assert CANARY not in "".join(places)
    assert CANARY.encode() not in pickle.dumps((failure.args, vars(failure), provider))


@pytest.mark.parametrize("fault", ["hang", "echo"], ids=["given-up", "echoed"])
def test_no_frame_of_a_traceback_still_holds_the_key(name: str, scenario: MakeScenario, fault: str) -> None:
    fake = scenario(always={"fault": fault, "text": KEYS[name]})
    provider = adapter(name, url(fake, name))

    async def work() -> str:
        async with provider.connect(connections=1) as connection:
            try:
                async with asyncio.timeout(0.2):
                    await connection.send(request())
            except (CallFailed, TimeoutError) as problem:
                return "".join(traceback.TracebackException.from_exception(problem, capture_locals=True).format())
        raise AssertionError("there was a reply")

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        shown = runner.run(work())

    assert "in reply_to" in shown  # The frames are there.
    assert CANARY not in shown


def test_the_exception_that_a_caller_handles_keeps_its_variables(scenario: MakeScenario) -> None:
    provider = adapter("openai", url(scenario(always="html"), "openai"))

    def broken() -> None:
        clue = "the caller's own"
        raise KeyError(len(clue))

    try:
        broken()
    except KeyError as problem:
        failure = failure_of(provider)
        shown = "".join(traceback.TracebackException.from_exception(problem, capture_locals=True).format())

    assert failure.kind == "protocol"
    assert 'clue = "the caller\'s own"' in shown


@pytest.mark.parametrize("other", ["vllm", "deepseek", "azure"])
def test_headers_of_openais_variables_go_to_no_other_company(
    other: str, scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer other\nX-Team: secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    fake = scenario(log=True)

    ask(adapter(other, url(fake, other), params={"extra_headers": {"X-Mine": "1"}}))

    headers = fake.stats().log[0]["headers"]
    assert not {"x-team", "openai-organization", "openai-project"} & set(headers)
    assert "Bearer other" not in headers.values()
    assert headers["x-mine"] == "1"


def test_google_asks_the_developer_api_whatever_the_environment_says(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("GOOGLE_API_KEY", "AIzaAnother")

    assert ask(adapter("google", url(scenario(), "google"))).finish == "stop"


def test_a_malformed_proxy_variable_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks9://nowhere")

    with pytest.raises(SmeltConfigError, match="HTTPS_PROXY is not the URL of a proxy"):
        ask(adapter(name, "https://api.example"))


def test_a_proxy_that_needs_a_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5://user:hidden@proxy.example:1080")

    with pytest.raises(SmeltConfigError, match="ALL_PROXY names a SOCKS proxy.*pip install socksio") as caught:
        ask(adapter(name, "https://api.example"))
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_gone_matter_only_to_https(
    name: str, variable: str, scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv(variable, "/opt/gone")
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example:1080")

    with pytest.raises(SmeltConfigError, match=f"{variable} names /opt/gone, which does not exist"):
        ask(adapter(name, "https://127.0.0.1:9"))
    assert ask(adapter(name, url(scenario(), name))).finish == "stop"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip"])
def test_an_error_that_is_compressed_is_read(name: str, scenario: MakeScenario, encoding: str) -> None:
    packed = PACK[encoding](b'{"error": {"message": "The invoice is due.", "code": "billing_error"}}')
    body = packed.decode("latin-1")
    fake = scenario(
        always={"fault": "raw", "code": 400, "body": body, "latin": True, "headers": {"content-encoding": encoding}}
    )

    failure = failure_of(adapter(name, url(fake, name)))

    assert failure.kind == "quota"
    assert "The invoice is due." in failure.message


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "gzip, gzip": lambda body: gzip.compress(gzip.compress(body)),
}


def test_it_is_told_not_to_stream(name: str, scenario: MakeScenario) -> None:
    fake = scenario(log=True)

    ask(adapter(name, url(fake, name)))

    # The word of Gemini and Bedrock for it is the method in the path.
    assert fake.stats().log[0]["body"].get("stream") is (
        None if SPOKEN.get(name, name) in ("google", "bedrock") else False
    )


ECHOES = ["x-request-id", "request-id", "x-ratelimit-limit-requests", "retry-after", "set-cookie", "x-anything"]


@pytest.mark.parametrize("code", [200, 400, 429])
@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO], ids=["debug", "info"])
def test_a_key_that_a_server_sends_back_goes_nowhere(
    name: str, scenario: MakeScenario, code: int, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(level)
    key = KEYS[name]
    echoes = dict.fromkeys(ECHOES, key) | {"x-ratelimit-" + key.lower(): "1"}
    fault = {"fault": "status", "code": code, "headers": {"x-request-id": f"req {key}"}} if code != 200 else ()
    model = "modelVersion" if SPOKEN.get(name, name) == "google" else "model"
    model = "trace" if name == "bedrock" else model
    value: Any = key + "\n" + quote(key)
    value = {"promptRouter": {"invokedModelId": value}} if name == "bedrock" else value
    renamed = {"fault": "edit", "set": {model: value}}
    fake = scenario(always=[fault] if fault else [renamed], headers=echoes)
    provider = adapter(name, url(fake, name))

    outcome: Any = ask(provider) if code == 200 else failure_of(provider)

    assert CANARY.lower() not in repr(vars(outcome)).lower()
    assert CANARY not in caplog.text
    assert "Acme" not in caplog.text
    assert outcome.request_id in ("[key]", "req [key]")


@pytest.mark.parametrize(("provider", "member"), [("vllm", "id"), ("google", "responseId")])
def test_the_id_of_a_request_may_stand_in_the_body_and_is_redacted_there_too(
    provider: str, member: str, scenario: MakeScenario
) -> None:
    named = {"fault": "edit", "set": {member: f"req {KEYS[provider]}"}}
    fake = scenario(always=[named], headers={"x-request-id": ""})

    assert ask(adapter(provider, url(fake, provider))).request_id == "req [key]"


@pytest.mark.parametrize("size", [10_000, 200])
def test_what_a_server_calls_a_request_is_one_short_line(name: str, scenario: MakeScenario, size: int) -> None:
    fake = scenario(headers={"x-request-id": "r\x1b[31m" + "x" * size, "request-id": ""})

    shown = ask(adapter(name, url(fake, name))).request_id

    assert shown is not None
    assert len(shown) <= 200
    assert shown.isprintable()


def test_what_others_log_through_the_same_loggers_stays(
    caplog: pytest.LogCaptureFixture, scenario: MakeScenario
) -> None:
    caplog.set_level(logging.DEBUG)
    ask(adapter("openai", url(scenario(), "openai")))
    caplog.clear()

    for logger in ("httpcore2.http11", "httpx2", "openai._base_client"):
        logging.getLogger(logger).debug("another client's")

    assert [record.message for record in caplog.records] == ["another client's"] * 3


def test_each_request_is_still_one_line_at_info(
    name: str, caplog: pytest.LogCaptureFixture, scenario: MakeScenario
) -> None:
    caplog.set_level(logging.INFO)

    ask(adapter(name, url(scenario(), name)))

    assert [record.levelname for record in caplog.records if "HTTP Request: POST" in record.message] == ["INFO"]


def test_the_text_keeps_a_key_that_a_row_has(scenario: MakeScenario) -> None:
    key = KEYS["openai"]
    fake = scenario(always={"fault": "says", "text": f'{{"rows": [{{"id": "k7f2", "label": "{key}"}}]}}'})
    provider = adapter("openai", url(fake, "openai"))
    asked = request()

    assert CANARY not in ask(provider, asked).text
    assert key in ask(provider, replace(asked, user=asked.user.replace("Acme", key))).text


def test_no_thread_is_started(name: str, scenario: MakeScenario) -> None:
    fake = scenario(script={"0": {"fault": "status", "kind": "server"}})
    before = threading.enumerate()
    provider = adapter(name, url(fake, name).replace("127.0.0.1", "localhost"))
    seen: list[threading.Thread] = []

    async def work() -> None:
        async with provider.connect(connections=4) as connection:
            await asyncio.gather(*(connection.send(request()) for _ in range(4)), return_exceptions=True)
            seen.extend(threading.enumerate())

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        runner.run(work())

    assert seen == before


def test_67_a_provider_serves_one_loop_after_another(name: str, scenario: MakeScenario) -> None:
    fake = scenario()
    provider = adapter(name, url(fake, name))

    assert [ask(provider).finish for _ in range(3)] == ["stop", "stop", "stop"]
    assert fake.stats().requests == 3


def test_no_more_connections_are_opened_than_allowed(name: str, scenario: MakeScenario) -> None:
    fake = scenario(latency=0.02)
    provider = adapter(name, url(fake, name))

    async def work() -> None:
        async with provider.connect(connections=3) as connection:
            await asyncio.gather(*(connection.send(request()) for _ in range(12)))

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        runner.run(work())

    assert fake.stats().max_in_flight <= 3
