"""Checks of all steps before a row is asked: prompts, schemas, keys, prices and limits. Sends nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from smelt.call.conflicts import WHOLE, refuse_whole
from smelt.call.defaults import resolved
from smelt.call.options import NAMES, Settings, unknown_option
from smelt.call.preparation import Preparation, prepare
from smelt.errors import ColumnError, ConfigTypeError, SmeltConfigError
from smelt.frames.base import Frame
from smelt.frames.records import RecordsFrame
from smelt.frames.shaping import shaping_of
from smelt.messages import shown_value
from smelt.pipelines.forks import check_route
from smelt.pipelines.gathering import node_call
from smelt.pipelines.graph import Graph, Node, Problem, asking_nodes
from smelt.pipelines.placement import graph_of
from smelt.pipelines.rows import not_a_list
from smelt.pipelines.steps import Aggregate, Ask, Explode, Step, is_cascade
from smelt.pipelines.tree import ROWS
from smelt.plan.prompt import read_prompt
from smelt.providers.prices import check_priced

OF_THE_RUN = (
    "max_cost",
    "max_tokens_total",
    "deadline",
    "ledger",
    "progress",
    "on_error",
    "store_inputs",
    "error_column",
    "artefacts",
)
"""The options that all steps share."""
_NOT_YET = ("wait", "tail", "extend")


@dataclass(frozen=True, kw_only=True, eq=False)
class Checked:
    """A pipeline that has passed all checks on an input.

    Attributes:
        graph: Its graph.
        calls: For each step that asks, its call about no row.
        common: The options of the whole run.
    """

    graph: Graph
    calls: Mapping[str, Preparation]
    common: Settings


def checked_options(options: Mapping[str, Any], *, of_a_step: bool) -> dict[str, Any]:
    """*options*, each validated.

    Raises:
        SmeltConfigError: An option is unknown or wrong, or it is one of the whole run and was given to a step.
    """
    for name in options:
        if name not in NAMES:
            raise unknown_option(name, NAMES)
        if name in _NOT_YET or (name == "mode" and options[name] == "batch"):
            raise ConfigTypeError(
                f"A pipeline asks now, so it does not take {name}=. For jobs of a Batch API, ask step by step: "
                'frame.smelt.transform(..., mode="batch"). With mode="flex", which costs as little, a pipeline works.'
            )
        if name == "with_confidence":
            raise ConfigTypeError(f"A pipeline does not take {name}=. {WHOLE}")
        if of_a_step and name in OF_THE_RUN:
            raise ConfigTypeError(
                f"{name}= is about the whole run and not about a step. Pass it to smelt.pipeline(...) or when the "
                f"pipeline runs: pipe.run(df, {name}=…)."
            )
    Settings.of(**{name: value for name, value in options.items() if name != "examples"})
    return dict(options)


def check(
    steps: Sequence[Step], frame: Frame, model: Any, options: Mapping[str, Any], *, is_sent: bool = True
) -> Checked:
    """Check all *steps* on *frame*.

    Args:
        steps: The steps.
        frame: The input.
        model: The model of the steps that name none.
        options: The options of the pipeline and the run; those of a step come before them.
        is_sent: Whether anything will be sent. If not, no key is needed.

    Raises:
        SmeltConfigError: A step is wrong; the message names each such step.
    """
    names = frame.names if frame.names or len(frame) else None
    common = resolved({name: one for name, one in options.items() if name != "output"}, str)
    settings, problems = _settings(steps, options)
    graph = graph_of(steps, names, settings, common)
    problems += [one for one in graph.problems if one[0] not in dict(problems)]
    calls: dict[str, Preparation] = {}
    wrong = {name for name, _ in problems}
    for node in graph.nodes:
        if isinstance(node.step, Ask) and node.name not in wrong:
            try:
                calls[node.name] = _call(node, node.step, frame, model, settings[node.name], graph, is_sent=is_sent)
            except SmeltConfigError as problem:
                problems.append((node.name, problem))
        elif isinstance(node.step, Explode) and node.name not in wrong:
            try:
                _require_lists(node, frame, graph)
            except ColumnError as problem:
                problems.append((node.name, problem))
    if problems:
        raise _joined(sorted(problems, key=lambda one: graph.order.index(one[0])))
    return Checked(graph=graph, calls=calls, common=common)


def inner(settings: Settings, graph: Graph) -> Settings:
    """The options of the call of a step: the pipeline itself names the columns, and raises the errors."""
    return replace(settings, on_conflict="replace", error_column=graph.error_column)


def _settings(steps: Sequence[Step], options: Mapping[str, Any]) -> tuple[dict[str, Settings], list[Problem]]:
    settings: dict[str, Settings] = {}
    problems: list[Problem] = []
    for name, step in asking_nodes(steps):
        try:
            settings[name] = resolved({**options, **step.options}, step.output_model)
            if isinstance(step, Aggregate) or not is_cascade(step):
                refuse_whole(settings[name])
            if isinstance(step, Aggregate) and settings[name].votes > 1:
                raise ConfigTypeError(
                    "votes= is about single rows, and this step has one answer to many rows. Leave it out of the step; "
                    "or ask for votes in the steps before it."
                )
            if settings[name].with_confidence is not False:
                raise ConfigTypeError(f"A pipeline does not take with_confidence=. {WHOLE}")
        except SmeltConfigError as problem:
            problems.append((name, problem))
            settings[name] = Settings()
    return settings, problems


def _call(
    node: Node, step: Ask, frame: Frame, model: Any, settings: Settings, graph: Graph, *, is_sent: bool
) -> Preparation:
    """The call of a step about no row, after all checks that need none."""
    known = RecordsFrame([])
    known.know(RecordsFrame([dict.fromkeys(node.scope)]))
    inputs = [name for name in node.needs if name in graph.inputs and graph.kinds.get(name) is None]
    if inputs and frame.names:
        here = {real: local for local, real in node.scope.items()}
        media = {real: one for real, local in here.items() if (one := settings.media.get(local)) is not None}
        frame.rows([name for name in inputs if name in frame.names] or None, media)  # Refuses what has no text.
    for made in node.makes:
        if made.kind is not None:
            frame.require(made.name, made.kind)
    if step.route is not None:
        real = node.scope.get(step.route, "") if isinstance(step.route, str) else ""
        labels = [one.step.label for one in graph.nodes if one.of == node.of and isinstance(one.step, Ask)]
        is_input = real in frame.names and step.where is None
        is_input = is_input and not any(real in _made(one) or one.step.verb in ("map", "filter") for one in graph.nodes)
        check_route(node, step, labels, frame, graph.kinds.get(real), is_input=is_input)
    asked, own = model if step.model is None else step.model, inner(settings, graph)
    if isinstance(step, Aggregate):
        call = node_call(step, text_of(node, step), asked, own, ROWS, is_sent=is_sent)
    elif is_cascade(step):
        from smelt.call.ladder import prepare_all  # Imported late: most pipelines have none.

        call = prepare_all([], step.prompt, step.output_model, asked, own, adapt=lambda data: known, is_sent=is_sent)
    else:
        call = prepare([], step.prompt, step.output_model, asked, own, adapt=lambda data: known, is_sent=is_sent)
    if settings.max_cost is not None:
        check_priced(call.provider)
    return call


def _require_lists(node: Node, frame: Frame, graph: Graph) -> None:
    """Refuse a column of the input that has something else than lists: the letters of a text are no items."""
    column = node.needs[0]
    earlier = graph.nodes[: graph.nodes.index(node)]
    if column not in frame.names or any(one.step.verb == "map" or column in _made(one) for one in earlier):
        return
    shaping = shaping_of(frame.native)
    values = shaping.values(shaping.column(frame, column))
    if strange := [one for one in values if one is not None and not isinstance(one, list | tuple)]:
        raise not_a_list(column, strange[0])


def _made(node: Node) -> list[str]:
    return [made.name for made in node.makes]


def text_of(node: Node, step: Ask) -> str:
    """The prompt of a step as the model sees it."""
    return read_prompt(step.prompt, tuple(node.scope) or None).text  # An empty list of dicts has no columns.


def _joined(problems: Sequence[Problem]) -> SmeltConfigError:
    """One error that says all *problems*; of their class, if they have one."""
    by_message: dict[str, list[str]] = {}
    for name, problem in problems:
        by_message.setdefault(str(problem), []).append(name)
    kinds = {type(problem) for _, problem in problems}
    kind = kinds.pop() if len(kinds) == 1 else SmeltConfigError
    lines = [f"{_named(names)}: {message}" for message, names in by_message.items()]
    if len(lines) == 1:
        return kind(lines[0])
    return kind("\n".join([f"{len(lines)} things are wrong with the steps, and nothing was sent.", *lines]))


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(map(shown_value, names))
    return f"Step {shown}" if len(names) == 1 else f"Steps {shown}"
