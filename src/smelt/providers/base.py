"""The provider interface: what the engine asks of a provider, and what a provider answers.

An adapter translates in both directions and makes no decisions. To plug in your own model, give the engine any object
that has the members of `Provider`; `smelt.testing.ScriptedProvider` is the shortest example.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from smelt.plan.dialect import Dialect
from smelt.plan.media import Media, MediaKind
from smelt.providers.redact import redact
from smelt.providers.secrets import Secret

if TYPE_CHECKING:
    from smelt.plan.decisions import Decisions
    from smelt.plan.packed import Layout
    from smelt.plan.scores import Scores, Token

_SHOWN = 200  # Characters shown of a reply that could not be parsed.

Finish = Literal["stop", "length", "refused", "filtered", "unknown"]
"""Why the model stopped: finished, out of tokens, refused, stopped by the provider's filter, or not known.

A reply that ends with `unknown` may be complete or cut off.
"""
ENDED: tuple[Finish, ...] = ("stop", "unknown")
"""Finish reasons of a reply that may be complete."""

Life = Literal["no", "minutes", "hour"]
"""How long a provider is asked to keep the instructions in its prompt cache: not at all, as usual, or an hour."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, independent of the provider.

    Attributes:
        system: Instructions; the same text for every request of a job, so that providers can cache it.
        user: The rows, as JSON text. A medium in it is `{"media": …, "as": …}`, and its bytes are in *parts*.
        schema: JSON Schema of the reply (an object), already compiled for this provider's dialect.
        max_output_tokens: The most tokens that the reply may take, thoughts included.
        params: The caller's own parameters (temperature and the like), already checked by the adapter.
        timeout: Seconds until the engine cancels the call. The engine enforces it; an SDK may be told.
        output_model: The caller's class of an answer; `str` if the answer is free text, which is the field `text` of
            *schema*. It may have more fields than *schema*: a lazy plan asks only for those that it uses. None if the
            request was not made by a run.
        prompt: The caller's question, which is also in *system*.
        layout: On the compact wire, the order of the fields in a row of the reply, which has no field names.
        parts: If a row has media, the same rows as *user* in parts: text, and after each row its media. Empty without
            media.
        keeps: How long the provider should keep *system* and *schema* in its prompt cache, for requests that follow.
        decisions: The questions, if the provider's endpoint for decisions is asked. The reply is then one of *schema*.
        scores: How many of the likeliest tokens are wanted at each place of the reply, with their probabilities; 0 if
            no probabilities are wanted.
    """

    system: str
    user: str
    schema: Mapping[str, Any]
    max_output_tokens: int
    params: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 120.0
    output_model: type[Any] | None = field(default=None, repr=False)
    prompt: str = ""
    parts: tuple[str | Media, ...] = ()
    layout: Layout | None = field(default=None, repr=False)
    keeps: Life = "no"
    decisions: Decisions | None = field(default=None, repr=False)
    scores: int = 0

    def to_keep(self) -> Request:
        """This request without the bytes of its media, and without the class of an answer, which may have no pickle."""
        parts = tuple(one.without_data() if isinstance(one, Media) else one for one in self.parts)
        return replace(self, output_model=None, parts=parts)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens as the provider reports them. None: not reported, or not plausible (negative, absurd).

    Attributes:
        input_tokens: All input tokens, those read from and written to a cache included.
        output_tokens: All output tokens, reasoning included.
        cached_input_tokens: Input tokens read from the provider's cache.
        reasoning_tokens: Output tokens spent on reasoning.
        written_input_tokens: Input tokens written to the provider's cache.
        written_hour_tokens: Those of them that were written for an hour or longer, which costs more.
        audio_input_tokens: Input tokens of sound.
        cached_audio_tokens: Those of them that were read from the cache.
        stored_usd: Dollars for what the provider kept since the last reply, beside the price of the tokens.
        charged_usd: Dollars that the server says it charged. Few do.
        tier: The service tier that served the request: `standard`, `flex`, `priority`, `fast`, `batch` for a line of a
            batch job, or `decisions` for the endpoint for decisions. Empty means standard. `us`: Anthropic served it in
            the United States only.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    written_input_tokens: int | None = None
    written_hour_tokens: int | None = None
    audio_input_tokens: int | None = None
    cached_audio_tokens: int | None = None
    stored_usd: float | None = None
    charged_usd: float | None = None
    tier: str = ""

    @property
    def is_reported(self) -> bool:
        """Whether the provider reported any tokens."""
        return self.input_tokens is not None or self.output_tokens is not None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A successful answer (status 200).

    Attributes:
        text: The model's text, unchanged. Empty if there was none.
        usage: Tokens, if the provider reported them.
        finish: Why the model stopped.
        model: The model that answered, as the provider names it.
        request_id: The provider's id of this request.
        limits: Rate-limit headers, unchanged, with lower-case names.
        detail: The message of a refusal or a filter, redacted.
        notes: What the provider says about the reply, such as ratings of its safety; no text of a row.
        reasoning: What the model thought, if the provider returns it.
        tokens: The tokens of the text with their probabilities, if they were wanted and the provider returns them.
        scores: What `plan.scores` makes of them, by the row tokens of the request.
    """

    text: str
    usage: Usage = Usage()
    finish: Finish = "stop"
    model: str | None = None
    request_id: str | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    detail: str | None = None
    notes: str = ""
    reasoning: str = field(default="", repr=False)
    tokens: Sequence[Token] = field(default=(), repr=False)
    scores: Mapping[str, Scores] = field(default_factory=dict, repr=False)

    def with_end(self, limit: int) -> Reply:
        """This reply, its finish reason corrected by its output tokens; *limit* is the most that it was allowed.

        Some servers report a normal end for a reply that they cut off, and some report no finish reason.
        """
        spent = self.usage.output_tokens
        if self.finish == "stop" and spent is not None and spent >= limit:
            return replace(self, finish="unknown")
        if self.finish == "unknown" and spent and spent < limit:
            return replace(self, finish="stop")
        return self

    @property
    def beginning(self) -> str:
        """The beginning of the text, redacted and on one line, to show to people."""
        return redact(self.text, limit=_SHOWN)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A raw answer of any status; header names in lower case.

    Attributes:
        asked: The request that it answers.
        parsed: The JSON of the text, if it was parsed before; the text may then be empty.
    """

    status: int
    headers: Mapping[str, str]
    text: str
    asked: Request | None = None
    parsed: object = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Wire:
    """How an API's requests and answers are written down, whichever way they travel. Neither function does I/O.

    Attributes:
        write: The body of a request, as JSON values, from the model's name, the request and its parameters. If the API
            has several ways to ask for JSON, it takes a `Manner`, too.
        read: The reply in an answer; masks the secrets in every message. Raises `CallFailed` if there is no reply.
    """

    write: Callable[..., dict[str, Any]]
    read: Callable[[Answer, Sequence[Secret]], Reply]


class Billing(Enum):
    """What a failed call may have cost."""

    NOT_SENT = "not_sent"  # Never reached the provider: a retry is free.
    REJECTED = "rejected"  # Refused before any work (429, 503, 529): slow down; not counted as an attempt of the rows.
    UNKNOWN = "unknown"  # Sent, and no complete answer came: may have been billed.
    PAID_BAD = "paid_bad"  # An answer came and cannot be used.


FailureKind = Literal[
    "connection",  # DNS, refused, reset, cut body
    "no_files",  # this machine has no more open files for a connection
    "certificate",  # TLS verification: never retried
    "timeout",  # the total deadline of the call passed
    "rate_limit",  # 429 that ends after a wait
    "server",  # 5xx, 408, 409, 425, overloaded
    "protocol",  # a 200 that is no answer: HTML, empty body, JSON of another shape
    "auth",  # 401, 403, 407
    "quota",  # 402, insufficient_quota, billing hard limit
    "not_found",  # 404
    "redirect",  # any 3xx: not followed
    "schema",  # 400 that names the schema or a parameter: no row can ever succeed
    "no_media",  # 400 that says that the model reads no such media: no row with them can ever succeed
    "bad_request",  # 400, 422 and other 4xx without a known reason: may be a row's fault
    "too_long",  # 400 context length
    "too_large",  # 413
    "filtered",  # 400 content filter
    "own_code",  # the caller's own function failed on a row: fails the rows of the request, which are not asked again
    "own_setup",  # the caller's own hook or agent cannot work: ends the run
    "expired",  # a line of a batch that was never run: the job expired or was cancelled before
]


DECISIONS = "decisions"
"""What stands for the service tier of requests to an endpoint for decisions, which has a price of its own."""
FLEX = "flex"
"""The name of the cheaper service tier, which declines requests when it lacks capacity."""
_OF_A_RATE = re.compile(r"rate.?limit|quota|\bper (?:second|minute|min|day)\b|\b[RT]PM\b", re.IGNORECASE)


class CallFailed(Exception):
    """A call without a reply. Holds only redacted strings, never an SDK's exception.

    Attributes:
        kind: The kind of failure.
        billing: What it may have cost.
        message: One redacted line for people.
        status: HTTP status, if one came.
        retry_after: Seconds that the provider asks to wait, if it gives a plausible number.
        request_id: The provider's id of the request.
        limits: Rate-limit headers, lower-case names.
        usage: Tokens, if any were reported.
        is_named: Whether the provider's error object has a code for an account fault (key, rights, quota, model). A web
            page or a firewall has none.
    """

    def __init__(
        self,
        kind: FailureKind,
        billing: Billing,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        limits: Mapping[str, str] | None = None,
        usage: Usage | None = None,
        is_named: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.billing = billing
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.request_id = request_id
        self.limits = limits or {}
        self.usage = usage or Usage()
        self.is_named = is_named

    @property
    def lacks_capacity(self) -> bool:
        """Whether the flex tier refused a request because it has no capacity left: that is free, and no limit of ours.

        A refusal that names a limit or a wait is a rate limit like any other. Sources of November 2026:
        developers.openai.com/api/docs/guides/flex-processing ("429 Resource Unavailable") and
        ai.google.dev/gemini-api/docs/flex-inference (503).
        """
        if self.status == 503:
            return True
        is_told = self.retry_after is not None or _OF_A_RATE.search(self.message) is not None
        return self.status == 429 and self.kind == "rate_limit" and not is_told


@dataclass(frozen=True, kw_only=True)
class PrefixTerms:
    """When a provider keeps what requests share, their instructions, if it is asked to.

    Attributes:
        least: Tokens of the shortest prefix that it keeps.
        requests: The fewest requests with the same prefix for which it pays to keep it.
        seconds: For how long a prefix is kept after it was last used.
        has_hour: Whether it can be kept for an hour, at a higher price.
        outlasts_run: Whether it is kept when the run is over.
    """

    least: int
    requests: int = 2
    seconds: float = 300.0
    has_hour: bool = False
    outlasts_run: bool = True

    @staticmethod
    def is_off(params: Mapping[str, Any]) -> bool:
        """Whether *params*, which were checked, say that nothing is kept: `{"cache_ttl": "0s"}`."""
        return str(params.get("cache_ttl", "")).rstrip("smh").strip("0") == "" and "cache_ttl" in params


@dataclass(frozen=True, kw_only=True)
class DecisionTerms:
    """What a provider's endpoint for decisions takes (see `plan.decisions`).

    Attributes:
        models: A pattern of the names of the models that it serves, whole.
        questions: The most questions of one request; each row has one per field.
        options: The most options of a choice.
        levels: The most levels of a scale.
        input_usd: Dollars per million input tokens. Output is free.
        takes: The parameters that requests may have.
    """

    models: str
    questions: int
    options: int
    levels: int
    input_usd: float
    takes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What the engine needs to know of a provider before the first request.

    Attributes:
        dialect: The JSON Schema dialect that it accepts.
        codec: Shape of the reply. `array`: one array of rows, with the same schema for every request. `keyed`: an
            object with a property per row, for decoders that enforce the grammar and do not cache by schema: then a row
            can neither be left out nor put under a wrong token. If *enforces_schema* is False, requests fall back to
            `array` once a reply shows that the grammar was not enforced, or the server refuses it.
        enforces_schema: Whether the server promises replies that are bare JSON of the schema's shape. All replies are
            parsed with the same tolerance. If False, the first reply that deviates, at any time, shows that requests
            should be smaller; if True, only the first reply of the run can show it.
        max_output_tokens: The largest output limit for the answers of one reply.
        thinking_tokens: Output tokens for thoughts at first, on top of the answers'; raised when replies need more.
        context_tokens: Input and output together, if the limit is known and small.
        rows_per_request: The most rows that one request should carry, or None; caps `batch_size="auto"`.
        takes_one_row: Whether a request may carry one row only, whatever `batch_size` says.
        concurrency: The most requests in flight for `concurrency="auto"`.
        first_seconds: Until a run has a reply, a request may take at least this long, whatever its timeout: some
            services compile a new schema for minutes.
        queues: Whether the server queues excess requests instead of refusing them.
        is_worth_keeping: Whether its answers go into the ledger by default. A scripted provider's do not.
        media: The kinds of media that it takes; empty for a model of text.
        media_rows: Rows with images that one request should carry, for `batch_size="auto"`.
        media_bytes: The most bytes of media in one request, before base64.
        image_bytes: The most bytes of one image, before base64, or None.
        media_count: The most media in one request, or None. One row always travels whole.
        image_side: The most pixels of an image's longer side, or None.
        media_urls: The kinds of media that the provider fetches itself from an https URL.
        keeps_media_order: Whether the provider is known to show a model the media of a request in their order. If not,
            a run that would send several rows with media in one request first tests it with three small images.
        is_keepable: Whether the ledger may keep its answers at all, if the caller asks for a ledger.
        takes_compact: Whether requests may have the compact form (`wire="compact"`). Code that reads the rows of a
            request as objects takes only the keyed form.
        prefix: When it keeps the instructions in a cache at a price, if a request asks for that; None if it does not,
            or keeps every prompt for nothing.
        decisions: What its endpoint for decisions takes; None if this model or address has none.
        scores: Whether requests may ask for the probabilities of tokens. Whether they come, the first reply shows: some
            models refuse to give them, and some servers do not know them.
    """

    dialect: Dialect = Dialect()
    codec: Literal["array", "keyed"] = "array"
    enforces_schema: bool = True
    max_output_tokens: int = 16_000
    thinking_tokens: int = 0
    context_tokens: int | None = None
    rows_per_request: int | None = None
    takes_one_row: bool = False
    concurrency: int = 512
    first_seconds: float = 0.0
    queues: bool = False
    is_worth_keeping: bool = True
    media: frozenset[MediaKind] = frozenset()
    media_rows: int = 1
    media_bytes: int = 10_000_000
    image_bytes: int | None = None
    media_count: int | None = None
    image_side: int | None = None
    media_urls: frozenset[MediaKind] = frozenset()
    keeps_media_order: bool = True
    is_keepable: bool = True
    takes_compact: bool = True
    prefix: PrefixTerms | None = None
    decisions: DecisionTerms | None = None
    scores: Literal["none", "tokens"] = "none"


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """What a provider's Batch API allows of one job (see `providers.batching`).

    Attributes:
        lines: The most lines of a job.
        bytes: The most bytes of a job's lines, newlines included.
        can_tag: Whether a job carries the caller's tag, so that it is surely found again. If False, only candidates can
            be named until they have ended.
    """

    lines: int
    bytes: int
    can_tag: bool


