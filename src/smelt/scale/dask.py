"""A transform of a Dask DataFrame."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from smelt.api.job import Job
from smelt.call.options import Options
from smelt.errors import SmeltConfigError
from smelt.scale.mapper import Mapper, answer
from smelt.scale.marks import marked, metrics_of_result
from smelt.scale.metrics import JobMetrics

if TYPE_CHECKING:
    import dask.dataframe as dd


def transform(
    frame: dd.DataFrame,
    prompt: str,
    output_model: Any,
    *,
    model: Any = None,
    workers: int = 1,
    **options: Unpack[Options],
) -> dd.DataFrame:
    """`smelt.transform` of a Dask DataFrame, as a step of its graph. Sends nothing now; computing it spends money.

    A partition is one run, and keeps its index. Partitions of 5,000 to 20,000 rows keep many requests in flight; below,
    a worker mostly waits for the last replies of each. Computing `head` or `len` asks whole partitions.

    Args:
        frame: The Dask DataFrame.
        prompt: As in `smelt.transform`.
        output_model: As in `smelt.transform`.
        model: As in `smelt.transform`. Workers take the key from their own environment; see `Model(key_env=)`.
        workers: How many processes compute the graph at the same time: each takes its share of `rpm`, `tpm` and
            `concurrency`, if they are set.
        **options: See `smelt.call.options.Settings`.

    Returns:
        A Dask DataFrame whose `_meta` has the dtypes of the result.

    Raises:
        SmeltConfigError: An argument is wrong, or the job has limits and no pacer; raised here, before workers start.
    """
    if not hasattr(frame, "map_partitions") or not hasattr(getattr(frame, "_meta", None), "columns"):
        raise SmeltConfigError.for_type("frame", frame, "a Dask DataFrame, such as dask.dataframe.read_parquet(path)")
    mapper = Mapper(Job(prompt, output_model, **options), model, workers=workers)
    return marked(frame.map_partitions(partial(_answered, mapper), meta=mapper.schema(frame._meta).pandas), mapper)


def metrics(frame: dd.DataFrame) -> JobMetrics:
    """What all workers asked, paid and finished so far for a result of `transform`. Sends nothing, computes nothing.

    A partition that is computed again, whatever the reason, counts once; its requests all count.

    Args:
        frame: What `transform` returned; not what was made of it.

    Returns:
        The figures, from the pacer that `SMELT_PACER` names, else from the ledger of this machine.

    Raises:
        SmeltConfigError: *frame* is something else, the pacer does not answer, or there is neither pacer nor ledger.
    """
    return metrics_of_result("frame", frame)


def _answered(mapper: Mapper, partition: Any, partition_info: dict[str, Any] | None = None) -> Any:
    return answer(mapper, partition, "" if partition_info is None else f"partition {partition_info['number']}")
