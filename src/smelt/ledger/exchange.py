"""One run's traffic with an answer store: bulk look-ups, puts behind the run, and what happens if the store is away."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from smelt.errors import SmeltError, warn
from smelt.ledger.answerstore import AnswerStore, failed, password_of, shown
from smelt.ledger.keys import row_keys
from smelt.providers.redact import redact
from smelt.providers.secrets import Secret

T = TypeVar("T")
_AT_ONCE = 2_000  # Answers of one put: 20 ms.
_MOST = 100_000  # Answers kept in memory while the store is away: about 30 MB. The ledger has them in any case.
_PATIENCE = 20.0  # Seconds for one operation,
_TO_RECONNECT = 3.0  # and to connect to a store that this process has used before.
LAST = 10.0  # Seconds at the end of a run for what is not there yet,
INTERRUPTED = 0.5  # and after Ctrl-C.
_PAUSES = (1.0, 30.0)  # Seconds between two tries to reach the store: doubled from the first to the last.

_secrets: dict[str, bytes] = {}  # Of the stores that this process has used. If one is away, a run does without it.
_left: dict[str, tuple[bytes, dict[bytes, bytes]]] = {}  # By URL: the secret, and what no run could hand on so far.


class Exchange:
    """Fetches answers for one run, and hands its answers on.

    Once the store was reached, nothing that goes wrong with it ends the run or fails a row: the ledger of the machine
    has every answer. The user is told once, and the store is tried again.
    """

    def __init__(self, store: AnswerStore, url: str, fingerprint: Callable[[bytes], bytes]) -> None:
        """Exchange answers with *store*, named *url*; *fingerprint* makes that of what is asked, given the secret."""
        self._store = store
        self._url = url
        self._fingerprint = fingerprint
        self._secret = b""
        self._prefix = ""
        self._is_open = False
        self._queue: dict[bytes, bytes] = {}  # What is not there yet.
        self._queued = 0  # How many were ever queued,
        self._done = 0  # and how many of these are there, or were given up.
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._putting: asyncio.Task[None] | None = None
        self._is_away = False
        self._is_told = False
        if (secret := _secrets.get(url)) is not None:
            self._learn(secret)

    async def fetch(self, texts: Sequence[str]) -> Sequence[str | None]:
        """The answers that the store has for rows with these canonical texts; none while it is away.

        Raises:
            StoreError: The store was never reached.
        """
        if not self._is_away:
            try:
                found = await self._use(lambda: self._get(texts))
                return [None if one is None else one.decode("utf-8", "replace") for one in found]
            except Exception as problem:  # noqa: BLE001  # Drivers raise what they like.
                self._lost(problem)
        return [None] * len(texts)

    def put(self, answers: Mapping[str, str]) -> None:
        """Store answers, JSON by canonical text, soon. They must be in the ledger already."""
        if not self._secret:  # Nothing was looked up yet, so nobody knows how keys are made.
            return
        keys = self._keys([*answers])
        new = {key: json for key, json in zip(keys, answers.values(), strict=True) if key not in self._queue}
        self._enqueue({key: json.encode("utf-8", "replace") for key, json in new.items()})
        if self._queue and (self._putting is None or self._putting.done()):
            self._putting = asyncio.get_running_loop().create_task(self._put_all())

    def _enqueue(self, pairs: Mapping[bytes, bytes]) -> None:
        for key, answer in islice(pairs.items(), max(0, _MOST - len(self._queue))):
            self._queued += key not in self._queue
            self._queue[key] = answer

    async def settled(self) -> None:
        """Wait until what was put so far is there, or the store is away."""
        if self._done < self._queued and not self._is_away:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append((self._queued, waiter))
            await waiter

    async def finish(self, seconds: float = LAST) -> None:
        """Put what is left, if that takes no longer than *seconds*. Call it before the run's loop ends."""
        try:
            async with asyncio.timeout(seconds):
                await self.settled()
                if self._queue:
                    await self._stop()
                    await self._put_queue()
        except Exception as problem:  # noqa: BLE001
            self._lost(problem)
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

    async def _open(self) -> None:
        if self._is_open:
            return
        async with asyncio.timeout(_TO_RECONNECT if self._secret else None):
            secret = await self._store.open()
        if self._secret and secret != self._secret:  # Another database by now. The ledger has what was meant for it.
            self._queue.clear()
            self._done = self._queued
        self._learn(secret)
        self._is_open = True
        of, left = _left.pop(self._url, (secret, {}))
        if of == secret:
            self._enqueue(left)

    def _learn(self, secret: bytes) -> None:
        self._secret = _secrets[self._url] = secret
        self._prefix = self._fingerprint(secret).hex()

    def _keys(self, texts: Sequence[str]) -> list[bytes]:
        return row_keys([f"{self._prefix}{text}" for text in texts], self._secret)

    async def _put_all(self) -> None:
        """Put the queue; while the store is away, try again and again."""
        pause, longest = _PAUSES
        while self._queue:
            try:
                await self._put_queue()
                self._is_away, pause = False, _PAUSES[0]
            except Exception as problem:  # noqa: BLE001
                self._lost(problem)
                await asyncio.sleep(pause)
                pause = min(longest, 2 * pause)

    async def _put_queue(self) -> None:
        while self._queue:
            some = await self._use(self._put_some)
            for key in some:
                del self._queue[key]
            self._done += len(some)
            self._release(self._done)

    async def _put_some(self) -> Mapping[bytes, bytes]:
        some = dict(islice(self._queue.items(), _AT_ONCE))
        await self._store.put(some)
        return some

    async def _get(self, texts: Sequence[str]) -> Sequence[bytes | None]:
        return await self._store.get(self._keys(texts)) if texts else ()

    async def _use(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do it; a second time over a new connection, since databases and proxies close those that are idle."""
        for is_last in (not self._is_open, True):
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._open()
                    return await act()
            except TimeoutError:
                raise
            except Exception:
                self._is_open = False
                self._store.close()
                if is_last:
                    raise
        raise AssertionError("The last try returns or raises.")

    def _lost(self, problem: Exception) -> None:
        """The store failed: go on without it."""
        self._is_open = False
        self._store.close()
        if not self._secret:
            raise problem if isinstance(problem, SmeltError) else failed(self._url, self._words(problem)) from None
        self._is_away = True
        self._release(math.inf)
        if not self._is_told:
            self._is_told = True
            warn(
                f"The answer store {shown(self._url)} is away: {self._words(problem)}. The run goes on with the ledger "
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
