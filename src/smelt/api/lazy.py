"""The `.smelt` accessor of a Polars LazyFrame: adds a transform to the lazy plan; `collect` spends the money."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, NoReturn, Unpack

import polars as pl

from smelt.api.job import Job, OutputModel
from smelt.api.labels import field_of, with_column
from smelt.api.signatures import spelled_out, without_frame
from smelt.call.conflicts import refuse_whole
from smelt.call.options import Options
from smelt.call.preparation import Preparation
from smelt.checks import integer
from smelt.errors import CollisionError, ConfigTypeError, SmeltConfigError
from smelt.frames.polars import empty
from smelt.lazy import sinks
from smelt.lazy.step import Fields, Step
from smelt.messages import shown_value
from smelt.providers.prices import check_priced
from smelt.result import SmeltMetrics

if TYPE_CHECKING:
    pass


@spelled_out
def transform(
    frame: pl.LazyFrame,
    prompt: str,
    output_model: OutputModel,
    *,
    fields: Fields = "used",
    stream: bool = True,
    model: Any = None,
    **options: Unpack[Options],
) -> pl.LazyFrame:
    """Ask a model about every row, as a step of the lazy plan. Sends nothing now; each `collect` spends money.

    The step takes part in the optimisation of the plan. Rows that a filter on input columns drops, and rows after
    `head`, are not sent. Fields of the output model that the plan does not use are not asked for. If the plan uses
    only input columns or the number of rows, nothing is sent. A filter on output columns followed by `head` stops
    early.

    Rows that the ledger knows are not paid again by the next `collect`, or if the step occurs twice in a plan. Without
    a ledger each of these pays again; then `.cache()` after the step keeps its rows for the plan.

    Args:
        frame: The LazyFrame.
        prompt: What to find out about each row. `{column}` names a column to send; without placeholders all are sent.
        output_model: As in `smelt.transform`.
        fields: `"used"` asks only for the fields that the plan uses. The request then differs from plan to plan, and an
            answer may depend on the other fields asked. `"all"` always asks for all fields, so a row has one answer.
        stream: Whether rows are processed in small frames, on a Polars thread. False takes all rows at once, in memory,
            on the thread that collects; then all fields are asked, and only filters on inputs and `head` save rows.
        model: A `smelt.Model`, `"provider:name"`, or any object with the members of `smelt.Provider`. None: the model
            set by `smelt.configure` or `SMELT_MODEL`, else the embedded model.
        **options: See `smelt.call.options.Settings`.

    Returns:
        A LazyFrame with the output columns and the error column (string, null if the row succeeded) appended.

    Raises:
        SmeltConfigError: An argument is wrong; raised here, and not by `collect`.

    Examples:
        >>> import polars as pl
        >>> lazy = pl.LazyFrame({"name": ["Arm", "Sanofi"], "founded": [1990, 1973]})
        >>> step = lazy.smelt.transform("Classify {name}.", Company, model=scripted)
        >>> step.filter(pl.col("founded") > 1980).collect()["sector"].to_list()
        ['tech']
    """
    if not isinstance(stream, bool):
        raise SmeltConfigError.for_type("stream", stream, "True or False")
    if fields not in ("used", "all"):
        raise SmeltConfigError.for_value("fields", fields, "'used' or 'all'")
    if isinstance(model, list | tuple):
        raise ConfigTypeError(
            "A list of models is a cascade, whose promise is about all rows, and a step of a plan answers them piece "
            "by piece. A pipeline in the plan takes all of them at once: lf.pipe(smelt.pipeline().transform(prompt, "
            "Model, model=[cheap, strong], target_accuracy=0.95)). Or name one model."
        )
    # An empty frame with all columns: errors in the arguments are found now.
    nothing = empty(frame)
    call = Job(prompt, output_model, **options)._prepare(model, nothing)
    _refuse_overwriting(call)
    if call.settings.mode == "batch" and call.settings.refresh:
        raise SmeltConfigError(
            'refresh=True and mode="batch" do not go together in a plan: its rows are read more than once, and each '
            "time they would be asked anew. Leave out refresh=, or use another ledger=."
        )
    refuse_whole(call.settings)
    if call.settings.mode == "batch" and call.settings.votes > 1:
        raise SmeltConfigError(
            'votes= and mode="batch" do not go together in a plan: each vote would be a job over all pieces. Collect '
            "the rows and use transform; or ask live, or without votes."
        )
    if call.settings.extend:
        raise SmeltConfigError(
            "extend=True needs to see all rows before the first request, which a lazy step cannot do."
        )
    if call.settings.max_cost is not None:
        check_priced(call.provider)
    step = Step(upstream=frame, call=call, is_whole=fields == "all")
    return step.source() if stream else step.node()


def _refuse_overwriting(call: Preparation) -> None:
    if call.dropped:
        raise CollisionError(
            f"A lazy step cannot replace {shown_value(call.dropped[0])}: a filter on it may run before the step or "
            "after it. Drop or rename the column first, or pass on_conflict='suffix'."
        )


class LazyAccessor:
    """Typed LLM transforms in this lazy plan: `transform`, `collect`, `sink_parquet`, `sink_ndjson`, `preview`."""

    def __init__(self, frame: pl.LazyFrame) -> None:
        """Keep the frame and do nothing else."""
        self._frame = frame

    @spelled_out
    def transform(
        self,
        prompt: str,
        output_model: OutputModel,
        *,
        fields: Fields = "used",
        stream: bool = True,
        model: Any = None,
        **options: Unpack[Options],
    ) -> pl.LazyFrame:
        return transform(self._frame, prompt, output_model, fields=fields, stream=stream, model=model, **options)

    @spelled_out
    def classify(
        self, prompt: str, labels: Any, *, multi: bool = False, model: Any = None, **options: Unpack[Options]
    ) -> pl.LazyFrame:
        """`transform` with one answer, which is one of *labels*. Spends money when the plan is collected.

        Args:
            prompt: As in `transform`.
            labels: As in `smelt.classify`.
            multi: As in `smelt.classify`.
            model: As in `transform`.
            **options: See `smelt.call.options.Settings`. `output` names the column; without it, it is `label`.

        Returns:
            A plan, as from `transform`.

        Raises:
            SmeltError: As in `transform`.

        Examples:
            >>> import polars as pl
            >>> said = ScriptedProvider({"label": "warm"})
            >>> plan = pl.LazyFrame({"name": ["Arm"]}).smelt.classify("{name}", ["warm", "cold"], model=said)
            >>> plan.collect()["label"].to_list()
            ['warm']
        """
        answer = field_of(labels, multi=multi)
        return transform(self._frame, prompt, answer, model=model, **with_column(options))

    @spelled_out
    def preview(
        self,
        prompt: str,
        output_model: OutputModel,
        n: int = 5,
        *,
        model: Any = None,
        **options: Unpack[Options],
    ) -> pl.DataFrame:
        """`transform` only the first *n* rows, and return them. Runs the plan for these rows. Pays for n rows.

        Args:
            prompt: As in `transform`.
            output_model: As in `transform`.
            n: How many rows.
            model: As in `transform`.
            **options: See `smelt.call.options.Settings`.

        Returns:
            A frame of those rows, with the same columns and dtypes as from `transform`.

        Raises:
            SmeltError: As in `smelt.transform`.

        Examples:
            >>> import polars as pl
            >>> lazy = pl.LazyFrame({"name": ["Arm", "Sanofi"]})
            >>> lazy.smelt.preview("Classify {name}.", Company, n=1, model=scripted)["sector"].to_list()
            ['tech']
        """
        rows = self._frame.head(integer("n", n, 1, 100_000)).collect()
        result = Job(prompt, output_model, **options)._run(model, rows, awaited="atransform")
        return result.frame  # type: ignore[no-any-return]  # The same type as the input.

    def collect(self, **options: Any) -> pl.DataFrame:
        """`LazyFrame.collect`, but Ctrl-C ends it at once. Pays for the smelt steps of the plan.

        A plain `collect` also works, but reacts to Ctrl-C only after the step has finished.

        Args:
            **options: The options of `LazyFrame.collect`, except `background`.

        Returns:
            The frame.

        Raises:
            SmeltInterrupt: Ctrl-C. The answers so far are in the ledger; there is no `.partial_result`.

        Examples:
            >>> import polars as pl
            >>> lazy = pl.LazyFrame({"name": ["Arm", "Sanofi"]})
            >>> step = lazy.smelt.transform("Classify {name}.", Company, model=scripted)
            >>> step.smelt.collect()["sector"].to_list()
            ['tech', 'health']
        """
        return sinks.collect(self._frame, **options)

    def sink_parquet(self, path: str | PathLike[str], *, restart: bool = False, **options: Any) -> SmeltMetrics | None:
        """`LazyFrame.sink_parquet`, but Ctrl-C ends it at once, and it resumes after a kill. Pays for the smelt steps.

        The file appears when it is complete, and replaces an existing file. If the plan ends with `transform`, or with
        a pipeline that can run on pieces of its input, finished rows are kept in a folder beside the file
        (`<path>.smelt`). If the same sink is started again after a kill, it reads its input again, checks that the
        input is unchanged, and asks only for the missing rows, with or without a ledger. Failed rows count as finished.
        If other nodes follow, or a step of the pipeline needs all rows (`map`, `aggregate`, a function of the frame),
        the whole plan runs again; rows in the ledger cost nothing.

        If the plan ends with a `transform` in batch mode, the rows are submitted piece by piece, and the file is
        written when no row waits in a job any more. With `wait=False`, or when its seconds or the `deadline` are over,
        the call returns before; the same call goes on later, also in another process.

        Args:
            path: The file.
            restart: Whether to discard the rows that an earlier try has finished.
            **options: The file options of `LazyFrame.sink_parquet`, such as `compression`.

        Returns:
            In batch mode: the metrics of this call. If `pending_rows` is not 0, the file may not be written yet.

        Raises:
            SmeltConfigError: The folder beside the file belongs to another sink, or to a sink that is running.
            SmeltInterrupt: Ctrl-C.

        Examples:
            >>> import polars as pl
            >>> lazy = pl.LazyFrame({"name": ["Arm", "Sanofi"]})
            >>> lazy.smelt.transform("Classify {name}.", Company, model=scripted).smelt.sink_parquet("out.parquet")
            >>> pl.read_parquet("out.parquet")["sector"].to_list()
            ['tech', 'health']
        """
        _refuse_other_ends(options)
        return sinks.sink(self._frame, path, lambda plan, file: plan.sink_parquet(file, **options), restart=restart)

    def sink_ndjson(self, path: str | PathLike[str], *, restart: bool = False, **options: Any) -> SmeltMetrics | None:
        """`LazyFrame.sink_ndjson`, otherwise as `sink_parquet`. Pays for the smelt steps.

        Args:
            path: The file.
            restart: As in `sink_parquet`.
            **options: The file options of `LazyFrame.sink_ndjson`.

        Returns:
            As `sink_parquet`.

        Raises:
            SmeltError: As in `sink_parquet`.

        Examples:
            >>> import polars as pl
            >>> lazy = pl.LazyFrame({"name": ["Arm", "Sanofi"]})
            >>> lazy.smelt.transform("Classify {name}.", Company, model=scripted).smelt.sink_ndjson("out.ndjson")
            >>> pl.read_ndjson("out.ndjson")["sector"].to_list()
            ['tech', 'health']
        """
        _refuse_other_ends(options)
        return sinks.sink(self._frame, path, lambda plan, file: plan.sink_ndjson(file, **options), restart=restart)

    def run(self, *args: Any, **options: Any) -> NoReturn:
        """Not available on a LazyFrame: collect first."""
        raise _not_lazy("run")

    def arun(self, *args: Any, **options: Any) -> NoReturn:
        """Not available on a LazyFrame: collect first."""
        raise _not_lazy("arun")

    def atransform(self, *args: Any, **options: Any) -> NoReturn:
        """Not available on a LazyFrame: collect first."""
        raise _not_lazy("atransform")

    def explain(self, *args: Any, **options: Any) -> NoReturn:
        """Not available on a LazyFrame: collect a few rows first."""
        raise _not_lazy("explain")

    def estimate(self, *args: Any, **options: Any) -> NoReturn:
        """Not available on a LazyFrame: collect first, or a sample."""
        raise _not_lazy("estimate")

    def evaluate(self, *args: Any, **options: Any) -> NoReturn:
        """Not available on a LazyFrame: collect first, or a sample."""
        raise _not_lazy("evaluate")

    def compare(self, *args: Any, **options: Any) -> NoReturn:
        """Not available on a LazyFrame: collect first, or a sample."""
        raise _not_lazy("compare")

    def audit(self, *args: Any, **options: Any) -> NoReturn:
        """Not available on a LazyFrame: collect first."""
        raise _not_lazy("audit")

    def tune(self, *args: Any, **options: Any) -> NoReturn:
        """Not available on a LazyFrame: collect first, or a sample."""
        raise _not_lazy("tune")


def _not_lazy(verb: str) -> ConfigTypeError:
    return ConfigTypeError(
        f"{verb} needs rows, and a LazyFrame has none before it is collected. Call lf.collect().smelt.{verb}(...), or "
        f"lf.head(1_000).collect().smelt.{verb}(...) on the first rows."
    )


def _refuse_other_ends(options: Mapping[str, Any]) -> None:
    if wrong := sorted({"lazy", "engine", "optimizations", "sinked_paths_callback"} & options.keys()):
        raise ConfigTypeError(
            f"{wrong[0]} is not an option of this sink. Call the sink of the LazyFrame itself for it."
        )


LazyAccessor.transform.__doc__ = without_frame(transform.__doc__)
