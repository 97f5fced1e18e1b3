"""The base of the adapters: a model with its address, key and parameters, and a connection over an SDK's `post`."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

from smelt.providers import params as parameters
from smelt.providers.access import Access
from smelt.providers.addresses import is_loopback
from smelt.providers.base import (
    FLEX,
    Answer,
    BatchLimits,
    Capabilities,
    Connection,
    DecisionTerms,
    Reply,
    Request,
    Wire,
)
from smelt.providers.batching import BatchConnection
from smelt.providers.bodies import complaint_in
from smelt.providers.boundary import posted, refused, reply_to, try_anew
from smelt.providers.effort import check_sampling
from smelt.providers.fallback import MOST_STEPS, Manners, milder
from smelt.providers.http import client_for
from smelt.providers.medialimits import with_media
from smelt.providers.secrets import Secret
from smelt.providers.shapes import Manner
from smelt.providers.splicing import spliced
from smelt.providers.tariff import Price
from smelt.providers.vendor import Vendor

JOB_CONNECTIONS = 4
"""Requests at a time of a client for jobs."""


@dataclass(frozen=True, kw_only=True)
class Adapter(ABC):
    """A model of a vendor, asked through an SDK.

    Attributes:
        vendor: The vendor.
        model: The model's name, as the vendor calls it.
        access: Base URL and key.
        params: Parameters of every request; those of a `Request` override them.
        thinking_tokens: Tokens for thoughts that the caller set, or None.
        priced_as: The listed model, as `provider:name`, that costs the same, or None.
        price: The price that the caller named, or None.
        takes: The parameters that the API takes.
        more: Parameters of single vendors of the API; `vendor.takes` names those of this one.
        wire: Writes requests and reads answers.
        decider: The same for the endpoint for decisions, if the API has one.
        usual: The capabilities, if the vendor has none of its own.
    """

    vendor: Vendor
    model: str
    access: Access
    params: Mapping[str, Any] = field(default_factory=dict)
    thinking_tokens: int | None = None
    priced_as: str | None = None
    price: Price | None = None

    takes: ClassVar[Mapping[str, parameters.Takes]]
    more: ClassVar[Mapping[str, parameters.Takes]] = {}
    wire: ClassVar[Wire]
    decider: ClassVar[Wire | None] = None
    usual: ClassVar[Capabilities]

    def __post_init__(self) -> None:
        self.check_address()

    def check_address(self) -> None:  # noqa: B027  # Most addresses need no more than `access` checks.
        """Refuse an address that names too little; raises `SmeltConfigError`."""

    @property
    def name(self) -> str:
        return self.vendor.name

    @property
    def origin(self) -> str:
        return self.access.origin

    @property
    def deployment(self) -> str:
        return self.access.deployment

    @property
    def key(self) -> Secret | None:
        return self.access.account

    @property
    def capabilities(self) -> Capabilities:
        usual = replace(self.vendor.capabilities or self.usual, scores=self.usual.scores)
        found = with_media(usual, self.vendor.media, self.model)
        return found if self._decisions is None else replace(found, decisions=self._decisions)

    @property
    def _decisions(self) -> DecisionTerms | None:
        """What the endpoint for decisions takes of this model; on this machine a gateway may stand for the vendor."""
        terms = self.vendor.decisions
        if terms is None or not re.fullmatch(terms.models, self.model.removeprefix("models/")):
            return None
        return terms if self.is_at_home or is_loopback(self.access.base_url) else None

    @property
    def is_at_home(self) -> bool:
        """Whether the server is the vendor's own, and no gateway or another company's service."""
        own, host = (urlsplit(url or "").hostname or "" for url in (self.vendor.base_url, self.access.base_url))
        return bool(own) and (host == own or host.endswith(f".{own}"))

    def reveal_key(self) -> str:
        """The key itself, or a stand-in if our client adds the credentials: the clients of the SDKs require one."""
        return "none" if self.access.key is None or self.access.credentials else self.access.key.reveal()

    def check_params(self, params: Mapping[str, Any]) -> None:
        more = {name: self.more[name] for name in self.vendor.takes}
        parameters.check(params, {**self.takes, **more}, provider=self.name)
        if self.vendor.hosted:
            check_sampling(self.model, params)

    @property
    def flex(self) -> Mapping[str, Any] | None:
        """The parameters that ask for the flex tier; None if the vendor does not serve this model at it."""
        pattern = self.vendor.flex
        is_served = bool(pattern) and re.match(pattern, self.model.removeprefix("models/")) is not None
        return {"service_tier": FLEX} if is_served else None

    @property
    def batching(self) -> BatchLimits | None:
        """What a job of this vendor's Batch API may hold; None if smelt knows none at this address.

        The vendor's own address may have a region before it. On this machine a gateway may stand for it.
        """
        return self.vendor.batching if self.is_at_home or is_loopback(self.access.base_url) else None

    def job_client(self) -> type[Any]:
        """The class of the client for jobs, a `jobclient.JobClient`. Loaded only if a job is wanted."""
        raise NotImplementedError(f"{self.name} has no Batch API.")  # `batching` is None, so it is not asked.

    def connect_batches(self) -> AbstractAsyncContextManager[BatchConnection]:
        """Open a client for jobs; see `batching.BatchProvider`."""
        raise NotImplementedError(f"{self.name} has no Batch API.")  # `batching` is None, so it is not asked.

    @abstractmethod
    def connect(self, *, connections: int) -> AbstractAsyncContextManager[Connection]: ...

    @property
    def manner(self) -> Manner:
        """How a request is written at first."""
        return self.vendor.manner_for(self.model)

    def wire_for(self, request: Request) -> Wire:
        """What writes *request* and reads its answer."""
        return self.wire if request.decisions is None or self.decider is None else self.decider

    def asked(self, request: Request) -> tuple[dict[str, Any], Mapping[str, str]]:
        """The body of a *request* for decisions, and the headers that the caller adds."""
        params = {**self.params, **request.params}
        headers = params.pop("extra_headers", None)
        return self.wire_for(request).write(self.model, request, params), headers or {}

    def written(self, request: Request, manner: Manner | None = None) -> tuple[dict[str, Any], Mapping[str, str]]:
        """The body of *request*, and the headers that the caller adds."""
        params = {**self.params, **request.params}
        for name, usual in self.vendor.params.items():
            # A table of the caller's is completed, not replaced: it may choose a route, and say nothing of the rest.
            params[name] = {**usual, **params.get(name, {})} if isinstance(usual, Mapping) else params.get(name, usual)
        headers = params.pop("extra_headers", None)
        return self.wire.write(self.model, request, params, manner or self.manner), headers or {}


class SDKConnection(ABC):
    """An open client of an SDK, with retries off.

    Args:
        provider: The adapter.
        errors: The base class of the SDK's exceptions.
    """

    def __init__(self, provider: Adapter, errors: type[Exception]) -> None:
        self.provider = provider
        self._errors = (errors,)

        self._first = provider.manner
        # Another key may belong to another plan, which takes more.
        self._server = (provider.name, provider.deployment, provider.model, provider.key)

    async def send(self, request: Request) -> Reply:
        read = self.provider.wire_for(request).read
        return await reply_to(self._answer(request), read, self._errors, self.provider.access, request)

    @abstractmethod
    async def ask(self, request: Request, manner: Manner) -> Answer:
        """The raw answer to *request*, written in *manner*; raises the SDK's own exceptions."""

    async def decide(self, request: Request) -> Answer:
        """The raw answer to a *request* for decisions; raises the SDK's own exceptions."""
        raise NotImplementedError(f"{self.provider.name} has no endpoint for decisions.")

    async def _answer(self, request: Request) -> Answer:
        """The answer. If the server refuses how it is asked, which is free, all requests are milder from then on."""
        if request.decisions is not None:  # There is one way to ask for them.
            return await self.decide(request)
        for _ in range(MOST_STEPS):
            manner = _manners.of(self._server, self._first)
            try_anew()
            try:
                answer = await self.ask(request, manner)
                if answer.status < 400:
                    return answer
            except self._errors:
                if (refusal := refused()) is None or not self._lowers(manner, refusal, request):
                    raise
            else:
                if not self._lowers(manner, answer, request):
                    return answer
        try_anew()
        return await self.ask(request, _manners.of(self._server, self._first))

    def _lowers(self, manner: Manner, answer: Answer, request: Request) -> bool:
        """Whether *answer* refuses *manner*, so that there is a milder one from now on."""
        found = milder(manner, answer.status, complaint_in(answer), request)
        if found is not None:
            _manners.lower(self._server, self._first, refused=manner, found=found)
        return found is not None


