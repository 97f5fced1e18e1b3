"""The same verbs as functions, which type checkers understand: `smelt.transform(df, …)`, `df.pipe(smelt.transform, …)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from smelt.job import Job
from smelt.options import Options
from smelt.signatures import spelled_out

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from pydantic import BaseModel

    from smelt.evaluation.comparison import Comparison
    from smelt.evaluation.summary import Evaluation
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


@overload
def evaluate(
    frame: Any,
    prompt: str,
    output_model: type[BaseModel] | type[str],
    truth: Mapping[str, str],
    *,
    n: int | None = None,
    dry_run: Literal[False] = False,
    model: Any = None,
    **options: Unpack[Options],
) -> Evaluation: ...
@overload
def evaluate(
    frame: Any,
    prompt: str,
    output_model: type[BaseModel] | type[str],
    truth: Mapping[str, str],
    *,
    n: int | None = None,
    dry_run: Literal[True],
    model: Any = None,
    **options: Unpack[Options],
) -> Estimate: ...
@spelled_out
def evaluate(
    frame: Any,
    prompt: str,
    output_model: type[BaseModel] | type[str],
    truth: Mapping[str, str],
    *,
    n: int | None = None,
    dry_run: bool = False,
    model: Any = None,
    **options: Unpack[Options],
) -> Evaluation | Estimate:
    """Ask a model about rows whose right answers are known, and say how right it is. Spends money.

    Columns with right answers are never sent. Rows without any known answer are not asked, a field whose right answer is
    null in a row is left out of that row, and a row that ends with an error counts as wrong. Text is compared with its
    case, but for surrounding whitespace, in Unicode's NFC form; numbers and times by value; lists in order.

    Args:
        frame: A pandas or Polars DataFrame, or a list of dicts. It is not changed.
        prompt: What to find out about each row. Without placeholders all columns but those of *truth* are sent.
        output_model: A pydantic model class, or `str` for free text.
        truth: The column with the right answers of each field, such as `{"sector": "known_sector"}`; a field of a nested
            model is named by its dotted path.
        n: How many rows to ask, drawn with the seed from those with a known answer. None asks all of these.
        dry_run: Whether to check everything, send nothing, and return the `Estimate`.
        model: As in `transform`.
        **options: See `smelt.options.Settings`.

    Returns:
        Accuracy with its interval, macro F1 or mean errors for each field, confusion matrices, and the rows that are
        wrong.

    Raises:
        SmeltConfigError: Something is wrong with the arguments, *truth* included, or the prompt would give the right
            answers away; nothing was sent.
        SmeltAPIError: No row could be answered because of the account, the model or the server.
    """
    job = _job(prompt, output_model, options)
    return job.evaluate(model, data=frame, truth=truth, n=n, dry_run=dry_run)


@overload
def compare(
    frame: Any,
    prompt: str,
    output_model: type[BaseModel] | type[str],
    variants: Mapping[str, Mapping[str, Any]] | Sequence[Mapping[str, Any]],
    *,
    truth: Mapping[str, str] | None = None,
    n: int | None = None,
    dry_run: Literal[False] = False,
    model: Any = None,
    **options: Unpack[Options],
) -> Comparison: ...
@overload
def compare(
    frame: Any,
    prompt: str,
    output_model: type[BaseModel] | type[str],
    variants: Mapping[str, Mapping[str, Any]] | Sequence[Mapping[str, Any]],
    *,
    truth: Mapping[str, str] | None = None,
    n: int | None = None,
    dry_run: Literal[True],
    model: Any = None,
    **options: Unpack[Options],
) -> dict[str, Estimate]: ...
@spelled_out
def compare(
    frame: Any,
    prompt: str,
    output_model: type[BaseModel] | type[str],
    variants: Mapping[str, Mapping[str, Any]] | Sequence[Mapping[str, Any]],
    *,
    truth: Mapping[str, str] | None = None,
    n: int | None = None,
    dry_run: bool = False,
    model: Any = None,
    **options: Unpack[Options],
) -> Comparison | dict[str, Estimate]:
    """Ask several prompts, models or batch sizes about the same rows, and put them side by side. Spends money on each.

    Everything is checked for all variants before the first one is asked; they are asked one after the other. The options
    hold for each variant that does not say otherwise, so `max_cost` is what each of them may spend.

    The ledger answers what it knows, except where it would hide what is compared: it knows a row's answer, but not which
    rows travelled with it. Variants that say `batch_size`, `isolation`, `shuffle` or `seed`, or differ from another one
    only in these, are asked without the ledger, and paid for each time; `"ledger"` in a variant decides otherwise.

    Args:
        frame: A pandas or Polars DataFrame, or a list of dicts. It is not changed.
        prompt: What to find out about each row, where a variant does not say it.
        output_model: A pydantic model class, or `str` for free text; the same for all.
        variants: What is different, by name, such as `{"one by one": {"batch_size": 1}, "terse": {"prompt": "…"}}`:
            `prompt`, `model` and any option. A list of such differences names the variants after them.
        truth: The column with the right answers of each field, as in `evaluate`. None: only agreement is known.
        n: How many rows to ask, drawn with the seed; from those with a known answer, where there is *truth*. None: all.
        dry_run: Whether to check everything, send nothing, and return an `Estimate` of each variant.
        model: As in `transform`, where a variant does not say it.
        **options: See `smelt.options.Settings`.

    Returns:
        A table of the variants, how far each two of them agree, and the rows on which they do not.

    Raises:
        SmeltConfigError: Something is wrong with the arguments, or a prompt would give the right answers away; nothing
            was sent.
        SmeltAPIError: No variant could be answered because of the account, the model or the server.
    """
    from smelt.evaluation.contest import compare
    from smelt.evaluation.variants import read_variants

    given: dict[str, Any] = dict(options)
    forms = read_variants(variants, prompt, output_model, model, given)
    settings = _job(prompt, output_model, options).settings
    return compare(forms, output_model, settings, frame, truth=truth, n=n, dry_run=dry_run)


def _job(prompt: str, output_model: Any, options: Options) -> Job[Any]:
    return Job(prompt, output_model, **options)
