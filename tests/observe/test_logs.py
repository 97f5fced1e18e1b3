"""The logger `smelt`: begin and end at INFO, trouble at WARNING, requests at DEBUG, and nothing unless asked for."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.engine.events import Resumed, RunStarted, Waiting
from smelt.errors import AuthenticationError
from smelt.observe.logs import RunLogger, run_logger
from smelt.providers.base import Billing, CallFailed
from smelt.testing import ScriptedProvider

FRAME = pd.DataFrame({"n": range(20)})
SECRET = "sk-canary-of-a-key"


class Twice(BaseModel):
    twice: int


def doubling(script: Any = ()) -> ScriptedProvider:
    return ScriptedProvider(lambda row: {"twice": 2 * row["n"]}, script=script)


def logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [one.getMessage().partition(": ")[2] for one in caplog.records if one.levelno == level]


def test_a_run_logs_its_begin_and_its_end_at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="smelt")

    smelt.run(FRAME, "Double {n}.", Twice, model=doubling(), ledger=False, batch_size=5)

    begin, end = logged(caplog, logging.INFO)
    assert begin == "20 rows (20 distinct) for scripted:script"
    assert end.startswith("done; 20 answered, 0 of them from the ledger, 0 failed; 4 requests, ")
    assert {one.name for one in caplog.records} == {"smelt"}
    assert len(caplog.records) == 2


def test_requests_are_logged_at_debug_and_hold_no_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="smelt")
    frame = FRAME.assign(text=SECRET)
    script = [None, CallFailed("server", Billing.REJECTED, f"HTTP 500: {SECRET}", status=500)]

    smelt.run(frame, f"Double {{n}} of {{text}}. {SECRET}", Twice, model=doubling(script), ledger=False, batch_size=10)

    lines = logged(caplog, logging.DEBUG)
    assert lines[0] == "request 1 sent, 10 rows, 1 in flight"
    assert lines[1].startswith("request 1 ended, ok, 10 rows, ")
    assert any(line.startswith("request 2 ended, server, ") for line in lines)
    assert SECRET not in caplog.text


def test_an_early_end_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    revoked = CallFailed("auth", Billing.REJECTED, f"HTTP 401: {SECRET}", status=401)

    with pytest.raises(AuthenticationError, match="401"):
        smelt.run(FRAME, "Double {n}.", Twice, model=doubling([revoked]), ledger=False)

    assert [line[:22] for line in logged(caplog, logging.WARNING)] == ["ended early (stopped);"]
    assert SECRET not in caplog.text


def test_only_long_waits_are_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="smelt")
    log = RunLogger()
    log(RunStarted(run_id="0123456789", rows=1, distinct_rows=1, provider="p", model="m"))

    for seconds in (3.0, 60.0):
        log(Waiting(seconds=seconds, reason="p's limit"))
        log(Resumed())

    assert logged(caplog, logging.WARNING) == ["waiting 1:00 min for p's limit"]
    assert logged(caplog, logging.DEBUG) == ["waiting 3.0 s for p's limit", "goes on", "goes on"]
    assert all("01234567:" in one.getMessage() for one in caplog.records)


def test_a_logger_that_is_off_gets_nothing_and_costs_nothing() -> None:
    logger = logging.getLogger("smelt")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        assert run_logger() is None
    finally:
        logger.setLevel(before)
    assert run_logger() is not None


def test_without_a_handler_of_the_application_nothing_is_printed() -> None:
    code = (
        "import smelt; from smelt.testing import ScriptedProvider;"
        "smelt.run([{'n': 1}], 'Say {n}.', str, model=ScriptedProvider({'text': 'x'}), deadline=1e-9, progress=False)"
    )

    child = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)

    assert "run " not in child.stderr + child.stdout
