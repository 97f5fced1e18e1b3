"""A process with an embedded model, for a test to kill: tells the child's pid and directory, then waits."""

from __future__ import annotations

import asyncio
import sys

from smelt.local.process import server_of
from smelt.local.weights import named

server = server_of(named(""))
asyncio.run(server.ready())
print(server.pid, server.socket.parent, flush=True)
sys.stdin.read()
