"""A transform of a Dask DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from smelt.api.job import Job
from smelt.call.options import Options
from smelt.errors import SmeltConfigError
from smelt.scale.mapper import Mapper

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
        SmeltConfigError: An argument is wrong, or an option holds for a whole run; raised here, before workers start.
    """
    if not hasattr(frame, "map_partitions") or not hasattr(frame, "_meta"):
        raise SmeltConfigError.for_type("frame", frame, "a Dask DataFrame, such as dask.dataframe.read_parquet(path)")
    mapper = Mapper(Job(prompt, output_model, **options), model, workers=workers)
    return frame.map_partitions(mapper, meta=mapper.schema(frame._meta).pandas)
