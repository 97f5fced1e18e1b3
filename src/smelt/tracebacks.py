"""Removes smelt's internal frames from tracebacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from smelt.errors import SmeltError, SmeltInterrupt

C = TypeVar("C", bound=Callable[..., Any])


def plainly(function: C) -> C:
    """Decorator: a `SmeltError` or `SmeltInterrupt` leaves *function* without smelt's internal frames in its traceback.

    The message of such an error says what happened. A bug in smelt or in a provider keeps its traceback: it is the
    cause of the raised error, or it is no `SmeltError`. IPython and pytest also hide the frame of the decorator.
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
