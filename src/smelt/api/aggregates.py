"""`smelt.aggregate` and `AggregateJob`: one answer to many rows, without a pipeline around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack

from smelt.api.job import OutputModel, with_limits
from smelt.api.pipelines import Pipeline
from smelt.call.options import Options
from smelt.checks import integer
from smelt.errors import SmeltConfigError
from smelt.messages import shown_value
from smelt.pipelines.checks import OF_THE_RUN, checked_options
from smelt.pipelines.outlook import PipelineEstimate
from smelt.pipelines.result import PipelineResult, answers_of
from smelt.plan.kinds import TEXT_COLUMN
from smelt.plan.schema import read_output
from smelt.result import SmeltResult
from smelt.tracebacks import plainly


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
    shape = {"by": by, "strategy": strategy, "rows": rows, "fan_in": fan_in}
    return _pipeline(prompt, output_model, model, shape, options)(frame)


class AggregateJob:
    """A question about many rows together, ready to run on data: one answer, or one to each group.

    Nothing is sent before `run` or a similar method is called.

    Examples:
        >>> said = ScriptedProvider({"summary": "Two companies."})
        >>> smelt.AggregateJob("Sum up {name}.", {"summary": str}).run(said, data=df).data
        [{'summary': 'Two companies.'}]
    """

    @plainly
    def __init__(
        self,
        prompt: str,
        output_model: OutputModel = None,
        *,
        by: str | Sequence[str] | None = None,
        strategy: Literal["tree", "fold", "sequential"] = "tree",
        fan_in: int = 8,
        max_retries: int | None = None,
        stop_on_exhaustion: bool | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Describe a job. The arguments are those of `smelt.aggregate`, under the names that smelt-ai gives them.

        Args:
            prompt: As in `smelt.aggregate`.
            output_model: As in `smelt.aggregate`. None asks for free text.
            by: As in `smelt.aggregate`.
            strategy: As in `smelt.aggregate`. "sequential" is another word for "fold".
            fan_in: As in `smelt.aggregate`.
            max_retries: Maximum paid answers for a part after the first one: `max_attempts` minus 1.
            stop_on_exhaustion: Whether the first part that fails ends the run; True means `on_error="raise"`. If not,
                the rows of such a part are in no answer, and `result.errors` says why.
            **options: See `smelt.call.options.Settings`. `batch_size` is the most rows of a part: 50 by default.

        Raises:
            SmeltConfigError: An argument is wrong.
        """
        given: dict[str, Any] = {**options}
        if given.get("flatten"):
            raise SmeltConfigError(
                "An AggregateJob gives whole answers in result.data. Use smelt.aggregate(flatten=True)."
            )
        rows = given.pop("batch_size", 50)
        with_limits(given, max_retries, stop_on_exhaustion)
        shape = {
            "by": by,
            "strategy": "fold" if strategy == "sequential" else strategy,
            "rows": integer("batch_size", rows, 1, 10_000),
            "fan_in": fan_in,
        }
        self.prompt = prompt
        self.output_model = str if output_model is None else output_model
        self._output = given.get("output") or TEXT_COLUMN
        self._pipe = _pipeline(prompt, self.output_model, None, shape, given)

    def __repr__(self) -> str:
        name = getattr(self.output_model, "__name__", self.output_model)
        return f"AggregateJob({shown_value(self.prompt)}, {name})"

    @plainly
    def run(self, model: Any = None, *, data: Any) -> SmeltResult[Any]:
        """Ask *model* about all rows of *data* together, and block this thread until the run ends. Spends money.

        Args:
            model: As in `Job.run`.
            data: A pandas or Polars DataFrame, or a list of dicts. It is not changed.

        Returns:
            The answers: `data` has one instance of the output model for each group (one in all, without *by*), or None
            if it failed; `frame` is what `smelt.aggregate` gives. Such a result has no report.

        Raises:
            SmeltError: As in `Job.run`.

        Examples:
            >>> said = ScriptedProvider({"text": "Two companies."})
            >>> smelt.AggregateJob("Sum up {name}.").run(said, data=df).data
            ['Two companies.']
        """
        return self._result(self._pipe.using(model).run(data))

    @plainly
    async def arun(self, model: Any = None, *, data: Any) -> SmeltResult[Any]:
        """`run` as a coroutine, on the running event loop. Spends money.

        Args:
            model: As in `Job.run`.
            data: As in `run`.

        Returns:
            The answers, as from `run`.

        Raises:
            SmeltError: As in `run`.

        Examples:
            >>> import asyncio
            >>> said = ScriptedProvider({"text": "Two companies."})
            >>> asyncio.run(smelt.AggregateJob("Sum up {name}.").arun(said, data=df)).success
            True
        """
        return self._result(await self._pipe.using(model).arun(data))

    @plainly
    def estimate(self, model: Any = None, *, data: Any) -> PipelineEstimate:
        """Estimate requests, tokens and dollars. Sends nothing.

        Args:
            model: As in `Job.run`.
            data: As in `run`.

        Returns:
            An estimate, if no part has to be asked twice.

        Raises:
            SmeltConfigError: An argument is wrong.

        Examples:
            >>> smelt.AggregateJob("Sum up {name}.").estimate(scripted, data=df).requests
            1
        """
        return self._pipe.using(model).estimate(data)

    def _result(self, found: PipelineResult) -> SmeltResult[Any]:
        (step,) = found.steps.values()
        return SmeltResult(
            metrics=found.metrics,
            model=step.model,
            data=lambda: answers_of(found, read_output(self.output_model, text_column=self._output)),
            frame=lambda: found.frame,
            errors=lambda: found.errors,
            report=_no_report,
        )


def _pipeline(
    prompt: str, output_model: OutputModel, model: Any, shape: dict[str, Any], options: Mapping[str, Any]
) -> Pipeline:
    """A pipeline of one step that aggregates: *shape* are its own arguments, *options* those of it and of the run."""
    of_the_run = {name: one for name, one in options.items() if name in OF_THE_RUN}
    own: Any = {name: one for name, one in options.items() if name not in OF_THE_RUN}
    start = Pipeline("aggregate", (), model, checked_options(of_the_run, of_a_step=False))
    return start.aggregate(prompt, output_model, **shape, **own)


def _no_report() -> Any:
    raise SmeltConfigError("An aggregate has no report. Its frame, errors and metrics are in the result.")
