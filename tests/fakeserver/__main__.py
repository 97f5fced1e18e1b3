"""`python -m tests.fakeserver`: the fake providers until stdin is closed; the port is the first line printed."""

from __future__ import annotations

import asyncio

from tests.fakeserver.server import serve

asyncio.run(serve())
