"""`smelt.map_prompts`: a list of prompts, each of which is a question of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from smelt.api.job import OutputModel, check_details
from smelt.api.signatures import spelled_out
from smelt.call.defaults import resolved
from smelt.call.options import Options
from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.messages import shown_value

if TYPE_CHECKING:
    from smelt.call.preparation import Preparation
    from smelt.result import SmeltResult

T = TypeVar("T")

COLUMN = "prompt"
_TASK = f"Each row has a {{{COLUMN}}}. Do what it asks for, as if it came alone, and write the answer into the fields."
_FIXED: Mapping[str, Any] = {
    "columns": None,
    "batch_size": "auto",
    "aim": "balanced",
    "wire": "keyed",
    "via": "generation",
    "isolation": "row",
    "examples": None,
    "media": None,
    "null_rows": "send",
}
"""Options that are about rows of several columns, or several rows in a request."""


@overload
def map_prompts(
    prompts: Iterable[str],
    output_model: type[T],
    *,
    shape: Literal["original", "unique"] = "original",
    model: Any = None,
    details: bool = False,
    **options: Unpack[Options],
) -> SmeltResult[T]: ...
@overload
def map_prompts(
    prompts: Iterable[str],
    output_model: OutputModel = ...,
    *,
    shape: Literal["original", "unique"] = "original",
    model: Any = None,
    details: bool = False,
    **options: Unpack[Options],
) -> SmeltResult[Any]: ...
@spelled_out
def map_prompts(
    prompts: Iterable[str],
    output_model: Any = str,
    *,
    shape: Literal["original", "unique"] = "original",
    model: Any = None,
    details: bool = False,
    **options: Unpack[Options],
) -> SmeltResult[Any]:
    """Send each prompt in a request of its own, and return the answers in the order of the prompts. Spends money.

    For prompts that differ in what they ask. If they are one question about many values, `transform` with the values in
    a column sends many rows per request, at a fraction of the price. As there, answers are kept in the ledger, equal
    prompts are asked once, and after an interruption the same call goes on. A prompt is followed and not treated as
    data: do not put text of strangers into it.

    Args:
        prompts: Strings: a list or another iterable, or a Series of pandas or Polars.
        output_model: What an answer is: `str`, or as in `transform`.
        shape: `"original"`: an answer for each prompt. `"unique"`: one for each distinct prompt, in the order of their
            first occurrence.
        model: As in `transform`.
        details: As in `run`: what each prompt took, and what the provider said of it.
        **options: See `smelt.call.options.Settings`. Those about columns, media, examples and rows per request do not
            apply.

    Returns:
        The result. `data` has the answers, with None for a prompt that failed; `frame` has the prompts in the column
        `prompt`, the answers, and the error column: a list of dicts, or a DataFrame if *prompts* is a Series.

    Raises:
        SmeltConfigError: An argument is wrong; nothing was sent.
        SmeltError: As in `run`.

    Examples:
        >>> said = ScriptedProvider(lambda row: {"text": row["prompt"].split()[-1]})
        >>> smelt.map_prompts(["Say yes", "Say no", "Say yes"], model=said).data
        ['yes', 'no', 'yes']
        >>> smelt.map_prompts(["Say yes", "Say no", "Say yes"], shape="unique", model=said).frame[1]
        {'prompt': 'Say no', 'smelt_text': 'no', 'smelt_error': None}
    """
    from smelt.call.running import execute

    call = _prepared(prompts, output_model, shape, model, details, options)
    return execute(call, awaited="amap_prompts", details=details)


@spelled_out
async def amap_prompts(
    prompts: Iterable[str],
    output_model: OutputModel = str,
    *,
    shape: Literal["original", "unique"] = "original",
    model: Any = None,
    details: bool = False,
    **options: Unpack[Options],
) -> SmeltResult[Any]:
    """`map_prompts` as a coroutine, on the running event loop. Spends money.

    Args:
        prompts: As in `map_prompts`.
        output_model: As in `map_prompts`.
        shape: As in `map_prompts`.
        model: As in `transform`.
        details: As in `run`: what each prompt took, and what the provider said of it.
        **options: See `smelt.call.options.Settings`.

    Returns:
        As from `map_prompts`.

    Raises:
        SmeltError: As in `map_prompts`.

    Examples:
        >>> import asyncio
        >>> said = ScriptedProvider({"text": "yes"})
        >>> asyncio.run(smelt.amap_prompts(["Say yes"], model=said)).data
        ['yes']
    """
    from smelt.call.running import aexecute

    return await aexecute(_prepared(prompts, output_model, shape, model, details, options), details=details)


def _prepared(
    prompts: Any, output_model: Any, shape: object, model: Any, details: object, options: Options
) -> Preparation:
    from smelt.call.preparation import prepare

    given: dict[str, Any] = dict(options)
    if fixed := [name for name in _FIXED if name in given]:
        raise SmeltConfigError(f"map_prompts sends every prompt alone and whole, so {fixed[0]}= has no meaning there.")
    if shape not in ("original", "unique"):
        raise SmeltConfigError.for_value("shape", shape, "'original' or 'unique'")
    settings = resolved({**given, **_FIXED}, output_model)
    check_details(details, settings)
    data = _rows(prompts, is_unique=shape == "unique")
    return prepare(data, _TASK, output_model, model, settings, is_prompts=True)


def _rows(prompts: Any, *, is_unique: bool) -> Any:
    """*prompts* as the rows of a frame; only the distinct ones if *is_unique*."""
    for name, way in (("pandas", _of_pandas), ("polars", _of_polars)):
        is_series = isinstance(prompts, getattr(sys.modules.get(name), "Series", ()))
        if is_series:
            _require_prompts(prompts.to_list())
            return way(prompts, is_unique=is_unique)
    if isinstance(prompts, str | bytes | Mapping) or not isinstance(prompts, Iterable) or hasattr(prompts, "columns"):
        raise ConfigTypeError(
            f"prompts must be a list of strings or a Series of strings, not {shown_value(type(prompts).__name__)}. "
            "Of a frame, pass the column."
        )
    found = list(prompts)
    _require_prompts(found)
    return [{COLUMN: one} for one in (dict.fromkeys(found) if is_unique else found)]


def _of_pandas(prompts: Any, *, is_unique: bool) -> Any:
    return (prompts.drop_duplicates() if is_unique else prompts).to_frame(COLUMN)


def _of_polars(prompts: Any, *, is_unique: bool) -> Any:
    return (prompts.unique(maintain_order=True) if is_unique else prompts).to_frame(COLUMN)


def _require_prompts(prompts: Sequence[object]) -> None:
    for position, one in enumerate(prompts):
        if not isinstance(one, str):
            raise SmeltConfigError.for_type(f"prompts[{position}]", one, "a string")
        if not one.strip():
            raise SmeltConfigError(f"prompts[{position}] is empty. Leave it out.")
