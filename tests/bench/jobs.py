"""What the Batch APIs cost this side: CPU per line of 25 rows, and the memory and threads of large transfers.

    python -m tests.bench.jobs [MEGABYTES]

For each provider: 2,000 lines of 25 reviews, for the CPU of the machinery by itself: "write" renders the rows and makes
the line, "read" takes a reply out of a line of the results, "answers" parses it and validates its rows against a model
without validators of its own. Source, ledger, prices and output file are not in it: `tests.bench.sinks` has all of it.
Then a job of MEGABYTES (200) with results of 2.5 times as much, for memory and threads, over real HTTP against the fake
server in another process. Ends with an error above 0.5 ms of CPU per line, all three together, above 64 MB over the
memory before, and with a second thread.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel

from smelt.loop.one_thread import OneThreadLoop
from smelt.plan.chunks import Pending
from smelt.plan.replies import read_reply
from smelt.plan.schema import read_output
from smelt.plan.validate import Validator
from smelt.plan.wire import user_text
from smelt.providers.base import Reply, Request
from smelt.providers.batching import BatchConnection, JobReport, batching_of
from tests.fakeserver import FakeServer, Scenario
from tests.providers.asking import SCHEMA
from tests.providers.jobbing import TAG, at

_LINES, _ROWS, _MOST_MS, _MOST_MB = 2_000, 25, 0.5, 64
_TEXT = "The delivery was late, but the tool works well and was worth its price. " * 4


def main(megabytes: int = 200) -> None:
    """Run and print."""
    bad = []
    with FakeServer() as server, tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "lines"
        for name in ("openai", "anthropic", "google"):
            spent = [1e3 * one for one in _on(server, name, {}, lambda job: _cpu(job, path))]
            told = ", ".join(f"{what} {one:.3f}" for what, one in zip(("write", "read", "answers"), spent, strict=True))
            print(f"{name:10} {told}: {sum(spent):.3f} ms of CPU per line of {_ROWS} rows", flush=True)
            plot = {"lines": {"all": {"fault": "long", "kilobytes": 20}}}
            sent, got, up, down, threads = _on(server, name, plot, lambda job: _transfers(job, path, megabytes))
            print(f"{'':10} {sent} MB up: +{up:.0f} MB; {got} MB down: +{down:.0f} MB; {threads} thread", flush=True)
            bad += [name] if sum(spent) > _MOST_MS or max(up, down) > _MOST_MB or threads > 1 else []
    if bad:
        sys.exit(f"over the limit: {', '.join(bad)}")


class Label(BaseModel):
    label: str


class _Job:
    def __init__(self, connection: BatchConnection, fake: Scenario) -> None:
        self.connection, self._fake = connection, fake

    async def submit(self, lines: BinaryIO, count: int) -> JobReport:
        async def stored(_: str | None) -> None:
            pass

        return await self.connection.submit(lines, tag=TAG, count=count, on_upload=stored)

    async def end(self, report: JobReport) -> JobReport:
        self._fake.advance(3_600)
        return await self.connection.look(report.name)

    def line(self, number: int, rows: list[dict[str, Any]]) -> bytes:
        return self.written(number, json.dumps(rows))

    def written(self, number: int, rows: str) -> bytes:
        asked = Request(system="Label each row.", user=rows, schema=SCHEMA, max_output_tokens=20_000)
        return self.connection.line(f"{TAG}-{number}", asked)


def _on(server: FakeServer, name: str, plot: Any, work: Callable[[_Job], Awaitable[Any]]) -> Any:
    fake = server.scenario(answers={"label": {"copy": "said"}}, jobs={"per_look": 0, "usual": plot})

    async def whole() -> Any:
        async with batching_of(at(fake, name))[0].connect_batches() as connection:
            return await work(_Job(connection, fake))

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        found = runner.run(whole())
    fake.close()
    return found


async def _cpu(job: _Job, path: Path) -> tuple[float, float, float]:
    tokens = [f"k{number:04}" for number in range(_ROWS)]
    texts = [json.dumps({"text": _TEXT, "said": _TEXT[:90]}) for number in range(_ROWS)]
    with path.open("w+b") as file:
        start = time.process_time()
        for number in range(_LINES):
            rows = user_text([(token, text, None) for token, text in zip(tokens, texts, strict=True)])
            file.write(job.written(number, rows))
        written = time.process_time() - start
        report = await job.end(await job.submit(file, _LINES))
    start, replies = time.process_time(), list[str]()
    async with aclosing(job.connection.results(report)) as items:  # type: ignore[type-var]
        async for item in items:
            assert isinstance(item.outcome, Reply)
            replies.append(item.outcome.text)
    read = time.process_time() - start
    assert len(replies) == _LINES
    validator, pending = Validator(read_output(Label)), [Pending(at, text) for at, text in enumerate(texts)]
    start, valid = time.process_time(), 0
    for reply in replies:
        found = read_reply(reply, tokens, "array").found
        valid += len(validator.accept(pending, [found[token] for token in tokens]))
    answers = time.process_time() - start
    assert valid == _LINES * _ROWS
    return written / _LINES, read / _LINES, answers / _LINES


async def _transfers(job: _Job, path: Path, megabytes: int) -> tuple[int, int, float, float, int]:
    with path.open("w+b") as file:
        count = 0
        while file.tell() < megabytes * 10**6:
            row = {"id": f"k{count:06}", "row": {"text": _TEXT * 26, "said": _TEXT}}
            file.write(job.line(count, [row]))
            count += 1
        sent, before = file.tell(), _peak(reset=True)
        report = await job.submit(file, count)
        up = _peak() - before
    report = await job.end(report)
    before, got, read, threads = _peak(reset=True), 0, 0, 0
    async with aclosing(job.connection.results(report)) as items:  # type: ignore[type-var]
        async for item in items:
            got += len(item.raw)
            read += isinstance(item.outcome, Reply)
            threads = max(threads, threading.active_count())
    assert read == count
    return sent // 10**6, got // 10**6, up, _peak() - before, threads


def _peak(*, reset: bool = False) -> float:
    """The most memory of this process since the last reset, in MB."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1_024


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
