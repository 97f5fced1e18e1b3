"""`collect` and file sinks for a lazy plan. Ctrl-C ends them at once; a sink resumes from its last finished shard."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from smelt.call.preparation import Preparation
from smelt.checks import place_to_write, plain_path
from smelt.errors import ConfigTypeError, SmeltConfigError, SmeltInterrupt
from smelt.lazy.piped import Piped, piped_of
from smelt.lazy.pushdown import known_height
from smelt.lazy.rounds import ONLY_SINKS, Rounds, check_rounds, is_in_rounds
from smelt.lazy.shards import Digest, Shard, Shards, publish, shards_for
from smelt.lazy.step import Step, steps_of
from smelt.ledger.keys import Spec
from smelt.loop.interrupts import hearing_interrupts
from smelt.result import SmeltMetrics

T = TypeVar("T")
Write = Callable[[pl.LazyFrame, Path], object]
"""Writes all rows of a plan to a file."""

_READ_AT_ONCE = 8_192  # Rows per frame that is read for a step in batch mode.
_AT_ONCE = 2_048  # Maximum rows of a frame that is read and finished at once,
_TURNS_AT_ONCE = 4  # and at most this multiple of the rows in flight when the worker pool is full.
_SHARD_ROWS = 65_536  # A shard ends with the frame that reaches this many rows,
_SHARD_SECONDS = 5.0  # or this age. Without a ledger, rows that are in no shard yet are asked again after a kill.


def collect(frame: pl.LazyFrame, **options: Any) -> pl.DataFrame:
    """`frame.collect(**options)`; Ctrl-C ends it at once."""
    if options.get("background"):
        raise ConfigTypeError(
            "background is not an option here, because Ctrl-C could not reach the step. Call lf.collect for it."
        )
    _, steps = steps_of(frame)
    if is_in_rounds(steps):
        raise SmeltConfigError(ONLY_SINKS)
    collected: pl.DataFrame = _interruptible(lambda: frame.collect(**options))
    return collected


def sink(
    frame: pl.LazyFrame,
    path: str | os.PathLike[str],
    write: Write,
    *,
    restart: bool,
    rows: int | None = None,
) -> SmeltMetrics | None:
    """Write the rows of *frame* to *path*: atomically, and resuming an earlier, interrupted sink.

    If the plan ends with smelt steps, or with a pipeline that can run on pieces, finished rows are kept in shard files
    beside the target. Else the whole plan runs again; rows in the ledger cost nothing.

    Args:
        frame: The plan.
        path: The file.
        write: Writes a plan to a file.
        restart: Whether to delete the rows that an earlier try has finished.
        rows: The number of rows of the source, for the progress display, if Polars does not know it.

    Returns:
        If the last step is in batch mode: the metrics of this call. If rows wait in jobs, the file is not written.
    """
    target = _target(path)
    base, steps = steps_of(frame)
    check_rounds(steps)
    rounds = None
    if is_in_rounds(steps):
        rounds = Rounds(call=steps[-1].call)
    with suppress(_UnfinishedError):
        _sink(frame, base, steps, rounds, target, write, restart=restart, rows=rows)
    return None if rounds is None else rounds.tell()


class _UnfinishedError(Exception):
    """Rows wait in jobs. Not for the caller: the shards stay."""


def _sink(
    frame: pl.LazyFrame,
    base: pl.LazyFrame,
    steps: Sequence[Step],
    rounds: Rounds | None,
    target: Path,
    write: Write,
    *,
    restart: bool,
    rows: int | None,
) -> None:
    schema = frame.collect_schema()
    pipeline = None if steps else piped_of(frame)
    if pipeline is not None:
        base = pipeline.upstream
    with shards_for(target, _manifest(base, steps, pipeline, schema), restart=restart) as shards:
        # Write an empty file first: a bad option or path fails before money is spent.
        write(pl.LazyFrame(schema=schema), shards.whole)
        if rounds is not None:
            _fill_in_rounds(shards, base, steps[:-1], rounds, rows)
        elif steps or pipeline is not None:
            _fill(shards, base, steps, pipeline, rows)
        if steps or pipeline is not None:
            write(shards.joined(schema), shards.whole)
        else:
            _interruptible(lambda: write(frame, shards.whole))
        publish(shards.whole, target)


def _interruptible(work: Callable[[], T]) -> T:
    with hearing_interrupts() as ears:
        try:
            return work()
        except BaseException as problem:
            if ears is None or not ears.is_interrupted:
                raise
            cause = None if isinstance(problem, KeyboardInterrupt) else problem
            raise SmeltInterrupt("Interrupted. The answers so far are in the ledger, if there is one.") from cause


def _fill(shards: Shards, base: pl.LazyFrame, steps: Sequence[Step], pipeline: Piped | None, rows: int | None) -> None:
    """Compute the missing rows and add them as shards."""
    shard, inputs = _Growing(shards), base.collect_schema().names()
    found: Iterator[tuple[pl.DataFrame, pl.DataFrame]]
    if pipeline is None:
        found = ((frame.select(inputs), frame) for frame in _missing(shards, base, steps, rows))
    else:
        found = pipeline.over(_unread(shards, base, pipeline.pipe.turns), _left(shards, base, rows))
    try:
        for read, finished in found:
            shard.add(read, finished)
    except SmeltInterrupt as interrupt:
        shard.end()
        raise _interrupt(
            interrupt, f"Interrupted. {shards.rows:,} rows are finished; the same sink continues from there."
        ) from interrupt.__cause__
    finally:
        shard.end()


def _missing(shards: Shards, base: pl.LazyFrame, steps: Sequence[Step], rows: int | None) -> Iterator[pl.DataFrame]:
    """The rows that are in no shard yet, with the outcomes of *steps*."""
    height = _left(shards, base, rows) if steps else None
    frames = _unread(shards, base, [step.turn for step in steps])
    for step in steps:
        frames = step.over(frames, rows=height)
    return frames


def _unread(shards: Shards, base: pl.LazyFrame, turns: Sequence[int]) -> Iterator[pl.DataFrame]:
    """The rows that are in no shard yet. *turns*: for each step, the rows in flight when all its workers are busy."""
    at_once = min(_AT_ONCE, *(_TURNS_AT_ONCE * turn for turn in turns)) if turns else _READ_AT_ONCE
    frames: Iterator[pl.DataFrame] = base.collect_batches(chunk_size=at_once)
    return _behind(frames, shards.found)


def _left(shards: Shards, base: pl.LazyFrame, rows: int | None) -> int | None:
    """The number of rows that are in no shard yet, if it is known."""
    height = known_height(base) if rows is None else rows
    return None if height is None else max(0, height - shards.rows)


def _fill_in_rounds(
    shards: Shards, base: pl.LazyFrame, before: Sequence[Step], rounds: Rounds, rows: int | None
) -> None:
    """Compute the missing rows of a sink whose last step is in batch mode, and add them as shards.

    Raises:
        _UnfinishedError: Rows wait in jobs.
    """
    shard, inputs = _Growing(shards), base.collect_schema().names()
    rounds.rows, rounds.early = _left(shards, base, rows), shards.early
    try:
        with rounds:
            while not rounds.is_over:
                for frame in rounds.round(_missing(shards, base, before, rows)):
                    shard.add(frame.select(inputs), frame)
                shard.end()
    except KeyboardInterrupt as interrupt:
        shard.end()
        raise _interrupt(
            interrupt,
            f"Interrupted. {shards.rows:,} rows are finished. Jobs run on at the provider and are billed; the same "
            "sink collects them, also tomorrow. smelt.ledger.open().jobs() lists them, and a job's cancel() ends it.",
        ) from interrupt.__cause__
    finally:
        shard.end()
    if not rounds.is_whole:
        raise _UnfinishedError


def _interrupt(interrupt: KeyboardInterrupt, told: str) -> SmeltInterrupt:
    """*interrupt* in the words of a sink, by the same signal."""
    ours = SmeltInterrupt(told)
    ours.signum = getattr(interrupt, "signum", ours.signum)
    return ours


class _Growing:
    """Collects finished frames until they make a shard."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._begin()

    def _begin(self) -> None:
        self._frames: list[pl.DataFrame] = []
        self._digest = Digest()
        self._rows = self._made = 0
        self._since = time.monotonic()

    def add(self, read: pl.DataFrame, finished: pl.DataFrame) -> None:
        """Add the rows *finished*, which were made of the rows that were *read*."""
        self._frames.append(finished)
        self._digest.add(read)
        self._rows += read.height
        self._made += finished.height
        if max(self._rows, self._made) >= _SHARD_ROWS or time.monotonic() - self._since >= _SHARD_SECONDS:
            self.end()

    def end(self) -> None:
        """Write the collected rows as a shard, and start the next one."""
        if self._rows:
            self._shards.add(pl.concat(self._frames), self._rows, str(self._digest))
        self._begin()


