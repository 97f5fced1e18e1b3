"""Which mapper a lazy result of an engine comes from, and which columns it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from smelt.errors import SmeltConfigError
from smelt.scale.interrupts import interrupts
from smelt.scale.mapper import Mapper
from smelt.scale.metrics import JobMetrics

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

_MARK = "_smelt_mapper"
_COLUMNS = "_smelt_columns"


def marked(result: T, mapper: Mapper, *, columns: pa.Schema | None = None) -> T:
    """*result*, which then knows its *mapper*, and its *columns* where the engine does not know them."""
    interrupts.watch(mapper)
    object.__setattr__(result, _MARK, mapper)  # Some frames make columns of attributes.
    object.__setattr__(result, _COLUMNS, columns)
    return result


def columns_told(result: object) -> pa.Schema | None:
    """The columns that `marked` was told, or None."""
    return getattr(result, "__dict__", {}).get(_COLUMNS)


def metrics_of_result(argument: str, result: object) -> JobMetrics:
    """The metrics of the job behind *result*.

    Raises:
        SmeltConfigError: It is no result of `transform`, or as `Mapper.metrics`.
    """
    found = getattr(result, "__dict__", {}).get(_MARK)
    if not isinstance(found, Mapper):
        raise SmeltConfigError.for_type(argument, result, "what transform returned, and not what was made of it")
    return found.metrics()
