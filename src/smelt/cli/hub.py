"""Reads data sets of Hugging Face: by their name, or from a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smelt.cli.telling import unreadable
from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.messages import nearest, shown_value

if TYPE_CHECKING:
    import polars as pl

_NAMED = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:/(?P<config>[\w.-]+))??(?:/(?P<split>[\w.-]+))?")
_FIRST = re.compile(r"(.*)\[:(\d+)\]", re.DOTALL)
_WAY = "Write hf:owner/name/split, hf:owner/name/split[:1000], hf:owner/name/config/split, or hf:FOLDER"


def pieces_of(written: str, at_once: int) -> Iterator[pl.DataFrame]:
    """The rows of the data set that *written* names, at most *at_once* in a piece.

    Raises:
        SmeltConfigError: There is none, or it has several splits, or it cannot be read.
        MissingDependencyError: The extra `hf` is not installed.
    """
    try:
        import datasets
    except ModuleNotFoundError:
        raise MissingDependencyError.for_extra("hf", "datasets") from None
    match = _FIRST.fullmatch(written)
    name, most = (match[1], int(match[2])) if match else (written, None)
    datasets.disable_progress_bars()
    try:
        found = _found(datasets, name)
    except (OSError, ValueError, RuntimeError) as problem:  # It holds names of files and addresses, and no cell.
        if isinstance(problem, SmeltConfigError):
            raise
        raise SmeltConfigError(f"hf:{name} cannot be read: {str(problem).splitlines()[0][:200].rstrip('.')}.") from None
    try:
        yield from _pieces(datasets, found if most is None else found.take(most), at_once)
    except (OSError, ValueError, RuntimeError) as problem:
        raise unreadable(f"hf:{name}", problem) from None


def _found(datasets: Any, name: str) -> Any:
    """The one split that *name* means."""
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        is_saved = any((folder / one).is_file() for one in ("state.json", "dataset_dict.json"))
        return _one(datasets.load_from_disk(str(folder)) if is_saved else _streamed(datasets, str(folder)), name)
    if name and (folder.parent / "dataset_dict.json").is_file():
        return _one(datasets.load_from_disk(str(folder.parent)), str(folder.parent), folder.name)
    match = _NAMED.fullmatch(name)
    if match is None:
        raise SmeltConfigError(f"hf:{name} is no folder and no name of a data set. {_WAY}.")
    return _one(_streamed(datasets, match["name"], match["config"]), name, match["split"])


def _streamed(datasets: Any, path: str, config: str | None = None) -> Any:
    return datasets.load_dataset(path, config, streaming=True)


def _one(found: Any, name: str, split: str | None = None) -> Any:
    if not isinstance(found, Mapping):
        return found
    if split is None and len(found) == 1:
        return next(iter(found.values()))
    if split not in found:
        missing = "say which split" if split is None else f"there is no split {shown_value(split)}"
        hint = nearest(split or "", list(found)) if split else ""
        raise SmeltConfigError(f"hf:{name}: {missing}.{hint} The splits: {', '.join(map(str, found))}.")
    return found[split]


def _pieces(datasets: Any, found: Any, at_once: int) -> Iterator[pl.DataFrame]:
    import polars as pl

    labels = {
        name: dict(enumerate(feature.names))
        for name, feature in (found.features or {}).items()
        if isinstance(feature, datasets.ClassLabel) and feature.names
    }
    words = [pl.col(name).replace_strict(known, default=None, return_dtype=pl.String) for name, known in labels.items()]
    for table in found.with_format("arrow").iter(batch_size=at_once):
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        yield frame.with_columns(words)
