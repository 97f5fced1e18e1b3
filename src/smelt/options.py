"""The options of a call, and their checks: every bad value is refused before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, TypedDict

from smelt.engine.events import Event
from smelt.errors import SmeltConfigError, nearest

_MOST_ROWS = 1_000
_MOST_IN_FLIGHT = 10_000
_MOST_ATTEMPTS = 100
_MOST_SECONDS = 7 * 24 * 3600.0


class Options(TypedDict, total=False):
    """Keyword options that every door of smelt takes; `Settings` says what they mean."""

    columns: Sequence[str] | None
    batch_size: int | Literal["auto"]
    concurrency: int | Literal["auto"]
    shuffle: bool
    seed: int
    max_attempts: int
    timeout: float
    deadline: float | None
    params: Mapping[str, Any] | None
    isolation: Literal["batch", "row"]
    null_rows: Literal["send", "skip"]
    on_error: Literal["mark", "raise"]
    on_conflict: Literal["raise", "suffix", "replace"]
    error_column: str
    output: str | None
    flatten: bool
    progress: bool | Callable[[Event], None] | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options that have been checked.

    Attributes:
        columns: The columns to send. None: those that the prompt names, or all where it names none.
        batch_size: Rows per request at the most, 1 to 1,000. `"auto"` starts with a few and finds what the model bears.
        concurrency: Requests in flight at the most, 1 to 10,000. `"auto"` takes the provider's usual number.
        shuffle: Whether rows are asked in random order, so that a sorted frame does not give one-sided chunks.
        seed: Decides the order of shuffled rows and the sample of a preview.
        max_attempts: Paid answers that one row may use up before it is given up.
        timeout: Seconds for one request, whatever the SDK thinks of it.
        deadline: Seconds for the whole run; rows without an answer by then are marked. None: no limit.
        params: Parameters for the provider, such as `{"temperature": 0}`; each provider says what it takes.
        isolation: `"row"` sends every row alone: the only real boundary between rows of untrusted text.
        null_rows: Whether rows that are null in every column sent are asked, or left null without an error.
        on_error: Whether rows that fail are marked in the error column, or end the run with an exception.
        on_conflict: What becomes of an output column whose name is taken.
        error_column: Name of the column that says why a row failed.
        output: Name of the column of free text, where the output model is `str`.
        flatten: Whether nested models become `parent.child` columns.
        progress: True or None shows it as the surroundings allow, False is silent, a function gets the events.
    """

    columns: tuple[str, ...] | None = None
    batch_size: int | Literal["auto"] = "auto"
    concurrency: int | Literal["auto"] = "auto"
    shuffle: bool = True
    seed: int = 0
    max_attempts: int = 4
    timeout: float = 120.0
    deadline: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    isolation: Literal["batch", "row"] = "batch"
    null_rows: Literal["send", "skip"] = "send"
    on_error: Literal["mark", "raise"] = "mark"
    on_conflict: Literal["raise", "suffix", "replace"] = "raise"
    error_column: str = "smelt_error"
    output: str = "smelt_text"
    flatten: bool = False
    progress: bool | Callable[[Event], None] | None = None

    @classmethod
    def of(cls, **options: Any) -> Self:
        """Check *options*, the rest at their defaults.

        Raises:
            SmeltConfigError: An option is unknown, of the wrong type or out of range; names it and what it may be.
        """
        return cls().having(**options)

    def having(self, **options: Any) -> Self:
        """These settings with some changed, all checked."""
        known = {one.name for one in fields(self)}
        for name in options:
            if name not in known:
                raise SmeltConfigError(f"There is no option {name!r}.{nearest(name, known)}")
        return replace(self, **{name: _CHECKS[name](name, value) for name, value in options.items()})


def integer(name: str, value: object, least: int, most: int) -> int:
    """*value* as an int between *least* and *most*; booleans are no numbers here."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise SmeltConfigError.for_type(name, value, f"an integer from {least:,} to {most:,}")
    if not least <= value <= most:
        raise SmeltConfigError.for_value(name, value, f"from {least:,} to {most:,}")
    return value


def seconds(name: str, value: object) -> float:
    """*value* as a positive, finite number of seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SmeltConfigError.for_type(name, value, "a number of seconds")
    if not (math.isfinite(value) and 0 < value <= _MOST_SECONDS):
        raise SmeltConfigError.for_value(name, value, f"above 0 and at most {_MOST_SECONDS:,.0f} seconds")
    return float(value)


def _or_auto(name: str, value: object, most: int) -> int | Literal["auto"]:
    if isinstance(value, str):
        if value != "auto":
            raise SmeltConfigError.for_value(name, value, f'"auto" or an integer from 1 to {most:,}')
        return "auto"
    return integer(name, value, 1, most)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise SmeltConfigError.for_type(name, value, "True or False")
    return value


def _one_of(*choices: str) -> Callable[[str, object], str]:
    def check(name: str, value: object) -> str:
        if value not in choices:
            raise SmeltConfigError.for_value(name, value, "one of " + ", ".join(repr(one) for one in choices))
        return str(value)

    return check


def _column_name(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise SmeltConfigError.for_type(name, value, "a column name")
    if not value.strip():
        raise SmeltConfigError.for_value(name, value, "a column name that is not blank")
    return value


def _columns(name: str, value: object) -> tuple[str, ...] | None:
    from smelt.errors import ColumnError

    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise SmeltConfigError.for_type(name, value, "a list of column names")
    if not value:
        raise ColumnError("columns is an empty list. Name the columns to send, or leave it out.")
    if any(not isinstance(one, str) for one in value):
        raise SmeltConfigError.for_type(name, next(one for one in value if not isinstance(one, str)), "column names")
    if doubled := [one for one in value if list(value).count(one) > 1]:
        raise ColumnError(f"columns names {doubled[0]!r} twice.")
    return tuple(value)


def _params(name: str, value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or any(not isinstance(key, str) for key in value):
        raise SmeltConfigError.for_type(name, value, 'a dict such as {"temperature": 0}')
    return dict(value)


def _progress(name: str, value: object) -> Any:
    if value is not None and not isinstance(value, bool) and not callable(value):
        raise SmeltConfigError.for_type(name, value, "True, False, None or a function that takes events")
    return value


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "columns": _columns,
    "batch_size": lambda name, value: _or_auto(name, value, _MOST_ROWS),
    "concurrency": lambda name, value: _or_auto(name, value, _MOST_IN_FLIGHT),
    "shuffle": _flag,
    "seed": lambda name, value: integer(name, value, -(2**63), 2**63 - 1),
    "max_attempts": lambda name, value: integer(name, value, 1, _MOST_ATTEMPTS),
    "timeout": seconds,
    "deadline": lambda name, value: None if value is None else seconds(name, value),
    "params": _params,
    "isolation": _one_of("batch", "row"),
    "null_rows": _one_of("send", "skip"),
    "on_error": _one_of("mark", "raise"),
    "on_conflict": _one_of("raise", "suffix", "replace"),
    "error_column": _column_name,
    "output": lambda name, value: "smelt_text" if value is None else _column_name(name, value),
    "flatten": _flag,
    "progress": _progress,
}
