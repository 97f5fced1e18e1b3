"""Makes the `Inspection` of a pipeline: sends nothing, and needs no key and no input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smelt.call.defaults import resolved, setting
from smelt.frames.adapt import adapt
from smelt.messages import clean
from smelt.model import Model, read_model
from smelt.pipelines.checks import check
from smelt.pipelines.graph import Graph, Node, asking_nodes
from smelt.pipelines.inspection import Inspection, StepInfo
from smelt.pipelines.placement import graph_of
from smelt.pipelines.steps import Aggregate, Ask, Step


def inspected(name: str, steps: Sequence[Step], model: Any, options: Mapping[str, Any], frame: Any) -> Inspection:
    """The steps at their places.

    Args:
        name: The name of the pipeline.
        steps: Its steps.
        model: Its default model.
        options: Its options.
        frame: The input, or None.

    Raises:
        SmeltConfigError: A step is wrong.
    """
    graph = _graph(steps, options) if frame is None else check(steps, adapt(frame), model, options, is_sent=False).graph
    return Inspection(
        name=name,
        inputs=None if frame is None else graph.inputs,
        steps=tuple(_info(node, model) for node in graph.nodes),
        columns=(*graph.columns, graph.error_column),
    )


def _graph(steps: Sequence[Step], options: Mapping[str, Any]) -> Graph:
    settings = {node: resolved({**options, **step.options}, step.output_model) for node, step in asking_nodes(steps)}
    graph = graph_of(steps, None, settings, resolved(dict(options), str))
    for _, problem in graph.problems:
        raise problem
    return graph


def _info(node: Node, model: Any) -> StepInfo:
    step = node.step
    asks = isinstance(step, Ask)
    own = _options(step) if isinstance(step, Ask) else {}
    return StepInfo(
        name=node.name,
        verb=step.verb,
        reads=node.reads,
        writes=tuple(made.name for made in node.makes),
        after=node.after,
        model=_named(step.model if step.model is not None else model) if isinstance(step, Ask) else "",
        prompt=step.prompt if isinstance(step, Ask) else "",
        options=", ".join(f"{name}={clean(str(value))}" for name, value in own.items()) if asks else "",
    )


def _options(step: Ask) -> dict[str, Any]:
    """The options of a step, and what chooses its rows."""
    found: dict[str, Any] = dict(step.options)
    if isinstance(step, Aggregate) and step.by:
        found["by"] = ", ".join(step.by)
    if step.where is not None:
        found["where"] = "…"
    if step.route is not None:
        found["route"] = f"{step.route if isinstance(step.route, str) else '…'} is {step.label}"
    return found


def _named(model: Any) -> str:
    """A model in words; nothing of it but provider and name is shown."""
    if isinstance(model, list | tuple):
        return " then ".join(map(_named, model))
    if model is None and (model := setting("model")) is None:
        return "the default model"
    found: Any = read_model(model)
    if isinstance(found, Model):
        return f"{found.provider}:{found.name}"
    provider, name = getattr(found, "name", ""), getattr(found, "model", "")
    return f"{provider}:{name}" if isinstance(provider, str) and isinstance(name, str) else type(found).__name__
