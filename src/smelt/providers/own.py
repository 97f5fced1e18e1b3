"""The caller's own code as a model: what kinds of it there are, and defaults for what a provider may leave out.

This module is loaded with smelt. What carries out a request is loaded when a model is asked.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from smelt.providers.base import (
    CallFailed,
    Capabilities,
    CompleteProvider,
    Connection,
    Provider,
    Reply,
    Request,
)
from smelt.providers.secrets import Secret

Before = Callable[[Request], Request | Reply | Awaitable[Request | Reply | None] | None]
After = Callable[[Request, Reply], Reply | Awaitable[Reply | None] | None]
OnError = Callable[[Request, CallFailed], CallFailed | Reply | Awaitable[CallFailed | Reply | None] | None]


def is_agent(model: object) -> bool:
    """Whether *model* is an agent of PydanticAI. If it is, the caller has imported PydanticAI."""
    module = sys.modules.get("pydantic_ai.agent")
    return module is not None and isinstance(model, module.AbstractAgent)


def is_async(function: object) -> bool:
    """Whether *function* is an async function, a partial of one, or an object whose `__call__` is async."""
    if isinstance(function, type):
        return False
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """The hooks of one `smelt.wrap`.

    Attributes:
        before: Gets a request before it is sent.
        after: Gets the request that was sent, and its reply.
        on_error: Gets the request that was sent, and its failure.
        tag: The caller's name for this version of the hooks; empty if they change no answer.
    """

    before: Before | None = None
    after: After | None = None
    on_error: OnError | None = None
    tag: str = ""


@dataclass(frozen=True, kw_only=True)
class Wrap:
    """A model that `smelt.wrap` has put hooks around. The model itself is resolved when it is used.

    Attributes:
        model: The model, as the caller named it.
        hooks: The hooks.
    """

    model: Any
    hooks: Hooks


def complete(provider: Provider) -> CompleteProvider:
    """*provider* itself if it has all members, else with defaults for those that it lacks."""
    if isinstance(provider, CompleteProvider) and isinstance(provider.key, Secret | None):
        return provider
    return OwnProvider(provider)


class OwnProvider:
    """A caller's provider with the members of `CompleteProvider`. Its key may be a string.

    Attributes:
        provider: The caller's object, which is asked for everything each time.
    """

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    @property
    def name(self) -> str:
        return self.provider.name

    @property
    def model(self) -> str:
        return self.provider.model

    @property
    def origin(self) -> str:
        return self.provider.origin

    @property
    def capabilities(self) -> Capabilities:
        return self.provider.capabilities

    @property
    def params(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = getattr(self.provider, "params", {})
        return found

    @property
    def key(self) -> Secret | None:
        key = getattr(self.provider, "key", None)
        if isinstance(key, str):
            return Secret(key)
        return key if isinstance(key, Secret) else None

    @property
    def thinking_tokens(self) -> int | None:
        found: int | None = getattr(self.provider, "thinking_tokens", None)
        return found

    @property
    def deployment(self) -> str:
        return self.provider.origin

    def check_params(self, params: Mapping[str, Any]) -> None:
        self.provider.check_params(params)

    def connect(self, *, connections: int) -> AbstractAsyncContextManager[Connection]:
        return self.provider.connect(connections=connections)
