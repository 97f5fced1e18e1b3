"""The provider `local`: the adapter `compatible` over a child process on this machine (see `smelt.local`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

from smelt.errors import MissingDependencyError, SmeltConfigError, warn
from smelt.local.child import SLOT_TOKENS, SLOTS
from smelt.local.process import Server, server_of
from smelt.local.weights import fetched, named
from smelt.providers.access import Access
from smelt.providers.base import Billing, CallFailed, Capabilities, Connection, Reply, Request
from smelt.providers.compatible import Compatible
from smelt.providers.secrets import Secret
from smelt.providers.vendors import LLAMACPP, LOCAL

# A cancelled request keeps its slot until it has generated all tokens that it may.
_MOST_TOKENS = 512
_URL = "http://localhost/v1"  # Only the path matters, because the server is asked over a Unix socket.
_told: set[str] = set()


class LocalProvider:
    """A small model on this machine's CPU. Takes no key and uses no network.

    Args:
        name: The model; `smollm2-135m` if empty.
        params: Parameters of every request. The temperature is 0 by default, so that equal rows get equal answers.
        is_named: Whether the caller asked for it. Otherwise it is the default model, and the warning says so.

    Raises:
        SmeltConfigError: There is no such model.
        MissingDependencyError: The runtime or the weights are missing; names the command that installs them.
    """

    key: Secret | None = None
    thinking_tokens: int | None = None

    def __init__(self, name: str = "", *, params: Mapping[str, Any] | None = None, is_named: bool = True) -> None:
        self._weights = named(name)
        self.params: Mapping[str, Any] = {**LOCAL.params, **(params or {})}
        if find_spec("xllamacpp") is None:
            raise MissingDependencyError.for_extra(LOCAL.extra, "xllamacpp")
        fetched(self._weights)
        _say_what_it_is(self.model, is_named=is_named)

    @property
    def name(self) -> str:
        return LOCAL.name

    @property
    def model(self) -> str:
        return self._weights.name

    @property
    def origin(self) -> str:
        """The same on every machine, because the weights are identical."""
        return LOCAL.name

    @property
    def deployment(self) -> str:
        return self.origin

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            dialect=LLAMACPP,
            codec="keyed",
            max_output_tokens=_MOST_TOKENS,
            context_tokens=SLOT_TOKENS,
            rows_per_request=self._weights.rows_per_request,
            concurrency=SLOTS,
            scores="tokens",
        )

    def check_params(self, params: Mapping[str, Any]) -> None:
        self._over(server_of(self._weights)).check_params(params)

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[Connection]:
        server = server_of(self._weights)
        await server.ready()
        async with self._over(server).connect(connections=connections) as connection:
            yield _Connection(server, connection)

    def _over(self, server: Server) -> Compatible:
        access = Access(base_url=_URL, key=Secret(server.key), socket=str(server.socket))
        return Compatible(vendor=LOCAL, model=self.model, access=access, params=self.params)


class _Connection:
    """Restarts the server if a request killed it, so that the row at fault can be isolated."""

    def __init__(self, server: Server, inner: Connection) -> None:
        self._server = server
        self._inner = inner

    async def send(self, request: Request) -> Reply:
        try:
            await self._server.ready()
        except SmeltConfigError as problem:
            raise CallFailed("server", Billing.NOT_SENT, str(problem)) from None
        return await self._inner.send(request)


def _say_what_it_is(model: str, *, is_named: bool) -> None:
    """Warn, once per process and model, that its answers are only for trying smelt out."""
    if model in _told:
        return
    _told.add(model)
    what = f"{model}, a small model on this machine's CPU"
    text = (
        f"The answers of {what}, are for trying smelt out. Do not rely on them."
        if is_named
        else f"No model is named, so {what}, answers. Do not rely on its answers; pass model= for a better one."
    )
    warn(text)
