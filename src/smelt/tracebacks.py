"""Tracebacks without the frames inside of smelt."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from smelt.errors import SmeltError, SmeltInterrupt

C = TypeVar("C", bound=Callable[..., Any])


def plainly(function: C) -> C:
    """Let what smelt raises on purpose leave *function* without the frames inside, which say nothing to a caller.

    Its message says what happened. A fault of smelt's own, or of a provider's, keeps its traceback: as the cause of what is
    raised, or because it is no `SmeltError`. IPython and pytest leave this frame out as well.
    """

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        try:
            return function(*args, **options)
        except (SmeltError, SmeltInterrupt) as problem:
            problem.__traceback__ = None
            raise

    @wraps(function)
    async def acall(*args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        try:
            return await function(*args, **options)
        except (SmeltError, SmeltInterrupt) as problem:
            problem.__traceback__ = None
            raise

    return cast("C", acall if inspect.iscoroutinefunction(function) else call)
