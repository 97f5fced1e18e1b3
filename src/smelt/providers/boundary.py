"""The boundary between an SDK's call and us: its raw answer is read here, whatever the SDK makes of it.

Everything that a server sent is limited in size, stripped of control characters and redacted here, once, for all later
uses.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile
from typing import Any

import httpx2

from smelt.providers import failures
from smelt.providers.access import Access
from smelt.providers.base import Answer, Billing, CallFailed, Reply, Request
from smelt.providers.bodies import parsed
from smelt.providers.credentials import NotAuthorised
from smelt.providers.logs import ours
from smelt.providers.receiving import Unreadable
from smelt.providers.redact import masked, redact
from smelt.providers.secrets import Secret

_TRANSPORT_ERRORS: tuple[type[Exception], ...] = (
    httpx2.HTTPError,
    httpx2.InvalidURL,
    OSError,
    Unreadable,
    NotAuthorised,
)


class Exchange:
    """State of a call in progress: its last response, which an SDK may lose when it raises its own exception."""

    response: httpx2.Response | None = None


async def reply_to(
    call: Awaitable[Answer],
    read: Callable[[Answer, Sequence[Secret]], Reply],
    errors: tuple[type[Exception], ...],
    access: Access,
    asked: Request,
) -> Reply:
    """Await an SDK's call and parse its raw answer, even if the SDK raised because of the status.

    Every exception, even a cancellation, loses the local variables of its traceback's frames: an SDK's frames hold the
    key, ours hold an answer that may repeat it, and tools show them in a traceback.

    Args:
        call: The call, with the SDK's retries off.
        read: The adapter's parser of an answer.
        errors: The SDK's own exceptions.
        access: Gives the origin for messages, and the secrets to redact.
        asked: The request.

    Raises:
        CallFailed: There is no reply. It has no cause or context: an SDK's exception holds the request, and so the key.
    """
    with frames_cleared():
        return reply_in(await _answer(call, errors, access, asked), read, access, asked)


async def answer_to(call: Awaitable[Answer], errors: tuple[type[Exception], ...], access: Access) -> Answer:
    """The same for a call that asks no model: its raw answer, whatever its status; headers as `failures.kept`.

    Raises:
        CallFailed: There is no answer.
    """
    with frames_cleared():
        return await _answer(call, errors, access, None)


async def body_to(
    call: Awaitable[httpx2.Response], errors: tuple[type[Exception], ...], access: Access
) -> httpx2.Response:
    """The same for a call whose body is read as it comes: the open response, with a status of success.

    Raises:
        CallFailed: There is no answer, or it has an error status.
    """
    opened: list[httpx2.Response] = []

    async def open_or_answer() -> Answer:
        response = await call
        if response.is_closed:
            return answer_of(response)
        opened.append(response)
        return Answer(status=response.status_code, headers={}, text="")

    with frames_cleared():
        _check(await answer_to(open_or_answer(), errors, access), access)
    return opened[0]


def _check(answer: Answer, access: Access) -> None:
    if not 200 <= answer.status < 300:
        body = parsed(answer.text)
        raise failures.from_status(answer.status, answer.headers, body, text=answer.text, secrets=access.secrets)


def failure_in(error: Exception, access: Access) -> CallFailed | None:
    """The failure for an *error* that was raised while an open body was read; None if it is no error of transport."""
    return _failure(error, access) if isinstance(error, _TRANSPORT_ERRORS) else None


@contextmanager
def frames_cleared() -> Iterator[None]:
    """Take the local variables out of the finished frames of an exception's traceback: they hold keys and answers."""
    outer = sys.exception()  # An exception that the caller is handling is not ours and stays unchanged.
    try:
        yield
    except BaseException as error:
        for one in takewhile(lambda one: one is not outer, failures.causes(error)):
            traceback.clear_frames(one.__traceback__)
        raise


