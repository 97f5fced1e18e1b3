"""A model with hooks of the caller's around every request."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from smelt.errors import SmeltConfigError
from smelt.providers.base import Billing, CallFailed, Capabilities, CompleteProvider, Connection, Reply, Request, Usage
from smelt.providers.own import Hooks
from smelt.providers.own_failures import described, guarded
from smelt.providers.requested import rows_of_text
from smelt.providers.secrets import Secret

_FREE = Usage(input_tokens=0, output_tokens=0, cached_input_tokens=0, reasoning_tokens=0)


class Wrapped:
    """The provider of a model with hooks: the same as that of the model, but for what it sends and answers.

    Args:
        inner: The provider of the model.
        hooks: The hooks.
    """

    def __init__(self, inner: CompleteProvider, hooks: Hooks) -> None:
        self.inner = inner
        self.hooks = hooks

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def model(self) -> str:
        return self.inner.model

    @property
    def origin(self) -> str:
        return self.inner.origin

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    @property
    def params(self) -> Mapping[str, Any]:
        return self.inner.params

    @property
    def key(self) -> Secret | None:
        return self.inner.key

    @property
    def thinking_tokens(self) -> int | None:
        return self.inner.thinking_tokens

    @property
    def deployment(self) -> str:
        return self.inner.deployment

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of all hooks around the model, the innermost first."""
        own = (self.hooks.tag,) if self.hooks.tag else ()
        return (*tags_of(self.inner), *own)

    def check_params(self, params: Mapping[str, Any]) -> None:
        self.inner.check_params(params)

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[Connection]:
        async with self.inner.connect(connections=connections) as connection:
            yield _Connection(connection, self.hooks, self.inner)


def tags_of(provider: object) -> tuple[str, ...]:
    """The tags of the hooks around a provider's model: answers with other tags are other answers."""
    return provider.tags if isinstance(provider, Wrapped) else ()


class _Connection:
    def __init__(self, inner: Connection, hooks: Hooks, provider: CompleteProvider) -> None:
        self._inner = inner
        self._hooks = hooks
        self._provider = provider

    async def send(self, request: Request) -> Reply:
        sent = request
        if self._hooks.before is not None:
            given = await _result("before", self._hooks.before, request)
            if isinstance(given, Reply):
                return _unsent(given)
            sent = self._checked(request, given)
        try:
            reply = await self._inner.send(sent)
        except CallFailed as failure:
            return await self._after_failure(sent, failure)
        return await self._after_reply(sent, reply)

    def _checked(self, request: Request, given: object) -> Request:
        """What `before` returned, unless it is a request that cannot be matched with the rows of *request*."""
        if given is None:
            return request
        if not isinstance(given, Request):
            raise _fault("before", f"returned a {type(given).__name__}, not a Request, a Reply or None")
        if given.schema != request.schema or given.output_model is not request.output_model:
            raise _fault("before", "changed the schema, by which the reply is read. Change the reply in after instead")
        if request.parts and given.user != request.user and given.parts == request.parts:
            raise _fault(
                "before", "changed user, but rows with media are sent from parts. Change the texts in parts instead"
            )
        if _text(given) != _text(request) and (lost := _lost_id(request.user, _text(given))) is not None:
            raise _fault("before", f"removed the id {lost!r} of a row from the text, so its answer could not be found")
        if given.params != request.params:
            try:
                self._provider.check_params(given.params)
            except SmeltConfigError as problem:
                raise _fault("before", f"returned wrong params: {problem}") from None
        return given

    async def _after_reply(self, sent: Request, reply: Reply) -> Reply:
        hook = self._hooks.after
        if hook is None:
            return reply
        changed = await _result("after", hook, sent, reply, paid=reply.usage)
        if changed is None:
            return reply
        if not isinstance(changed, Reply):
            raise _fault("after", f"returned a {type(changed).__name__}, not a Reply or None", reply.usage)
        return changed

    async def _after_failure(self, sent: Request, failure: CallFailed) -> Reply:
        hook = self._hooks.on_error
        if hook is None:
            raise failure
        changed = await _result("on_error", hook, sent, failure, paid=failure.usage)
        if changed is None:
            raise failure
        if isinstance(changed, CallFailed):
            raise changed from None
        if not isinstance(changed, Reply):
            raise _fault("on_error", f"returned a {type(changed).__name__}, not a CallFailed, a Reply or None")
        if not self._hooks.tag:
            raise _fault("on_error", 'returned a Reply, so the answers need a name: pass tag="v1" to smelt.wrap')
        return _unsent(changed)


async def _result(name: str, hook: Callable[..., Any], *given: object, paid: Usage | None = None) -> Any:
    """What a hook returns.

    Raises:
        CallFailed: It raised; unless it raised a `CallFailed` itself, that ends the run.
    """
    try:
        return await guarded(_called(hook, *given))
    except CallFailed as problem:
        if isinstance(problem.__cause__, asyncio.CancelledError):  # Nobody cancelled it.
            raise _fault(name, f"raised {problem.message}", paid) from problem.__cause__
        raise
    except Exception as problem:  # It is the caller's code.
        raise _fault(name, f"raised {described(problem)}", paid) from problem


async def _called(hook: Callable[..., Any], *given: object) -> Any:
    result = hook(*given)
    return await result if inspect.isawaitable(result) else result


def _fault(name: str, what: str, paid: Usage | None = None) -> CallFailed:
    billing = Billing.NOT_SENT if name == "before" else Billing.PAID_BAD
    return CallFailed("own_setup", billing, f"The hook {name} of smelt.wrap {what.rstrip('.')}.", usage=paid)


def _text(request: Request) -> str:
    """The text of the rows, as it is sent."""
    return "\n".join([one for one in request.parts if isinstance(one, str)]) if request.parts else request.user


def _lost_id(before: str, after: str) -> str | None:
    """The id of the first row in the text *before* that is not in the text *after*."""
    return next((row["id"] for row in rows_of_text(before) if row["id"] not in after), None)


def _unsent(reply: Reply) -> Reply:
    """A reply of a hook: it cost nothing, unless the hook says otherwise."""
    return replace(reply, usage=_FREE) if not reply.usage.is_reported else reply
