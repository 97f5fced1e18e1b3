"""Which mapper a lazy result of an engine comes from."""

from __future__ import annotations

from typing import TypeVar

from smelt.errors import SmeltConfigError
from smelt.scale.interrupts import interrupts
from smelt.scale.mapper import Mapper
from smelt.scale.metrics import JobMetrics

T = TypeVar("T")

_MARK = "_smelt_mapper"


def marked(result: T, mapper: Mapper) -> T:
    """*result*, which then knows its *mapper*."""
    interrupts.watch(mapper)
    object.__setattr__(result, _MARK, mapper)  # Some frames make columns of attributes.
    return result


def metrics_of_result(argument: str, result: object) -> JobMetrics:
    """The metrics of the job behind *result*.

    Raises:
        SmeltConfigError: It is no result of `transform`, or as `Mapper.metrics`.
    """
    found = getattr(result, "__dict__", {}).get(_MARK)
    if not isinstance(found, Mapper):
        raise SmeltConfigError.for_type(argument, result, "what transform returned, and not what was made of it")
    return found.metrics()