async def _answer(
    call: Awaitable[Answer], errors: tuple[type[Exception], ...], access: Access, asked: Request | None
) -> Answer:
    exchange = Exchange()
    token = ours.set(exchange)
    try:
        answer = await call
    except Exception as error:
        if exchange.response is not None:  # Read the response, whatever the SDK raised.
            answer = answer_of(exchange.response)
        elif isinstance(error, errors + _TRANSPORT_ERRORS):
            failure = _failure(error, access)
            answer = None
        else:
            raise
    finally:
        ours.reset(token)
    if answer is None:
        raise failure
    return replace(answer, headers=failures.kept(answer.headers, access.secrets), asked=asked)


def reply_in(
    answer: Answer,
    read: Callable[[Answer, Sequence[Secret]], Reply],
    access: Access,
    asked: Request | None = None,
) -> Reply:
    """The reply in *answer*, with everything in it limited and redacted.

    Raises:
        CallFailed: There is no reply.
    """
    try:
        reply = read(answer, access.secrets)
    except CallFailed:
        raise
    except Exception as error:  # noqa: BLE001  # A body of any shape fails only its request, not the run.
        problem = f"it cannot be read ({type(error).__name__})"
    else:
        return _shown(reply, access, asked, redacted=failures.request_id(answer.headers))
    raise failures.no_answer(answer.status, answer.headers, answer.text, problem=problem, secrets=access.secrets)


def _shown(reply: Reply, access: Access, asked: Request | None, *, redacted: str | None) -> Reply:
    """*reply* without keys: names and messages as one redacted line; the text unchanged except for the key itself.

    *redacted* is the request id of the headers, which are redacted already; an id may also come from the body.
    """
    secrets = access.secrets
    text = masked(reply.text, secrets)
    if text != reply.text and asked is not None and masked(asked.user, secrets) != asked.user:
        text = reply.text  # The key is in a row, so it may be in the answer.
    model, name = reply.model and _name(reply.model, secrets), reply.request_id
    if name != redacted:
        name = name and redact(name, secrets, limit=200)
    if (text, model, name, reply.detail) == (reply.text, reply.model, reply.request_id, None):  # The usual case.
        return reply
    return replace(
        reply, text=text, model=model, request_id=name, detail=reply.detail and redact(reply.detail, secrets)
    )


@lru_cache(maxsize=64)
def _name(text: str, secrets: tuple[Secret, ...]) -> str:
    """A model's name, redacted; cached, because it is the same in most replies."""
    return redact(text, secrets, limit=200)


async def posted(
    post: Callable[..., Awaitable[Any]], path: str, body: Any, content: bytes | None = None, **options: Any
) -> Answer:
    """The server's answer to *body*, posted to *path* by an SDK's own *post* with these request *options*.

    An SDK's resources (`responses`, `messages`) do the same, but loading them takes 0.2 s, for answer types that are
    not used here.

    Args:
        post: The method of the SDK's client.
        path: Relative to the base URL.
        body: JSON values, or None if there is *content*.
        content: The body, if it is written as JSON already.
        options: The SDK's request options.
    """
    return answer_of(await post(path, cast_to=httpx2.Response, body=body, content=content, options=options))


def try_anew() -> None:
    """Forget the answer to an earlier try of the call in progress."""
    exchange = ours.get()
    if exchange is not None:
        exchange.response = None


def refused() -> Answer | None:
    """The last answer in the call in progress, also if an SDK raised for it; None if there was none."""
    exchange = ours.get()
    return None if exchange is None or exchange.response is None else answer_of(exchange.response)


def answer_of(response: httpx2.Response) -> Answer:
    """The answer in an httpx2 response."""
    return Answer(status=response.status_code, headers=dict(response.headers), text=response.text)


def _failure(error: BaseException, access: Access) -> CallFailed:
    cause = next((one for one in failures.causes(error) if isinstance(one, Unreadable | NotAuthorised)), None)
    if isinstance(cause, NotAuthorised):
        return cause.as_failure()
    if cause is not None:
        return CallFailed("protocol", Billing.PAID_BAD, f"The answer of {access.origin} cannot be used: {cause}.")
    return failures.from_transport(error, origin=access.origin, secrets=access.secrets)
