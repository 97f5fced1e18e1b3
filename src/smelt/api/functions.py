"""The public functions, with types for type checkers: `smelt.transform(df, …)`, `df.pipe(smelt.transform, …)`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeGuard, TypeVar, Unpack, overload

from smelt.api.job import F, Job, OutputModel
from smelt.api.signatures import spelled_out
from smelt.call.options import Options

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from smelt.call.estimate import Estimate
    from smelt.call.explanation import Explanation
    from smelt.evaluation.comparison import Comparison
    from smelt.evaluation.summary import Evaluation
    from smelt.result import SmeltResult
    from smelt.streaming.rows import RowAnswers
    from smelt.streaming.stream import AsyncStream, Stream

L = TypeVar("L", "pd.DataFrame", "pl.DataFrame", "pl.LazyFrame", list[dict[str, Any]])
T = TypeVar("T")
Variants: TypeAlias = Mapping[str, Mapping[str, Any]] | Sequence[Any]
"""The variants of `compare`: a mapping from names to changes, or a list of changes or models."""


@spelled_out
def transform(frame: L, prompt: str, output_model: OutputModel, *, model: Any = None, **options: Unpack[Options]) -> L:
    """Ask a model about every row, and return the frame with the answers as typed columns. Spends money.

    The dtypes of the new columns are declared by *output_model* and do not depend on the answers. Rows keep their
    order and index. A failed row has nulls in the new columns and the reason in the error column; it does not affect
    other rows.

    Args:
        frame: A pandas or Polars DataFrame, a Polars LazyFrame (then this is a step of its plan, and
            `lf.smelt.transform` takes `fields` and `stream` as well), or a list of dicts. It is not changed.
        prompt: What to find out about each row. `{column}` names a column to send; without placeholders all are sent.
        output_model: What an answer is. A class whose fields become columns (a pydantic model, a dataclass, a TypedDict
            or a NamedTuple), a dict of names and types, or one type for the column that `output=` names, such as
            `Literal["a", "b"]`; `str` is free text.
        model: A `smelt.Model`, `"provider:name"`, an async function (see `smelt.worker`), a PydanticAI agent, or any
            object with the members of `smelt.Provider`; `"mock:"` rehearses the call. None: the model set by
            `smelt.configure` or `SMELT_MODEL`, else the embedded model.
        **options: See `smelt.call.options.Settings`.

    Returns:
        A new frame of the same type, with the old columns, the output columns, and the error column (string, null if
        the row succeeded).

    Raises:
        SmeltConfigError: An argument is wrong; nothing was sent.
        SmeltAPIError: No row could be answered because of the account, the model or the server.
        SmeltExhaustionError: A row failed, and `on_error="raise"`.
        BudgetExceededError: `max_cost` or `max_tokens_total` is spent, and `on_error="raise"`.
        StoreError: The ledger cannot be used.
        SmeltInterrupt: Ctrl-C; `.partial_result` has the result so far.

    Examples:
        >>> out = df.smelt.transform("Classify {name}.", Company, model=scripted)
        >>> out["sector"].tolist(), str(out["sector"].dtype)
        (['tech', 'health'], 'category')
    """
    if is_lazy(frame):
        from smelt.api.lazy import transform as step

        lazily: Any = step(frame, prompt, output_model, model=model, **options)
        return lazily  # type: ignore[no-any-return]  # The same type as the input.
    result = _job(prompt, output_model, options)._run(model, frame, awaited="atransform")
    return result.frame  # type: ignore[no-any-return]  # The same type as the input.


@spelled_out
async def atransform(
    frame: F, prompt: str, output_model: OutputModel, *, model: Any = None, **options: Unpack[Options]
) -> F:
    """`transform` as a coroutine, on the running event loop. Spends money.

    Args:
        frame: As in `transform`.
        prompt: As in `transform`.
        output_model: As in `transform`.
        model: As in `transform`.
        **options: See `smelt.call.options.Settings`.

    Returns:
        A new frame, as from `transform`.

    Raises:
        SmeltError: As in `transform`. A cancelled task raises `CancelledError`; what was paid for is in the ledger.

    Examples:
        >>> import asyncio
        >>> out = asyncio.run(df.smelt.atransform("Classify {name}.", Company, model=scripted))
        >>> out["sector"].tolist()
        ['tech', 'health']
    """
    result = await _job(prompt, output_model, options).arun(model, data=frame)
    return result.frame  # type: ignore[no-any-return]  # The same type as the input.


@overload
def run(
    frame: Any,
    prompt: str,
    output_model: type[T],
    *,
    model: Any = None,
    details: bool = False,
    **options: Unpack[Options],
) -> SmeltResult[T]: ...
@overload
def run(
    frame: Any,
    prompt: str,
    output_model: OutputModel,
    *,
    model: Any = None,
    details: bool = False,
    **options: Unpack[Options],
) -> SmeltResult[Any]: ...
@spelled_out
def run(
    frame: Any,
    prompt: str,
    output_model: Any,
    *,
    model: Any = None,
    details: bool = False,
    **options: Unpack[Options],
) -> SmeltResult[Any]:
    """`transform`, but returns the full result of the run: instances, errors, metrics, frame. Spends money.

    Args:
        frame: As in `transform`.
        prompt: As in `transform`.
        output_model: As in `transform`.
        model: As in `transform`.
        details: Whether the result has `details`: for each row its requests, tokens and dollars, and what the provider
            says about its reply.
        **options: See `smelt.call.options.Settings`.

    Returns:
        One instance of *output_model* per row and one error per failed row, in the frame's order; the frame that
        `transform` returns; the metrics with the cost.

    Raises:
        SmeltError: As in `transform`.

    Examples:
        >>> result = df.smelt.run("Classify {name}.", Company, model=scripted)
        >>> result.data[0], result.errors, result.metrics.requests
        (Company(sector='tech'), [], 1)
    """
    return _job(prompt, output_model, options).run(model, data=frame, details=details)


@overload
async def arun(
    frame: Any,
    prompt: str,
    output_model: type[T],
    *,
    model: Any = None,
    details: bool = False,
    **options: Unpack[Options],
) -> SmeltResult[T]: ...
@overload
async def arun(
    frame: Any,
    prompt: str,
    output_model: OutputModel,
    *,
    model: Any = None,
    details: bool = False,
    **options: Unpack[Options],
) -> SmeltResult[Any]: ...
@spelled_out
async def arun(
    frame: Any,
    prompt: str,
    output_model: Any,
    *,
    model: Any = None,
    details: bool = False,
    **options: Unpack[Options],
) -> SmeltResult[Any]:
    """`run` as a coroutine, on the running event loop. Spends money.

    Args:
        frame: As in `transform`.
        prompt: As in `transform`.
        output_model: As in `transform`.
        model: As in `transform`.
        details: Whether the result has `details`: for each row its requests, tokens and dollars, and what the provider
            says about its reply.
        **options: See `smelt.call.options.Settings`.

    Returns:
        The full result of the run, as from `run`.

    Raises:
        SmeltError: As in `transform`. A cancelled task raises `CancelledError`; what was paid for is in the ledger.

    Examples:
        >>> import asyncio
        >>> asyncio.run(df.smelt.arun("Classify {name}.", Company, model=scripted)).success
        True
    """
    return await _job(prompt, output_model, options).arun(model, data=frame, details=details)


@spelled_out
def stream(
    frames: Iterable[T],
    prompt: str,
    output_model: OutputModel,
    *,
    model: Any = None,
    **options: Unpack[Options],
) -> Stream[T]:
    """`transform` for data larger than memory: takes an iterator of frames, yields each finished frame. Spends money.

    The output equals that of `transform` on all frames concatenated, split as the input was. All frames share one run:
    limits, progress and the ledger entry apply to all of them, and requests are in flight while frames are read ahead,
    few at first. Equal rows are paid once while their frames are in progress; with a ledger, they are paid once in
    total. While you hold a frame, the run is paused: no request is sent, no timeout runs, and the deadline is not used
    up.

    Args:
        frames: An iterator of pandas or Polars frames, Arrow tables or record batches, or lists of dicts, all with the
            same columns, such as `pandas.read_csv(path, chunksize=10_000)`,
            `pyarrow.parquet.ParquetFile(path).iter_batches()`, `polars.scan_parquet(path).collect_batches()`.
        prompt: What to find out about each row. `{column}` names a column to send; without placeholders all are sent.
        output_model: What an answer is. A class whose fields become columns (a pydantic model, a dataclass, a TypedDict
            or a NamedTuple), a dict of names and types, or one type for the column that `output=` names, such as
            `Literal["a", "b"]`; `str` is free text.
        model: As in `transform`.
        **options: See `smelt.call.options.Settings`.

    Returns:
        An iterator of frames of the same library, in the same order. Leaving its `with` block, or dropping it, ends the
        run; paid answers are in the ledger, and a stream of the same rows resumes from there.

    Raises:
        SmeltConfigError: An argument is wrong. Checks that need no frame run before the first frame is read, other
            checks before the first request. Also raised if a later frame does not fit the first one.
        SmeltAPIError: No row could be answered because of the account, the model or the server.
        SmeltExhaustionError: A row failed, and `on_error="raise"`.
        SmeltInterrupt: Ctrl-C; `.partial_result` has the frames that were read but not yielded yet.
        Exception: Any exception from *frames*, after the frames before it were yielded.

    Examples:
        >>> pieces = (df.iloc[at : at + 1] for at in range(2))
        >>> with smelt.stream(pieces, "Classify {name}.", Company, model=scripted) as frames:
        ...     [frame["sector"].tolist() for frame in frames]
        [['tech'], ['health']]
    """
    from smelt.streaming.stream import Stream, checked_inlet

    return Stream(frames, checked_inlet(prompt, output_model, model, _job(prompt, output_model, options).settings))


@spelled_out
def astream(
    frames: Iterable[T] | AsyncIterable[T],
    prompt: str,
    output_model: OutputModel,
    *,
    model: Any = None,
    **options: Unpack[Options],
) -> AsyncStream[T]:
    """`stream` for `async for`, on the running event loop; *frames* may be an asynchronous iterator. Spends money.

    Requests continue while you hold a frame. Use `async with`, or `await` the `aclose` of the returned iterator:
    leaving an `async for` early does not end the run.

    Args:
        frames: As in `stream`, or an asynchronous iterator of such frames.
        prompt: As in `stream`.
        output_model: As in `stream`.
        model: As in `stream`.
        **options: See `smelt.call.options.Settings`.

    Returns:
        An asynchronous iterator of frames of the same library, in the same order.

    Raises:
        SmeltError: As in `stream`. A cancelled task raises `CancelledError`; what was paid for is in the ledger.

    Examples:
        >>> import asyncio
        >>> async def main():
        ...     async with smelt.astream([df, df], "Classify {name}.", Company, model=scripted) as frames:
        ...         return [frame["sector"].tolist() async for frame in frames]
        >>> asyncio.run(main())
        [['tech', 'health'], ['tech', 'health']]
    """
    from smelt.streaming.stream import AsyncStream, checked_inlet

    return AsyncStream(frames, checked_inlet(prompt, output_model, model, _job(prompt, output_model, options).settings))


@overload
def as_completed(
    frame: Any, prompt: str, output_model: type[T], *, model: Any = None, **options: Unpack[Options]
) -> RowAnswers[T]: ...
@overload
def as_completed(
    frame: Any, prompt: str, output_model: OutputModel, *, model: Any = None, **options: Unpack[Options]
) -> RowAnswers[Any]: ...
@spelled_out
def as_completed(
    frame: Any, prompt: str, output_model: Any, *, model: Any = None, **options: Unpack[Options]
) -> RowAnswers[Any]:
    """`run`, row by row: an iterator over the rows, each as soon as it has its outcome. Spends money.

    Use it in `for`, or in `async for` on the running event loop. Every row of *frame* comes once, also rows that failed
    and rows that are equal to others; rows that the ledger knows come first. An answer is handed out when it is in the
    ledger, so what you do with it happens at least once: after a kill, the same call gives it again, marked
    `from_ledger`. You set the pace: in `for` the run stands still while you have control, and in `async for` nothing
    more is sent while more than 200 rows wait for you.

    Args:
        frame: As in `run`.
        prompt: As in `transform`.
        output_model: As in `transform`.
        model: As in `transform`.
        **options: See `smelt.call.options.Settings`.

    Returns:
        An iterator of `smelt.RowAnswer`. `break`, an exception in the loop or `close` ends the run: nothing more is
        sent, and replies get a moment to arrive and are stored.

    Raises:
        SmeltConfigError: An argument is wrong; nothing was sent.
        SmeltError: While you iterate, as in `transform`: after the rows that were answered.

    Examples:
        >>> for one in smelt.as_completed(df, "Classify {name}.", Company, model=scripted, shuffle=False):
        ...     print(one.position, one.row["name"], one.value.sector, one.error)
        0 Arm tech None
        1 Sanofi health None
    """
    from smelt.streaming.rows import RowAnswers, refuse_batch

    job = _job(prompt, output_model, options)
    refuse_batch(job.settings)
    return RowAnswers(job._prepare(model, frame))


@spelled_out
def preview(
    frame: F,
    prompt: str,
    output_model: OutputModel,
    n: int = 5,
    *,
    model: Any = None,
    **options: Unpack[Options],
) -> F:
    """`transform` only a sample of *n* rows, drawn with the seed, and return them in input order. Pays for n rows.

    Args:
        frame: As in `transform`.
        prompt: As in `transform`.
        output_model: As in `transform`.
        n: Maximum rows, from 1 to 100,000.
        model: As in `transform`.
        **options: See `smelt.call.options.Settings`.

    Returns:
        A frame of the sampled rows, with the same columns and dtypes as from `transform`.

    Raises:
        SmeltError: As in `transform`.

    Examples:
        >>> df.smelt.preview("Classify {name}.", Company, n=1, model=scripted)["sector"].tolist()
        ['health']
    """
    return _job(prompt, output_model, options).preview(model, data=frame, n=n)


@spelled_out
def explain(
    frame: Any, prompt: str, output_model: OutputModel, *, model: Any = None, **options: Unpack[Options]
) -> Explanation:
    """The exact text and schema of the first request, except for its random row tokens. Sends nothing.

    Args:
        frame: As in `transform`.
        prompt: As in `transform`.
        output_model: As in `transform`.
        model: As in `transform`.
        **options: See `smelt.call.options.Settings`.

    Returns:
        Instructions, rows and reply schema as text; printing it shows all of them.

    Raises:
        SmeltConfigError: An argument is wrong.

    Examples:
        >>> df.smelt.explain("Classify {name}.", Company, model=scripted).rows
        2
    """
    return _job(prompt, output_model, options).explain(model, data=frame)


@spelled_out
def estimate(
    frame: Any, prompt: str, output_model: OutputModel, *, model: Any = None, **options: Unpack[Options]
) -> Estimate:
    """Estimate rows, distinct rows, requests, tokens and dollars of `transform`. Sends nothing.

    Args:
        frame: As in `transform`.
        prompt: As in `transform`.
        output_model: As in `transform`.
        model: As in `transform`.
        **options: See `smelt.call.options.Settings`.

    Returns:
        Tokens are estimated from bytes, dollars from the published prices, assuming that no row is asked twice.

    Raises:
        SmeltConfigError: An argument is wrong.

    Examples:
        >>> cost = df.smelt.estimate("Classify {name}.", Company, model=scripted)
        >>> cost.rows, cost.requests, cost.cost_usd
        (2, 1, None)
    """
    return _job(prompt, output_model, options).estimate(model, data=frame)


@overload
def evaluate(
    frame: Any,
    prompt: str,
    output_model: OutputModel,
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
    output_model: OutputModel,
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
    output_model: OutputModel,
    truth: Mapping[str, str],
    *,
    n: int | None = None,
    dry_run: bool = False,
    model: Any = None,
    **options: Unpack[Options],
) -> Evaluation | Estimate:
    """Ask a model about rows with known right answers, and measure its accuracy. Spends money.

    Columns with right answers are never sent. Rows without any known answer are not asked. If a field's right answer is
    null in a row, the row is not graded for this field. A row that ends with an error counts as wrong. Text is compared
    case-sensitively, stripped and in Unicode NFC; numbers and times by value; lists in order.

    Args:
        frame: A pandas or Polars DataFrame, or a list of dicts. It is not changed.
        prompt: What to find out about each row. Without placeholders all columns except those of *truth* are sent.
        output_model: A pydantic model class, or `str` for free text.
        truth: The column with the right answers of each field, such as `{"sector": "known_sector"}`; a field of a
            nested model is named by its dotted path.
        n: How many rows to ask, drawn with the seed from the rows with a known answer. None asks all of them.
        dry_run: Whether to check everything, send nothing, and return the `Estimate`.
        model: As in `transform`.
        **options: See `smelt.call.options.Settings`.

    Returns:
        For each field the accuracy with its confidence interval, and macro F1 or mean errors; confusion matrices; the
        rows with wrong answers.

    Raises:
        SmeltConfigError: An argument is wrong, including *truth*, or the prompt would reveal the right answers; nothing
            was sent.
        SmeltAPIError: No row could be answered because of the account, the model or the server.

    Examples:
        >>> labelled = df.assign(known=["tech", "finance"])
        >>> found = labelled.smelt.evaluate("Classify {name}.", Company, {"sector": "known"}, model=scripted)
        >>> found.fields["sector"].accuracy.value
        0.5
    """
    job = _job(prompt, output_model, options)
    return job.evaluate(model, data=frame, truth=truth, n=n, dry_run=dry_run)


@overload
def compare(
    frame: Any,
    prompt: str,
    output_model: OutputModel,
    variants: Variants,
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
    output_model: OutputModel,
    variants: Variants,
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
    output_model: OutputModel,
    variants: Variants,
    *,
    truth: Mapping[str, str] | None = None,
    n: int | None = None,
    dry_run: bool = False,
    model: Any = None,
    **options: Unpack[Options],
) -> Comparison | dict[str, Estimate]:
    """Run several prompts, models or batch sizes on the same rows, and compare them. Spends money on each.

    All variants are checked before the first one runs; they run one after the other. The options apply to each variant
    that does not override them, so each variant may spend `max_cost`.

    The ledger is used, except if it would hide the difference: it stores a row's answer, but not which rows shared its
    request. Variants that set `batch_size`, `isolation`, `shuffle` or `seed`, or differ from another variant only in
    these, run without the ledger and are paid each time; `"ledger"` in a variant overrides this.

    Args:
        frame: A pandas or Polars DataFrame, or a list of dicts. It is not changed.
        prompt: What to find out about each row, if a variant does not set its own.
        output_model: A pydantic model class, or `str` for free text; the same for all.
        variants: The changes of each variant, by name, such as
            `{"one by one": {"batch_size": 1}, "terse": {"prompt": "…"}}`: `prompt`, `model` and any option. A list of
            such changes names each variant after its changes; a list of models, such as
            `["openai:gpt-4.1-mini", "anthropic:claude-haiku-4-5"]`, compares these models.
        truth: The column with the right answers of each field, as in `evaluate`. None: only agreement is known.
        n: How many rows to ask, drawn with the seed; with *truth*, from the rows with a known answer. None: all of
            them.
        dry_run: Whether to check everything, send nothing, and return an `Estimate` of each variant.
        model: As in `transform`, if a variant does not set its own.
        **options: See `smelt.call.options.Settings`.

    Returns:
        A table of the variants, the agreement of each pair, and the rows with different answers.

    Raises:
        SmeltConfigError: An argument is wrong, or a prompt would reveal the right answers; nothing was sent.
        SmeltAPIError: No variant could be answered because of the account, the model or the server.

    Examples:
        >>> variants = {"long": {}, "short": {"prompt": "{name}?"}}
        >>> found = df.smelt.compare("Classify {name}.", Company, variants, model=scripted)
        >>> found.pairs[["field", "first", "second", "agreement"]].values.tolist()
        [['sector', 'long', 'short', 1.0]]
    """
    from smelt.evaluation.comparing import compare
    from smelt.evaluation.variants import read_variants

    given: dict[str, Any] = dict(options)
    forms = read_variants(variants, prompt, output_model, model, given)
    settings = _job(prompt, output_model, options).settings
    return compare(forms, output_model, settings, frame, truth=truth, n=n, dry_run=dry_run)


@spelled_out
def audit(
    frame: Any,
    prompt: str,
    output_model: OutputModel,
    result: SmeltResult[Any],
    *,
    quarantine: bool = False,
    dry_run: bool = False,
    model: Any = None,
    **options: Unpack[Options],
) -> Any:
    """Find out whether rows of a run changed the answers to their neighbours. Spends money.

    Rows share requests, so a row may change the answers to others: by accident, or because somebody wrote instructions
    into it. One row of each request is asked again in other company. Where the answer differs, and not by chance, the
    other rows of that request are asked, too. At 20 rows a request that is 5 to 7 % of the rows, and with *quarantine*
    some 2 % more.

    Args:
        frame: The frame of the run.
        prompt: The prompt of the run.
        output_model: The output model of the run. Texts are compared only if it has no other fields.
        result: The result of `smelt.run` with the same arguments. The ledger knows the requests of answers that it
            gave. With `votes=` nothing is asked, because each vote was given in other company: a request is an alarm if
            too many of its votes are not what most votes for their row say. That takes the ledger of the run.
        quarantine: Whether the row that changes the others is sought, and all rows of such a request are asked again
            without it. The new answers replace those in the ledger.
        dry_run: Whether to check everything, send nothing, and return an `Estimate` of the rows that are asked first.
        model: The model of the run.
        **options: See `smelt.call.options.Settings`.

    Returns:
        An `AuditReport`: `.alarms`, `.rate`, `.noise`, `.rows`, `.quarantined`, `.mended`. Without an alarm, two wholly
        changed requests of any number would have been found with 99 % probability at 20 rows a request; requests in
        which few rows were changed may be missed.

    Raises:
        SmeltConfigError: An argument is wrong, or *result* is that of another call; nothing was sent.
        SmeltAPIError: Nothing could be answered because of the account, the model or the server.

    Examples:
        >>> result = df.smelt.run("Classify {name}.", Company, model=scripted)
        >>> smelt.audit(df, "Classify {name}.", Company, result, model=scripted)
        AuditReport(no alarm in 1 request)
          in other company: 0 of 1 row answered otherwise (0.0%; 95% 0.0% to 79.3%)
          noise: taken as 50.0%: so often do two answers to one row differ
          looked at closely: 0 requests
          asked: 1 row
          cost: unknown
    """
    from smelt.evaluation.auditing import audit

    settings = _job(prompt, output_model, options).settings
    return audit(prompt, output_model, model, settings, frame, result, quarantine=quarantine, dry_run=dry_run)


@spelled_out
def tune(  # type: ignore[misc]  # `batch_size` is an option, and takes several values here.
    frame: Any,
    prompt: str,
    output_model: OutputModel,
    *,
    model: Any = None,
    batch_size: int | Sequence[int] = (1, 5, 20),
    n: int = 60,
    truth: Mapping[str, str] | None = None,
    agreement: float = 0.95,
    dry_run: bool = False,
    **options: Unpack[Options],
) -> Any:
    """Ask a few rows with several models and batch sizes, and choose the cheapest that is good enough. Spends money.

    All candidates are asked 16 rows, then twice as many, up to *n*. A candidate that is certainly too bad is asked no
    more, nor one that is dearer than another and better on no row. Without *truth* the last model, one row at a time,
    is the reference: it is asked twice, and no candidate has to agree with it more often than it does itself. The
    ledger is not used, because its answers come from requests with other rows.

    Args:
        frame: A pandas or Polars DataFrame, or a list of dicts. It is not changed.
        prompt: As in `transform`.
        output_model: As in `transform`. Texts are compared only if it has no other fields.
        model: A model or a list of models, as in `transform`; the one that you trust most comes last.
        batch_size: Rows per request, or a list of such numbers; none may be larger than *n*.
        n: How many rows to ask, drawn with the seed. 50 rows throw out the bad, and choose nothing among the good.
        truth: The column with the right answers of each field, as in `evaluate`. None: agreement with the reference.
        agreement: The share of rows whose answer is to be right, or that of the reference.
        dry_run: Whether to check everything, send nothing, and return an `Estimate` of each candidate on *n* rows.
        **options: See `smelt.call.options.Settings`. `max_cost` is for all candidates together.

    Returns:
        `.best`, the options to pass on: `df.smelt.transform(prompt, Model, **tuned.best)`; `.is_sure`, whether they are
        good enough for certain (95 %, one-sided); `.table`, a row per candidate. It says so if it cannot tell, and how
        many rows would do.

    Raises:
        SmeltConfigError: An argument is wrong; nothing was sent.
        SmeltAPIError: A candidate could not be answered because of the account, the model or the server.

    Examples:
        >>> tuned = df.smelt.tune("Classify {name}.", Company, model=scripted, batch_size=[1, 2], n=2)
        >>> tuned.is_sure, len(tuned.table)
        (False, 2)
    """
    from smelt.evaluation.tuning import tune

    others: Any = options  # Without `batch_size`.
    settings = _job(prompt, output_model, others).settings
    return tune(
        prompt,
        output_model,
        model,
        batch_size,
        settings,
        frame,
        truth=truth,
        n=n,
        agreement=agreement,
        dry_run=dry_run,
    )


def is_lazy(frame: object) -> TypeGuard[pl.LazyFrame]:
    """Whether *frame* is a Polars LazyFrame; False if Polars is not imported."""
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(frame, polars.LazyFrame)


def _job(prompt: str, output_model: Any, options: Options) -> Job[Any]:
    return Job(prompt, output_model, **options)
