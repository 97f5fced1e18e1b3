"""The adapters for Bedrock's Mantle, which has the APIs of others: Claude by Messages, most models by chat completions.

OpenAI's models need no class here: they are asked by `openai`, at another address.
"""

from __future__ import annotations

import os
import re
from contextlib import AbstractAsyncContextManager
from functools import partial

import anthropic

from smelt.errors import SmeltConfigError
from smelt.providers.adapter import posting
from smelt.providers.anthropic import Anthropic
from smelt.providers.base import Connection
from smelt.providers.compatible import Compatible
from smelt.providers.foundry import not_for_others

_NAME = re.compile(r"(?!(?:us|eu|apac|global|jp|au|ca|in|us-gov)\.)[a-z][a-z0-9]*\..+")


class Claude(Anthropic):
    """A Claude model on Mantle."""

    def connect(self, *, connections: int) -> AbstractAsyncContextManager[Connection]:
        return posting(
            self,
            # Our client signs. The SDK would load credentials in a thread.
            partial(anthropic.AsyncAnthropicBedrockMantle, skip_auth=True),
            anthropic.AnthropicError,
            "/v1/messages",
            connections=connections,
            headers=not_for_others(os.environ),
        )


class Chat(Compatible):
    """A model of another company on Mantle."""

    def check_address(self) -> None:
        """Refuse names of Bedrock's other API, and names without their company, which Mantle does not know."""
        if not _NAME.fullmatch(self.model):
            raise SmeltConfigError(
                f"{self.model!r} is no name of {self.name}: they begin with the company, without a region, as in "
                "anthropic.claude-haiku-4-5 or openai.gpt-oss-120b. Inference profiles are asked as bedrock:…"
            )
