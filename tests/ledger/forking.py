"""Processes of their own that begin at once: forked from one that has imported everything, and has no threads."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any


def begin(target: Callable[..., Any], *args: Any) -> BaseProcess:
    """A process that calls *target*, which is a function of a module; `join` it."""
    process = _server().Process(target=target, args=args)
    process.start()
    return process


def kill_at(events: Sequence[int], target: Callable[..., Any], *args: Any) -> int:
    """Begin *target* with *args* and each of *events* in turn, at which it kills itself; at last with 0, to its end.

    Returns:
        How often it was killed.
    """
    killed = 0
    for event in (*events, 0):
        run = begin(target, *args, event)
        run.join()
        assert run.exitcode in (0, -signal.SIGKILL), run.exitcode
        killed += run.exitcode == -signal.SIGKILL
    return killed


class Killer:
    """A gap of a ledger that counts its events, and kills this process at one of them.

    Attributes:
        seen: The events so far.
    """

    def __init__(self, event: int) -> None:
        """Kill at the event with this number, from 1; at none if it is 0."""
        self.seen = 0
        self._event = event

    def __call__(self, name: str) -> None:
        """An event happens."""
        self.seen += 1
        if self.seen == self._event:
            os.kill(os.getpid(), signal.SIGKILL)


@cache
def _server() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(["smelt.call.execution", "smelt.providers.openai", "tests.ledger.killing"])
    return context
