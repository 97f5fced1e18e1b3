"""Validation errors of reply rows: turns exceptions of pydantic and of the caller's validators into safe messages."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from traceback import walk_tb
from types import CoroutineType
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from smelt.errors import SmeltValidationError
from smelt.plan.kinds import Array, Date, Duration, Field, FixedPoint, Float, Integer, Kind, Struct, Timestamp
from smelt.plan.values import checker

_MOST_FAULTS = 5  # Faults in one message; a model with fifty wrong fields needs no longer text.
_LONGEST_MESSAGE = 300  # Characters; the caller's validator may put a whole answer into its message.
_MOST_LOOKED_AT = 1_000  # Objects that are searched for coroutines.
_ASYNC = "a validator is async, and pydantic does not await it: make it a plain function"
_PLAIN: dict[type[Kind], Any] = {
    Integer: int,
    Float: float,
    FixedPoint: Decimal,
    Timestamp: datetime,
    Date: date,
    Duration: timedelta,
}


class InvalidRow(SmeltValidationError):
    """A row of a reply that is not a valid answer; the message names fields, not values.

    Attributes:
        is_final: Whether asking again is useless, because the caller's own validator is broken.
    """

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        shown = "".join(one if one.isprintable() else "\ufffd" for one in message[: _LONGEST_MESSAGE + 1])
        super().__init__(shown if len(shown) <= _LONGEST_MESSAGE else f"{shown[:_LONGEST_MESSAGE]}…")
        self.is_final = is_final


def refusal(problem: BaseException) -> InvalidRow:
    """Convert an exception raised during validation to an `InvalidRow`.

    A validator may raise anything: argparse raises SystemExit for a bad value, and a cancelled future gives
    CancelledError. Nothing is awaited here, so these are not meant for the run. Ctrl-C, and any exception that a signal
    handler raises while a validator runs, are meant for the run.

    Raises:
        BaseException: *problem* itself, if it is meant for the run.
    """
    if isinstance(problem, ValidationError):
        return _refusal_by_pydantic(problem)
    if isinstance(problem, KeyboardInterrupt) or _is_of_signal(problem):
        raise problem
    return InvalidRow(f"the output model's validator raised {type(problem).__name__}", is_final=True)


def no_instance(answer: object) -> InvalidRow:
    """The error for a model validator that returned something other than an instance of the model."""
    if close_all(answer):
        return InvalidRow(_ASYNC, is_final=True)
    if answer is None:
        return InvalidRow("the output model's validator returned None: is its return missing?", is_final=True)
    shown = type(answer).__name__
    return InvalidRow(f"the output model's validator returned no instance of it, but of {shown}", is_final=True)


def is_of_validator(field: Field, text: str) -> bool:
    """Whether a validator made the value of *field* unfit for its column: the value in the JSON *text* would fit."""
    answer = from_json(text)
    return field.key in answer and _fits(field.kind, answer[field.key])


def _fits(kind: Kind, raw: Any) -> bool:
    if isinstance(kind, Array):
        return isinstance(raw, list) and all(_fits(kind.item, one) for one in raw)
    if isinstance(kind, Struct):
        return isinstance(raw, dict) and all(_fits(one.kind, raw.get(one.key)) for one in kind.fields)
    # Text always fits: the JSON that was read contains no half of a surrogate pair.
    if raw is None or (plain := _PLAIN.get(type(kind))) is None or (check := checker(kind)) is None:
        return True
    try:
        return check(TypeAdapter(plain).validate_python(raw)) is None
    except ValueError:
        return False


def close_all(found: object) -> bool:
    """Close the coroutines in *found*, which will never be awaited; return whether there were any."""
    left, closed = [found], False
    for _ in range(_MOST_LOOKED_AT):
        if not left:
            break
        one = left.pop()
        if type(one) is CoroutineType:  # Not isinstance: a validator's object may raise on any access.
            one.close()
            closed = True
        elif issubclass(type(one), list | tuple | dict | BaseModel):
            left.extend(_parts(one))
    return closed


def _parts(one: Any) -> Iterable[Any]:
    """The parts of a list, tuple, dict or model, read with the base class's methods: iterating a subclass may raise."""
    parts: Iterable[Any] = ()
    if issubclass(type(one), BaseModel):
        parts = vars(one).values()
    elif issubclass(type(one), dict):
        parts = dict.values(one)
    else:
        parts = list.__iter__(one) if issubclass(type(one), list) else tuple.__iter__(one)
    return parts


@contextmanager
def unawaited() -> Iterator[None]:
    """Suppress Python's warning that the coroutine of an async validator was never awaited: the row's error says so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
        yield


def _refusal_by_pydantic(problem: ValidationError) -> InvalidRow:
    try:
        faults = problem.errors(include_url=False)
    except Exception:  # noqa: BLE001  # The str() of a validator's exception may raise another.
        return InvalidRow("the output model's validator raised an exception that cannot be shown", is_final=True)
    if close_all([one.get("input") for one in faults]):
        return InvalidRow(_ASYNC, is_final=True)
    return InvalidRow("; ".join(map(_fault, faults[:_MOST_FAULTS])))


def _fault(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":  # Its loc is a key that the model made up: do not show it.
        return "a field that was not asked for"
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {error['msg']}" if where else error["msg"]


def _is_of_signal(problem: BaseException) -> bool:
    handlers = [signal.getsignal(one) for one in signal.valid_signals()]
    codes = {getattr(one, "__code__", None) for one in handlers} - {None}
    return bool(codes) and any(frame.f_code in codes for frame, _ in walk_tb(problem.__traceback__))
