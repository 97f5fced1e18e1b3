"""A fake of OpenAI's live and batch API that every library can ask, and that bills by the published rules.

    python -m tests.bench.contenders.shop '{"job": "review", "rows": 100}'

The port is the first line printed; the server ends when stdin is closed, and prints the bills. Every request is billed
once at the price of each model of `MODELS`, as if that model had served it: the caches of each are its own. Tokens are
those of `cl100k_base` if the vocabulary is at hand (see `vocabulary`), else four bytes.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.bench.contenders.environments import HOME
from tests.bench.contenders.jobserver import LONG, Said
from tests.bench.contenders.questions import Cells, Fields, asked, last_line
from tests.bench.contenders.server import last_message
from tests.economy_jobs import JOBS, Job
from tests.fakeserver.connection import Connection, Exchange, Request
from tests.fakeserver.faults import JSON, Fault, Response
from tests.fakeserver.jobs import Call, Depot, Done
from tests.fakeserver.messages import Completion, Json, WireProtocol
from tests.fakeserver.openai_jobs import OpenAIJobs
from tests.fakeserver.prefixes import Now
from tests.fakeserver.protocols import PROTOCOLS
from tests.fakeserver.scenario import Outgoing
from tests.fakeserver.server import PATHS, listen
from tests.fakeserver.till import Receipt, Till

MODELS = (
    "gpt-4.1-mini",
    "gpt-6-luna",
    "gpt-6.1-sol",
    "claude-haiku-5-5",
    "claude-sonnet-5-5",
    "gemini-3.8-flash",
)
CLOCK = {"per_look": 100.0}  # Two looks see the end of a job.
LIMITS = {"x-ratelimit-limit-requests": "30000", "x-ratelimit-limit-tokens": "150000000"}

Count = Callable[[str], int]


def vocabulary() -> Count | None:
    """A counter of tokens by `cl100k_base`, which litellm brings along; None if no environment has it.

    Counts of `o200k_base`, which newer models use, differ by at most 4 % on these jobs.
    """
    for packages in HOME.glob("*/lib/python*/site-packages"):
        kept = packages / "litellm" / "litellm_core_utils" / "tokenizers"
        if f"python{sys.version_info[0]}.{sys.version_info[1]}" in packages.parts and kept.is_dir():
            return _counter(packages, kept)
    return None


def _counter(packages: Path, kept: Path) -> Count:
    os.environ["TIKTOKEN_CACHE_DIR"] = str(kept)
    sys.path.append(str(packages))
    import tiktoken  # type: ignore[import-not-found]

    encoding = tiktoken.get_encoding("cl100k_base")
    return lambda text: len(encoding.encode(text, disallowed_special=()))


@dataclass(kw_only=True)
class Counting(Till):
    """A till that counts tokens by a vocabulary."""

    count: Count | None = None

    def __post_init__(self) -> None:
        self._counted = lru_cache(maxsize=4_096)(self.count or super().tokens)

    def tokens(self, text: str) -> int:
        return self._counted(text)


@dataclass
class Bill:
    """What was bought at the price of one model."""

    given: int = 0
    read: int = 0
    written: int = 0
    made: int = 0
    dollars: float = 0.0

    def add(self, receipt: Receipt) -> None:
        self.given += receipt.given
        self.read += receipt.read
        self.written += receipt.written
        self.made += receipt.made
        self.dollars += receipt.dollars


@dataclass
class Books:
    """What has happened so far. `paid` is how often each row was paid for, by its number."""

    requests: int = 0
    lines: int = 0
    paid: Counter[int] = field(default_factory=Counter)
    tiers: Counter[str] = field(default_factory=Counter)
    bills: dict[str, Bill] = field(default_factory=lambda: {model: Bill() for model in MODELS})


class Shop:
    """Answers every library in its own shape, live and in jobs, and keeps the books."""

    def __init__(
        self, job: Job, count: int, clock: Callable[[], float], *, latency: float, tokens: Count | None
    ) -> None:
        self.books = Books()
        self.depot = Depot(CLOCK, random.Random(0))
        self._job, self._clock, self._latency = job, clock, latency
        self._jobs = OpenAIJobs(self.depot, self._run_line)
        self._tills = {model: Counting(count=tokens) for model in MODELS}
        rows = job.rows(count)
        self._numbers = {_key(row): number for number, row in enumerate(rows)}
        self._by_text = {last_line(job.prompt.format(**row)): row for row in rows}  # As curator sends them.

    def route(self, request: Request, connection: Connection) -> Exchange:
        path, _, query = request.path.partition("?")
        route = self._jobs.route(request.method, path)
        if route is not None:
            self.depot.calls[route.operation] += 1
            return Said(route.answer(Call(query=query, headers=request.headers, body=request.body, base="")))
        if path not in PATHS:
            return Said(Response(404, JSON, b'{"error": {"message": "Invalid URL"}}'))
        body = json.loads(request.body)
        if not body.get("messages", True):  # So curator asks for its limits, of which the headers tell.
            return Said(Response(400, JSON | LIMITS, b'{"error": {"message": "messages: empty array"}}'))
        return Live(self, PROTOCOLS[PATHS[path]], body)

    def answer(self, protocol: WireProtocol, body: Json, *, tier: str | None = None) -> Json:
        """Answer one request and bill it."""
        prompt = protocol.read(body, "")
        rows, write = asked(last_message(body), prompt.schema or {})
        cells = [self._cells(row) for row in rows]
        text = write([self._answer(row) for row in cells])
        head = json.dumps(prompt.schema or {}, separators=(",", ":")) + prompt.system
        made, now = self._tills[MODELS[0]].tokens(text), Now(self.depot.now, self._clock())
        receipts = {
            model: till.ring(
                model, body, head=head, tail=prompt.user, made=made, now=now, after=self._latency, tier=tier
            )
            for model, till in self._tills.items()
        }
        for model, receipt in receipts.items():
            self.books.bills[model].add(receipt)
        self.books.paid.update(self._numbers[_key(row)] for row in cells)
        receipt = receipts[body["model"]]
        self.books.tiers[receipt.tier] += 1
        number = f"{self.books.requests + self.books.lines:08x}"
        said = Completion(text=text, model=body["model"], request_id=number, usage=receipt.usage, tier=receipt.tier)
        return protocol.write(said)

    def _run_line(self, body: Json, faults: Sequence[Fault]) -> Done:
        self.books.lines += 1
        protocol = PROTOCOLS["compatible" if "messages" in body else "openai"]
        return Done(status=200, body=self.answer(protocol, body, tier="batch"), request_id=f"{self.books.lines:08x}")

    def _cells(self, row: Cells) -> Fields:
        return self._by_text[row] if isinstance(row, str) else row

    def _answer(self, row: Fields) -> Fields:
        answer: Fields = json.loads(json.dumps(self._job.answer(row)))
        return answer

    def told(self) -> dict[str, Any]:
        """The books, once all jobs have ended."""
        self.depot.advance(LONG)
        twice = sum(times - 1 for times in self.books.paid.values())
        jobs = [len(job.lines) for job in self.depot.jobs.values()]
        bills = {model: vars(bill) for model, bill in self.books.bills.items()}
        return {**vars(self.books), "bills": bills, "paid": len(self.books.paid), "twice": twice, "jobs": jobs}


class Live:
    """One live request, while it is in flight."""

    def __init__(self, shop: Shop, protocol: WireProtocol, body: Json) -> None:
        self._shop, self._protocol, self._body = shop, protocol, body

    def answer(self) -> Outgoing:
        self._shop.books.requests += 1
        reply = self._shop.answer(self._protocol, self._body)
        return Outgoing(Response(200, JSON, json.dumps(reply).encode()), delay=self._shop._latency)

    def done(self, *, abandoned: bool) -> None:
        pass


def _key(row: Mapping[str, Any]) -> str:
    return json.dumps(row, sort_keys=True)


async def serve(config: Mapping[str, Any]) -> None:
    """Serve until stdin is closed, then print the books."""
    job = next(one for one in JOBS if one.name == config["job"])
    clock = asyncio.get_running_loop().time
    shop = Shop(job, config["rows"], clock, latency=config.get("latency", 0.0), tokens=vocabulary())
    await listen(shop.route)
    print(json.dumps(shop.told()))


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
