"""What passes between the protocols and the fake model: a prompt in, a completion out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Json = dict[str, Any]
Headers = Mapping[str, str]
Finish = Literal["stop", "length", "refused", "filtered", "blocked", "nothing"]


class BadRequest(Exception):
    """The provider would refuse this body; says why."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What a request asks, whatever protocol it came by; an endpoint for decisions is asked questions."""

    model: str
    system: str
    user: str
    schema: Mapping[str, Any] | None
    max_tokens: int | None
    questions: tuple[Any, ...] = ()
    questions_text: str = ""
    wants_scores: bool = False


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What the model says, before a protocol puts it into its own shape.

    Attributes:
        finish: Why it stopped. `blocked`: the prompt never reached the model; `nothing`: a 200 without any content.
        reason: The provider's own word for a filter, where it has several.
        usage: Tokens: `input`, `output`, `cached`, `written`, `written_hour`, `reasoning`. None leaves the whole field
            out.
        tier: The service tier that served the request.
        questions: Those that it answers, if an endpoint for decisions is asked.
        tokens: Its tokens with their probabilities, if they were asked for and are told: `likely.Told`.
    """

    text: str
    finish: Finish = "stop"
    reason: str | None = None
    detail: str = "I can't help with that."
    model: str | None
    request_id: str
    usage: Mapping[str, int] | None = field(default_factory=dict)
    tier: str = "standard"
    questions: tuple[Any, ...] = ()
    tokens: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The provider's limits as it announces them: allowed per minute, left now, seconds until all is there again."""

    requests: int
    requests_left: int
    requests_reset: float
    tokens: int
    tokens_left: int
    tokens_reset: float


class WireProtocol(Protocol):
    """What the server needs to know of a provider's protocol."""

    name: str
    refusals: str
    id_header: str

    def read(self, body: Json, model: str) -> Prompt: ...
    def write(self, completion: Completion) -> Json: ...
    def tier_headers(self, tier: str) -> dict[str, str]: ...
    def authorised(self, headers: Headers) -> bool: ...
    def waiting(self, seconds: float) -> Json: ...  # options of the fault `status`
    def limits(self, limits: Limits) -> dict[str, str]: ...
