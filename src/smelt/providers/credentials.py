"""Credentials: what our own HTTP client adds to a request in place of the headers of the SDK.

A plain key of a vendor needs none of this: its SDK sends the key itself. Everything else comes from here, after the
client has checked the address: keys that a function returns, keys in another header, tokens of Google (`adc`) and
signatures for AWS (`sigv4`). Nothing here starts a thread.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import Protocol

from smelt.errors import AuthConfigError, SmeltConfigError
from smelt.providers.base import Billing, CallFailed
from smelt.providers.redact import redact
from smelt.providers.secrets import Hidden, KeySource, Secret, check_key
from smelt.providers.vendor import Auth

REPLACED = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
"""Headers of the SDKs that hold a key; with credentials they are dropped."""

_FIRST_SECONDS = 60.0  # For the first key; a function that asks a person to log in takes longer, and should not.
_REMEMBERED = 8  # Tokens that are redacted from what servers send back: requests in flight may have an old one.
_SAID = 2_000  # Characters of an error that are searched for a word about expiry.


class Credentials(Protocol):
    """What authorises requests.

    Attributes:
        account: A stable name of what is asked for whom: host, project, region, profile. It stands in for the key in
            the name of a lane and in the keys of the ledger, because tokens change. It holds no secret.
        secrets: The secrets that were handed out lately, to redact from every text.
    """

    @property
    def account(self) -> str: ...
    @property
    def secrets(self) -> tuple[Secret, ...]: ...

    async def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        """The headers that authorise one request.

        Raises:
            NotAuthorised: There are none.
        """
        ...

    async def renewed(self, used: Mapping[str, str]) -> bool:
        """Whether there are newer credentials than those in *used*, which a server refused; fetches them if need be.

        Raises:
            NotAuthorised: They cannot be fetched.
        """
        ...


class NotAuthorised(Exception):
    """There are no credentials for a request.

    Attributes:
        text: What is wrong, redacted, and what to do.
        is_passing: Whether it may work later: a token server that cannot be reached.
    """

    def __init__(self, text: str, *, is_passing: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.is_passing = is_passing

    def as_failure(self) -> CallFailed:
        """The failure of a request that was not sent because of this."""
        if self.is_passing:
            return CallFailed("connection", Billing.NOT_SENT, self.text)
        return CallFailed("auth", Billing.REJECTED, self.text, is_named=True)


class Memory:
    """The secrets that were handed out lately."""

    def __init__(self) -> None:
        self._kept: deque[Secret] = deque(maxlen=_REMEMBERED)

    def keep(self, *values: str | None) -> None:
        for value in values:
            if value and (secret := Secret(value)) not in self._kept:
                self._kept.append(secret)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return tuple(self._kept)


class Given(Hidden):
    """A key of the caller's, or keys that a function of the caller's returns, in the header that the vendor wants.

    The function is called for every request, so it should keep its token as long as that is valid, as the functions of
    azure-identity do.

    Args:
        auth: Where the vendor wants its key.
        source: The key, or the function.
        account: What stands in for the key in names and ledger keys.
        refuse: Raises `AuthConfigError` for a key that is meant for another place.
    """

    def __init__(
        self, auth: Auth, source: KeySource | Secret, *, account: str, refuse: Callable[[str], None] | None = None
    ) -> None:
        self.account = account
        self._refuse = refuse
        self._auth = auth
        self._source = source
        self._memory = Memory()
        self._last: str | None = None
        self._headers: Mapping[str, str] = {}

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return self._memory.secrets

    async def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        key = self._source.reveal() if isinstance(self._source, Secret) else await self._asked(self._source)
        if key != self._last:
            self._memory.keep(key)
            self._last, self._headers = key, headers_for(self._auth, key)
        return self._headers

    async def renewed(self, used: Mapping[str, str]) -> bool:
        return await self.headers("", "", b"") != used

    async def _asked(self, source: KeySource) -> str:
        try:
            answer = source.ask()
            key = await answer if isawaitable(answer) else answer
        except Exception as problem:  # noqa: BLE001  # The function is the caller's, and may raise anything.
            text = f"The function in api_key= raised {type(problem).__name__}: {redact(str(problem), self.secrets)}"
            raise NotAuthorised(text, is_passing=_is_passing(problem)) from None
        if key != self._last or not self._headers:
            try:
                check_key(key, source="What the function in api_key= returned")
                if self._refuse is not None:
                    self._refuse(key)
            except AuthConfigError as problem:
                raise NotAuthorised(str(problem)) from None
        return key


async def check(credentials: Credentials, url: str) -> None:
    """Have the first token before anything is sent to the model at *url*.

    Raises:
        AuthConfigError: There is none; says what to do.
    """
    try:
        async with asyncio.timeout(_FIRST_SECONDS):
            await _first(credentials, url)
    except NotAuthorised as problem:
        raise AuthConfigError(problem.text) from None
    except TimeoutError:
        raise AuthConfigError(f"The function in api_key= returned no key within {_FIRST_SECONDS:.0f} s.") from None


async def _first(credentials: Credentials, url: str) -> None:
    """The first token; a token server that is overloaded is asked again."""
    for seconds in _PAUSES:
        try:
            await credentials.headers("POST", url, b"")
        except NotAuthorised as problem:
            if not problem.is_passing:
                raise
            await asyncio.sleep(seconds)
        else:
            return
    await credentials.headers("POST", url, b"")


_PAUSES = (1.0, 2.0)


def headers_for(auth: Auth, key: str) -> Mapping[str, str]:
    """The headers for *key*. Azure takes its own keys in one header and tokens of Entra in another."""
    if auth in ("x-api-key", "x-goog-api-key"):
        return {auth: key}
    if auth == "entra" and not _is_token(key):
        return {"api-key": key, "x-api-key": key}  # OpenAI's models read the first, Claude the second.
    return {"authorization": f"Bearer {key}"}


def looks_expired(status: int, headers: Mapping[str, str], text: str) -> bool:
    """Whether an answer refuses credentials that newer ones may replace."""
    if status == 401:
        return True
    if status not in (400, 403):
        return False
    kind = headers.get("x-amzn-errortype", "").lower()
    if "expired" in kind or "unrecognizedclient" in kind:
        return True
    said = text[:_SAID].lower()
    if status == 400:
        return "api_key_invalid" in said  # Gemini
    return "expired" in said and ("token" in said or "credential" in said)


def _is_token(key: str) -> bool:
    """Whether *key* is a JSON Web Token, as those of Entra are."""
    return key.startswith("eyJ") and key.count(".") == 2


def _is_passing(problem: BaseException | None) -> bool:
    """Whether *problem* came of a network, which may work again later."""
    seen = 0
    while problem is not None and seen < 10:
        if isinstance(problem, ssl.SSLCertVerificationError | SmeltConfigError):
            return False
        if isinstance(problem, OSError | TimeoutError | asyncio.TimeoutError):
            return True
        problem, seen = problem.__cause__ or problem.__context__, seen + 1
    return False
