"""The verbs of a pipeline that ask a model: about each row, about many rows, and in branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, Literal, Self, Unpack

from smelt.api.chain import Chain
from smelt.api.job import OutputModel
from smelt.call.options import Options
from smelt.checks import integer
from smelt.errors import SmeltConfigError
from smelt.messages import shown_value
from smelt.pipelines.checks import checked_options
from smelt.pipelines.steps import Aggregate, Ask, Branch, Implode, Implosion, require_test, step_name
from smelt.tracebacks import plainly


class Questions(Chain):
    """The verbs that ask a model."""

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
        route: Any = None,
        **options: Unpack[Options],
    ) -> Self:
        """Ask a model about each row, and add the answer as columns.

        Args:
            prompt: What to find out. `{column}` names a column of the input or of an earlier step; only these are sent,
                and only the steps that make them are waited for. Without placeholders every column is sent.
            output_model: As in `smelt.transform`.
            step: The name of the step. By default the name of the model in snake case, or that of the first column.
            model: The model to ask; by default that of the pipeline. With *route*, models by label:
                `{"easy": "fast", "hard": "anthropic:claude-sonnet-4-5"}`.
            prefix: Begins the name of each new column, so that two steps can have one output model.
            where: The rows to ask: a function of the frame that gives a mask, or a Polars expression. For a list of
                dicts the function gets one row. The other rows are null, without an error. A function may read every
                column, so a row that failed in an earlier step is not passed to it and not asked.
            route: Which of several models a row goes to: the name of a column with labels, or a function or expression
                that gives them. A row whose label is null is not asked, without an error; one whose label names no
                model fails. The step then is several: `reply.easy` and `reply.hard`, each with its metrics.
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
        if where is not None:
            require_test("where", where)
        ask = _asking(prompt, output_model, step, _models(model, route), prefix, options)
        return self._with(replace(ask, where=where, route=route), is_named=step is not None)

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
    ) -> Self:
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
        keys = () if by is None else (by,) if isinstance(by, str) else tuple(by)
        if not all(isinstance(one, str) for one in keys):
            raise SmeltConfigError.for_type("by", by, "the name of a column, or a list of names")
        ask = _asking(prompt, output_model, step, _models(model, None), prefix, options)
        gathered = Aggregate(**vars(ask), by=keys, **_shape(strategy, rows, fan_in))
        return self._with(gathered, is_named=step is not None)

    @plainly
    def implode(
        self,
        prompt: str | None = None,
        output_model: OutputModel = None,
        *,
        strategy: Literal["tree", "fold"] = "tree",
        rows: int = 50,
        fan_in: int = 8,
        step: str | None = None,
        model: Any = None,
        prefix: str = "",
        **options: Unpack[Options],
    ) -> Self:
        """Go back to the rows before the last `explode`: with lists, or with one answer to all items of a row.

        Without a prompt nothing is asked, and columns that were added since become lists. A row that a `filter` removed
        is in no list. A value that is lacking because a step failed is null in the list, and the row gets the first
        reason of its items.

        Args:
            prompt: What to find out about all items of a row. `{column}` names a column to send; without placeholders
                those that were added since the explode are sent.
            output_model: As in `transform`; by default free text. Only with *prompt*, as all of the following.
            strategy: As in `smelt.aggregate`.
            rows: The most items of a part, as in `smelt.aggregate`.
            fan_in: As in `smelt.aggregate`.
            step: The name of the step.
            model: As in `aggregate`.
            prefix: As in `transform`.
            **options: As in `transform`.

        Returns:
            A new pipeline. With a prompt, a row has the answer and `smelt_rows`, the number of items that it is about.
            Items that failed before are in no answer. A row without an item has null and 0, without an error.

        Raises:
            SmeltConfigError: An argument is wrong. That there is no `explode` before it is said when the pipeline runs.

        Examples:
            >>> pipe = smelt.pipeline().explode("tags").filter(lambda row: row["tags"] != "a").implode()
            >>> pipe([{"id": 1, "tags": ["a", "b"]}])
            [{'id': 1, 'tags': ['b'], 'smelt_error': None}]
        """
        if prompt is None:
            given = {"output_model": output_model, "model": model, **options}
            if unused := next((name for name, value in given.items() if value is not None), None):
                raise SmeltConfigError(f"implode asks only with a prompt, so {unused}= needs one.")
            return self._with(Implode(name=step or "implode"), is_named=step is not None)
        asked = str if output_model is None else output_model
        ask = _asking(prompt, asked, step, _models(model, None), prefix, options)
        return self._with(Implosion(**vars(ask), **_shape(strategy, rows, fan_in)), is_named=step is not None)

    @plainly
    def branch(self, **branches: Chain) -> Self:
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
            if not isinstance(one, Chain):
                raise SmeltConfigError.for_type(f"branch {label}", one, "a pipeline, made by smelt.pipeline(...)")
        inner = {label: one._steps_with_own() for label, one in branches.items()}
        return self._with(Branch(name="branch " + " ".join(branches), branches=inner), is_named=False)


def _models(model: Any, route: Any) -> Any:
    """What `model=` gives, which has several models exactly if there is a *route*."""
    if route is None:
        if isinstance(model, Mapping):
            raise SmeltConfigError("model= has several models. Say which row goes to which: route='column'.")
        return model
    if not isinstance(model, Mapping) or not model:
        raise SmeltConfigError.for_type("model", model, "a dict of labels and models, because there is a route=")
    if not isinstance(route, str):
        require_test("route", route)
    labels = [one.value if isinstance(one, Enum) else one for one in model]
    if wrong := [one for one in labels if not isinstance(one, str | int) or not str(one).strip()]:
        raise SmeltConfigError(f"The labels of model= are texts, whole numbers or bools, not {shown_value(wrong[0])}.")
    return dict(zip(labels, model.values(), strict=True))


def _shape(strategy: object, rows: int, fan_in: int) -> dict[str, Any]:
    """How many rows become one answer."""
    if strategy not in ("tree", "fold"):
        raise SmeltConfigError.for_value("strategy", strategy, "'tree' or 'fold'")
    return {
        "strategy": strategy,
        "rows": integer("rows", rows, 1, 10_000),
        "fan_in": integer("fan_in", fan_in, 2, 1_000),
    }


def _asking(
    prompt: object, output_model: OutputModel, step: str | None, model: Any, prefix: object, options: Any
) -> Ask:
    """The step that these arguments describe."""
    if not isinstance(prompt, str):
        raise SmeltConfigError.for_type("prompt", prompt, "a string")
    if not isinstance(prefix, str):
        raise SmeltConfigError.for_type("prefix", prefix, "a string")
    given = checked_options({**options}, of_a_step=True)
    name = step_name(step, output_model, given.get("output"), prefix)
    return Ask(name=name, prompt=prompt, output_model=output_model, model=model, options=given, prefix=prefix)
