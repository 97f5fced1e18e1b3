"""The same verbs as functions, which type checkers understand: `smelt.transform(df, …)`, `df.pipe(smelt.transform, …)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from smelt.job import Job
from smelt.options import Options
from smelt.signatures import spelled_out

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from pydantic import BaseModel

    from smelt.outlook import Estimate, Explanation
    from smelt.result import SmeltResult

F = TypeVar("F", "pd.DataFrame", "pl.DataFrame", list[dict[str, Any]])
M = TypeVar("M", bound="BaseModel")


@spelled_out
def transform(
    frame: F, prompt: str, output_model: type[BaseModel] | type[str], *, model: Any = None, **options: Unpack[Options]
) -> F:
    """Ask a model about every row and get the frame back with the answers as typed columns. Spends money.

    The columns' dtypes are declared by *output_model* and do not depend on the answers. Rows keep their order and index;
    a row that fails has nulls in the new columns and its reason in the error column, and costs no other row anything.

    Args:
        frame: A pandas or Polars DataFrame, or a list of dicts. It is not changed.
        prompt: What to find out about each row. `{column}` names a column to send; without placeholders all are sent.
        output_model: A pydantic model class, whose fields become columns, or `str` for one column of free text.
        model: A `smelt.Model`, `"provider:name"`, or any object with the members of `smelt.Provider`. None: what
            `smelt.configure` or `SMELT_MODEL` names, else the embedded model.
        **options: See `smelt.options.Settings`.

    Returns:
        A new frame of the same kind: the old columns, the output columns, and the error column (string, null where the
        row succeeded).

    Raises:
        SmeltConfigError: Something is wrong with the arguments; nothing was sent.
        SmeltAPIError: No row could be answered because of the account, the model or the server.
        SmeltExhaustionError: A row failed, and `on_error="raise"`.
        SmeltInterrupt: Ctrl-C; `.partial` has what was finished.
    """
    result = _job(prompt, output_model, options)._run(model, frame, awaited="atransform")
    return result.frame  # type: ignore[no-any-return]  # Of its own kind.


@spelled_out
async def atransform(
    frame: F, prompt: str, output_model: type[BaseModel] | type[str], *, model: Any = None, **options: Unpack[Options]
) -> F:
    """`transform`, awaited on the loop that is running. Spends money."""
    result = await _job(prompt, output_model, options).arun(model, data=frame)
    return result.frame  # type: ignore[no-any-return]  # Of its own kind.


@overload
def run(
    frame: Any, prompt: str, output_model: type[M], *, model: Any = None, **options: Unpack[Options]
) -> SmeltResult[M]: ...
@overload
def run(
    frame: Any, prompt: str, output_model: type[str], *, model: Any = None, **options: Unpack[Options]
) -> SmeltResult[str]: ...
@spelled_out
def run(
    frame: Any, prompt: str, output_model: Any, *, model: Any = None, **options: Unpack[Options]
) -> SmeltResult[Any]:
    """`transform`, with everything that is known of the run: instances, errors, metrics, frame. Spends money."""
    return _job(prompt, output_model, options).run(model, data=frame)


@overload
async def arun(
    frame: Any, prompt: str, output_model: type[M], *, model: Any = None, **options: Unpack[Options]
) -> SmeltResult[M]: ...
@overload
async def arun(
    frame: Any, prompt: str, output_model: type[str], *, model: Any = None, **options: Unpack[Options]
) -> SmeltResult[str]: ...
@spelled_out
async def arun(
    frame: Any, prompt: str, output_model: Any, *, model: Any = None, **options: Unpack[Options]
) -> SmeltResult[Any]:
    """`run`, awaited on the loop that is running. Spends money."""
    return await _job(prompt, output_model, options).arun(model, data=frame)


@spelled_out
def preview(
    frame: F,
    prompt: str,
    output_model: type[BaseModel] | type[str],
    n: int = 5,
    *,
    model: Any = None,
    **options: Unpack[Options],
) -> F:
    """`transform` a sample of *n* rows, drawn with the seed, and return just those in their order. Pays for n rows."""
    return _job(prompt, output_model, options).preview(model, data=frame, n=n).frame  # type: ignore[no-any-return]


@spelled_out
def explain(
    frame: Any, prompt: str, output_model: type[BaseModel] | type[str], *, model: Any = None, **options: Unpack[Options]
) -> Explanation:
    """The exact text and schema of the first request, but for its random row tokens. Sends nothing."""
    return _job(prompt, output_model, options).explain(model, data=frame)


@spelled_out
def estimate(
    frame: Any, prompt: str, output_model: type[BaseModel] | type[str], *, model: Any = None, **options: Unpack[Options]
) -> Estimate:
    """Rows, distinct rows, requests, tokens and dollars that `transform` would take. Sends nothing."""
    return _job(prompt, output_model, options).estimate(model, data=frame)


def _job(prompt: str, output_model: Any, options: Options) -> Job[Any]:
    return Job(prompt, output_model, **options)
