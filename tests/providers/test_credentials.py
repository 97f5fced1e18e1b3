"""Credentials that our client adds: keys that functions return, and keys in another header than the SDK's."""

from __future__ import annotations

import asyncio
import copy
import itertools
import logging
import pickle
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

import smelt
from smelt.call.resolve import resolve_model
from smelt.errors import AuthConfigError, InsecureURLError, SmeltWarning
from smelt.loop.one_thread import OneThreadLoop
from smelt.model import Model
from smelt.providers.base import CallFailed, CompleteProvider
from smelt.providers.credentials import Given, NotAuthorised, check, headers_for, looks_expired
from smelt.providers.secrets import KeySource, Secret
from smelt.testing import JumpingLoop
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.models import MODELS, PROTOCOLS
from tests.providers.asking import CANARY, KEYS, ask, failure_of, request

TOKEN = f"eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.{CANARY}.c2lnbmF0dXJl"
NAMES = ("openai", "vllm", "anthropic", "google", "azure", "foundry", "vertex", "vertex-claude", "bedrock")
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "one-thread": OneThreadLoop,
    "plain": asyncio.new_event_loop,
}


def keyed(name: str, fake: Scenario, api_key: Any) -> CompleteProvider:
    provider, model = MODELS.get(name, (name, "fake-1"))
    url = fake.base_url(PROTOCOLS[name])
    return resolve_model(Model(provider, model, api_key=api_key, base_url=url))


def rotating(name: str, lasts: int) -> Callable[[], str]:
    """A function that returns another key after it was asked *lasts* times, as the ones of SDKs do after an hour."""
    asked = iter(range(10**6))
    return lambda: f"{KEYS[name]}{next(asked) // lasts}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_function_is_asked_for_the_key_of_every_request(name: str, kind: str, scenario: MakeScenario) -> None:
    fake, asked = scenario(log=True), []

    def key() -> str:
        asked.append(1)
        return KEYS[name]

    async def later() -> str:
        await asyncio.sleep(0)
        return key()

    provider = keyed(name, fake, key if kind == "sync" else later)

    async def work() -> None:
        async with provider.connect(connections=4) as connection:
            await asyncio.gather(*(connection.send(request()) for _ in range(6)))

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        runner.run(work())

    assert len(asked) == 7  # Once before the first request.
    assert fake.stats().statuses == {200: 6}
    assert all(entry["secrets"] for entry in fake.stats().log)


@pytest.mark.parametrize("name", ["azure", "foundry"])
def test_a_token_of_entra_goes_into_another_header_than_a_key(name: str, scenario: MakeScenario) -> None:
    fake = scenario(log=True)

    ask(keyed(name, fake, lambda: TOKEN))
    ask(keyed(name, fake, KEYS[name]))

    token, key = (entry["secrets"] for entry in fake.stats().log)
    assert token == ["authorization"]
    assert key == ["api-key", "x-api-key"]


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_expires_is_replaced_once_and_no_request_fails(name: str, scenario: MakeScenario) -> None:
    fake = scenario(token_lasts=5)
    keys = iter(f"{KEYS[name]}{number}" for number in range(100))
    current = [next(keys)]

    def key() -> str:
        return current[0]

    provider = keyed(name, fake, key)

    async def work() -> list[str]:
        async with provider.connect(connections=4) as connection:
            first = [await connection.send(request()) for _ in range(5)]
            current[0] = next(keys)  # As azure-identity does when its token has expired.
            return [one.finish for one in [*first, await connection.send(request())]]

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        assert runner.run(work()) == ["stop"] * 6

    assert fake.stats().statuses == {200: 6}


def test_a_key_that_was_replaced_while_requests_were_in_flight_is_used_for_them(scenario: MakeScenario) -> None:
    fake = scenario(token_lasts=3, latency=0.02)
    provider = keyed("openai", fake, rotating("openai", 5))

    async def work() -> list[Any]:
        async with provider.connect(connections=4) as connection:
            return await asyncio.gather(*(connection.send(request()) for _ in range(4)))

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        assert [reply.finish for reply in runner.run(work())] == ["stop"] * 4


def test_a_key_that_stays_refused_is_an_account_fault_after_one_request(scenario: MakeScenario) -> None:
    fake = scenario(always={"fault": "status", "kind": "auth"})

    failure = failure_of(keyed("openai", fake, lambda: KEYS["openai"]))

    assert failure.kind == "auth"
    assert fake.stats().requests == 1  # The same key again would be refused again.