def _behind(frames: Iterator[pl.DataFrame], shards: Sequence[Shard]) -> Iterator[pl.DataFrame]:
    """The rows of *frames* after the rows that are in *shards*.

    Raises:
        SmeltConfigError: The input rows of *shards* have changed.
    """
    rest: list[pl.DataFrame] = []  # Rows that were read and belong to no shard yet; at most one frame.
    for shard in shards:
        digest, missing = Digest(), shard.rows
        while missing:
            frame = rest.pop() if rest else next(frames, None)
            if frame is None:
                raise _changed(shard)
            used = frame.head(missing)
            digest.add(used)
            missing -= used.height
            if used.height < frame.height:
                rest.append(frame.slice(used.height))
        if str(digest) != shard.digest:
            raise _changed(shard)
    yield from rest
    yield from frames


def _changed(shard: Shard) -> SmeltConfigError:
    return SmeltConfigError(
        f"The rows that this sink has written are now different, or in another order, so {shard.path.parent} does not "
        "fit. Sort the plan if its order may change; restart=True deletes the finished rows."
    )


def _manifest(
    base: pl.LazyFrame, steps: Sequence[Step], pipeline: Piped | None, schema: pl.Schema
) -> Mapping[str, Any]:
    """Everything that must be unchanged to reuse finished rows. The keys are words for the error message."""
    return {
        "the format": 1,
        "Polars": pl.__version__,
        "the columns": {name: str(dtype) for name, dtype in schema.items()},
        "the data's columns": base.collect_schema().names(),
        "what is asked": [_asked(step.call) for step in steps] if pipeline is None else dict(pipeline.pipe.asked),
    }


def _asked(call: Preparation) -> str:
    spec = Spec.of(
        provider=call.provider.name,
        model=call.provider.model,
        prompt=call.prompt,
        params=call.identity,
        fields=call.output.fields,
        about=call.output.description,
        secret=call.error_column.encode(),
    )
    return spec.fingerprint(" ".join([*call.source.names, call.settings.null_rows]).encode()[:64]).hex()


def _target(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise SmeltConfigError.for_type("path", path, "the path of a file (lf.sink_parquet takes other targets)")
    if "://" in str(path):
        raise SmeltConfigError.for_value(
            "path", path, "the path of a file on this machine (lf.sink_parquet takes others)"
        )
    target = plain_path(path, "the path of a file")
    if target.is_dir():
        raise SmeltConfigError.for_value("path", path, "the path of a file, and that is a folder")
    return place_to_write(target)  # As in Polars: a symbolic link stays, and the file that it points to is replaced.
