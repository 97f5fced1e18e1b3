"""Builds small result tables as frames of the caller's library."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from smelt.frames.adapt import adapt
from smelt.frames.base import OutputColumn
from smelt.plan.kinds import Float, Integer, Text

_PLACE = ""  # Name of a temporary column that gives the new frame its length.


def table(like: Any, columns: Sequence[OutputColumn]) -> Any:
    """A frame of *columns* (at least one), of the same library as *like*; a list of dicts if *like* is a list."""
    blank = _blank(like, len(columns[0].values))
    return adapt(blank).attach(columns, dropped=[_PLACE])


def texts(name: str, values: Sequence[str | None]) -> OutputColumn:
    """A column of text."""
    return OutputColumn(name=name, kind=Text(), values=values)


def integers(name: str, values: Sequence[int | None]) -> OutputColumn:
    """A column of integers."""
    return OutputColumn(name=name, kind=Integer(), values=values)


def floats(name: str, values: Sequence[float | None]) -> OutputColumn:
    """A column of floats."""
    return OutputColumn(name=name, kind=Float(), values=values)


def _blank(like: Any, count: int) -> Any:
    for library in ("pandas", "polars"):
        module = sys.modules.get(library)
        if module and isinstance(like, module.DataFrame):
            return module.DataFrame({_PLACE: range(count)})
    return [{_PLACE: place} for place in range(count)]
