"""Sinks that are killed go on, are whole and exact, and say what does not fit."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.exceptions import InvalidOperationError

import smelt
from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.lazy import sinks
from smelt.lazy.pushdown import known_height
from smelt.providers.base import Billing, CallFailed
from smelt.testing import ScriptedProvider
from tests.conftest import whole
from tests.lazy.deriving import DerivingProvider
from tests.lazy.plans import Second
from tests.lazy.sinking import ROWS, Size
from tests.patience import HANGING

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = pl.DataFrame({"number": range(ROWS), "kind": ["a", "b", None] * (ROWS // 3)})
EXPECTED = NUMBERS.with_columns(size=pl.col("number") * 2, smelt_error=pl.lit(None, pl.String))


def sunk(verb: str, folder: Path, *, after: int = 10_000, how: str = "kill") -> subprocess.CompletedProcess[str]:
    NUMBERS.write_parquet(folder / "rows.parquet")
    command = [sys.executable, "-m", "tests.lazy.sinking", verb, str(folder), str(after), how]
    ledger = {"SMELT_LEDGER": str(folder / "ledger.sqlite")} if verb == "more" else {}
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **ledger}, capture_output=True, text=True, check=False, timeout=HANGING
    )


def paid(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "paid.txt").read_text().split()]


def provider() -> DerivingProvider:
    return DerivingProvider({"size": lambda row: row["number"] * 2})


def step(frame: pl.LazyFrame | None = None, model: Any = None, **options: Any) -> Any:
    lazy: Any = NUMBERS.lazy() if frame is None else frame
    return lazy.smelt.transform("{number}?", Size, model=model or provider(), progress=False, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "how"), [("parquet", "interrupt"), *whole(("parquet", "kill"), ("ndjson", "kill"))])
def test_a_sink_that_is_ended_goes_on_from_there(verb: str, how: str, tmp_path: Path) -> None:
    target = tmp_path / f"out.{verb}"

    first = sunk(verb, tmp_path, after=37, how=how)
    assert not target.exists()
    second = sunk(verb, tmp_path)

    assert first.returncode == (-9 if how == "kill" else 0), first.stderr
    assert (second.returncode, second.stderr) == (0, "")
    found = pl.read_parquet(target) if verb == "parquet" else pl.read_ndjson(target, schema=EXPECTED.schema)
    assert found.equals(EXPECTED)
    # 37 requests of 5 rows were paid for; what was in no part yet (40 rows, and 20 that were under way) is paid again.
    assert ROWS < len(paid(tmp_path)) <= ROWS + 80
    assert sorted(path.name for path in tmp_path.glob("out*")) == [target.name]


@pytest.mark.slow
@pytest.mark.whole
def test_a_sink_of_a_pipeline_that_is_killed_goes_on_from_there_without_a_ledger(tmp_path: Path) -> None:
    first = sunk("pipeline", tmp_path, after=37)
    left = [pl.read_ipc(path) for path in sorted(tmp_path.glob("out.parquet.smelt/0*.arrow"))]
    second = sunk("pipeline", tmp_path)

    assert (first.returncode, second.returncode, second.stderr) == (-9, 0, "")
    pairs = EXPECTED.with_columns(pair=pl.concat_list("number", "size")).explode("pair").filter(pl.col("kind") != "b")
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.equals(pairs.select(found.columns))
    assert len(left) > 1
    assert pl.concat(left).equals(found.head(sum(one.height for one in left)))
    # What was in no part yet (40 rows), and what was under way, is paid again.
    assert ROWS < len(paid(tmp_path)) <= ROWS + 80
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.parquet"]


@pytest.mark.slow
@pytest.mark.whole
def test_a_plan_that_goes_on_behind_its_step_is_paid_for_once_by_its_ledger(tmp_path: Path) -> None:
    sunk("more", tmp_path, after=37)
    assert not (tmp_path / "out.parquet").exists()
    sunk("more", tmp_path)

    assert pl.read_parquet(tmp_path / "out.parquet").equals(EXPECTED.with_columns(half=pl.col("number")))


@pytest.mark.slow
def test_an_interrupt_ends_a_collect_on_a_thread_of_polars(tmp_path: Path) -> None:
    done = sunk("collect", tmp_path, after=3, how="interrupt")

    assert done.stdout.startswith("Interrupted."), done.stderr
    assert len(paid(tmp_path)) <= 40


def test_a_sink_gives_what_polars_own_gives(tmp_path: Path) -> None:
    lazy = step()

    lazy.smelt.sink_parquet(str(tmp_path / "ours.parquet"), metadata={"by": "smelt"})
    lazy.sink_parquet(tmp_path / "theirs.parquet")
    lazy.smelt.sink_ndjson(tmp_path / "ours.ndjson")
    lazy.sink_ndjson(tmp_path / "theirs.ndjson")

    assert pl.read_parquet(tmp_path / "ours.parquet").equals(pl.read_parquet(tmp_path / "theirs.parquet"))
    assert pl.read_parquet_metadata(tmp_path / "ours.parquet")["by"] == "smelt"
    assert (tmp_path / "ours.ndjson").read_text() == (tmp_path / "theirs.ndjson").read_text()


def test_two_steps_in_a_row_go_through_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_SHARD_ROWS", 100)
    second = DerivingProvider({"twice": lambda row: row["size"] * 2, "text": lambda row: "t"})
    lazy = step().smelt.transform("{size}?", Second, model=second, progress=False, error_column="second_error")

    lazy.smelt.sink_parquet(tmp_path / "out.parquet")

    assert pl.read_parquet(tmp_path / "out.parquet")["twice"].to_list() == [4 * at for at in range(ROWS)]


def test_no_rows_are_a_file_with_the_columns(tmp_path: Path) -> None:
    step(NUMBERS.lazy().filter(pl.col("number") < 0)).smelt.sink_parquet(tmp_path / "out.parquet")

    assert pl.read_parquet(tmp_path / "out.parquet").schema == EXPECTED.schema


class Ended(Exception):
    pass


def ended(folder: Path, frame: pl.LazyFrame | None = None) -> Path:
    """A sink that broke off after its first parts."""

    def rule(row: Any) -> int:
        if row["number"] == 250:
            raise Ended
        return int(row["number"]) * 2

    target = folder / "out.parquet"
    broken = step(frame, DerivingProvider({"size": rule}), on_error="raise", batch_size=5, concurrency=1, shuffle=False)
    with pytest.raises(Exception, match="Ended was raised"):
        broken.smelt.sink_parquet(target)
    return target


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_AT_ONCE", 20)
    monkeypatch.setattr(sinks, "_SHARD_ROWS", 40)


def test_what_was_finished_before_an_exception_is_kept(tmp_path: Path) -> None:
    target, model = ended(tmp_path), provider()

    step(None, model).smelt.sink_parquet(target)

    assert pl.read_parquet(target).equals(EXPECTED)
    assert 0 < model.rows_sent < ROWS


def test_a_file_that_could_not_be_written_to_its_end_is_not_left_behind(tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"

    def write(frame: pl.LazyFrame, path: Path) -> None:
        path.write_bytes(b"PAR1")
        if not frame.limit(1).collect().is_empty():
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        sinks.sink(step(), target, write, restart=False)
    left = [path.name for path in (tmp_path / "out.parquet.smelt").iterdir()]
    model = provider()
    step(None, model).smelt.sink_parquet(target)

    assert [name for name in left if not name.endswith((".arrow", ".json"))] == []
    assert pl.read_parquet(target).equals(EXPECTED)
    assert model.rows_sent == 0


CHANGED: list[tuple[str, Any, str]] = [
    ("data", lambda: step(NUMBERS.with_columns(pl.col("number") + 1).lazy()), "are now different, or in another order"),
    ("order", lambda: step(NUMBERS.reverse().lazy()), "are now different, or in another order"),
    ("fewer rows", lambda: step(NUMBERS.head(10).lazy()), "are now different, or in another order"),
    ("prompt", lambda: NUMBERS.lazy().smelt.transform("How large?", Size, model=provider()), "what is asked changed"),  # type: ignore[attr-defined]
    ("columns", lambda: step(NUMBERS.lazy().with_columns(new=1)), "the columns and the data's columns changed"),
]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("plan", "says"), [one[1:] for one in CHANGED], ids=[one[0] for one in CHANGED])
def test_parts_of_another_plan_are_not_taken(plan: Any, says: str, tmp_path: Path) -> None:
    target = ended(tmp_path)

    with pytest.raises(SmeltConfigError, match=f"(?s){says}.*restart=True"):
        plan().smelt.sink_parquet(target)
    assert not target.exists()
    plan().smelt.sink_parquet(target, restart=True)

    assert pl.read_parquet(target).equals(plan().collect())


@pytest.mark.usefixtures("small")
def test_a_manifest_that_was_never_finished_is_begun_anew(tmp_path: Path) -> None:
    target = ended(tmp_path)
    (tmp_path / "out.parquet.smelt" / "manifest.json").write_text(json.dumps({"the format": 1})[:-3])

    step().smelt.sink_parquet(target)

    assert pl.read_parquet(target).equals(EXPECTED)


@pytest.mark.usefixtures("small")
def test_a_sink_that_is_killed_while_it_tidies_up_has_the_first_rows_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    unlink, gone, model = Path.unlink, [], provider()

    def dying(path: Path, **options: Any) -> None:
        unlink(path, **options)
        gone.append(path.name)
        if path.suffix == ".arrow":
            raise Killed(path.name)

    with monkeypatch.context() as patched, pytest.raises(Killed, match=r"\.arrow"):
        patched.setattr(Path, "unlink", dying)
        step().smelt.sink_parquet(tmp_path / "out.parquet")
    step(None, model).smelt.sink_parquet(tmp_path / "out.parquet")

    assert pl.read_parquet(tmp_path / "out.parquet").equals(EXPECTED)
    assert model.rows_sent == int(gone[-1].split("-")[1]) < ROWS


def goes_on(lazy: Any) -> Any:
    return lazy.filter(pl.col("size") >= 0)


@pytest.mark.parametrize("plan", [step, lambda *given: goes_on(step(*given))], ids=["a step", "a plan that goes on"])
class TestEveryPlan:
    def test_what_is_wrong_with_a_target_is_said_before_it_costs(self, plan: Any, tmp_path: Path) -> None:
        model, target = provider(), tmp_path / "out.parquet"

        with pytest.raises(TypeError, match="compresion"):
            plan(None, model).smelt.sink_parquet(target, compresion="lz4")
        with pytest.raises(ValueError, match="compression"):
            plan(None, model).smelt.sink_parquet(target, compression="best")
        with pytest.raises(SmeltConfigError, match="the path of a file, and that is a folder, not"):
            plan(None, model).smelt.sink_parquet(tmp_path)
        with pytest.raises(SmeltConfigError, match=r"on this machine .*, not 's3://bucket/out\.parquet'"):
            plan(None, model).smelt.sink_parquet("s3://bucket/out.parquet")

        assert (model.rows_sent, list(tmp_path.iterdir())) == (0, [])

    def test_a_sink_that_never_had_a_row_leaves_nothing(self, plan: Any, tmp_path: Path) -> None:
        refusing = ScriptedProvider({}, script=[CallFailed("auth", Billing.NOT_SENT, "No such key.", status=401)] * 9)

        with pytest.raises(smelt.errors.AuthenticationError, match="No such key"):
            plan(None, refusing).smelt.sink_parquet(tmp_path / "out.parquet")

        assert list(tmp_path.iterdir()) == []

    def test_two_sinks_into_one_file_do_not_meet(self, plan: Any, tmp_path: Path) -> None:
        target, inner = tmp_path / "out.parquet", list[str]()

        def rule(row: Any) -> int:
            if not inner:
                with pytest.raises(SmeltConfigError, match="Another process is writing") as caught:
                    plan().smelt.sink_parquet(target)
                inner.append(str(caught.value))
            return int(row["number"]) * 2

        plan(None, DerivingProvider({"size": rule})).smelt.sink_parquet(target)

        assert inner and pl.read_parquet(target).equals(EXPECTED)


@pytest.mark.parametrize("option", ["lazy", "engine", "optimizations", "sinked_paths_callback"])
def test_options_of_another_end_are_refused(option: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigTypeError, match=f"{option} is not an option of this sink"):
        step().smelt.sink_parquet(tmp_path / "out.parquet", **{option: None})


def test_a_pipe_or_a_device_is_no_target_and_stays_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.parquet")  # Not a device: a test that fails as root would replace it.

    with pytest.raises(SmeltConfigError, match=r"out\.parquet is a device, a pipe or a socket"):
        step(None, provider()).smelt.sink_parquet(tmp_path / "out.parquet")

    assert [path.is_fifo() for path in tmp_path.iterdir()] == [True]


def test_a_target_is_what_polars_makes_of_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link.parquet").symlink_to("2025-01-02.arrow")

    step().smelt.sink_parquet("~/link.parquet")
    with pytest.raises(InvalidOperationError, match="does not conform to standard naming"):
        step().smelt.sink_ndjson(tmp_path / "out.ndjson", compression="gzip")
    step().smelt.sink_ndjson(tmp_path / "out.ndjson.gz", compression="gzip")

    assert pl.read_parquet(tmp_path / "2025-01-02.arrow").equals(EXPECTED)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2025-01-02.arrow", "link.parquet", "out.ndjson.gz"]


def test_a_sink_needs_the_path_of_a_file() -> None:
    with pytest.raises(ConfigTypeError, match="path must be the path of a file"):
        step().smelt.sink_parquet(3)


def test_a_background_collect_is_refused() -> None:
    with pytest.raises(ConfigTypeError, match="background is not an option here"):
        step().smelt.collect(background=True)


def test_the_number_of_rows_is_known_where_it_costs_nothing(tmp_path: Path) -> None:
    NUMBERS.write_parquet(tmp_path / "rows.parquet")
    scanned = pl.scan_parquet(tmp_path / "rows.parquet")

    assert known_height(NUMBERS.lazy()) == known_height(scanned) == ROWS
    assert known_height(scanned.select("number").head(7)) == 7
    assert known_height(scanned.filter(pl.col("number") > 5)) is None
    assert known_height(step()) is None