telling: ContextVar[Callable[[str], None]] = ContextVar("telling", default=lambda text: None)
"""Hears what a provider waits for before it can send, as the end of "waiting for …"; empty when the wait is over.

The engine sets it for the context in which it opens a provider, so that a display can say that a server is starting.
"""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Instructions that a provider keeps.

    Attributes:
        name: The provider's name for them.
        tokens: How many tokens they are.
        until: When they are gone, in seconds since 1970.
        is_ours: Whether this run renews and deletes them. Else another run that is alive does.
    """

    name: str
    tokens: int
    until: float
    is_ours: bool = True


class Shelf(Protocol):
    """Where the names of what is kept are noted, so that a later run finds them."""

    def find(self, identity: str) -> Kept | None:
        """What is noted for *identity*: provider, model, key and text."""
        ...

    def put(self, identity: str, kept: Kept) -> None:
        """Note it, in place of what was noted before."""
        ...

    def drop(self, identity: str) -> None:
        """Note that nothing is kept any more."""
        ...


class NoShelf:
    """Notes nothing."""

    def find(self, identity: str) -> Kept | None:
        """Nothing is noted."""
        return None

    def put(self, identity: str, kept: Kept) -> None:
        """Forget it."""

    def drop(self, identity: str) -> None:
        """There is nothing to drop."""


shelf: ContextVar[Shelf] = ContextVar("shelf", default=NoShelf())  # noqa: B039  # It has no state.
"""Where names are noted. The engine sets it for the context in which it opens a provider."""


class Connection(Protocol):
    """A provider's open clients during a run."""

    async def send(self, request: Request) -> Reply:
        """Send one request, without retries.

        Raises:
            CallFailed: No reply came; says why and what it may have cost.
        """
        ...


