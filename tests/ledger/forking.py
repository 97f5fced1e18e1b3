"""Processes of their own that begin at once: forked from one that has imported everything, and has no threads."""

from __future__ import annotations

from collections.abc import Callable
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


@cache
def _server() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(["smelt.call.execution", "smelt.providers.openai", "tests.ledger.killing"])
    return context
