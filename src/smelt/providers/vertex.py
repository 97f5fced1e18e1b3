"""The adapter for Gemini on Google Cloud, where a model belongs to a project and a location."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import google.genai as genai
from google.oauth2.credentials import Credentials

from smelt.providers.base import Connection
from smelt.providers.google import Google, GoogleConnection, options_for
from smelt.providers.http import client_for
from smelt.providers.places import project_in


class Gemini(Google):
    """A Gemini model on Google Cloud."""

    seconds_kept = 0.0  # Its contents are at another address, and have other prices.

    def check_address(self) -> None:
        if "{" not in self.access.base_url:  # Else the project is not known, and nothing is sent.
            project_in(self.access.base_url)

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[Connection]:
        root, project, location = project_in(self.access.base_url)
        async with client_for(self.access, connections=connections) as http:
            sdk = genai.Client(
                vertexai=True,
                project=project,
                location=location,
                # Our client replaces the header. Without credentials the SDK would look for some in a thread.
                credentials=Credentials("none"),  # type: ignore[no-untyped-call]
                http_options=options_for(root, http),
            )
            yield GoogleConnection(self, sdk, http)
