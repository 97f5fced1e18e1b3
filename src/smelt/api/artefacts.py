"""`smelt.batch.read`: a result of the files of jobs."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeVar, overload

from smelt.call.artefacts import result_of
from smelt.errors import SmeltConfigError
from smelt.result import SmeltResult
from smelt.tracebacks import plainly

T = TypeVar("T")


@overload
def read(path: str | PathLike[str], output_model: type[T]) -> SmeltResult[T]: ...
@overload
def read(path: str | PathLike[str], output_model: Any) -> SmeltResult[Any]: ...
@plainly
def read(path: str | PathLike[str], output_model: Any) -> SmeltResult[Any]:
    """The result that the files of jobs hold, which `artefacts=` wrote. Sends nothing, and needs no key and no ledger.

    The rows are the distinct rows of the jobs, in the order in which they were sent: their columns that were sent, the
    columns of the answer, and the error column. A row that went into several jobs has the answer of the last one that
    answered it. Rows that were asked live, such as the proof and the last rows, are not in these files. A medium is
    `{"media": "image/png"}`. Lines that are damaged, or belong to no request, cost only themselves, and a warning
    counts them.

    Args:
        path: The folder of `artefacts=`, or that of one job in it.
        output_model: The output model of the call that made the jobs. Each answer is validated against it.

    Returns:
        The result. Its `frame` is a list of dicts, which `pandas.DataFrame` and `polars.DataFrame` take. The metrics
        count what the provider reported for the lines in these files.

    Raises:
        SmeltConfigError: The folder has no job that can be read, its jobs asked for other fields, or they have
            different prompts or models: then give the folder of one job.

    Examples:
        >>> smelt.batch.read("out", Company)
        Traceback (most recent call last):
        smelt.errors.SmeltConfigError: out has no jobs to read. Give the folder of artefacts=, in which a call with ...
    """
    if not isinstance(path, str | PathLike):
        raise SmeltConfigError(f"path must be a path, not a {type(path).__name__}.")
    return result_of(Path(fspath(path)), output_model).result()
