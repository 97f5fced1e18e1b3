"""A provider of the caller's own, with defaults for the members that it may leave out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from smelt.providers.base import Capabilities, CompleteProvider, Connection, Provider
from smelt.providers.secrets import Secret


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
