"""The adapter for Claude on Microsoft's Foundry: the Messages API at the address of a resource."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import anthropic

from smelt.providers.adapter import header_names, posting
from smelt.providers.anthropic import Anthropic
from smelt.providers.base import Connection


class Foundry(Anthropic):
    """A deployment of Claude on Foundry."""

    def connect(self, *, connections: int) -> AbstractAsyncContextManager[Connection]:
        return posting(
            self,
            anthropic.AsyncAnthropicFoundry,
            anthropic.AnthropicError,
            "/v1/messages",
            connections=connections,
            headers=not_for_others(os.environ),
        )


def not_for_others(environ: Mapping[str, str]) -> dict[str, Any]:
    """Remove the headers that the SDK reads from Anthropic's own variable: other companies must not get them."""
    return dict.fromkeys(header_names(environ.get("ANTHROPIC_CUSTOM_HEADERS", "")), anthropic.omit)
