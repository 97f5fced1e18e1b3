"""Faults 1 to 16 of the matrix and what is left of 17 to 35, over real connections; the number is in each name."""

from __future__ import annotations

import asyncio
import gc
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.call.resolve import resolve_model
from smelt.engine.events import Event, Waiting
from smelt.errors import AuthenticationError, SmeltAPIError, SmeltWarning, UnavailableError
from smelt.loop.bridge import drive
from smelt.loop.one_thread import OneThreadLoop
from smelt.model import Model
from smelt.providers.base import Billing, CallFailed
from tests.conftest import MakeScenario
from tests.exactness.companies import PROMPT, ask, assert_each_answer_is_on_its_own_row, companies
from tests.fakeserver.client import ROOT
from tests.models import KEYS, PROTOCOLS, PROVIDERS, RULES, Company, served
from tests.patience import BUSY
from tests.providers.asking import request

SILENT = ("/bin/sh", "-c", "exec sleep 30", "sh")  # In place of a system whose name server says nothing.


async def asked(frame: Any, model: Any, **options: Any) -> Any:
    given = {"concurrency": 1, "shuffle": False, "progress": False, "batch_size": 4} | options
    return await smelt.arun(frame, PROMPT, Company, model=model, **given)


# --- 1: the way to the server -----------------------------------------------------------------------------------------


def test_01_every_run_says_at_once_that_nobody_is_there() -> None:
    model = Model("openai", "fake-1", api_key=KEYS["openai"], base_url="http://127.0.0.1:1/v1")
    waits: list[Event] = []

    def note(event: Event) -> None:
        if isinstance(event, Waiting):
            waits.append(event)

    for _ in range(6):
        with pytest.raises(UnavailableError, match=r"Cannot connect to http://127\.0\.0\.1:1"):
            ask(companies(200), model, ledger=False, progress=note)

    assert waits == []


@pytest.fixture(scope="session")
def untrusted(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate for localhost that nobody has signed."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    pkcs8 = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption())
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_01_a_certificate_that_nobody_signed_is_asked_once(provider: str, untrusted: ssl.SSLContext) -> None:
    met: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append("a client that trusts it")
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0, ssl=untrusted)
    port = server.sockets[0].getsockname()[1]
    async with server:
        model = Model(provider, "fake-1", api_key=KEYS[provider], base_url=f"https://localhost:{port}/v1")
        with pytest.raises(SmeltAPIError, match=rf"https://localhost:{port}.*certificate") as raised:
            await asked(companies(40), model)

    assert raised.value.partial_result is not None
    assert raised.value.partial_result.metrics.requests == 1
    assert raised.value.partial_result.metrics.possible_duplicates == 0
    assert met == []


@pytest.mark.slow
def test_01_a_name_that_does_not_resolve_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OneThreadLoop, "resolver", ("/bin/sh", "-c", "exit 2", "sh"))
    model = Model("openai", "fake-1", api_key=KEYS["openai"], base_url="https://no-such-host.example/v1")

    with pytest.raises(UnavailableError, match=r"Cannot connect to https://no-such-host\.example.*not known") as raised:
        ask(companies(400), model, concurrency=8)

    assert KEYS["openai"] not in str(raised.value)
    assert raised.value.partial_result is not None
    assert raised.value.partial_result.metrics.possible_duplicates == 0


# --- 5, 6: no call outlives its deadline ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "trickle", "slow_headers", "silent_names"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_05_06_every_call_ends_at_its_deadline(
    provider: str, fault: str, scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls with a deadline of 0.4 s, one after the other: there is one re-send for what may have been billed."""
    monkeypatch.setattr(OneThreadLoop, "resolver", SILENT)
    url = (
        scenario(always=fault).base_url(PROTOCOLS[provider]) if fault != "silent_names" else "https://silent.example/v1"
    )
    model = Model(provider, "fake-1", api_key=KEYS[provider], base_url=url)
    resolve_model(model)  # Imports the SDK.
    started = time.monotonic()

    with pytest.warns(SmeltWarning, match="Every row failed"):
        result = ask(companies(1), model, timeout=0.4)

    assert time.monotonic() - started < BUSY
    assert [error.kind for error in result.errors] == ["timeout"]
    assert result.metrics.requests == result.metrics.possible_duplicates == 2


# --- 7, 8, 9: connections ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
def test_07_a_connection_that_was_closed_meanwhile_costs_no_request(provider: str, scenario: MakeScenario) -> None:
    closing = scenario(answers=RULES, always="close_after")
    frame = companies(20)

    result = ask(frame, served(provider, closing))

    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert closing.stats().requests == result.metrics.requests == 5
    assert closing.stats().connections == 5
    assert result.metrics.possible_duplicates == 0


@pytest.mark.slow
@pytest.mark.whole
def test_08_hundreds_of_requests_share_five_connections(scenario: MakeScenario) -> None:
    narrow = scenario(answers=RULES, latency=0.002, jitter=0.002)
    frame = companies(300)

    result = ask(frame, served("openai", narrow), batch_size=1, concurrency=5)

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    stats = narrow.stats()
    assert 300 <= stats.requests == result.metrics.requests <= 306
    assert stats.max_in_flight <= 5
    # On a busy machine a connection is idle for so long that it is opened anew, or a late reply is raced; now and then.
    assert stats.connections <= 50


WITH_FEW_FILES = """
import os, resource, sys, warnings
from smelt.model import Model
from smelt.call.resolve import resolve_model
from smelt.providers.base import Billing, CallFailed
from tests.exactness.companies import ask, assert_each_answer_is_on_its_own_row, companies
from tests.models import KEYS