def _raising(problem: Exception) -> Callable[[], str]:
    def key() -> str:
        raise problem

    return key


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (_raising(RuntimeError(f"no login, token {TOKEN}")), "The function in api_key= raised RuntimeError: no login"),
        (lambda: None, "What the function in api_key= returned must be a string, not a NoneType"),
        (lambda: "", "What the function in api_key= returned is blank"),
        (lambda: "two words", "What the function in api_key= returned has characters that no key has"),
    ],
    ids=["raises", "none", "blank", "malformed"],
)
def test_a_function_without_a_key_ends_the_call_before_a_request(key: Any, says: str, scenario: MakeScenario) -> None:
    fake = scenario()

    with pytest.raises(AuthConfigError, match=says) as caught:
        ask(keyed("openai", fake, key))

    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert fake.stats().requests == 0


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (ConnectionRefusedError(111, "refused"), "connection"),
        (TimeoutError("late"), "connection"),
        (RuntimeError("login again"), "auth"),
        (ssl.SSLCertVerificationError(1, "self-signed"), "auth"),
    ],
)
def test_a_function_that_fails_in_mid_run_fails_the_request(
    problem: Exception, kind: str, scenario: MakeScenario
) -> None:
    fake, asked = scenario(), []

    def key() -> str:
        asked.append(1)
        if len(asked) > 1:
            raise problem
        return KEYS["openai"]

    failure = failure_of(keyed("openai", fake, key))

    assert failure.kind == kind
    assert "The function in api_key= raised" in failure.message
    assert (failure.__cause__, failure.__context__) == (None, None)
    assert fake.stats().requests == 0


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", NAMES)
def test_no_thread_is_started_on_either_loop(name: str, loop: str, scenario: MakeScenario) -> None:
    fake = scenario()
    provider = keyed(name, fake, lambda: KEYS[name])
    before, seen = threading.enumerate(), []

    async def work() -> None:
        async with provider.connect(connections=4) as connection:
            await asyncio.gather(*(connection.send(request()) for _ in range(4)))
            seen.extend(threading.enumerate())

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(work())

    assert seen == before


@pytest.mark.parametrize("name", NAMES)
def test_keys_of_a_function_are_shown_nowhere(
    name: str, scenario: MakeScenario, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake = scenario(always={"fault": "echo", "text": KEYS[name], "code": 500})
    provider = keyed(name, fake, lambda: KEYS[name])

    failure = failure_of(provider)

    assert CANARY not in repr((failure, vars(failure), provider)) + caplog.text
    assert CANARY.encode() not in pickle.dumps((failure.args, vars(failure), provider))


def test_a_model_with_a_function_is_compared_shown_copied_and_pickled() -> None:
    def key() -> str:
        return "k"

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self) -> str:
            return "k"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Unhashable)

    one = Model("openai", "gpt", api_key=key)

    assert one == Model("openai", "gpt", api_key=key) != Model("openai", "gpt", api_key=lambda: "k")
    assert hash(one) == hash(Model("openai", "gpt", api_key=key))
    assert len({Model("openai", "gpt", api_key=Unhashable()) for _ in range(2)}) == 1
    assert "key" not in repr(one).replace("api_key", "")
    assert copy.deepcopy(one) == one
    assert pickle.loads(pickle.dumps(one)).api_key is None


