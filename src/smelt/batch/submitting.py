"""Plans a job of the queued rows, and submits it: each state is on disk before the next step is taken."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from smelt.batch.clock import wall
from smelt.batch.desk import Act, Step, after_submit
from smelt.batch.office import Office
from smelt.batch.plan import Load, draw_tag, line_id
from smelt.engine.inflight import Announced
from smelt.engine.mediaroom import load
from smelt.ledger.base import Claim
from smelt.ledger.book import Draft
from smelt.ledger.jobs import RUNNING, JobRow
from smelt.plan.chunks import Chunk, Size
from smelt.providers.base import CallFailed, Request

_BLOCK = 512  # Lines that one transaction enters: their rows go in the order of their keys, many to a page,
_BLOCK_BYTES = 4 * 2**20  # and about how much text they may have: with pictures, a line may have megabytes.
_LEAST_TOKENS = 100_000  # A job is not halved below this: about 1,000 rows.
_TRIES = 16  # Lines that are halved or left out, so that a job has a number of lines that no other one has.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Line:
    """A line that is being planned."""

    asked: Announced
    price: tuple[float, int]
    request: Request
    text: bytes

    @property
    def draft(self) -> Draft:
        """What the ledger stores of it."""
        asked = self.asked
        return Draft(number=asked.number, rows=asked.chunk.rows, tokens=asked.tokens, estimate=asked.expected)


def _sum(prices: Iterable[tuple[float, int]]) -> tuple[float, int]:
    usd, tokens = 0.0, 0
    for one in prices:
        usd, tokens = usd + one[0], tokens + one[1]
    return usd, tokens


@dataclass(kw_only=True, eq=False)
class Submitter:
    """Submits jobs.

    Attributes:
        office: What all steps share.
        origin: The provider's address.
        rng: Draws tags.
        is_broke: Whether the budget has no room for the next line.
        oversized: Chunks that no job can carry, or that a provider refused in one; they are asked live.
    """

    office: Office
    origin: str
    rng: random.Random
    is_broke: bool = False
    oversized: list[Chunk] = field(default_factory=list)

    async def submit(self) -> tuple[JobRow, Step | None] | None:
        """Submit the next job.

        Returns:
            The job, and the next step if it was not created; None if there was nothing to submit.

        Raises:
            StoreError: A state of it is not on disk; nothing was sent after that.
        """
        tag = draw_tag(self.rng)
        folder = self.office.records.folder(tag)
        with folder.requests() as file:
            with folder.written():
                job = await self._plan(tag, file)
                if job is None:
                    return None
                self.office.records.write(job)
                file.seek(0)
            return await self._send(job, file)

    async def _plan(self, tag: str, file: BinaryIO) -> JobRow | None:
        """Write the lines of a job into *file*, and enter them; None if there are none."""
        job: JobRow | None = None
        load_of_job = Load(limits=self.office.limits, most_tokens=self.office.series.most_tokens)
        prices = list[tuple[float, int]]()
        self.is_broke = False
        for lines in self._blocks(tag, load_of_job):
            job = job or await self.office.book.plan(tag, self.origin)
            claims = await self.office.book.queue(job, [line.draft for line in lines])
            for line, claim in zip(lines, claims, strict=True):
                self._enter(tag, line, claim, file)
            prices.append(_sum(line.price for line in lines))
        if job is None:
            return None
        job = self.office.book.job(job.id)
        if not job.lines:
            await self.office.book.give_up(job, "withdrawn")
            return None
        self.office.reserved[tag] = _sum(prices)
        return replace(job, bytes=file.tell())

    def _blocks(self, tag: str, load_of_job: Load) -> Iterator[list[_Line]]:
        """The lines of a job, block by block."""
        spent, count = (0.0, 0), 0
        lines = self._draft(tag, load_of_job, spent)
        while lines:
            spent = _sum([spent, *(line.price for line in lines)])
            more = self._draft(tag, load_of_job, spent)
            if not more and not self.office.limits.can_tag:
                lines = self._uneven(lines, count, tag, load_of_job, spent)
            count += len(lines)
            yield lines
            lines = more

    def _uneven(
        self, lines: list[_Line], before: int, tag: str, load_of_job: Load, spent: tuple[float, int]
    ) -> list[_Line]:
        """The last *lines* of a job, changed so that no other job in flight has as many lines.

        Where jobs cannot be tagged, one whose create may have been lost is known by its number of lines alone, until it
        has ended.
        """
        taken = self.office.book.line_counts()
        for _ in range(_TRIES):
            if before + len(lines) not in taken:
                break
            last = lines[-1].asked.chunk
            if len(last.rows) > 1 and not self.office.supply.line:
                load_of_job.lines -= 1
                self.office.supply.line.put_whole(last.halves())
                lines = lines[:-1] + self._draft(tag, load_of_job, spent)
            elif before + len(lines) > 1:
                load_of_job.lines -= 1
                self.office.supply.line.put_whole([last])
                lines = lines[:-1]
        return lines

    def _draft(self, tag: str, load_of_job: Load, spent: tuple[float, int]) -> list[_Line]:
        """The next lines of the queue that fit into the job, and into the budget."""
        office, lines, budget, size = self.office, list[_Line](), spent, 0
        while len(lines) < _BLOCK and size < _BLOCK_BYTES and (chunk := self._cut()) is not None:
            estimate = office.sender.estimate(chunk)
            price = office.price(estimate)
            if office.budget.is_limited and not office.affords(price, tag, budget):
                self.is_broke = True
                office.supply.line.put_whole([chunk])
                break
            loaded = load(chunk, office.sender.capabilities)
            office.applier.enter_broken(loaded.broken)
            chunk = loaded.chunk
            if not chunk.rows:
                continue
            number, tokens = office.sender.drawn(chunk)
            expected = (estimate.input_tokens or 0) + (estimate.output_tokens or 0)
            asked = Announced(
                number=number,
                chunk=chunk,
                tokens=tokens,
                expected=expected,
                media=loaded.media,
                compact=office.sender.form.compact(chunk),
            )
            request = office.sender.rendered(asked)
            text = office.batches.line(line_id(tag, number), request)
            if not load_of_job.takes(len(text), expected):
                self._put_back(chunk, load_of_job)
                break
            load_of_job.add(len(text), expected)
            budget = budget[0] + price[0], budget[1] + price[1]
            size += len(text)
            lines.append(_Line(asked=asked, price=price, request=request, text=text))
        return lines

    def _cut(self) -> Chunk | None:
        pool = self.office.pool
        size = Size(rows=min(pool.size.most, self.office.sender.limits.most_rows or pool.size.most))
        while (chunk := self.office.supply.line.next(size)) is not None:
            left = tuple(row for row in chunk.rows if not self.office.supply.parts.is_settled(row.position))
            if left:
                return chunk if len(left) == len(chunk.rows) else replace(chunk, rows=left)
        return None

    def _put_back(self, chunk: Chunk, load: Load) -> None:
        """Keep a chunk that does not fit for the next job, or halve it if no job can carry it."""
        if load.lines:
            self.office.supply.line.put_whole([chunk])
        elif len(chunk.rows) > 1:
            self.office.supply.line.put_whole(chunk.halves())
        else:
            self.oversized.append(chunk)

    def _enter(self, tag: str, line: _Line, claim: Claim, file: BinaryIO) -> None:
        """Write a line into the request file, without the rows that it may not carry."""
        office, asked = self.office, line.asked
        rows, request, text = asked.chunk.rows, line.request, line.text
        office.applier.enter_known([(rows[at], values) for at, values in claim.known])
        office.applier.enter_pending([(rows[at], waiting) for at, waiting in claim.pending])
        office.pool.set_aside([rows[at] for at in claim.deferred])
        if not claim.rows:
            return
        if len(claim.rows) < len(rows):
            chunk = replace(asked.chunk, rows=tuple(rows[at] for at in claim.rows))
            asked = replace(asked, chunk=chunk, tokens=[asked.tokens[at] for at in claim.rows])
            request = office.sender.rendered(asked)
            text = office.batches.line(line_id(tag, asked.number), request)
        file.write(text)
        office.sender.accounts.sent(request, asked.chunk)
        office.held.add_line(tag, office.book.attempt(asked.number), asked.chunk)

    async def _send(self, job: JobRow, file: BinaryIO) -> tuple[JobRow, Step | None]:
        """Upload and create the job. The state says at any time what may have happened remotely."""
        office, current, was_announced = self.office, job, False

        async def on_upload(upload: str | None) -> None:
            nonlocal current, was_announced
            if upload is not None and current.upload != upload:
                current = await office.records.move(current, "uploaded", upload=upload, bytes=job.bytes)
            current = await office.records.move(current, "creating", submitted=wall(), bytes=job.bytes)
            was_announced = True

        tries = 0
        while True:
            tries += 1
            try:
                report = await office.batches.submit(
                    file, tag=job.tag, count=job.lines, on_upload=on_upload, upload=current.upload
                )
            except CallFailed as failure:
                step = after_submit(failure, was_announced=was_announced, tries=tries)
                if step.act is Act.RETRY:
                    was_announced = False
                    await self._pause(tries)
                    file.seek(0)
                    continue
                return await self._failed(current, step), step
            changes: dict[str, Any] = {"name": report.name, "expires": report.expires, "looked": wall()}
            current = await office.records.move(current, "submitted", **changes, detail=report.detail)
            return current, None

    async def _failed(self, job: JobRow, step: Step) -> JobRow:
        """Enter that a job was not created, or may not have been."""
        if step.act is Act.FIND:
            return await self.office.records.move(job, "doubtful")
        state = "refused" if step.act is Act.STOP else "withdrawn"
        job = await self.office.records.give_up(job, state, step.failure.message if step.failure else None)
        if step.act is Act.FULL:
            self.shrink(job, step.limit)
        self.office.release(job.tag)
        if job.upload is not None:
            await self.tidy(job.upload)
        return job

    def shrink(self, job: JobRow, limit: int | None) -> None:
        """Plan smaller jobs from now on, if that helps: *job* had too many tokens to wait beside the others.

        Without a *limit* in the provider's words, it may as well be one on the number of jobs, or the room may be taken
        by others: then the job goes out as it is when one of ours has ended, and is never halved down to nothing.
        """
        if limit is not None and limit < job.estimate:
            self.office.series.most_tokens = max(1, int(0.9 * limit))
        elif limit is not None or not self._has_others(job):
            self.office.series.most_tokens = max(job.estimate // 2, min(job.estimate, _LEAST_TOKENS), 1)

    def _has_others(self, job: JobRow) -> bool:
        return any(one.state in RUNNING and one.id != job.id for one in self.office.book.jobs())

    async def tidy(self, upload: str) -> None:
        """Delete an upload; that it stays is no harm, since it holds no answers and goes by itself."""
        try:
            await self.office.batches.withdraw(upload)
        except CallFailed:
            return

    async def _pause(self, tries: int) -> None:
        await asyncio.sleep(self.office.terms.pace.pause(tries, self.rng.random()))
