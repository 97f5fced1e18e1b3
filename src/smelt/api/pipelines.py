"""`smelt.pipeline`: steps on a frame, as one object that knows no frame.

A pipeline is never changed: each verb returns a new one. The column names say which step needs which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Unpack

from smelt.api.job import Job, OutputModel, sampler
from smelt.call.options import Options
from smelt.checks import integer
from smelt.errors import ColumnError, ConfigTypeError, SmeltConfigError
from smelt.frames.adapt import adapt
from smelt.messages import counted, nearest, shown_value
from smelt.pipelines.checks import OF_THE_RUN, Checked, check, checked_options
from smelt.pipelines.flow import aexecute, execute
from smelt.pipelines.graph import asking_nodes
from smelt.pipelines.inspection import Inspection
from smelt.pipelines.outlook import PipelineEstimate, estimate_all, explain_all
from smelt.pipelines.result import PipelineResult
from smelt.pipelines.steps import (
    Aggregate,
    Ask,
    Assign,
    Branch,
    Explode,
    Filter,
    Implode,
    Map,
    Step,
    checked_name,
    require_test,
    step_name,
    with_step,
)
from smelt.pipelines.view import inspected
from smelt.tracebacks import plainly


class Pipeline:
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

    def __init__(self, name: str, steps: tuple[Step, ...], model: Any, options: Mapping[str, Any]) -> None:
        """Keep the parts, which were checked."""
        self.name = name
        self._steps = steps
        self._model = model
        self._options = dict(options)

    def __repr__(self) -> str:
        verbs = ", ".join(f"{one.name}" for one in self._steps)
        return f"Pipeline({self.name!r}, {counted(len(self._steps), 'step')}{': ' if verbs else ''}{verbs})"

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Any:
        return iter([one.name for one in self._steps])

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
    def transform(
        self,
        prompt: str,
        output_model: OutputModel,
        *,
        step: str | None = None,
        model: Any = None,
        prefix: str = "",
        where: Any = None,
        **options: Unpack[Options],
    ) -> Pipeline:
        """Ask a model about each row, and add the answer as columns.

        Args:
            prompt: What to find out. `{column}` names a column of the input or of an earlier step; only these are sent,
                and only the steps that make them are waited for. Without placeholders every column is sent.
            output_model: As in `smelt.transform`.
            step: The name of the step. By default the name of the model in snake case, or that of the first column.
            model: The model to ask; by default that of the pipeline.
            prefix: Begins the name of each new column, so that two steps can have one output model.
            where: The rows to ask: a function of the frame that gives a mask, or a Polars expression. For a list of
                dicts the function gets one row. The other rows are null, without an error. A function may read every
                column, so a row that failed in an earlier step is not passed to it and not asked.
            **options: The options of this step; see `smelt.call.options.Settings`. Those of the whole run, such as
                `max_cost`, are given to `smelt.pipeline` or to `run`.

        Returns:
            A new pipeline.

        Raises:
            SmeltConfigError: An argument is wrong.

        Examples:
            >>> pipe = smelt.pipeline(model=scripted).transform("Classify {name}.", Company, prefix="its_")
            >>> pipe(df).columns.tolist()
            ['name', 'its_sector', 'smelt_error']
        """
        if not isinstance(prompt, str):
            raise SmeltConfigError.for_type("prompt", prompt, "a string")
        if not isinstance(prefix, str):
            raise SmeltConfigError.for_type("prefix", prefix, "a string")
        if where is not None:
            require_test("where", where)
        given = checked_options({**options}, of_a_step=True)
        name = step_name(step, output_model, given.get("output"), prefix)
        return self._with(
            Ask(
                name=name,
                prompt=prompt,
                output_model=output_model,
                model=model,
                options=given,
                prefix=prefix,
                where=where,
            ),
            is_named=step is not None,
        )

    @plainly
    def filter(self, test: Any, *, step: str | None = None) -> Pipeline:
        """Keep the rows that pass a test; a null does not pass. The other rows are not in the result.

        A row that failed in an earlier step has no value to be tested: it stays, with its reason, and is not asked.

        Args:
            test: A function of the frame that gives a mask, such as `lambda df: df["urgency"] >= 3`, or a Polars
                expression. For a list of dicts the function gets one row.
            step: The name of the step.

        Returns:
            A new pipeline.

        Raises:
            SmeltConfigError: *test* is neither.

        Examples:
            >>> pipe = smelt.pipeline(model=scripted).transform("Classify {name}.", Company)
            >>> pipe.filter(lambda df: df["sector"] == "tech")(df)["name"].tolist()
            ['Arm']
        """
        require_test("test", test)
        return self._with(Filter(name=step or "filter", test=test), is_named=step is not None)

    @plainly
    def assign(self, *expressions: Any, step: str | None = None, **columns: Any) -> Pipeline:
        """Compute columns row by row, without a model.

        Args:
            expressions: Polars expressions with names, such as `pl.col("a").str.len_chars().alias("n")`.
            step: The name of the step.
            columns: Each a function of the frame, a Polars expression or a constant. For a list of dicts the function
                gets one row.

        Returns:
            A new pipeline.

        Raises:
            SmeltConfigError: There is no column.

        Examples:
            >>> smelt.pipeline().assign(size=lambda df: df["name"].str.len())(df)["size"].tolist()
            [3, 6]
        """
        values = {_output_name(one): one for one in expressions} | columns
        if not values:
            raise SmeltConfigError("assign needs a column: assign(size=lambda df: …).")
        return self._with(Assign(name=step or "assign", values=values), is_named=step is not None)

    @plainly
    def map(self, function: Callable[[Any], Any], *, columns: Any = None, step: str | None = None) -> Pipeline:
        """Call a function on the frame; rows may come and go. Rows that failed are left out, and come after the others.

        Args:
            function: Takes a frame and returns one of the same library. It may be async.
            columns: The columns that it adds: a class with fields, or a dict of names and types.
            step: The name of the step.

        Returns:
            A new pipeline.

        Raises:
            SmeltConfigError: *function* is no function.

        Examples:
            >>> smelt.pipeline().map(lambda df: df.head(1))(df)["name"].tolist()
            ['Arm']
        """
        if not callable(function):
            raise SmeltConfigError.for_type("function", function, "a function that takes a frame and returns one")
        return self._with(Map(name=step or "map", function=function, columns=columns), is_named=step is not None)

    @plainly
    def explode(self, column: str, *, keep_empty: bool = True, step: str | None = None) -> Pipeline:
        """Make a row of each item of a list. The fields of models become columns, and replace *column*.

        Args:
            column: The column of lists: of the input or of an earlier step.
            keep_empty: Whether a row with an empty list or a null stays, with nulls. A row that failed always stays.
            step: The name of the step.

        Returns:
            A new pipeline.

        Raises:
            SmeltConfigError: An argument is wrong.

        Examples:
            >>> smelt.pipeline().explode("tags")([{"id": 1, "tags": ["a", "b"]}])
            [{'id': 1, 'tags': 'a', 'smelt_error': None}, {'id': 1, 'tags': 'b', 'smelt_error': None}]
        """
        if not isinstance(column, str):
            raise SmeltConfigError.for_type("column", column, "the name of a column")
        return self._with(
            Explode(name=step or f"explode {column}", column=column, keep_empty=keep_empty), is_named=step is not None
        )

    @plainly
    def implode(self, *, step: str | None = None) -> Pipeline:
        """Go back to the rows before the last `explode`. Columns that were added since become lists.

        A row that a `filter` removed is in no list. A value that is lacking because a step failed is null in the list,
        and the row gets the first reason of its items.

        Args:
            step: The name of the step.

        Returns:
            A new pipeline.

        Raises:
            SmeltConfigError: *step* is no name. That there is no `explode` before it is said when the pipeline runs.

        Examples:
            >>> pipe = smelt.pipeline().explode("tags").filter(lambda row: row["tags"] != "a").implode()
            >>> pipe([{"id": 1, "tags": ["a", "b"]}])
            [{'id': 1, 'tags': ['b'], 'smelt_error': None}]
        """
        return self._with(Implode(name=step or "implode"), is_named=step is not None)

    @plainly
    def aggregate(
        self,
        prompt: str,
        output_model: OutputModel,
        *,
        by: str | Sequence[str] | None = None,
        strategy: Literal["tree", "fold"] = "tree",
        rows: int = 50,
        fan_in: int = 8,
        step: str | None = None,
        model: Any = None,
        prefix: str = "",
        **options: Unpack[Options],
    ) -> Pipeline:
        """Ask a model about many rows together: one answer, or one to each group. See `smelt.aggregate`.

        Args:
            prompt: What to find out about all rows of a group. `{column}` names the columns to send.
            output_model: As in `transform`.
            by: The columns whose values make the groups. None: all rows are one group.
            strategy: As in `smelt.aggregate`.
            rows: As in `smelt.aggregate`.
            fan_in: As in `smelt.aggregate`.
            step: As in `transform`.
            model: As in `transform`.
            prefix: As in `transform`.
            **options: As in `transform`.

        Returns:
            A new pipeline. After the step there is one row for each group: the columns of *by*, the answer, and
            `smelt_rows`, the number of rows that the answer is about. Rows that failed before are in no answer.

        Raises:
            SmeltConfigError: An argument is wrong.

        Examples:
            >>> said = ScriptedProvider({"summary": "Two companies."})
            >>> pipe = smelt.pipeline(model=said).aggregate("Sum up {name}.", {"summary": str})
            >>> pipe(df)[["summary", "smelt_rows"]].values.tolist()
            [['Two companies.', 2]]
        """
        if strategy not in ("tree", "fold"):
            raise SmeltConfigError.for_value("strategy", strategy, "'tree' or 'fold'")
        keys = () if by is None else (by,) if isinstance(by, str) else tuple(by)
        if not all(isinstance(one, str) for one in keys):
            raise SmeltConfigError.for_type("by", by, "the name of a column, or a list of names")
        asked = Pipeline("", (), None, {}).transform(
            prompt, output_model, step=step, model=model, prefix=prefix, **options
        )
        (ask,) = asked._steps
        assert isinstance(ask, Ask)
        return self._with(
            Aggregate(
                name=ask.name,
                prompt=ask.prompt,
                output_model=output_model,
                model=model,
                options=ask.options,
                prefix=prefix,
                by=keys,
                strategy=strategy,
                rows=integer("rows", rows, 1, 10_000),
                fan_in=integer("fan_in", fan_in, 2, 1_000),
            ),
            is_named=step is not None,
        )

    @plainly
    def branch(self, **branches: Pipeline) -> Pipeline:
        """Carry out several pipelines on the same rows. The columns of each begin with its name, as in `small_draft`.

        Args:
            **branches: The pipelines, by name. Their steps keep the rows: `transform` and `assign`. Their prompts name
                their own columns without the prefix.

        Returns:
            A new pipeline.

        Raises:
            SmeltConfigError: An argument is no pipeline.

        Examples:
            >>> one = smelt.pipeline(model=scripted).transform("Classify {name}.", Company)
            >>> smelt.pipeline().branch(a=one, b=one)(df).columns.tolist()
            ['name', 'a_sector', 'b_sector', 'smelt_error']
        """
        if not branches:
            raise SmeltConfigError("branch needs pipelines by name: branch(small=…, large=…).")
        for label, one in branches.items():
            if not isinstance(one, Pipeline):
                raise SmeltConfigError.for_type(f"branch {label}", one, "a pipeline, made by smelt.pipeline(...)")
        inner = {label: one._steps_with_own() for label, one in branches.items()}
        return self._with(Branch(name="branch " + " ".join(branches), branches=inner), is_named=False)

    @plainly
    def __call__(self, frame: Any, **options: Unpack[Options]) -> Any:
        """Run all steps, and return the frame; for `df.pipe(pipe, max_cost=5)`. See `run`."""
        return self._run(frame, options).frame

    @plainly
    def run(self, frame: Any, **options: Unpack[Options]) -> PipelineResult:
        """Run all steps on *frame*, and block until they are done. Spends money.

        All steps share one ledger, one budget and one deadline. Answers are found again by the text of their rows, so a
        run that was interrupted continues, an added or changed step asks only what is new, and chained calls of
        `transform` share their answers with the pipeline.

        Args:
            frame: A pandas or Polars DataFrame, or a list of dicts. It is not changed.
            **options: See `smelt.call.options.Settings`. `max_cost`, `max_tokens_total`, `deadline`, `ledger`,
                `progress`, `on_error`, `store_inputs` and `error_column` are about the whole run; others are for the
                steps that do not set them.

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
        return self._run(frame, options)

    @plainly
    async def arun(self, frame: Any, **options: Unpack[Options]) -> PipelineResult:
        """`run` as a coroutine, on the running event loop. Spends money.

        Args:
            frame: As in `run`.
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
        checked = self._checked(frame, options)
        return await aexecute(checked, frame, self.name)

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

    def _run(self, frame: Any, options: Mapping[str, Any]) -> PipelineResult:
        return execute(self._checked(frame, options), frame, self.name, awaited="pipe.arun")

    def _checked(self, frame: Any, options: Mapping[str, Any], *, is_sent: bool = True) -> Checked:
        given = {**self._options, **checked_options(options, of_a_step=False)}
        return check(self._steps, adapt(frame), self._model, given, is_sent=is_sent)

    def _with(self, step: Step, *, is_named: bool) -> Pipeline:
        if is_named:
            checked_name("step", step.name)
        return Pipeline(self.name, with_step(self._steps, step, is_named=is_named), self._model, self._options)

    def _steps_with_own(self) -> tuple[Step, ...]:
        """The steps, each with the model and the options of this pipeline, for use in another one."""
        if shared := [name for name in self._options if name in OF_THE_RUN]:
            raise ConfigTypeError(
                f"A branch has {shared[0]}=, which is about the whole run. Give it to the pipeline that has the branch."
            )
        return tuple(self._owning(one) for one in self._steps)

    def _owning(self, step: Step) -> Step:
        if not isinstance(step, Ask):
            return step
        model = self._model if step.model is None else step.model
        return replace(step, model=model, options={**self._options, **step.options})


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


@plainly
def aggregate(
    frame: Any,
    prompt: str,
    output_model: OutputModel,
    *,
    by: str | Sequence[str] | None = None,
    strategy: Literal["tree", "fold"] = "tree",
    rows: int = 50,
    fan_in: int = 8,
    model: Any = None,
    **options: Unpack[Options],
) -> Any:
    """Ask a model about many rows together: one answer, or one to each group. Spends money.

    Rows are cut into parts in their order, and each part is one request. With `"tree"`, the answers to up to *fan_in*
    parts are joined by another request, and so on up to one answer. With `"fold"`, each part is read together with the
    answer to all parts before it. Groups are asked side by side. The ledger keeps every part: if a row is appended,
    only its part and what is above it are asked again. A part that is too long for the model is asked in halves.

    Args:
        frame: As in `transform`.
        prompt: What to find out about all rows. `{column}` names a column to send; without placeholders all are sent
            but those of *by*.
        output_model: As in `transform`.
        by: The columns whose values make the groups. None: all rows are one group.
        strategy: How answers to parts become one: "tree" or "fold".
        rows: The most rows of a part.
        fan_in: The most answers that are joined at once.
        model: As in `transform`.
        **options: See `smelt.call.options.Settings`.

    Returns:
        A frame of the same library with a row for each group, in the order of their first rows: the columns of *by*,
        the answer, `smelt_rows` (the number of rows that the answer is about), and the error column.

    Raises:
        SmeltError: As in `transform`.

    Examples:
        >>> said = ScriptedProvider({"summary": "Two companies."})
        >>> df.smelt.aggregate("Sum up {name}.", {"summary": str}, model=said)["summary"].tolist()
        ['Two companies.']
    """
    of_the_run = {name: one for name, one in options.items() if name in OF_THE_RUN}
    own: Any = {name: one for name, one in options.items() if name not in OF_THE_RUN}
    start = Pipeline("aggregate", (), model, checked_options(of_the_run, of_a_step=False))
    asked = start.aggregate(prompt, output_model, by=by, strategy=strategy, rows=rows, fan_in=fan_in, **own)
    return asked(frame)


def _output_name(expression: Any) -> str:
    name = getattr(getattr(expression, "meta", None), "output_name", None)
    if name is None:
        raise SmeltConfigError.for_type(
            "assign", expression, "a Polars expression, or a column by name: size=lambda df: …"
        )
    return str(name())
