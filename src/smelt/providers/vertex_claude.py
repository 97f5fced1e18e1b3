"""The adapter for Claude on Google Cloud: Anthropic's Messages API as `rawPredict`, with the model in the path."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import anthropic

from smelt.providers.adapter import posting, without_spans
from smelt.providers.anthropic import Anthropic
from smelt.providers.base import Connection
from smelt.providers.foundry import not_for_others
from smelt.providers.places import project_in


class VertexClaude(Anthropic):
    """A Claude model on Google Cloud."""

    def check_address(self) -> None:
        if "{" not in self.access.base_url:  # Else the project is not known, and nothing is sent.
            project_in(self.access.base_url)

    def connect(self, *, connections: int) -> AbstractAsyncContextManager[Connection]:
        root, project, location = project_in(self.access.base_url)
        return posting(
            self,
            partial(_client, project=project, region=location, root=root),
            anthropic.AnthropicError,
            "/v1/messages",  # The SDK makes `…:rawPredict` of it.
            connections=connections,
            headers=not_for_others(os.environ),
            is_rewritten=True,
        )


def _client(*, project: str, region: str, root: str, **options: Any) -> Any:
    del options["api_key"]  # Our client adds the token.
    options["base_url"] = f"{root}/v1"
    return anthropic.AsyncAnthropicVertex(
        project_id=project,
        region=region,
        access_token="none",
        **options,
        **without_spans(anthropic.AsyncAnthropicVertex),
    )