_manners = Manners()  # Of this process.


@asynccontextmanager
async def opened(
    provider: Adapter, client: Callable[..., Any], *, connections: int, headers: Mapping[str, Any] | None = None
) -> AsyncIterator[Any]:
    """An SDK's client of OpenAI's kind over a client of ours, with retries off.

    Args:
        provider: The adapter.
        client: The class of the SDK's client.
        connections: Maximum concurrent requests.
        headers: Headers of every request; None for the SDK's own.
    """
    async with client_for(provider.access, connections=connections) as http:
        sdk = client(
            api_key=provider.reveal_key(),
            base_url=provider.access.base_url,
            http_client=http,
            max_retries=0,
            default_headers=headers,
            **without_spans(client),
        )
        sdk._platform = "Unknown"  # Otherwise the SDK determines it in a thread.
        yield sdk


def without_spans(client: Callable[..., Any]) -> dict[str, Any]:
    """The option of an SDK's *client* that stops spans of its own, if it has one.

    Otherwise a request would be in a trace twice, beside that of `smelt.observe.telemetry`; and an environment variable
    could put rows into it.
    """
    return {"open_telemetry": False} if "open_telemetry" in inspect.signature(client).parameters else {}


@asynccontextmanager
async def posting(
    provider: Adapter,
    client: Callable[..., Any],
    errors: type[Exception],
    path: str,
    *,
    connections: int,
    headers: Mapping[str, Any] | None = None,
    is_rewritten: bool = False,
    **options: Any,
) -> AsyncIterator[Connection]:
    """An open connection over the `post` method of an SDK of OpenAI's kind.

    Args:
        provider: The adapter.
        client: The class of the SDK's client.
        errors: The base class of the SDK's exceptions.
        path: What is posted to, relative to the base URL.
        connections: Maximum concurrent requests.
        headers: Headers of every request; None for the SDK's own.
        is_rewritten: Whether the SDK changes the body, so that it must get it as values and not as JSON.
        options: More of the SDK's request options.
    """
    async with opened(provider, client, connections=connections, headers=headers) as sdk:
        yield _Posting(provider, errors, sdk.post, path, options, is_rewritten=is_rewritten)


class _Posting(SDKConnection):
    def __init__(
        self,
        provider: Adapter,
        errors: type[Exception],
        post: Callable[..., Awaitable[Any]],
        path: str,
        options: Mapping[str, Any],
        *,
        is_rewritten: bool,
    ) -> None:
        super().__init__(provider, errors)
        self._is_rewritten = is_rewritten
        self._post = post
        self._path = path
        self._options = options

    async def ask(self, request: Request, manner: Manner) -> Answer:
        body: dict[str, Any] | None
        body, headers = self.provider.written(request, manner)
        options = {"timeout": request.timeout, "headers": headers, **self._options}
        content = None
        if request.parts and not self._is_rewritten:
            content, body = spliced(body), None  # Megabytes are not kept twice while the answer is awaited.
        return await posted(self._post, self._path, body, content, **options)

    async def decide(self, request: Request) -> Answer:
        body, headers = self.provider.asked(request)
        options = {"timeout": request.timeout, "headers": headers, **self._options}
        return await posted(self._post, "/decisions", body, **options)


def header_names(lines: str) -> list[str]:
    """The names in lines of `Name: value`, the form in which SDKs read headers of their own vendor from a variable."""
    return [line.partition(":")[0].strip() for line in lines.split("\n") if ":" in line]
