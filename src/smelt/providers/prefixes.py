"""Instructions that a provider keeps under a name: made before the first request, renewed, found again, deleted.

Requests then name what is kept in place of sending it. What is kept is billed by the hour, so it is deleted when the
run ends. A run that was killed or interrupted leaves it to the end of its life, and the next run finds its name in the
ledger. It is made for minutes, and renewed as soon as its name is known: if the answer with the name is lost, it is
looked for by its label, at once and again later in the run; what is never found is gone within minutes.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from smelt.providers.base import Kept, shelf

T = TypeVar("T")

RENEWED_AT = 0.9  # Share of its life after which it is renewed.
_MOST_FAILURES = 2  # Failures after which a run sends its instructions with each request.
_SECONDS = 20.0  # For one call.
_FIRST_SECONDS = 300.0  # How long something is kept whose name is not known yet.


class Unkeepable(Exception):
    """The provider does not keep these instructions, and will not in this run: too short, or not allowed."""


class Keeper(Protocol):
    """The calls of one provider about what it keeps. They may raise anything."""

    async def make(self, text: str, seconds: float, label: str) -> tuple[str, int]:
        """Keep *text* under *label*; its name and its tokens.

        Raises:
            Unkeepable: It is of no use to try again, and nothing was made.
        """
        ...

    async def find(self, label: str) -> Sequence[tuple[str, int]]:
        """Names and tokens of what is kept under *label*."""
        ...

    async def renew(self, name: str, seconds: float) -> None: ...

    async def drop(self, name: str) -> None: ...


def now() -> float:
    """Seconds since 1970."""
    return time.time()


@dataclass(kw_only=True, eq=False)
class Prefix:
    """The instructions of one text.

    Attributes:
        seconds: For how long it is kept, once it was renewed.
        lives: For how long it was kept the last time.
        kept: What the provider keeps, or None.
        failures: Calls to make it that failed.
        counted: Until when its storage is counted.
        uses: Requests that named it since it was last renewed.
        renewal: The timer.
        lost: Calls to make it without an answer, by label, and when they began: the provider may keep it all the same.
    """

    identity: str
    seconds: float
    lives: float = 0.0
    kept: Kept | None = None
    failures: int = 0
    counted: float = 0.0
    uses: int = 0
    renewal: asyncio.TimerHandle | None = None
    lost: dict[str, float] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Prefixes:
    """What a provider keeps for one run. Made and used inside the run's loop.

    Args:
        keeper: The provider's calls.
        whose: Provider, address, model and key, which must be the same for a name to be of use.
        seconds: For how long something is kept.
        worth: Uses per hour that pay for the storage; with fewer it is not renewed.
    """

    def __init__(self, keeper: Keeper, whose: str, *, seconds: float, worth: float = 4.0) -> None:
        self._keeper = keeper
        self._whose = whose
        self.seconds = seconds
        self._worth = worth
        self._shelf = shelf.get()
        self._known: dict[str, Prefix] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._written = 0
        self._token_hours = 0.0

    async def name_of(self, text: str, *, makes: bool, seconds: float | None = None) -> str | None:
        """The name under which *text* is kept; None if it has to be sent.

        Args:
            text: The instructions.
            makes: Whether it is kept from now on, if it is not yet.
            seconds: For how long.
        """
        prefix = self._known.setdefault(
            text, Prefix(identity=f"{self._whose}\0{text}", seconds=seconds or self.seconds)
        )
        if makes and not self._is_good(prefix.kept):
            async with prefix.lock:  # One request has it made, and the others wait for the name.
                if not self._is_good(prefix.kept) and prefix.failures < _MOST_FAILURES:
                    await self._make(prefix, text)
        if prefix.kept is None or not self._is_good(prefix.kept):
            return None
        prefix.uses += 1
        return prefix.kept.name

    def gone(self, name: str) -> None:
        """The provider does not know *name* any more."""
        for prefix in self._known.values():
            if prefix.kept is not None and prefix.kept.name == name:
                self._count(prefix)
                self._forget(prefix)

    def take_bill(self) -> tuple[int, float]:
        """Tokens that were written since the last call, and token hours of storage."""
        for prefix in self._known.values():
            self._count(prefix)
        bill = self._written, self._token_hours
        self._written, self._token_hours = 0, 0.0
        return bill

    async def close(self) -> None:
        """Delete what is kept: the run has ended well."""
        self.stop()
        for prefix in self._known.values():
            if prefix.kept is not None and prefix.kept.is_ours:
                name = prefix.kept.name
                self._forget(prefix)
                await self._safely(self._keeper.drop(name))
        for prefix in self._known.values():
            for label in prefix.lost:
                for name, _ in await self._safely(self._keeper.find(label)) or ():
                    await self._safely(self._keeper.drop(name))

    def stop(self) -> None:
        """Renew nothing more."""
        for prefix in self._known.values():
            if prefix.renewal is not None:
                prefix.renewal.cancel()
        for task in self._tasks:
            task.cancel()

    async def _make(self, prefix: Prefix, text: str) -> None:
        found, began = self._shelf.find(prefix.identity), now()
        if found is not None and self._is_good(found) and found != prefix.kept:
            prefix.kept = found
            if found.is_ours:  # From now on it is this run's.
                self._shelf.put(prefix.identity, found)
            prefix.lives = prefix.seconds
        else:
            made = await self._made(prefix, text)
            if made is None:
                return
            name, tokens, began = made
            prefix.kept = Kept(name=name, tokens=tokens, until=began + prefix.lives)
            self._written += tokens
            self._shelf.put(prefix.identity, prefix.kept)
        prefix.failures, prefix.counted, prefix.uses = 0, began, 0
        self._set_timer(prefix)

    async def _made(self, prefix: Prefix, text: str) -> tuple[str, int, float] | None:
        """Name, tokens and beginning of what is made, or was by a call whose answer is lost."""
        if (found := await self._found(prefix)) is not None:
            return found
        label, began, failures = f"smelt-{secrets.token_hex(8)}", now(), prefix.failures
        prefix.lives, prefix.lost[label] = min(prefix.seconds, _FIRST_SECONDS), began
        made = await self._safely(self._keeper.make(text, prefix.lives, label), prefix)
        if made is None and prefix.failures < failures + _MOST_FAILURES:
            return await self._found(prefix)
        del prefix.lost[label]  # It answered, or refused.
        return None if made is None else (*made, began)

    async def _found(self, prefix: Prefix) -> tuple[str, int, float] | None:
        """The same of a call whose answer is lost, if the provider keeps it."""
        for label in tuple(prefix.lost):
            if found := await self._safely(self._keeper.find(label)):
                return (*found[0], prefix.lost.pop(label))
        return None

    def _set_timer(self, prefix: Prefix) -> None:
        if prefix.kept is None or not prefix.kept.is_ours:
            return
        left = prefix.kept.until - now() - (1 - RENEWED_AT) * prefix.lives
        if prefix.renewal is not None:
            prefix.renewal.cancel()
        begin: Callable[[], None] = lambda: self._start(prefix)  # noqa: E731
        prefix.renewal = asyncio.get_running_loop().call_later(max(0.0, left), begin)
        if prefix.lives < prefix.seconds:
            begin()

    def _start(self, prefix: Prefix) -> None:
        task = asyncio.get_running_loop().create_task(self._renew(prefix))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _renew(self, prefix: Prefix) -> None:
        """Renew what is new, or was used often enough to pay for its storage; else it ends by itself."""
        kept, is_new = prefix.kept, prefix.lives < prefix.seconds
        if kept is None or not (is_new or prefix.uses >= self._worth * RENEWED_AT * prefix.seconds / 3_600):
            return
        if not await self._safely(self._renewed(kept.name, prefix.seconds)) or prefix.kept is not kept:
            return
        prefix.kept = replace(kept, until=now() + prefix.seconds)
        prefix.lives, prefix.uses = prefix.seconds, prefix.uses if is_new else 0
        self._shelf.put(prefix.identity, prefix.kept)
        self._set_timer(prefix)

    async def _renewed(self, name: str, seconds: float) -> bool:
        await self._keeper.renew(name, seconds)
        return True

    async def _safely(self, call: Awaitable[T], prefix: Prefix | None = None) -> T | None:
        """What *call* gives; None if it fails. A cache saves money, and no row fails for want of one."""
        try:
            async with asyncio.timeout(_SECONDS):
                return await call
        except Unkeepable:
            failures = _MOST_FAILURES
        except Exception:  # noqa: BLE001  # The instructions are then sent with the request, which reports what is wrong.
            failures = 1
        if prefix is not None:
            prefix.failures += failures
        return None

    def _count(self, prefix: Prefix) -> None:
        """Count the storage until now."""
        if prefix.kept is None or not prefix.kept.is_ours:
            return
        end = min(now(), prefix.kept.until)
        self._token_hours += max(0.0, end - prefix.counted) / 3_600 * prefix.kept.tokens
        prefix.counted = end

    def _forget(self, prefix: Prefix) -> None:
        prefix.kept = None
        if prefix.renewal is not None:
            prefix.renewal.cancel()
        self._shelf.drop(prefix.identity)

    @staticmethod
    def _is_good(kept: Kept | None) -> bool:
        return kept is not None and now() < kept.until - 1.0  # A request takes a moment to arrive.
