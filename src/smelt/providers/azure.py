"""The adapter for OpenAI's models on Azure: the Responses API at the address of a resource, without an API version.

The model's name is that of a deployment. The address needs no client of its own in the SDK.
"""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager

import openai

from smelt.providers.adapter import posting
from smelt.providers.base import Connection
from smelt.providers.compatible import not_for_others
from smelt.providers.openai import OpenAI


class Azure(OpenAI):
    """A deployment on Azure."""

    def connect(self, *, connections: int) -> AbstractAsyncContextManager[Connection]:
        return posting(
            self,
            openai.AsyncOpenAI,
            openai.OpenAIError,
            "/responses",
            connections=connections,
            headers=not_for_others(os.environ),
            security={"bearer_auth": True},
        )
