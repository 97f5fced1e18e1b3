"""A process that asks a managed vLLM without end, for a test to interrupt and to kill; says what it did in lines."""

from __future__ import annotations

import itertools
import sys

from smelt.local.managed import managed
from tests.vllm.asking import ask, server

ours = server(args={"seed": 3})
behind = managed(ours.spec, ours.idle)
try:
    ask(ours, rows=1)
    print("asked", behind.server, behind.room, flush=True)
    for start in itertools.count():
        ask(ours, rows=200, start=start)
except KeyboardInterrupt:
    print("interrupted", behind.is_running, flush=True)
sys.stdin.read()
