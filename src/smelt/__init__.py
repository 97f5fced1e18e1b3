"""Typed LLM transforms for pandas and Polars: many rows per request, every answer on its own row.

    out = df.smelt.transform("Classify {name} by what {desc} says.", Company, model="openai:gpt-4.1-mini")

Importing smelt registers the `.smelt` accessor on pandas and Polars frames and loads neither of them, nor any SDK. The
rooms, from the outside in; imports point inward only (docs/architecture.md has them all):

    api                   what users call: functions, `Job`, accessors
    call                  one call: options, checks, execution, outcome
    lanes, engine         pacing; the loop that asks, and the table that decides
    ledger, providers     plugged into the engine through protocols
    frames                rows out, typed columns in
    plan                  rows, schema, wire, chunks: values in, values out
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from smelt.api.register import register as _register
from smelt.errors import (
    BudgetExceededError,
    SmeltAPIError,
    SmeltConfigError,
    SmeltError,
    SmeltExhaustionError,
    SmeltInterrupt,
    SmeltValidationError,
    SmeltWarning,
    StoreError,
)

if TYPE_CHECKING:
    from smelt import batch, ledger, observe, providers
    from smelt.api.aggregates import AggregateJob, aggregate
    from smelt.api.classify import classify
    from smelt.api.functions import (
        arun,
        as_completed,
        astream,
        atransform,
        audit,
        compare,
        estimate,
        evaluate,
        explain,
        preview,
        run,
        stream,
        transform,
        tune,
    )
    from smelt.api.job import Job
    from smelt.api.loading import load_pipeline
    from smelt.api.models import load_models, register_model
    from smelt.api.own_code import worker, wrap
    from smelt.api.pipelines import Pipeline, pipeline
    from smelt.api.prompts import amap_prompts, map_prompts
    from smelt.call.defaults import configure
    from smelt.call.estimate import Estimate
    from smelt.call.explanation import Explanation
    from smelt.checkup.doctor import doctor
    from smelt.checkup.findings import Checkup
    from smelt.evaluation.comparison import Comparison
    from smelt.evaluation.difference import Difference
    from smelt.evaluation.summary import Evaluation
    from smelt.model import Model
    from smelt.observe.metrics import Metrics
    from smelt.plan.mediacolumns import Audio, Document, Image
    from smelt.plan.verbatim import Verbatim
    from smelt.providers.base import Provider
    from smelt.providers.server import Server
    from smelt.result import RowError, SmeltMetrics, SmeltResult
    from smelt.scale import dask, ray, spark
    from smelt.scale.mapper import Mapper
    from smelt.scale.schema import schema
    from smelt.streaming.completion import RowAnswer
    from smelt.streaming.rows import RowAnswers
    from smelt.streaming.stream import AsyncStream, Stream

__version__ = "0.1.0"

_ROOMS = {  # Loaded by the first look, like the engine.
    "batch": "smelt.batch",
    "dask": "smelt.scale.dask",
    "ledger": "smelt.ledger",
    "observe": "smelt.observe",
    "providers": "smelt.providers",
    "ray": "smelt.scale.ray",
    "spark": "smelt.scale.spark",
}
_LATE = {
    "AggregateJob": "smelt.api.aggregates",
    "AsyncStream": "smelt.streaming.stream",
    "Audio": "smelt.plan.mediacolumns",
    "Checkup": "smelt.checkup.findings",
    "Comparison": "smelt.evaluation.comparison",
    "Difference": "smelt.evaluation.difference",
    "Document": "smelt.plan.mediacolumns",
    "Estimate": "smelt.call.estimate",
    "Evaluation": "smelt.evaluation.summary",
    "Explanation": "smelt.call.explanation",
    "Image": "smelt.plan.mediacolumns",
    "Job": "smelt.api.job",
    "Mapper": "smelt.scale.mapper",
    "Metrics": "smelt.observe.metrics",
    "Model": "smelt.model",
    "Pipeline": "smelt.api.pipelines",
    "Provider": "smelt.providers.base",
    "RowAnswer": "smelt.streaming.completion",
    "RowAnswers": "smelt.streaming.rows",
    "RowError": "smelt.result",
    "Server": "smelt.providers.server",
    "SmeltMetrics": "smelt.result",
    "SmeltResult": "smelt.result",
    "Stream": "smelt.streaming.stream",
    "Verbatim": "smelt.plan.verbatim",
    "aggregate": "smelt.api.aggregates",
    "amap_prompts": "smelt.api.prompts",
    "arun": "smelt.api.functions",
    "as_completed": "smelt.api.functions",
    "astream": "smelt.api.functions",
    "atransform": "smelt.api.functions",
    "audit": "smelt.api.functions",
    "classify": "smelt.api.classify",
    "compare": "smelt.api.functions",
    "configure": "smelt.call.defaults",
    "doctor": "smelt.checkup.doctor",
    "estimate": "smelt.api.functions",
    "evaluate": "smelt.api.functions",
    "explain": "smelt.api.functions",
    "load_models": "smelt.api.models",
    "load_pipeline": "smelt.api.loading",
    "map_prompts": "smelt.api.prompts",
    "pipeline": "smelt.api.pipelines",
    "preview": "smelt.api.functions",
    "register_model": "smelt.api.models",
    "run": "smelt.api.functions",
    "schema": "smelt.scale.schema",
    "stream": "smelt.api.functions",
    "transform": "smelt.api.functions",
    "tune": "smelt.api.functions",
    "worker": "smelt.api.own_code",
    "wrap": "smelt.api.own_code",
}
"""Where each name is that `import smelt` does not load: so it takes a third of the time, and `smelt --help` too."""


def _accessor() -> type:
    from smelt.api.accessor import FrameAccessor

    return FrameAccessor


def _lazy_accessor() -> type:
    from smelt.api.lazy import LazyAccessor

    return LazyAccessor


def _series_accessor() -> type:
    from smelt.api.series import SeriesAccessor

    return SeriesAccessor


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(_ROOMS[name])
    if name in _LATE:
        globals()[name] = found = getattr(import_module(_LATE[name]), name)
        return found
    raise AttributeError(f"module 'smelt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)  # And not the modules, which are ours to change.


_register("smelt", pandas=_accessor, polars=_accessor, lazy=_lazy_accessor, series=_series_accessor)

__all__ = [
    "AggregateJob",
    "AsyncStream",
    "Audio",
    "BudgetExceededError",
    "Checkup",
    "Comparison",
    "Difference",
    "Document",
    "Estimate",
    "Evaluation",
    "Explanation",
    "Image",
    "Job",
    "Mapper",
    "Metrics",
    "Model",
    "Pipeline",
    "Provider",
    "RowAnswer",
    "RowAnswers",
    "RowError",
    "Server",
    "SmeltAPIError",
    "SmeltConfigError",
    "SmeltError",
    "SmeltExhaustionError",
    "SmeltInterrupt",
    "SmeltMetrics",
    "SmeltResult",
    "SmeltValidationError",
    "SmeltWarning",
    "StoreError",
    "Stream",
    "Verbatim",
    "__version__",
    "aggregate",
    "amap_prompts",
    "arun",
    "as_completed",
    "astream",
    "atransform",
    "audit",
    "batch",
    "classify",
    "compare",
    "configure",
    "dask",
    "doctor",
    "errors",
    "estimate",
    "evaluate",
    "explain",
    "ledger",
    "load_models",
    "load_pipeline",
    "map_prompts",
    "observe",
    "pipeline",
    "preview",
    "providers",
    "ray",
    "register_model",
    "run",
    "schema",
    "spark",
    "stream",
    "transform",
    "tune",
    "worker",
    "wrap",
]
