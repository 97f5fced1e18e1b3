"""One run's traffic with an answer store: bulk look-ups, puts behind the run, and what happens if the store is away."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from smelt.errors import SmeltError, warn
from smelt.ledger import outage
from smelt.ledger.answerstore import AnswerStore, PutRefused, failed, password_of, shown
from smelt.ledger.keys import row_keys
from smelt.providers.redact import redact
from smelt.providers.secrets import Secret

T = TypeVar("T")
_AT_ONCE = 2_000  # Answers of one put: 20 ms.
_MOST = 100_000  # Answers kept in memory while the store is away: about 30 MB. The ledger has them in any case.
_PATIENCE = 20.0  # Seconds for one operation,
_TO_RECONNECT = 3.0  # and to connect to a store that this process has used before.
_SOON = 1.0  # In this time a connection that was closed before shows.
LAST = 10.0  # Seconds at the end of a run for what is not there yet,
INTERRUPTED = 0.5  # and after Ctrl-C.

_secrets: dict[str, bytes] = {}  # Of the stores that this process has read. If one is away, a run does without it.
_left: dict[str, tuple[bytes, dict[bytes, bytes]]] = {}  # By URL: the secret, and what no run could hand on so far.


class Exchange:
    """Fetches answers for one run, and hands its answers on.

    Once the store was read, nothing that goes wrong with it ends the run or fails a row: the ledger of the machine
    has every answer. The user is told once of an outage, and the store is tried again: behind the run, and by waiting
    only as `outage` allows.
    """

    def __init__(
        self,
        store: AnswerStore,
        url: str,
        fingerprint: Callable[[bytes], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Exchange answers with a store.

        Args:
            store: It.
            url: Its name.
            fingerprint: Makes the fingerprint of what is asked, given the store's secret.
            clock: Tells seconds, the same to all runs of the process; loops may have clocks of their own.
        """
        self._store = store
        self._url = url
        self._fingerprint = fingerprint
        self._clock = clock
        self._secret = b""
        self._prefix = ""
        self._is_open = False
        self._number = 0  # Of the connection.
        self._opening = asyncio.Lock()
        self._queue: dict[bytes, bytes] = {}  # What is not there yet.
        self._queued = 0  # How many were ever queued,
        self._done = 0  # and how many of these are there, or were given up.
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._putting: asyncio.Task[None] | None = None
        self._is_told = False
        if (secret := _secrets.get(url)) is not None:
            self._learn(secret)

    async def fetch(self, texts: Sequence[str]) -> Sequence[str | None]:
        """The answers that the store has for rows with these canonical texts; none while it is away.

        Raises:
            StoreError: The store was never read.
        """
        found: Sequence[bytes | None] = [None] * len(texts)
        began, known = self._clock(), outage.outage(self._url)
        if known is None or known.is_readable or began >= known.worth:
            try:
                found = await self._use(lambda: self._get(texts))
                _secrets[self._url] = self._secret
                if known is not None and not known.is_readable:
                    outage.reached(self._url)
            except Exception as problem:  # noqa: BLE001  # Drivers raise what they like.
                self._lost(problem, began)
        self._hand_on()  # Also what another run has left.
        return [None if one is None else one.decode("utf-8", "replace") for one in found]

    def put(self, answers: Mapping[str, str]) -> None:
        """Store answers, JSON by canonical text, soon. They must be in the ledger already."""
        if not self._secret:  # Nothing was looked up yet, so nobody knows how keys are made.
            return
        keys = self._keys([*answers])
        new = {key: json for key, json in zip(keys, answers.values(), strict=True) if key not in self._queue}
        self._enqueue({key: json.encode("utf-8", "replace") for key, json in new.items()})
        self._hand_on()

    def _hand_on(self) -> None:
        """Put the queue behind the run, or try to reach the store, if there is anything to do."""
        if self._has_to_do() and (self._putting is None or self._putting.done()):
            self._putting = asyncio.get_running_loop().create_task(self._put_all())

    def _enqueue(self, pairs: Mapping[bytes, bytes]) -> None:
        for key, answer in islice(pairs.items(), max(0, _MOST - len(self._queue))):
            self._queued += key not in self._queue
            self._queue[key] = answer

    async def settled(self) -> None:
        """Wait until what was put so far is there, or the store is away."""
        if self._done < self._queued and outage.outage(self._url) is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append((self._queued, waiter))
            await waiter

    async def finish(self, seconds: float = LAST) -> None:
        """Put what is left, if that takes no longer than *seconds*. Call it before the run's loop ends."""
        began = self._clock()
        try:
            async with asyncio.timeout(seconds):
                await self.settled()
                known = outage.outage(self._url)
                if self._queue and (known is None or self._clock() >= known.worth):
                    await self._stop()
                    began = self._clock()
                    await self._put_queue()
        except Exception as problem:  # noqa: BLE001
            self._lost(problem, began)
        await self._stop()

    def close(self) -> None:
        """Disconnect."""
        if self._putting is not None:
            self._putting.cancel()
        self._store.close()
        if self._queue:  # A block of an engine, during an outage: the next one hands it on.
            of, left = _left.get(self._url, (self._secret, {}))
            known = left if of == self._secret else {}
            _left[self._url] = self._secret, dict(islice({**known, **self._queue}.items(), _MOST))

    async def _stop(self) -> None:
        if self._putting is not None:
            self._putting.cancel()
            await asyncio.gather(self._putting, return_exceptions=True)

    async def _open(self) -> int:
        """Connect, if that is needed. Returns the number of the connection."""
        async with self._opening:  # A look-up and a put may find a connection broken at the same time.
            if self._is_open:
                return self._number
            try:
                async with asyncio.timeout(_TO_RECONNECT if self._url in _secrets else None):
                    secret = await self._store.open()
            except BaseException:
                self._store.close()
                raise
            if self._secret and secret != self._secret:  # Another store by now. The ledger has what was meant for it.
                self._queue.clear()
                self._done = self._queued
            self._learn(secret)
            self._is_open = True
            self._number += 1
            of, left = _left.pop(self._url, (secret, {}))
            if of == secret:
                self._enqueue(left)
            return self._number

    def _drop(self, number: int) -> None:
        """Disconnect, unless the connection is another one than *number* by now."""
        if self._is_open and number == self._number:
            self._is_open = False
            self._store.close()

    def _learn(self, secret: bytes) -> None:
        self._secret = secret
        self._prefix = self._fingerprint(secret).hex()

    def _keys(self, texts: Sequence[str]) -> list[bytes]:
        return row_keys([f"{self._prefix}{text}" for text in texts], self._secret)

    async def _put_all(self) -> None:
        """Put the queue; while the store is away, try again and again."""
        while self._has_to_do():
            if (known := outage.outage(self._url)) is not None:
                await asyncio.sleep(known.again - self._clock())
            began = self._clock()
            try:
                await self._put_queue()
            except Exception as problem:  # noqa: BLE001
                self._lost(problem, began)

    def _has_to_do(self) -> bool:
        known = outage.outage(self._url)
        return bool(self._queue) or (known is not None and not known.is_readable)

    async def _put_queue(self) -> None:
        while True:
            some = await self._use(self._put_some)
            outage.reached(self._url)
            self._done += sum(self._queue.pop(key, None) is not None for key in some)
            self._release(self._done)
            if not self._queue:
                return

    async def _put_some(self) -> Mapping[bytes, bytes]:
        some = dict(islice(self._queue.items(), _AT_ONCE))
        if some:
            await self._store.put(some)
        else:  # Only to see whether it answers: to connect does not tell, for example if a table is locked.
            await self._store.get(self._keys([""]))
        return some

    async def _get(self, texts: Sequence[str]) -> Sequence[bytes | None]:
        return await self._store.get(self._keys(texts)) if texts else ()

    async def _use(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do it; a second time over a new connection, since databases and proxies close those that are idle.

        That shows at once. What fails after seconds would probably take as long again.
        """
        began = self._clock()
        for is_last in (not self._is_open, True):
            number = 0
            try:
                async with asyncio.timeout(_PATIENCE):
                    number = await self._open()
                    return await act()
            except TimeoutError:
                raise
            except Exception:
                self._drop(number)
                if is_last or self._clock() - began > _SOON:
                    raise
        raise AssertionError("The last try returns or raises.")

    def _lost(self, problem: Exception, began: float) -> None:
        """The store failed, tried since *began*: go on without it."""
        self._drop(self._number)
        if self._url not in _secrets:
            raise problem if isinstance(problem, SmeltError) else failed(self._url, self._words(problem)) from None
        is_readable = isinstance(problem, PutRefused)
        is_new = outage.failed(self._url, began, self._clock(), is_readable=is_readable)
        self._release(math.inf)
        if is_new and not self._is_told:
            self._is_told = True
            state = "takes no answers" if is_readable else "is away"
            warn(
                f"The answer store {shown(self._url)} {state}: {self._words(problem)}. The run goes on with the ledger "
                "of this machine, which loses nothing; a later run over the same rows hands on what is missing there."
            )

    def _release(self, done: float) -> None:
        over = [waiter for mark, waiter in self._waiting if mark <= done]
        self._waiting = [one for one in self._waiting if one[0] > done]
        for waiter in over:
            if not waiter.done():
                waiter.set_result(None)

    def _words(self, problem: Exception) -> str:
        if isinstance(problem, TimeoutError):
            return "it did not answer in time"
        try:
            password = password_of(self._url)
        except ValueError:
            return "its URL is malformed"
        hidden = [] if password is None else [Secret(password)]
        return redact(str(problem) or type(problem).__name__, hidden).rstrip(". ")