frame, model = companies(30), Model("openai", "fake-1", api_key=KEYS["openai"], base_url=sys.argv[1])
ask(companies(1), model)  # What is opened once is open.
most = len(os.listdir("/proc/self/fd")) + 12
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
with warnings.catch_warnings(record=True, action="always") as said:
    result = ask(frame, model, batch_size=1, concurrency=64)
assert result.errors == [], result.errors[:2]
assert_each_answer_is_on_its_own_row(frame, result.data)
told = sum("too few open files" in str(one.message) for one in said)
print(result.metrics.requests, result.metrics.possible_duplicates, told)
"""


@pytest.mark.slow
@pytest.mark.whole
def test_09_too_many_open_files_costs_no_row_and_nothing_twice(scenario: MakeScenario) -> None:
    busy = scenario(
        answers=RULES, latency=2.0
    )  # Long enough to have as many in flight as there are files, on a slow machine, too.

    command = [sys.executable, "-c", WITH_FEW_FILES, busy.base_url("openai")]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert child.returncode == 0, child.stderr
    requests, duplicates, told = map(int, child.stdout.split())
    assert requests > 30  # It did run into the limit.
    assert busy.stats().requests == 1 + 30
    assert duplicates == 0
    assert told == 1


# --- 10, 11: bodies ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="Reads the peak of memory from /proc.")
@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [{"fault": "gzip_bomb", "megabytes": 1_024}, {"fault": "flood", "gigabytes": 10}],
    ids=["gzip-1GB", "plain-10GB"],
)
def test_10_a_body_without_end_is_paid_for_but_not_kept(fault: dict[str, Any], scenario: MakeScenario) -> None:
    bombed = scenario(answers=RULES, script={1: fault})
    frame = companies(12)
    ask(companies(1), served("openai", scenario(answers=RULES)))  # What the first request loads is no part of it.
    before = forget_peak()

    result = ask(frame, served("openai", bombed))

    assert peak_mb() - before <= 150
    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert bombed.stats().requests == 5  # Bad as it was, it was an answer: its rows are asked again in halves.
    assert result.metrics.possible_duplicates == 0


@pytest.mark.parametrize("fault", ["unrequested_gzip", "wrong_charset"])
def test_11_an_answer_in_another_encoding_is_asked_for_again(fault: str, scenario: MakeScenario) -> None:
    odd = scenario(answers=RULES, script={1: fault})
    frame = companies(12)

    result = ask(frame, served("openai", odd))

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert result.metrics.possible_duplicates == 0


def test_11_a_byte_order_mark_is_no_fault(scenario: MakeScenario) -> None:
    marked = scenario(answers=RULES, always="bom")
    frame = companies(12)

    result = ask(frame, served("openai", marked))

    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert result.metrics.requests == 3


# --- 14: proxies ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def proxy(status: str) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that answers everything with *status* and a page; its address, and what it was asked."""
    met: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(await reader.readuntil(b"\r\n\r\n"))
        page = b"<html>The proxy says no.</html>"
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {len(page)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode() + page)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield f"http://someone:s3cret-w0rd@127.0.0.1:{server.sockets[0].getsockname()[1]}", met


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_14_a_proxy_that_wants_another_password_ends_the_run(
    provider: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{scheme}://api.example/v1"
    model = Model(provider, "m", api_key=KEYS[provider], base_url=url, allow_http=True)
    async with proxy("407 Proxy Authentication Required") as (address, met):
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", address)
        with pytest.raises(AuthenticationError, match="407") as raised:
            await asked(companies(40), model)

    assert len(met) == 1
    assert "s3cret" not in str(raised.value)
    assert raised.value.partial_result is not None


@pytest.mark.parametrize(
    ("scheme", "kind", "billing"),
    [("http", "server", Billing.REJECTED), ("https", "connection", Billing.NOT_SENT)],
    ids=["http", "https"],
)
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_14_what_a_failing_proxy_was_asked_never_counts_as_sent(
    provider: str, scheme: str, kind: str, billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{scheme}://api.example/v1"
    model = resolve_model(Model(provider, "m", api_key=KEYS[provider], base_url=url, allow_http=True))
    async with proxy("502 Bad Gateway") as (address, met):
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", address)
        async with model.connect(connections=1) as connection:
            with pytest.raises(CallFailed, match="502") as raised:
                await connection.send(request())

    assert (raised.value.kind, raised.value.billing) == (kind, billing)
    assert len(met) == 1
    assert "s3cret" not in str(raised.value)
    assert KEYS[provider].encode() not in met[0] or scheme == "http"  # Through https a proxy sees the host alone.


# --- 15, 16: clocks ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("jump", [86_400.0, -86_400.0], ids=["a-day-on", "a-day-back"])
def test_15_a_wall_clock_that_jumps_moves_no_wait(
    jump: float, scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The date to wait for is a second after the reply's own Date, whatever this machine's clock says by then."""
    limited = scenario(answers=RULES, script={1: {"fault": "status", "kind": "rate_limit", "retry_date": 1}})
    frame, right, times = companies(12), time.time, 0

    def wrong() -> float:
        nonlocal times
        times += 1
        return right() + jump * times

    monkeypatch.setattr(time, "time", wrong)
    result = ask(frame, served("openai", limited))

    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert 1.0 <= result.metrics.wall_time_seconds < BUSY


class Sleeper(OneThreadLoop):
    """A loop whose clock can be put forward, as it is when a laptop wakes."""

    slept = 0.0

    def time(self) -> float:
        return super().time() + self.slept


@pytest.mark.slow
def test_16_what_is_in_flight_while_the_machine_sleeps_may_have_been_billed(scenario: MakeScenario) -> None:
    slow = scenario(answers=RULES, script=dict.fromkeys(range(1, 5), "hang"))
    frame = companies(80)

    async def fall_asleep() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Sleeper)
        while slow.stats().in_flight < 4:
            await asyncio.sleep(0.01)
        loop.slept = 3_600.0

    async def work() -> Any:
        result, _ = await asyncio.gather(asked(frame, served("openai", slow), concurrency=4), fall_asleep())
        return result

    result = drive(work(), loop_factory=Sleeper)

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert result.metrics.possible_duplicates == 4
    stats = slow.stats()
    assert stats.requests == 20 + 4
    assert stats.max_in_flight <= 8  # Four that nobody waits for, and four more: no burst.


# --- 23, 27, 33, 35: statuses -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("code", [408, 409, 425])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_23_a_request_that_came_at_a_bad_time_is_sent_again_at_no_cost(
    provider: str, code: int, scenario: MakeScenario
) -> None:
    busy = scenario(answers=RULES, script={1: {"fault": "status", "code": code}})
    frame = companies(12)

    result = ask(frame, served(provider, busy))

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert busy.stats().requests == 4
    assert result.metrics.possible_duplicates == 0


@pytest.mark.slow
@pytest.mark.parametrize("wait", ["-5", "nan", "inf", "1e999", "soon", ""])
def test_27_a_wait_that_makes_no_sense_is_ignored(wait: str, scenario: MakeScenario) -> None:
    limited = scenario(answers=RULES, script={1: {"fault": "status", "kind": "rate_limit", "retry_after": wait}})
    frame = companies(12)

    result = ask(frame, served("openai", limited))

    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert result.metrics.requests == 4
    assert result.metrics.wall_time_seconds < BUSY


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 101, 204, 206, 600, 999])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_35_a_status_that_is_none_costs_no_row(provider: str, code: int, scenario: MakeScenario) -> None:
    odd = scenario(answers=RULES, script={1: {"fault": "status", "code": code}})
    frame = companies(12)

    result = ask(frame, served(provider, odd))

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert result.metrics.requests <= 6


def forget_peak() -> float:
    """Let the kernel take the present memory as the peak; megabytes of it."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mb()


def peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