@runtime_checkable
class Provider(Protocol):
    """A model that can be asked.

    It may also have `params`, the parameters of every request; `key`, a string, so that answers bought with one key are
    not reused with another; and `thinking_tokens`, the tokens for thoughts that the caller set.

    Attributes:
        name: The provider's name, as in `"openai:gpt-4.1-mini"`.
        model: The model's name.
        origin: Scheme, host and port that requests go to; part of a lane's name, but not of a ledger key.

    Examples:
        >>> isinstance(scripted, smelt.Provider)
        True
    """

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def capabilities(self) -> Capabilities: ...

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Refuse parameters that this provider does not take or that smelt sets itself.

        Raises:
            SmeltConfigError: Names the parameter.
        """
        ...

    def connect(self, *, connections: int) -> AbstractAsyncContextManager[Connection]:
        """Open the clients in the running loop, for at most *connections* requests at a time; close them on exit."""
        ...


@runtime_checkable
class CompleteProvider(Provider, Protocol):
    """A provider with the members that a caller's own one may leave out; `providers.own` gives it defaults.

    Attributes:
        params: Parameters of every request.
        key: The key. Answers that were bought with one key are not reused with another.
        thinking_tokens: Tokens for thoughts that the caller set, or None.
        deployment: What a limit, a pause or an outage applies to: the origin, or the origin with a path.
    """

    @property
    def params(self) -> Mapping[str, Any]: ...
    @property
    def key(self) -> Secret | None: ...
    @property
    def thinking_tokens(self) -> int | None: ...
    @property
    def deployment(self) -> str: ...