def test_answers_are_found_again_although_the_key_is_another(
    scenario: MakeScenario, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = scenario(answers={"label": {"copy": "name"}})
    rows = [{"name": f"company {number}"} for number in range(6)]

    def asked(key: Callable[[], str | Awaitable[str]]) -> int:
        model = Model("openai", "fake-1", api_key=key, base_url=fake.base_url("openai"))
        smelt.transform(rows, "Label {name}.", str, model=model, ledger=tmp_path / "ledger.sqlite", progress=False)
        return fake.stats().rows_sent

    assert [asked(lambda: "key-of-today"), asked(lambda: "key-of-tomorrow")] == [6, 6]


def test_a_function_is_refused_where_a_key_is() -> None:
    with pytest.raises(InsecureURLError, match="in clear text"):
        resolve_model(Model("openai", "m", api_key=lambda: "k", base_url="http://gateway.example/v1"))


@pytest.mark.parametrize(
    ("status", "headers", "text", "is_expired"),
    [
        (401, {}, "", True),
        (403, {"x-amzn-errortype": "ExpiredTokenException:http://x"}, "", True),
        (400, {"x-amzn-errortype": "ExpiredTokenException"}, "", True),
        (403, {}, '{"message":"The security token included in the request is expired"}', True),
        (403, {}, '{"Message":"Bearer Token has expired"}', True),
        (403, {}, '{"error":{"message":"Your trial has expired."}}', False),
        (403, {"x-amzn-errortype": "AccessDeniedException"}, "{}", False),
        (400, {}, '{"error":{"message":"the token in row 3 expired"}}', False),
        (429, {}, "expired token", False),
        (200, {}, "expired token", False),
    ],
)
def test_an_expired_token_is_told_from_other_refusals(
    status: int, headers: dict[str, str], text: str, is_expired: bool
) -> None:
    assert looks_expired(status, headers, text) is is_expired


@pytest.mark.parametrize(
    ("vendor", "key"), [("groq", "sk-ant-api03-k"), ("vertex", "AIzaSyk"), ("azure", "gsk_k"), ("foundry", "sk-or-k")]
)
def test_a_function_that_returns_a_key_of_another_vendor_ends_the_call(
    vendor: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("GOOGLE_CLOUD_PROJECT", "p"), ("AZURE_OPENAI_ENDPOINT", "https://me.openai.azure.com")):
        monkeypatch.setenv(name, value)
    model = Model(vendor, "gemini-2.5-flash", api_key=lambda: key, base_url=ADDRESSES.get(vendor))

    with pytest.raises(AuthConfigError, match=f"looks like a key of .* and was given for {vendor}"):
        smelt.run([{"name": "ada"}], "{name}", str, model=model, progress=False)


ADDRESSES = {"foundry": "https://me.services.ai.azure.com/anthropic"}


def test_calls_of_an_async_function_do_not_wait_for_one_another() -> None:
    waiting, most = 0, 0

    async def key() -> str:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(1)
        waiting -= 1
        return "key-number-1"

    given = Given("bearer", KeySource(key), account="host")

    async def work() -> None:
        await asyncio.gather(*(given.headers("POST", "https://host", b"") for _ in range(16)))

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(work())

    assert most == 16


def test_a_function_that_gives_no_first_key_ends_the_call() -> None:
    async def never() -> str:
        await asyncio.sleep(10_000)
        raise AssertionError

    given = Given("bearer", KeySource(never), account="host")

    with asyncio.Runner(loop_factory=JumpingLoop) as runner, pytest.raises(AuthConfigError, match="no key within 60 s"):
        runner.run(check(given, "https://host"))


def test_only_the_last_keys_are_remembered_for_redaction() -> None:
    numbers = iter(range(100))
    given = Given("bearer", KeySource(lambda: f"key-number-{next(numbers)}"), account="host")

    async def work() -> None:
        for _ in range(50):
            await given.headers("POST", "https://host", b"")

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        runner.run(work())

    assert 2 <= len(given.secrets) <= 20
    assert Secret("key-number-49") in given.secrets


def test_a_failure_of_a_token_server_is_retried_and_one_of_the_account_is_not() -> None:
    passing, lasting = NotAuthorised("later", is_passing=True).as_failure(), NotAuthorised("never").as_failure()

    assert isinstance(passing, CallFailed)
    assert (passing.kind, passing.billing.value) == ("connection", "not_sent")
    assert (lasting.kind, lasting.is_named) == ("auth", True)


@pytest.mark.parametrize(
    ("auth", "names"),
    [("bearer", {"authorization"}), ("x-api-key", {"x-api-key"}), ("x-goog-api-key", {"x-goog-api-key"})],
)
def test_a_key_goes_into_the_header_of_its_vendor(auth: Any, names: set[str]) -> None:
    assert set(headers_for(auth, "k")) == names


@pytest.mark.parametrize("in_flight", [1, 8])
def test_new_keys_that_are_refused_too_cost_few_requests(in_flight: int, scenario: MakeScenario) -> None:
    refused = {str(number): {"fault": "status", "kind": "auth"} for number in range(12, 500)}
    fake = scenario(script=refused, latency=0.02)
    numbers = itertools.count()
    model = Model("openai", "m", api_key=lambda: f"sk-{next(numbers)}-abcdefgh", base_url=fake.base_url("openai"))
    rows = [{"name": f"company {number}"} for number in range(200)]
    job = smelt.Job("Repeat {name}.", str, batch_size=1, concurrency=in_flight, progress=False)

    with pytest.warns(SmeltWarning, match="The run stopped early: HTTP 401"):
        job.run(model, data=rows)

    # Those in flight, which a busy machine sends once more with a new key, and a few to be sure; 31 and more before.
    assert fake.stats().statuses[401] <= 2 * in_flight + 5


def test_a_function_that_hangs_in_mid_run_costs_no_row(scenario: MakeScenario) -> None:
    fake, calls = scenario(), itertools.count()

    async def key() -> str:
        if next(calls) == 3:
            await asyncio.sleep(10_000)
        return "sk-abcdefgh"

    model = Model("openai", "m", api_key=key, base_url=fake.base_url("openai"))
    job = smelt.Job("Repeat {name}.", str, batch_size=1, concurrency=2, timeout=0.5, progress=False)

    result = job.run(model, data=[{"name": f"company {number}"} for number in range(8)])

    assert result.metrics.failed_rows == 0
    assert result.metrics.possible_duplicates == 0  # Nothing was sent, so nothing can be billed.


def test_a_token_server_that_is_overloaded_at_first_is_asked_again() -> None:
    class Busy(Given):
        asked = 0

        async def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
            self.asked += 1
            if self.asked < 3:
                raise NotAuthorised("HTTP 503", is_passing=True)
            return {}

    credentials = Busy("bearer", Secret("k"), account="host")
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(check(credentials, "https://host"))

    assert credentials.asked == 3
