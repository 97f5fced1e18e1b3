"""A run that asks for added fields only, and what becomes of it when it is broken off."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import smelt.ledger
from tests.fakeserver.client import ROOT
from tests.ledger.test_runs import NAMES, Longer, Model, about, run

EXTENDED = """
import os, signal, sys
from functools import partial
from smelt.call.running import execute
from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.call.wiring import wired
from tests.ledger.test_runs import Longer, Model, frame

path, gap, passes = sys.argv[1], sys.argv[2], int(sys.argv[3])
met = 0

def meet(name):
    global met
    met += name == gap
    if met == passes:
        os.kill(os.getpid(), signal.SIGKILL)

settings = Settings.of(ledger=path, extend=True, batch_size=10, concurrency=1, progress=False)
execute(prepare(frame(), "What is {name}?", Longer, Model(), settings), awaited="arun", wiring=partial(wired, gap=meet))
"""


def killed(path: Path, gap: str, passes: int, code: str = EXTENDED) -> None:
    """Ask for all names in a process that is killed the *passes*-th time that it comes by *gap*."""
    command = [sys.executable, "-c", code, str(path), gap, str(passes)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-9, "")


@pytest.mark.slow
def test_64_a_paid_reply_with_added_fields_is_merged_after_a_crash(path: Path) -> None:
    run(path, model=Model())
    killed(path, "received", passes=2)
    copy = path.with_name("copy.sqlite")
    for one in (path, path.with_name(path.name + "-wal")):
        shutil.copy(one, one.with_name(one.name.replace(path.name, copy.name)))

    for where, extend, asked in ((path, True, {("first",)}), (copy, False, {("length", "kind", "first")})):
        again, last = Model(), Model()
        result = run(where, model=again, output=Longer, extend=extend, batch_size=10)
        after = run(where, model=last, output=Longer)

        assert len(again.sent) == len(set(again.sent)) == 20  # The other two requests were paid for.
        assert {tuple(fields) for fields in again.fields} == asked
        assert [answer.model_dump() for answer in result.data] == [about({"name": name}) for name in NAMES]
        assert last.sent == []
        assert after.data == result.data
        with smelt.ledger.open(where) as ledger:
            assert ledger.check() == []
            # What would have left next was announced in the commit of the reply, and nobody knows that it did not.
            assert [one["rows"] for one in ledger.possible_duplicates()] == [10]


@pytest.mark.slow
@pytest.mark.whole
def test_answers_of_a_run_that_was_killed_are_extended(path: Path) -> None:
    killed(path, "intended", passes=4, code=EXTENDED.replace("Longer", "Label"))
    growing = Model()

    result = run(path, model=growing, output=Longer, extend=True, batch_size=10)

    assert result.success
    assert sorted(map(tuple, growing.fields)) == [("first",)] * 3 + [("length", "kind", "first")]
    with smelt.ledger.open(path) as ledger:
        assert [one["rows"] for one in ledger.possible_duplicates()] == [10]
