"""Reads the results of an ended job: first all of them into the ledger, then row by row as live replies are read.

Reading them twice changes nothing: a line keeps its first outcome. So a broken transfer, a second process or a crash
costs nothing but the time of another transfer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass, field, replace

from smelt.batch.clock import now
from smelt.batch.desk import is_of_rows, refusal_of_all
from smelt.batch.files import KeptResults
from smelt.batch.office import Office
from smelt.batch.plan import number_in
from smelt.engine.inflight import Delivery, InFlight
from smelt.engine.work import Halt
from smelt.ledger.base import RunLedger
from smelt.ledger.jobs import JobRow, LineRow
from smelt.plan.chunks import Chunk
from smelt.plan.replies import read_reply
from smelt.providers.base import Billing, CallFailed, Reply
from smelt.providers.batching import JobReport

_BLOCK = 256  # Lines that one transaction stores,
_BLOCK_CHARACTERS = 4 * 2**20  # and about how much text they may have.
_AT_ONCE = 128  # Lines whose rows get their outcomes at once.
_DOUBLED = CallFailed("protocol", Billing.PAID_BAD, "The line has two different answers.")
_MISSING = CallFailed("expired", Billing.NOT_SENT, "The line was never run.")


@dataclass(kw_only=True, eq=False)
class Found:
    """What the results of a job held.

    Attributes:
        failures: The failures of its lines, by attempt.
        doubled: Lines with two replies that both answer their rows.
        answered: How many lines have a reply.
        strangers: How many results belong to no line of the job.
        unkept: Why its artefacts are not whole, or None.
    """

    failures: dict[int, CallFailed] = field(default_factory=dict)
    doubled: set[int] = field(default_factory=set)
    answered: int = 0
    strangers: int = 0
    unkept: str | None = None


@dataclass(kw_only=True, eq=False)
class Collector:
    """Collects the results of jobs.

    Attributes:
        office: What all steps share.
        ledger: Has the answers that others stored.
    """

    office: Office
    ledger: RunLedger

    async def collect(self, job: JobRow, report: JobReport) -> Halt | None:
        """Store all results of *job*, and give its rows their outcomes; return why the run must stop, or None.

        Raises:
            CallFailed: The results could not be read, or not to their end. What was read is stored.
            StoreError: They could not be stored.
        """
        found = await self._read(job, report)
        costs = {line: (why, self.office.sender.accounts.cost(why)) for line, why in found.failures.items()}
        job = await self.office.records.close(job, costs, sorted(found.doubled))
        if found.strangers:
            self.office.note(
                f"The job {job.tag} came back with {found.strangers:,} results that belong to none of its lines."
            )
        await self._discard(job, report, found)
        refusal = refusal_of_all(list(found.failures.values()), answered=found.answered)
        if refusal is not None:
            self.office.release(job.tag)
            return Halt(stop=refusal)
        return await self.apply(job, found)

    async def _discard(self, job: JobRow, report: JobReport, found: Found) -> None:
        """Delete the files at the provider: all is in the ledger, and what stays would only show rows to others."""
        if found.unkept is not None:
            self.office.note(
                f"The artefacts of the job {job.tag} are not whole: {found.unkept}. Its answers are in the ledger, and "
                "its files stay at the provider."
            )
            return
        with suppress(CallFailed):
            await self.office.batches.discard(report)

    async def _read(self, job: JobRow, report: JobReport) -> Found:
        """Store the replies of *job*, block by block."""
        found, block, size = Found(), list[tuple[int, Reply]](), 0
        with closing(KeptResults(self.office.records.folder(job.tag))) as kept:
            async with aclosing(self.office.batches.results(report)) as items:  # type: ignore[type-var]  # A generator.
                async for item in items:
                    kept.keep(item)
                    if (number := number_in(job.tag, item.id)) is None:
                        found.strangers += 1
                        continue
                    attempt, outcome = job.run << 32 | number, item.outcome
                    if isinstance(outcome, Reply):
                        block.append((attempt, outcome))
                        size += len(outcome.text)
                    else:
                        found.failures.setdefault(attempt, outcome)
                    if len(block) >= _BLOCK or size >= _BLOCK_CHARACTERS:
                        await self._store(job, block, found)
                        block, size = [], 0
        await self._store(job, block, found)
        found.unkept = kept.problem
        return found

    async def _store(self, job: JobRow, block: Sequence[tuple[int, Reply]], found: Found) -> None:
        if not block:
            return
        sender = self.office.sender
        costs = [(attempt, reply, sender.accounts.cost(reply)) for attempt, reply in block]
        for (attempt, reply, cost), line in zip(costs, await self.office.book.receive(job, costs), strict=True):
            if line is None:
                found.strangers += 1
                continue
            found.answered += 1
            rows, is_new = line
            if is_new:
                sender.accounts.settle(0, rows, reply, 0.0, cost)
            else:
                await self._compare(attempt, reply, found)

    async def _compare(self, attempt: int, reply: Reply, found: Found) -> None:
        """A line has a second reply, or its results are read again: the reply that answers its rows counts."""
        line = self.office.book.lines([attempt])[attempt]
        if line.reply is None or line.reply.text == reply.text:
            return
        first, second = (self._answers(line, one) for one in (line.reply, reply))
        if first and second:
            found.doubled.add(attempt)
        elif second:
            await self.office.book.correct(attempt, reply.text)

    def _answers(self, line: LineRow, reply: Reply) -> bool:
        """Whether *reply* answers rows of *line*, by their tokens."""
        sender = self.office.sender
        return bool(read_reply(reply.text, line.tokens, sender.form.codec, layout=sender.form.layout).found)

    async def apply(self, job: JobRow, found: Found | None = None) -> Halt | None:
        """Give the rows of a collected job their outcomes; *found* is None if another process collected it."""
        found = found or Found()
        self.office.reserved.pop(job.tag, None)
        held = self.office.held.pop(job.tag)
        attempts, halt = list(held), None
        failed, others = list[tuple[Chunk, CallFailed]](), list[Chunk]()
        for start in range(0, len(attempts), _AT_ONCE):
            some = attempts[start : start + _AT_ONCE]
            lines = self.office.book.lines(some)
            chunks = self.office.chunks({attempt: held[attempt] for attempt in some})
            for attempt, chunk in chunks.items():
                halt = self._apply(job, lines.get(attempt), chunk, found, failed, others) or halt
            await asyncio.sleep(0)  # Let Ctrl-C and the progress display be handled.
        for chunk, failure in failed:  # After the replies: they show that the refusals are not about the account.
            halt = self._after_failure(chunk, failure) or halt
        self.office.book.parse()
        for chunk in others:
            self._look_up(chunk)
        return halt

    def _apply(
        self,
        job: JobRow,
        line: LineRow | None,
        chunk: Chunk,
        found: Found,
        failed: list[tuple[Chunk, CallFailed]],
        others: list[Chunk],
    ) -> Halt | None:
        """Read the reply of a line, or put its rows into *failed*, or into *others* if this run has not all of it."""
        keys = self.office.book.keys([row.text for row in chunk.rows])
        if line is None:
            others.append(chunk)
        elif line.attempt in found.doubled:
            failed.append((chunk, _DOUBLED))
        elif line.state == "received" and line.reply is not None and set(line.keys) == set(keys):
            return self._take(job, line, line.reply, chunk, keys)
        elif line.state in ("done", "received"):
            others.append(chunk)
        else:
            failed.append((chunk, found.failures.get(line.attempt, _MISSING)))
        return None

    def _take(self, job: JobRow, line: LineRow, reply: Reply, chunk: Chunk, keys: Sequence[bytes]) -> Halt | None:
        """Read the reply of a line as that of a live request."""
        by_key = dict(zip(keys, chunk.rows, strict=True))
        ordered = replace(chunk, rows=tuple(by_key[key] for key in line.keys))
        self.office.sender.counts.announced += 1
        number = self.office.sender.counts.announced
        self.office.book.adopt(
            number, line, job, {row.position: key for row, key in zip(ordered.rows, line.keys, strict=True)}
        )
        return self._enter(ordered, line.tokens, reply, number)

    def _enter(self, chunk: Chunk, tokens: list[str], outcome: Reply | CallFailed, number: int = 0) -> Halt | None:
        sender = self.office.sender
        flight = InFlight(
            chunk=chunk,
            expected=0,
            grant=sender.limits.grant(chunk),
            started=now(),
            codec=sender.form.codec,
            layout=sender.form.layout,
        )
        return self.office.applier.enter(
            Delivery(number=number, tokens=tokens, flight=flight, outcome=outcome, fault=None)
        )

    def _look_up(self, chunk: Chunk) -> None:
        """The line is read, here or by another process: take the answers, and ask the rows that have none again."""
        values = self.ledger.recall([row.text for row in chunk.rows])
        known = [(row, one) for row, one in zip(chunk.rows, values, strict=True) if one is not None]
        self.office.applier.enter_known(known)
        left = [row for row, one in zip(chunk.rows, values, strict=True) if one is None]
        self.office.supply.line.put_again(left)

    def _after_failure(self, chunk: Chunk, failure: CallFailed) -> Halt | None:
        """A refusal may be the fault of its rows; anything else says nothing of them, and counts no attempt."""
        if failure is _DOUBLED or is_of_rows(failure):
            return self._enter(chunk, [], failure)
        self.office.supply.line.put_whole([chunk])
        return None
