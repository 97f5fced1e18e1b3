"""`smelt.pipeline`: steps on a frame, as one object that knows no frame.

A pipeline is never changed: each verb returns a new one. The column names say which step needs which.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import fspath
from typing import Any, Literal, Unpack

from smelt.api.functions import is_lazy
from smelt.api.job import Job, sampler
from smelt.api.pipestreams import PipeStreams
from smelt.api.questions import Questions
from smelt.api.rowsteps import RowSteps
from smelt.call.options import Options
from smelt.checks import integer
from smelt.errors import ColumnError, SmeltConfigError
from smelt.frames.adapt import adapt
from smelt.messages import nearest, shown_value
from smelt.pipelines.artefacts import artefacts_in
from smelt.pipelines.checks import Checked, checked_options
from smelt.pipelines.flow import aexecute, execute
from smelt.pipelines.graph import asking_nodes
from smelt.pipelines.inspection import Inspection
from smelt.pipelines.outlook import PipelineEstimate, estimate_all, explain_all
from smelt.pipelines.partfiles import Suffix
from smelt.pipelines.result import PipelineResult
from smelt.pipelines.steps import Aggregate, Ask, Step, checked_name
from smelt.pipelines.view import inspected
from smelt.tracebacks import plainly

Schedule = Literal["rows", "steps"]


class Pipeline(Questions, RowSteps, PipeStreams):
    """Steps on a frame: questions to models, and what is between them. Made by `smelt.pipeline`.

    Nothing is sent before `run` or a similar method is called; then every mistake in any step is refused before the
    first request. A prompt that names columns of two steps joins them. A row that fails in a step skips the steps that
    need what it lacks, and keeps the first reason in the error column.

    Examples:
        >>> pipe = smelt.pipeline("companies", model=scripted).transform("Classify {name}.", Company)
        >>> df.pipe(pipe)["sector"].tolist()
        ['tech', 'health']
        >>> len(pipe), list(pipe)
        (1, ['company'])
    """

    def __getitem__(self, key: str | slice) -> Any:
        """The step *key* as a `Job`, in a branch as `"branch.step"`; for a slice, a pipeline of these steps."""
        if isinstance(key, slice):
            return Pipeline(self.name, self._steps[key], self._model, self._options)
        found: Step | None = dict(asking_nodes(self._steps)).get(key)
        found = found or next((one for one in self._steps if one.name == key), None)
        if found is None:
            raise ColumnError(f"There is no step {shown_value(key)}.{nearest(str(key), list(self))}")
        if not isinstance(found, Ask) or isinstance(found, Aggregate):
            raise SmeltConfigError(
                f"Step {shown_value(key)} does not ask about single rows, so it is no Job. Take a slice: pipe[:2]."
            )
        return Job(found.prompt, found.output_model, **{**self._options, **found.options})

    def using(self, model: Any) -> Pipeline:
        """The same pipeline with another default model. Steps that name a model keep theirs.

        Args:
            model: As in `transform`.

        Returns:
            A new pipeline.

        Raises:
            SmeltConfigError: Only when the pipeline runs.

        Examples:
            >>> smelt.pipeline().transform("Classify {name}.", Company).using(scripted)(df)["sector"].tolist()
            ['tech', 'health']
        """
        return Pipeline(self.name, self._steps, model, self._options)

    @plainly
    def __call__(self, frame: Any, **options: Unpack[Options]) -> Any:
        """Run all steps, and return the frame; for `df.pipe(pipe, max_cost=5)`. See `run`.

        A Polars LazyFrame gets the pipeline as a node of its plan, and each `collect` spends money. It is streamed, in
        memory that does not grow with the rows, unless a step needs all rows: `map`, `aggregate`, or a function or
        expression that may look across rows. Filters on columns of the input and `head` are pushed before steps that
        keep the rows, and steps that make nothing that the plan uses are not asked.
        """
        if is_lazy(frame):
            return self._planned(frame, options)
        return self._run(frame, options, "jsonl").frame

    @plainly
    def run(
        self,
        frame: Any,
        *,
        parts: Suffix = "jsonl",
        schedule: Schedule = "rows",
        window: int | None = None,
        **options: Unpack[Options],
    ) -> PipelineResult:
        """Run all steps on *frame*, and block until they are done. Spends money.

        All steps run at the same time: a row goes on to the next step as soon as it has its answer. A function of
        `filter`, `assign` or `where` gets all rows, as in eager code, so it waits until the steps that it reads are
        done for all of them; a Polars expression that looks at each row alone does not wait. All steps share one
        ledger, one budget and one deadline. Answers are found again by the text of their rows, so a run that was
        interrupted continues, an added or changed step asks only what is new, and chained calls of `transform` share
        their answers with the pipeline.

        Args:
            frame: A pandas or Polars DataFrame, an Arrow table or a list of dicts. It is not changed.
            parts: The kind of the files that `artefacts=` gets: "jsonl" or "parquet".
            schedule: "rows", or "steps" to finish each step for 50,000 rows before the next one begins: for models that
                do not fit into memory together.
            window: The functions of `filter`, `assign` and `where` get pieces of so many rows, and rows go on while
                others are still asked. Only for functions that look at each row alone: a mean or a rank would be that
                of a piece. None: all rows at once.
            **options: See `smelt.call.options.Settings`. `max_cost`, `max_tokens_total`, `deadline`, `ledger`,
                `progress`, `on_error`, `store_inputs` and `error_column` are about the whole run; others are for the
                steps that do not set them. `artefacts="runs/claims"` keeps files of the run in this folder: the graph,
                the rows of each step, and the final rows. Only their owner can read them.

        Returns:
            The frame, and each step's metrics and errors.

        Raises:
            SmeltConfigError: A step is wrong; the message says all that is wrong with any step. Nothing was sent.
            SmeltAPIError: A step could not be answered because of the account, the model or the server.
            SmeltExhaustionError: A row failed, and `on_error="raise"`.
            SmeltInterrupt: Ctrl-C; `.partial_result` has the result so far.

        Examples:
            >>> smelt.pipeline(model=scripted).transform("Classify {name}.", Company).run(df).success
            True
        """
        return self._run(frame, options, parts, schedule, window)

    @plainly
    async def arun(
        self,
        frame: Any,
        *,
        parts: Suffix = "jsonl",
        schedule: Schedule = "rows",
        window: int | None = None,
        **options: Unpack[Options],
    ) -> PipelineResult:
        """`run` as a coroutine, on the running event loop. Spends money.

        Args:
            frame: As in `run`.
            parts: As in `run`.
            schedule: As in `run`.
            window: As in `run`.
            **options: As in `run`.

        Returns:
            The result, as from `run`.

        Raises:
            SmeltError: As in `run`. A cancelled task raises `CancelledError`; what was paid for is in the ledger.

        Examples:
            >>> import asyncio
            >>> pipe = smelt.pipeline(model=scripted).transform("Classify {name}.", Company)
            >>> asyncio.run(pipe.arun(df)).success
            True
        """
        way = _way(schedule, window)
        checked = self._checked(frame, options)
        with artefacts_in(self._folder(options), checked, self.name, frame, parts) as files:
            return files.finish(await aexecute(checked, frame, self.name, watch=files.watch, **way))

    @plainly
    def preview(self, frame: Any, n: int = 5, **options: Unpack[Options]) -> Any:
        """Run all steps on a sample of *n* rows, drawn with the seed, in input order. Pays for n rows.

        Args:
            frame: As in `run`.
            n: Maximum rows, from 1 to 100,000.
            **options: As in `run`.

        Returns:
            A frame, as from `pipe(frame)`.

        Raises:
            SmeltError: As in `run`.

        Examples:
            >>> pipe = smelt.pipeline(model=scripted).transform("Classify {name}.", Company)
            >>> pipe.preview(df, n=1)["sector"].tolist()
            ['health']
        """
        checked = self._checked(frame, options)
        rows = adapt(frame)
        sample = rows.take(sampler(n, checked.common.seed)(len(rows)))
        return execute(checked, sample, self.name, awaited="pipe.arun").frame

    @plainly
    def estimate(self, frame: Any, **options: Unpack[Options]) -> PipelineEstimate:
        """Estimate requests, tokens and dollars of each step. Sends nothing.

        Args:
            frame: As in `run`.
            **options: As in `run`.

        Returns:
            An estimate for each step, with what it assumes of rows that do not exist yet.

        Raises:
            SmeltConfigError: A step is wrong.

        Examples:
            >>> smelt.pipeline(model=scripted).transform("Classify {name}.", Company).estimate(df).requests
            1
        """
        return estimate_all(self._checked(frame, options, is_sent=False), frame)

    @plainly
    def explain(self, frame: Any, **options: Unpack[Options]) -> dict[str, Any]:
        """The text and schema of each step's first request; `…` stands for what a step will answer. Sends nothing.

        Args:
            frame: As in `run`.
            **options: As in `run`.

        Returns:
            An `Explanation` for each step, by its name.

        Raises:
            SmeltConfigError: A step is wrong.

        Examples:
            >>> pipe = smelt.pipeline(model=scripted).transform("Classify {name}.", Company)
            >>> pipe.explain(df)["company"].rows
            2
        """
        return explain_all(self._checked(frame, options, is_sent=False), frame)

    @plainly
    def inspect(self, frame: Any = None) -> Inspection:
        """The steps, what each reads and writes, and how they depend on each other. Sends nothing.

        Args:
            frame: The input; with it, unknown columns are refused. None: only the steps are known.

        Returns:
            An object to print, or to show in a notebook, with `.mermaid()` and `.to_dict()`.

        Raises:
            SmeltConfigError: A step is wrong.

        Examples:
            >>> print(smelt.pipeline("c", model=scripted).transform("Classify {name}.", Company).inspect())
            c: 1 step
            company  transform  name → sector  scripted:script
        """
        return inspected(self.name, self._steps, self._model, self._options, frame)

    def _run(
        self,
        frame: Any,
        options: Mapping[str, Any],
        parts: Suffix,
        schedule: Schedule = "rows",
        window: int | None = None,
    ) -> PipelineResult:
        way = _way(schedule, window)
        checked = self._checked(frame, options)
        with artefacts_in(self._folder(options), checked, self.name, frame, parts) as files:
            return files.finish(execute(checked, frame, self.name, awaited="pipe.arun", watch=files.watch, **way))

    def _folder(self, options: Mapping[str, Any]) -> str | None:
        found = {**self._options, **options}.get("artefacts")
        return None if found is None else fspath(found)

    def _checked(self, frame: Any, options: Mapping[str, Any], *, is_sent: bool = True) -> Checked:
        return self._checked_on(adapt(frame), options, is_sent=is_sent)


def _way(schedule: object, window: object) -> dict[str, Any]:
    """How rows flow, as `execute` takes it."""
    if schedule not in ("rows", "steps"):
        raise SmeltConfigError.for_value("schedule", schedule, "'rows' or 'steps'")
    return {
        "is_by_rows": schedule == "rows",
        "window": None if window is None else integer("window", window, 1, 1_000_000),
    }


def pipeline(name: str = "pipeline", *, model: Any = None, **options: Unpack[Options]) -> Pipeline:
    """Begin a pipeline: steps on a frame, such as `transform`, `filter` and `explode`. Sends nothing.

    Args:
        name: Its name, for messages.
        model: The model of the steps that name none, as in `transform`.
        **options: Options of all steps and of the run, as in `transform`.

    Returns:
        A pipeline without a step.

    Raises:
        SmeltConfigError: An option is wrong.

    Examples:
        >>> pipe = smelt.pipeline("companies", model=scripted).transform("Classify {name}.", Company)
        >>> pipe(df)["sector"].tolist()
        ['tech', 'health']
    """
    return Pipeline(checked_name("name", name), (), model, checked_options({**options}, of_a_step=False))
