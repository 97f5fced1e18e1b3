"""A store of answers that several machines share: its protocol, its keys, and the URLs that name one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from smelt.errors import StoreError, StoreVersionError

_POSTGRES = ("postgresql://", "postgres://")
_REDIS = ("redis://", "rediss://", "unix://")
SCHEMES = (*_POSTGRES, *_REDIS)


class PutRefused(Exception):
    """The store can be read, but takes no answers now: it is full or read-only, or the user may not write."""


class AnswerStore(Protocol):
    """Answers by their keys, for all machines that work on a job. Every method may raise any exception."""

    async def open(self) -> bytes:
        """Connect, also again after a failure. Returns the store's secret, with which keys are made."""
        ...

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The answers with these *keys*, in their order; None for a key that is not there."""
        ...

    async def put(self, pairs: Mapping[bytes, bytes]) -> None:
        """Store answers by their keys. If a key is there already, its answer stays: the first one wins.

        Raises:
            PutRefused: It takes no answers now.
        """
        ...

    def close(self) -> None:
        """Disconnect; without waiting, and also if it was never opened."""
        ...


def is_url(place: str) -> bool:
    """Whether *place* names a store by its URL, instead of a file by its path."""
    return place.lstrip().lower().startswith(SCHEMES)


def is_redis(url: str) -> bool:
    """Whether the store at *url* is a Redis."""
    return url.lstrip().lower().startswith(_REDIS)


def password_of(url: str) -> str | None:
    """The password that is written in *url*, as it is written; None if there is none.

    Raises:
        ValueError: Nobody can say, because the URL is malformed.
    """
    from urllib.parse import parse_qs, urlsplit

    found = urlsplit(url.strip())
    return found.password or next(iter(parse_qs(found.query).get("password", ())), None)


def shown(url: str) -> str:
    """*url* for messages: without a password, a user and options."""
    from urllib.parse import parse_qs, urlsplit

    try:
        found = urlsplit(url.strip())
        host = parse_qs(found.query).get("host", [""])[0]
    except ValueError:
        return "of that URL"
    return f"{found.scheme}://{found.netloc.rpartition('@')[2] or host}{found.path}"


def of_other_version(url: str, found: int, known: int) -> StoreVersionError:
    """The error for a store that another version of smelt has made."""
    return StoreVersionError(
        f"The answer store {shown(url)} has version {found}, and this smelt knows version {known}. Use the same "
        "version of smelt everywhere."
    )


def failed(url: str, reason: str) -> StoreError:
    """The error for a store that cannot be used at the start of a run."""
    return StoreError(
        f"The answer store {shown(url)} cannot be used, so nothing was sent: {reason}. Mend that, or pass the path of "
        "a file as ledger=."
    )
