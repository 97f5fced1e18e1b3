"""Ctrl-C in the driver of a job is told to the pacer, by the signal or after a cell of a notebook."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import smelt
from smelt.scale import interrupts
from smelt.scale.interrupts import Interrupts
from tests.models import Company
from tests.scale.answers import EveryKind, provider


@pytest.fixture
def halted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The jobs that a pacer was told to halt."""
    found: list[str] = []
    monkeypatch.setenv("SMELT_PACER", "/run/smelt/pacer")
    monkeypatch.setattr(interrupts, "asked", lambda place, what, job: found.append(f"{place} {what} {job}"))
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield found
    signal.signal(signal.SIGINT, before)


def mapper() -> smelt.Mapper:
    return smelt.Mapper(smelt.Job("About {name}.", EveryKind), provider())


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_signal_tells_the_pacer_of_jobs_that_somebody_has_and_interrupts_as_usual(halted: list[str]) -> None:
    ours, kept, gone = Interrupts(), mapper(), mapper()
    ours.watch(kept)
    ours.watch(gone)
    del gone

    with pytest.raises(KeyboardInterrupt, match="^$"):
        press()

    assert halted == [f"/run/smelt/pacer halt {kept._name}"]


def test_a_handler_of_the_program_and_a_process_without_a_pacer_are_left_alone(
    halted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []

    def own(signum: int, frame: Any) -> None:
        heard.append(signum)

    signal.signal(signal.SIGINT, own)
    one = mapper()
    Interrupts().watch(one)
    press()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.delenv("SMELT_PACER")
    Interrupts().watch(one)

    assert heard == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert halted == []


@pytest.mark.parametrize(("error", "times"), [(KeyboardInterrupt(), 1), (ValueError(), 0), (None, 0)], ids=repr)
def test_a_notebook_tells_after_the_cell(
    error: BaseException | None, times: int, halted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells: list[Callable[[Any], None]] = []
    events = SimpleNamespace(register=lambda name, function: cells.append(function))
    shell = SimpleNamespace(events=events)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    ours, one = Interrupts(), mapper()

    ours.watch(one)
    ours.watch(one)
    [after_cell] = cells
    after_cell(SimpleNamespace(error_in_exec=error))

    assert len(halted) == times
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_in_the_driver_itself_is_still_interrupted_with_its_answers(halted: list[str]) -> None:
    ours, one = Interrupts(), mapper()
    ours.watch(one)

    def answer(row: Any) -> dict[str, Any]:
        if row["name"] == "7":
            press()
        return {"echo": row["name"], "sector": "tech", "length": 1}

    with pytest.raises(smelt.SmeltInterrupt, match="Interrupted"):
        smelt.transform(
            [{"name": str(number)} for number in range(50)],
            "About {name}.",
            Company,
            model=smelt.testing.ScriptedProvider(answer),
            batch_size=1,
            shuffle=False,
            progress=False,
        )

    assert signal.getsignal(signal.SIGINT) == ours.handle
