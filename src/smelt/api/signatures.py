"""Signatures and help texts of the public calls: they list every option by name.

A call that does not fit its signature gets a clear error.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache, wraps
from typing import Any, TypeVar, cast

from smelt.call.options import Options, Settings, unknown_option
from smelt.errors import ConfigTypeError
from smelt.tracebacks import plainly

C = TypeVar("C", bound=Callable[..., Any])

_SEE = "**options: See `smelt.call.options.Settings`."
_NEEDS = {
    "frame": "the data: a pandas or Polars DataFrame, or a list of dicts",
    "frames": "the data: an iterator of frames, like pandas.read_csv(path, chunksize=10_000)",
    "prompt": "what to find out about each row, as a string",
    "output_model": 'a class whose fields become columns, a dict of types, or one type such as str with output="name"',
    "truth": 'the columns with the right answers, like {"sector": "known_sector"}',
    "result": "the result of smelt.run on the same frame, with the same arguments",
    "variants": 'what to compare, like {"one by one": {"batch_size": 1}, "twenty": {"batch_size": 20}}',
}


def spelled_out(function: C) -> C:
    """Give *function*, which takes `**options: Unpack[Options]`, a signature and a help text that list each option.

    A call that does not fit the signature raises a `ConfigTypeError`: a `TypeError` as from Python, with a clearer
    message.
    """
    signature = _signature(function)

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        _check(function, signature, args, options)
        return function(*args, **options)

    @wraps(function)
    async def acall(*args: Any, **options: Any) -> Any:
        _check(function, signature, args, options)
        return await function(*args, **options)

    door: Any = plainly(acall if inspect.iscoroutinefunction(function) else call)
    door.__signature__ = signature  # `inspect.signature` reads it.
    door.__doc__ = _with_options(function.__doc__)
    return cast("C", door)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    found = inspect.signature(function)
    own = [one for one in found.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    named = {one.name for one in own}
    return found.replace(parameters=[*own, *(one for one in _options() if one.name not in named)])


@cache
def _options() -> tuple[inspect.Parameter, ...]:
    defaults = Settings()
    return tuple(
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if one.name in ("params", "output") else getattr(defaults, one.name),
            annotation=_as_written(Options.__annotations__[one.name]),
        )
        for one in fields(Settings)
    )


def _as_written(annotation: Any) -> Any:
    """The source text of an annotation: a TypedDict wraps it in `ForwardRef`, which is unreadable in a help text."""
    return getattr(annotation, "__forward_arg__", annotation)


def _with_options(doc: str | None) -> str | None:
    if not doc or _SEE not in doc or not Settings.__doc__:  # `python -OO` removes docstrings.
        return doc
    before, _, after = doc.partition(_SEE)
    indent = before.rpartition("\n")[2]
    attributes = inspect.cleandoc(Settings.__doc__).partition("Attributes:\n")[2].partition("\n\nExamples:")[0]
    return before + textwrap.indent(textwrap.dedent(attributes), indent).strip() + after


def _check(
    function: Callable[..., Any], signature: inspect.Signature, args: Sequence[Any], options: Mapping[str, Any]
) -> None:
    names = [name for name in signature.parameters if name != "self"]
    for name in options:
        if name not in names:
            raise unknown_option(name, names)
    try:
        signature.bind(*args, **options)
    except TypeError as problem:
        raise _misfit(function, signature, args, options, str(problem)) from None


def _misfit(
    function: Callable[..., Any],
    signature: inspect.Signature,
    args: Sequence[Any],
    options: Mapping[str, Any],
    problem: str,
) -> ConfigTypeError:
    door = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
    positional = [name for name, one in signature.parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    if len(args) > len(positional):
        listed = ", ".join(name for name in positional if name != "self")
        return ConfigTypeError(
            f"{door}() takes {listed} in this order, and everything else by name. "
            f"Write the arguments after {positional[-1]} like model=... or columns=[...]."
        )
    for name in positional[len(args) :]:
        if name not in options and name in _NEEDS:
            return ConfigTypeError(f"{door}() needs {name}: {_NEEDS[name]}.")
    return ConfigTypeError(f"{door}() was called with {problem}.")


_FRAME = re.compile(r"^( *)frame: .*\n(?:\1 +.*\n)*", re.MULTILINE)  # Its entry in the help text, on one or more lines.


def without_frame(doc: str | None) -> str | None:
    """The help text of a function without its `frame` argument, for the accessor method."""
    return _FRAME.sub("", doc or "") or None
