"""Digests of the functions of a pipeline: whether the code of a step is that of an earlier run."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import CodeType
from typing import Any

from smelt.pipelines.steps import Ask, Assign, Filter, Map, Step, is_expression

_PLAIN = (str, int, float, bool, bytes, type(None))


def code_of(step: Step) -> dict[str, str]:
    """A digest of what the user's functions and expressions in *step* do, under the version of Python; or nothing.

    Of a function it is the digest of its own code, its defaults and the plain values that it takes from around it. What
    it calls is not in it.
    """
    values: Iterable[Any] = ()
    match step:
        case Filter():
            values = [step.test]
        case Map():
            values = [step.function]
        case Assign():
            values = step.values.values()
        case Ask():
            values = [step.where, step.route]
    said = [_said(value) for value in values if value is not None and not isinstance(value, str)]
    if not said:
        return {}
    from hashlib import blake2b

    version = ".".join(map(str, sys.version_info[:2]))
    return {version: blake2b(repr(said).encode(), digest_size=16).hexdigest()}


def _said(value: Any) -> Any:
    """What tells *value* from another one, where that can be had."""
    if is_expression(value):
        return str(value)
    code = getattr(value, "__code__", None)
    if not isinstance(code, CodeType):
        return value if isinstance(value, _PLAIN) else type(value).__qualname__
    cells = [_cell(one) for one in getattr(value, "__closure__", None) or ()]
    taken = [one for one in (*(getattr(value, "__defaults__", None) or ()), *cells) if isinstance(one, _PLAIN)]
    return (_code(code), taken)


def _code(code: CodeType) -> Any:
    constants = [_code(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return (code.co_code, code.co_names, code.co_varnames, constants)


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # It is empty.
        return None
