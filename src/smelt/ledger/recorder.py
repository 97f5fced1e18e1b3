"""The ledger as one run uses it: records each request in a durable order and returns answers that are already stored.

Per request: the intent is on disk before the request is sent, and the reply is on disk before it is parsed. The parsed
rows are written with the next group commit, which may come a moment later. Until then the next run can parse them from
the stored reply without paying again. The commit that writes the rows also deletes the stored reply.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from smelt.errors import StoreError
from smelt.ledger import lease
from smelt.ledger.answers import add_late, keep_inputs, merge_fresh
from smelt.ledger.attempts import announce, end_badly, keep_reply
from smelt.ledger.base import NO_SCORES, Claim, Holding
from smelt.ledger.jobs import LineRow
from smelt.ledger.keys import row_keys
from smelt.ledger.lease import BEAT, Moment, Owner
from smelt.ledger.ownanswers import OwnAnswers
from smelt.ledger.reading import Reading
from smelt.ledger.readreplies import ReadReply, write_replies
from smelt.ledger.recall import Recall, in_flight
from smelt.ledger.reserve import Reserve
from smelt.ledger.sorting import Sorting
from smelt.ledger.start import read_leftovers
from smelt.ledger.store import Store
from smelt.ledger.wires import keep_wire, wire_of
from smelt.ledger.writer import Gap, Step, Writer
from smelt.plan.chunks import Pending
from smelt.plan.scores import Scores
from smelt.plan.validate import Accepted
from smelt.providers.base import Billing, CallFailed, Reply

T = TypeVar("T")
_MOMENT = 0.25  # Seconds between two checks of what other runs have in flight.


@dataclass(frozen=True, kw_only=True, eq=False)
class Extension:
    """Answers of another spec that this run adds fields to.

    Attributes:
        spec: The spec's id.
        added: The fields that its answers lack.
        completing: The stored JSON, by the position of the row.
    """

    spec: int
    added: tuple[str, ...]
    completing: Mapping[int, str]


class Recorder:
    """Records one run in the store."""

    def __init__(
        self,
        store: Store,
        *,
        run: int,
        epoch: int,
        recall: Recall,
        reading: Reading,
        reserve: Reserve,
        extension: Extension | None = None,
        keeps_inputs: bool = False,
        is_stream: bool = False,
        clock: Callable[[], Moment] = lease.present,
        gap: Gap = lambda name: None,
    ) -> None:
        """Record *run*, which `start` has entered; *clock* gives the time.

        A stream delivers its rows bit by bit, so a row may also repeat one that this run has answered already.
        """
        self._gap = gap
        self.run = run
        self.reused = 0
        self.is_blank = recall.is_blank and not recall.has_jobs
        self.is_learning = is_stream and self.is_blank
        self._is_stream = is_stream
        self.reading = reading
        self._extension = extension
        self._store = store
        self._epoch = epoch
        self._recall = recall
        self._keeps_inputs = keeps_inputs
        self._clock = clock
        self._owner = Owner.me()
        self._writer = Writer(store, reserve, gap)
        self._own = OwnAnswers(recall.spec, self._writer)  # Of a stream.
        self._sorting = Sorting(store, recall.spec)
        self._reserve = reserve
        self._keys: dict[int, dict[int, bytes]] = {}
        self._left: dict[int, float] = {}  # When each request was sent, by its number.
        self._lines: dict[int, tuple[int, int]] = {}  # The attempts and specs of lines of jobs, by their numbers.
        self._parsed: list[ReadReply] | None = None  # What the next commit writes.
        self._pulse = asyncio.get_running_loop().call_later(BEAT, self._beat)
        with store.reading() as connection:
            self.wire = wire_of(connection, recall.spec)

    def keep_wire(self, verdict: str) -> None:
        """Keep the verdict of a pilot for later runs that ask the same."""
        self.wire = verdict
        self._writer.tell(lambda connection: keep_wire(connection, self._recall.spec, verdict))

    def recall(self, texts: Sequence[str]) -> Sequence[tuple[Any, ...] | None]:
        """The stored values of rows with these canonical texts; None for a row without an answer."""
        keys = row_keys(texts, self._store.secret)
        found = self.reading.standing(self._values(keys), texts)
        known = [at for at, values in enumerate(found) if values is not None]
        self.reused += len(known)
        if self._keeps_inputs and known:
            self._writer.tell(lambda connection: keep_inputs(connection, [(keys[at], texts[at]) for at in known]))
        return found

    def scores(self, texts: Sequence[str]) -> Sequence[Scores | None]:
        """The scores of stored answers to rows with these canonical texts; None for one without."""
        keys = row_keys(texts, self._store.secret)
        found = self._recall.scores(keys)
        return [found.get(key) for key in keys]

    async def fetch(self, texts: Sequence[str]) -> None:
        """Only the store knows answers."""

    def answers(self, texts: Sequence[str]) -> dict[str, str]:
        """The stored JSON of rows with these canonical texts; without rows that have no valid answer."""
        keys = row_keys(texts, self._store.secret)
        found = self._recall.texts(keys)
        return {text: found[key] for text, key in zip(texts, keys, strict=True) if key in found}

    async def take_over(self, answers: Mapping[str, str]) -> None:
        """Store valid answers of other machines, JSON by canonical text; on disk when this returns."""
        keys, run = row_keys([*answers], self._store.secret), self.run << 32
        values = self.reading.all_stored([*answers.values()])
        rows = zip(keys, answers.values(), values, strict=True)
        new = {key: text for key, text, one in rows if one is not None}
        await self._writer.write(lambda connection: add_late(connection, self._recall.spec, run, new))

    def held(self, texts: Sequence[str]) -> Sequence[Holding | None]:
        """The lines of jobs in which rows with these canonical texts wait; empty if no row waits in any."""
        if not self._recall.has_jobs:
            return ()
        keys = row_keys(texts, self._store.secret)
        found = self._recall.held(keys)
        return [found.get(key) for key in keys] if found else ()

    async def intend(self, number: int, rows: Sequence[Pending], tokens: Sequence[str], estimate: int) -> Claim:
        """Announce a request and return which of its rows may be sent. On disk when this returns.

        Args:
            number: Counts the requests of the run, from 1.
            rows: The rows.
            tokens: Their tokens.
            estimate: Tokens that the request may be billed for.

        Raises:
            StoreError: The intent is not on disk, so the request must not be sent.
        """
        keys = row_keys([row.text for row in rows], self._store.secret)
        self._gap("intending")
        claimed = await self._writer.write(
            lambda connection: self._claim(connection, number, rows, keys, tokens, estimate), is_intent=True
        )
        self._gap("intended")
        self._keys[number] = {rows[at].position: keys[at] for at in claimed.rows}
        self._left[number] = asyncio.get_running_loop().time()
        self.reused += len(claimed.known)
        return claimed

    def _claim(
        self,
        connection: sqlite3.Connection,
        number: int,
        rows: Sequence[Pending],
        keys: list[bytes],
        tokens: Sequence[str],
        estimate: int,
    ) -> Claim:
        """Announce those of *rows* that are free, and say what became of the others."""
        self.keep_lease(connection)
        known, held = self._recall.taken(connection, self.run, keys, self._clock)
        if known:
            values = self.reading.standing([known.get(key) for key in keys], [row.text for row in rows])
            known = {key: one for key, one in zip(keys, values, strict=True) if one is not None}
        queued = self._recall.held(keys)
        free = [at for at, key in enumerate(keys) if not (key in known or key in held or key in queued)]
        if free:
            extends = self._extends(rows[0])
            chosen = [keys[at] for at in free], [tokens[at] for at in free]
            announce(connection, self._id(number), *chosen, estimate, extends, self._clock().wall)
        stuck = held & self._stuck(connection) if held else held
        elsewhere = held - stuck - queued.keys() if held else held
        return Claim(
            rows=free,
            known=[(at, known[key]) for at, key in enumerate(keys) if key in known],
            deferred=[at for at, key in enumerate(keys) if key in elsewhere],
            stuck=[at for at, key in enumerate(keys) if key in stuck],
            pending=[(at, queued[key]) for at, key in enumerate(keys) if key in queued and key not in known],
        )

    def keep_lease(self, connection: sqlite3.Connection) -> None:
        """Take a new lease if another process took this run over."""
        if lease.epoch_of(connection, self.run) != self._epoch:
            self._epoch = lease.take(connection, self.run, self._owner, self._clock())

    async def write(self, step: Step[T], gap: str, *, is_intent: bool = False) -> T:
        """Carry out a step about jobs; on disk when this returns. *gap* names the gap after it."""
        self._gap(f"to {gap}")
        done = await self._writer.write(step, is_intent=is_intent)
        self._gap(gap)
        return done

    def tell(self, step: Step[None]) -> None:
        """Carry out a step about jobs with the next commit."""
        self._writer.tell(step)

    def withdraw(self, number: int) -> None:
        """Record that an announced request was not sent."""
        self._left.pop(number, None)
        withdrawn = CallFailed("connection", Billing.NOT_SENT, "It was not sent.")
        self._writer.tell(
            lambda connection: end_badly(connection, self._id(number), withdrawn, None, self._clock().wall)
        )

    async def receive(self, number: int, outcome: Reply | CallFailed, cost_usd: float | None) -> None:
        """Record how the request ended. On disk when this returns.

        Raises:
            StoreError: The outcome is not on disk; the reply is still valid.
        """

        def end(connection: sqlite3.Connection) -> None:
            if isinstance(outcome, Reply):
                keep_reply(connection, self._id(number), outcome, cost_usd, self._clock().wall)
            else:
                end_badly(connection, self._id(number), outcome, cost_usd, self._clock().wall)

        left = self._left.pop(number, None)
        if not isinstance(outcome, Reply):
            self._keys.pop(number, None)
        elif left is not None:
            self._writer.learn(asyncio.get_running_loop().time() - left)
        self._gap("receiving")
        await self._writer.write(end)
        self._gap("received")

    def commit(
        self,
        number: int,
        accepted: Sequence[Accepted],
        unread: str | None = None,
        scores: Mapping[int, Scores] = NO_SCORES,
    ) -> None:
        """Store the rows that were parsed from the reply, and drop the reply with the next commit.

        Args:
            number: The request.
            accepted: The rows.
            unread: The beginning of the reply, redacted, if nothing could be parsed from it.
            scores: Those of the rows that have any, by position.
        """
        keys, line = self._keys.pop(number, {}), self._lines.pop(number, None)
        answers = {keys[row.position]: text for row, _, text in accepted}
        inputs = [(keys[row.position], row.text) for row, _, _ in accepted] if self._keeps_inputs else []
        self._gap("read")
        attempt = self._id(number) if line is None else line[0]
        held = None if line is None else (line[1], [*keys.values()])
        rated = {keys[position]: one for position, one in scores.items()}
        self._parse(ReadReply(attempt, answers, inputs, unread, held, rated))
        if self._is_stream:
            self._own.keep(answers)

    def _parse(self, parsed: ReadReply) -> None:
        """Write *parsed* with the next commit, together with others.

        After a failure of the store it gets a step of its own: its reply waits to be stored, behind the earlier steps.
        """
        if self._parsed is None or self._writer.failure is not None:
            some = self._parsed = list[ReadReply]()
            self._writer.tell(lambda connection: self._write(connection, some))
        self._parsed.append(parsed)

    def _write(self, connection: sqlite3.Connection, some: list[ReadReply]) -> None:
        if self._parsed is some:  # What comes later begins a new list: this one may be written twice, if a try fails.
            self._parsed = None
        is_ours = lease.epoch_of(connection, self.run) == self._epoch
        write_replies(connection, self._recall.spec, some, is_ours=is_ours)

    def _stuck(self, connection: sqlite3.Connection) -> set[bytes]:
        runs = lease.stuck_runs(self._store.secret)
        return in_flight(connection, runs) if runs else set()

    def _values(self, keys: list[bytes]) -> list[tuple[Any, ...] | None]:
        found = self._recall.values(keys)
        for at, key in enumerate(keys) if self._own else ():
            if (text := self._own.get(key)) is not None:
                found[at] = self.reading.stored(text)
        return found

    async def await_others(self) -> None:
        """Wait a moment for the runs that have our rows in flight; if they died, read the replies that they left."""
        await asyncio.sleep(_MOMENT)
        read_leftovers(self._store, self._recall.spec, self.reading, self._clock)

    def wind_down(self) -> None:
        """Nothing is queued any more: use the time of the last requests to move rows from `fresh` into `answers`."""
        self._sorting.begin()

    def reused_cost_usd(self) -> float | None:
        """What the reused answers cost when they were bought; None if that is not known."""
        return self._recall.cost_usd(self.run)

    def finish(self, state: str, size: tuple[int, int] | None = None) -> None:
        """End the run; everything is on disk when this returns. Blocks.

        Args:
            state: How it ended.
            size: Rows and distinct rows, which a stream does not know at the start; None if the run never began.

        Raises:
            StoreError: Some of it is not on disk.
        """
        self._pulse.cancel()
        self._sorting.end()

        def end(connection: sqlite3.Connection) -> None:
            now = self._clock()
            lease.lose_requests(connection, self.run, now)
            lease.free(connection, self.run)
            connection.execute(
                "UPDATE runs SET state = ?, ended = ?, reused = ? WHERE id = ?",
                (state, now.wall, self.reused, self.run),
            )
            if size is not None:
                connection.execute("UPDATE runs SET rows = ?, distinct_rows = ? WHERE id = ?", (*size, self.run))

        try:
            if self._store.lost is None:
                self._writer.finish(end)
                self._gap("finished")
                merge_fresh(self._store, self._recall.spec)
                self._gap("merged")
            if self._store.lost is not None:
                self._rescue(end)
        finally:
            lease.leave(self._store.secret, self.run)
            self._reserve.spend()

    def _rescue(self, end: Step[None]) -> None:
        """The store's path no longer names its file: save the data where it can be found, and raise an error.

        Raises:
            StoreError: Always.
        """
        store = self._store
        text = f"The ledger {store.path} {store.lost} while this run was using it, so nothing more was sent."
        found = None
        with suppress(StoreError, sqlite3.Error):
            self._writer.finish(end, is_anywhere=True)
            found = store.rescue()
        if found is None:
            raise StoreError(
                f"{text} Its content could not be kept: the answers of this run are in `.partial_result` only."
            )
        place, is_whole = found
        if not is_whole:
            raise StoreError(
                f"{text} The rest of it is in {place}: smelt.ledger.open(path, recover=True) keeps what can be read. "
                "The answers of this run are in `.partial_result`."
            )
        raise StoreError(
            f"{text} All its content, with the answers of this run, is in {place}: pass that as ledger=, or move it "
            "back, and run again."
        )

    def _beat(self) -> None:
        self._writer.tell(lambda connection: lease.beat(connection, self.run, self._epoch, self._clock()))
        self._pulse = asyncio.get_running_loop().call_later(BEAT, self._beat)

    def _id(self, number: int) -> int:
        return self._lines[number][0] if number in self._lines else self.run << 32 | number

    def adopt(self, number: int, line: LineRow, spec: int, keys: dict[int, bytes]) -> None:
        """Take a line of a job, whose reply is stored, as the request *number* of this run.

        Args:
            number: Counts the requests of the run.
            line: The line; it may be of an earlier run.
            spec: The spec of its job.
            keys: The keys of its rows, by their positions in this run.
        """
        self._lines[number] = line.attempt, spec
        self._keys[number] = keys

    def _extends(self, row: Pending) -> int | None:
        is_part = self._extension is not None and row.position in self._extension.completing
        return self._extension.spec if self._extension is not None and is_part else None
