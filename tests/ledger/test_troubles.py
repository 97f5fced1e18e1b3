"""A store that fails, through the front door: before money is spent where that can be, and with nothing lost else."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.ledger.test_runs import LABEL, NAMES, Label, Model, frame, run
from tests.models import KEYS, served

PROMPT = "What is {name}?"


def test_a_file_that_is_no_ledger_stops_a_run_before_it_spends(path: Path) -> None:
    path.write_bytes(b"not a ledger" * 1_000)
    provider = Model()

    with pytest.raises(smelt.errors.StoreCorruptError, match="It is not a ledger of smelt"):
        run(path, model=provider)

    assert provider.sent == []


def test_a_place_that_is_not_safe_stops_a_run_before_it_spends(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    provider = Model()

    with pytest.raises(smelt.errors.UnsafeStoreError, match="could replace the ledger"):
        run(tmp_path / "ledger.sqlite", model=provider)

    assert provider.sent == []


@pytest.mark.parametrize(
    "name", ["a b", "q?mode=memory", "h#x", "p%41", "ü✓", "file:x", "new\nline", "'q\"uote"], ids=repr
)
def test_any_name_of_a_file_will_do(tmp_path: Path, name: str) -> None:
    run(tmp_path / name, model=Model())
    again = Model()

    run(tmp_path / name, model=again)

    assert again.sent == []
    assert {one.name for one in tmp_path.iterdir()} == {name, f"{name}-lock"}


def test_a_relative_path_is_that_of_the_moment_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Moving(Model):
        async def send(self, request: Any) -> Any:
            os.chdir(tmp_path / "elsewhere")
            return await super().send(request)

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    run(Path("ledger.sqlite"), model=Moving(), batch_size=5)

    assert (tmp_path / "ledger.sqlite").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_what_a_cancelled_call_was_answered_is_kept(path: Path) -> None:
    class Cancelling(Model):
        async def send(self, request: Any) -> Any:
            if len(self.sent) >= 20 and not call.cancelling():  # Two may have landed in one turn.
                call.cancel()
            await asyncio.sleep(0.01)  # In flight when the call is cancelled.
            return await super().send(request)

    cancelling, again = Cancelling(), Model()
    options: dict[str, Any] = {"ledger": path, "progress": False, "batch_size": 5, "concurrency": 2}
    call = asyncio.create_task(smelt.arun(frame(), PROMPT, Label, model=cancelling, **options))

    with pytest.raises(asyncio.CancelledError):
        await call
    result = await smelt.arun(frame(), PROMPT, Label, model=again, **options)

    assert result.success
    assert 20 < len(cancelling.sent) < 40
    assert sorted(cancelling.sent + again.sent) == sorted(NAMES)
    with smelt.ledger.open(path) as ledger:
        assert [one["state"] for one in ledger.runs()] == ["interrupted", "done"]
        assert ledger.possible_duplicates() == []


@pytest.fixture
def file_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("file_limit")
def test_69_a_disk_that_fills_up_ends_the_run_with_what_was_answered(path: Path) -> None:
    names = [f"company {at}" for at in range(4_000)]
    filling = ScriptedProvider(LABEL, keep=False)

    def fill(event: object) -> None:
        if filling.rows_sent > 1_000:
            size = path.with_name(path.name + "-wal").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    with pytest.raises(smelt.errors.StoreFullError, match="The disk of the ledger") as caught:
        smelt.run(frame(names), PROMPT, Label, model=filling, ledger=path, progress=fill, batch_size=20)

    partial = caught.value.partial_result
    assert partial is not None
    assert partial.metrics.successful_rows >= filling.rows_sent - 32 * 20
    assert {error.kind for error in partial.errors} == {"unstorable"}
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    again = ScriptedProvider(LABEL, keep=False)
    result = smelt.run(frame(names), PROMPT, Label, model=again, ledger=path, progress=False)
    assert result.success
    with smelt.ledger.open(path) as ledger:
        assert ledger.check() == []


READ_ONLY = """
import os, sys, smelt
from tests.ledger.test_runs import Label, Model, frame, NAMES
smelt.run(frame(), "What is {name}?", Label, model=Model(), ledger=False, progress=False)  # Loads everything.
if os.geteuid() == 0:
    os.setuid(12345)  # Nothing is read-only for root.
options = dict(model=Model(), ledger=sys.argv[1], progress=False)
print(smelt.run(frame(), "What is {name}?", Label, **options).metrics.ledger_rows)
model = Model()
try:
    smelt.run(frame([*NAMES, "new"]), "What is {name}?", Label, **{**options, "model": model})
except smelt.errors.StoreReadOnlyError as problem:
    print(model.sent, "nothing was sent" in str(problem), problem.partial_result.metrics.successful_rows)
"""


@pytest.mark.slow
@pytest.mark.whole
def test_74_a_ledger_that_can_only_be_read_serves_a_finished_job_and_no_other() -> None:
    with tempfile.TemporaryDirectory() as name:  # `tmp_path` lies where another user cannot reach.
        path = Path(name) / "ledger.sqlite"
        run(path, model=Model())
        for one in (*path.parent.iterdir(), path.parent):
            one.chmod(0o500 if one.is_dir() else 0o400)
            os.chown(one, 12345 if os.geteuid() == 0 else -1, -1)

        done = subprocess.run([sys.executable, "-c", READ_ONLY, str(path)], capture_output=True, text=True, check=False)

        path.parent.chmod(0o700)
        assert (done.stdout, done.stderr) == ("40\n[] True 40\n", "")


def test_where_no_ledger_can_be_by_default_the_run_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where a directory should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SMELT_LEDGER")
    provider = Model()
    provider.capabilities = smelt.providers.base.Capabilities()

    with pytest.warns(smelt.SmeltWarning, match="There is no ledger, so answers are not kept"):
        result = smelt.run(frame(), PROMPT, Label, model=provider, progress=False)

    assert result.success


async def test_two_runs_of_one_process_share_the_work(path: Path) -> None:
    class Slow(Model):
        async def send(self, request: Any) -> Any:
            await asyncio.sleep(0.02)
            return await super().send(request)

    one, other = Slow(), Slow()
    options: dict[str, Any] = {"ledger": path, "progress": False, "batch_size": 5, "concurrency": 2}

    first, second = await asyncio.gather(
        smelt.arun(frame(), PROMPT, Label, model=one, **options),
        smelt.arun(frame(), PROMPT, Label, model=other, **options, seed=5),
    )

    assert sorted(one.sent + other.sent) == sorted(NAMES)
    assert first.metrics.ledger_rows + second.metrics.ledger_rows == 40
    assert first.success
    assert second.success


def test_no_key_and_no_row_is_in_any_file_at_any_time(path: Path, scenario: MakeScenario) -> None:
    provider = scenario(answers={"length": {"length": "name"}, "kind": {"const": "odd"}})
    written: list[bytes] = []

    def look(event: object) -> None:
        written.extend(one.read_bytes() for one in path.parent.iterdir())

    names = [f"canary-{at}" for at in range(40)]
    smelt.run(frame(names), PROMPT, Label, model=served("openai", provider), ledger=path, progress=look)
    look(None)

    everything = b"".join(written)
    assert KEYS["openai"].encode() not in everything
    assert b"canary" not in everything
    assert b"What is" not in everything
