"""A transform of a Spark DataFrame."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from smelt.api.job import Job
from smelt.call.options import Options
from smelt.errors import CollisionError, SmeltConfigError
from smelt.frames.ddl import recast
from smelt.scale.keys import secret_variables, warn_of_shown
from smelt.scale.mapper import Mapper, answers
from smelt.scale.marks import marked, metrics_of_result
from smelt.scale.metrics import JobMetrics

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

_HIDDEN = r"(?i)secret|password|token|access[.]?key"  # What spark.redaction.regex is by itself.
_OF_EXECUTORS = "spark.executorEnv."  # Settings that begin so are environment variables of executors.


def transform(
    frame: DataFrame,
    prompt: str,
    output_model: Any,
    *,
    model: Any = None,
    workers: int = 1,
    **options: Unpack[Options],
) -> DataFrame:
    """`smelt.transform` of a Spark DataFrame, as a step of its plan. Sends nothing now; each action spends money.

    A partition is one run over its batches of `spark.sql.execution.arrow.maxRecordsPerBatch` rows (10,000). Several
    actions on the result ask several times; rows that the ledger of a machine knows cost nothing. A filter on input
    columns after the step does not save rows: filter before it. Spark tries a failed task again, also one that a wrong
    key ended, up to `spark.task.maxFailures` times; with a pacer (`SMELT_PACER`) these tries ask nothing.

    Args:
        frame: The Spark DataFrame.
        prompt: As in `smelt.transform`.
        output_model: As in `smelt.transform`.
        model: As in `smelt.transform`. Executors take the key from their own environment; see `Model(key_env=)`.
        workers: How many tasks run at the same time: each takes its share of `rpm`, `tpm` and `concurrency`, if they
            are set.
        **options: See `smelt.call.options.Settings`.

    Returns:
        A Spark DataFrame with the output columns and the error column. A `Literal` is a string.

    Raises:
        SmeltConfigError: An argument is wrong, or the job has limits and no pacer; raised here, before a task starts.
    """
    if not hasattr(type(frame), "mapInArrow"):  # A Column has every name.
        raise SmeltConfigError.for_type("frame", frame, "a Spark DataFrame")
    mapper = Mapper(Job(prompt, output_model, **options), model, workers=workers)
    _check_keys(frame, mapper)
    is_exact = str(frame.sparkSession.conf.get("spark.sql.caseSensitive")).lower() == "true"
    schema, names = told(frame.schema, mapper, is_exact=is_exact), frame.columns
    if any("." in name or "`" in name for name in names):  # mapInArrow would look for a field `b` of a column `a`.
        frame = frame.toDF(*(f"_{at}" for at in range(len(names))))
    return marked(frame.mapInArrow(partial(answered, mapper, names=names), schema), mapper)


def metrics(frame: DataFrame) -> JobMetrics:
    """What all workers asked, paid and finished so far for a result of `transform`. Sends nothing, computes nothing.

    A partition that is asked again, by another action or another try, counts once; its requests all count.

    Args:
        frame: What `transform` returned; not what was made of it.

    Returns:
        The figures, from the pacer that `SMELT_PACER` names, else from the ledger of this machine.

    Raises:
        SmeltConfigError: *frame* is something else, the pacer does not answer, or there is neither pacer nor ledger.
    """
    return metrics_of_result("frame", frame)


def _check_keys(frame: DataFrame, mapper: Mapper) -> None:
    """Warn of secrets in the settings of Spark, which hides only those whose names it knows."""
    settings = frame.sparkSession.conf
    hidden = settings.get("spark.redaction.regex", None) or _HIDDEN
    secrets = secret_variables(mapper.model)
    given = [name for name in secrets if settings.get(f"{_OF_EXECUTORS}{name}", None) is not None]
    with suppress(re.error):  # It is one of Java.
        given = [name for name in given if not re.search(hidden, f"{_OF_EXECUTORS}{name}")]
    where = "Spark shows its settings spark.executorEnv in its event log and its REST API"
    instead = "Set it where executors start instead, or have spark.redaction.regex match its name."
    warn_of_shown(mapper.model, given, where, instead)


def told(schema: StructType, mapper: Mapper, *, is_exact: bool = False) -> StructType:
    """What *mapper* makes of a Spark frame with this *schema*, whose own columns keep their types.

    Args:
        schema: The schema.
        mapper: The mapper.
        is_exact: Whether names that differ only in case are two names, which they are not by Spark's own setting.

    Raises:
        SmeltConfigError: Python cannot have a column of the frame, or as `Mapper.schema`.
    """
    from pyspark.errors import PySparkTypeError
    from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
    from pyspark.sql.types import StructType

    try:
        like = to_arrow_schema(schema, timezone="UTC")
    except (PySparkTypeError, ValueError) as problem:  # The latter for a map of nothing.
        why = str(problem).rstrip(".")
        raise SmeltConfigError(f"Spark hands no such column to Python: {why}. Drop or cast it first.") from None
    found = mapper.schema(like).arrow
    kept = len(found) - len(mapper.schema().arrow)
    own, added = found.names[:kept], found.names[kept:]
    taken = {} if is_exact else {name.lower(): name for name in own}
    if same := next((name for name in added if name.lower() in taken), None):
        raise CollisionError(
            f"The frame has {taken[same.lower()]!r}, and the step adds {same!r}: Spark does not tell them apart. "
            "Rename one of them, or set spark.sql.caseSensitive to true."
        )
    return StructType([*(schema[name] for name in own), *[*from_arrow_schema(found)][kept:]])


def answered(mapper: Mapper, batches: Iterator[Any], *, names: Sequence[str] | None = None) -> Iterator[Any]:
    """The batches of a partition with their answers, of types that Spark reads. Spends money.

    Args:
        mapper: The mapper.
        batches: The batches.
        names: What their columns are called, if Spark calls them otherwise here.

    Yields:
        The batches.
    """
    spark = sys.modules.get("pyspark")  # It is loaded in a worker of Spark.
    context = None if spark is None else spark.TaskContext.get()
    name = "" if context is None else f"partition {context.partitionId()}"
    called = batches if names is None else (batch.rename_columns(list(names)) for batch in batches)
    return (recast(batch) for batch in answers(mapper, called, name))
