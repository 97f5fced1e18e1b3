"""Opens IN as a Polars plan that reads its rows in pieces."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smelt.cli.arguments import names_in
from smelt.cli.spool import private_folder, spooled
from smelt.cli.tables import is_table, pieces, shown
from smelt.cli.telling import unreadable
from smelt.errors import ColumnError, MissingDependencyError, SmeltConfigError
from smelt.messages import nearest, shown_value

if TYPE_CHECKING:
    from argparse import Namespace

    import polars as pl

STDIN = "-"
_MOST_ROWS = 2**32 - 1
KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}


_TEXTS = ("csv", "tsv", "jsonl")  # Kinds that say only when they are read whether they can be.


@dataclass(frozen=True, kw_only=True)
class Source:
    """The rows that a command reads.

    Attributes:
        plan: The plan that reads them.
        files: The files that they are in; none if they come from elsewhere.
        is_countable: Whether counting the rows is cheap.
    """

    plan: pl.LazyFrame
    files: Sequence[Path] = ()
    is_countable: bool = True

    def rows(self) -> int | None:
        """The number of rows, if it is cheap to know."""
        import polars as pl

        return int(self.plan.select(pl.len()).collect(engine="streaming").item()) if self.is_countable else None


@contextmanager
def opened(written: str, options: Namespace) -> Iterator[Source]:
    """The rows of *written*: a file, a pattern of files, a table, a data set, or `-`.

    Raises:
        SmeltConfigError: There is no such file, or it cannot be read.
        MissingDependencyError: Polars is not installed, or what reads the table.
    """
    require_polars()
    if options.limit is not None and options.limit < 1:
        raise SmeltConfigError(f"--limit must be 1 or more, not {options.limit}.")
    if is_table(written):
        if options.kind is not None:
            raise SmeltConfigError(f"--from says what a file is, and {shown(written)} is none. Leave it out.")
        with private_folder() as folder:
            plan = spooled(pieces(written), folder, shown(written), options.limit)
            yield Source(plan=_limited(plan, options.limit))
        return
    with _files(written, options.kind) as (files, kind):
        plan = _scanned(files, kind, options.text, "The standard input" if written == STDIN else written)
        yield Source(plan=_limited(plan, options.limit), files=() if written == STDIN else files)


def _limited(plan: pl.LazyFrame, limit: int | None) -> pl.LazyFrame:
    return plan if limit is None else plan.head(min(limit, _MOST_ROWS))


def require_polars() -> None:
    """Check that Polars is installed.

    Raises:
        MissingDependencyError: It is not.
    """
    try:
        import polars  # noqa: F401  # Only whether.
    except ImportError:
        raise MissingDependencyError.for_extra("polars", "polars") from None


@contextmanager
def _files(written: str, kind: str | None) -> Iterator[tuple[list[Path], str]]:
    if written != STDIN:
        files = _matching(written)
        kinds = {kind or kind_of(file) for file in files}
        if len(kinds) > 1:
            raise SmeltConfigError(f"{written} matches files of several kinds: {', '.join(sorted(kinds))}.")
        yield files, kinds.pop()
        return
    if sys.stdin is None:
        raise SmeltConfigError("The standard input is closed.")
    with private_folder() as folder:
        file = folder / "stdin"
        with file.open("wb") as whole:
            shutil.copyfileobj(sys.stdin.buffer, whole)
        yield [file], kind or "csv"


def _matching(written: str) -> list[Path]:
    if "\0" in written:
        raise SmeltConfigError(f"{shown_value(written)} is no path.")
    files = [Path(written)]
    if has_magic(written) and not files[0].exists():
        found = sorted(glob(written, recursive=True))  # noqa: PTH207  # The pattern may be absolute.
        files = [Path(one) for one in found if Path(one).is_file()]
        if not files:
            raise SmeltConfigError(f"No file matches {shown_value(written)}.")
    for file in files:
        if not file.is_file():
            is_folder = file.is_dir()
            way = f" It is a folder: write '{written.rstrip('/')}/*.parquet'." if is_folder else ""
            raise SmeltConfigError(f"There is no file {shown_value(written)}.{way}")
        try:
            file.open("rb").close()
        except OSError as problem:
            raise SmeltConfigError(f"{file} cannot be read: {problem.strerror}.") from None
    return files


def kind_of(file: Path) -> str:
    """The kind of a file, by its ending.

    Raises:
        SmeltConfigError: The ending is none that is known.
    """
    kind = KINDS.get(file.suffix.lower())
    if kind is None:
        raise SmeltConfigError(
            f"{file.name}: the ending {file.suffix!r} is not known.{nearest(file.suffix, KINDS)} "
            "--from and --to say what a file is."
        )
    return kind


def _scanned(files: list[Path], kind: str, text: str | None, written: str) -> pl.LazyFrame:
    """A plan over *files*, whose types were tried on every row: later it cannot fail for a cell."""
    import polars as pl

    try:
        plan = _plan(files, kind, text)
        names = plan.collect_schema().names()
        if kind in _TEXTS:
            plan.select(pl.all().count()).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as problem:
        raise unreadable(written, problem) from None
    if not names:
        raise SmeltConfigError(f"{written} has no columns.")
    if any("\0" in name or "\ufffd" in name for name in names):  # Polars replaces what it cannot read in a heading.
        raise SmeltConfigError(f"{written} cannot be read: it is no UTF-8 text.")
    return plan


def _plan(files: list[Path], kind: str, text: str | None) -> pl.LazyFrame:
    import polars as pl

    if kind in ("parquet", "arrow"):
        scan: Any = pl.scan_parquet if kind == "parquet" else pl.scan_ipc
        plan: pl.LazyFrame = scan(files, glob=False)
        return plan
    if kind == "jsonl":
        return pl.scan_ndjson(files, infer_schema_length=None)
    as_written = pl.scan_csv(files, separator=_separator(kind), glob=False, infer_schema=False)
    if text == "*":
        return as_written
    # The types are guessed from all rows, so that none is met later that does not fit.
    guessed = pl.scan_csv(files, separator=_separator(kind), glob=False, infer_schema_length=None).collect_schema()
    texts = names_in(text or "")
    for name in texts:
        if name not in guessed:
            raise ColumnError.for_name(name, guessed)
    texts += _with_leading_zeros(as_written, [name for name, dtype in guessed.items() if dtype.is_integer()])
    schema = {name: pl.String() if name in texts else dtype for name, dtype in guessed.items()}
    return pl.scan_csv(files, separator=_separator(kind), glob=False, schema=schema)


def _with_leading_zeros(plan: pl.LazyFrame, names: Sequence[str]) -> list[str]:
    """Columns that look like numbers and are none, such as zip codes and phone numbers: as numbers they lose digits."""
    import polars as pl

    if not names:
        return []
    tests = [pl.col(name).str.contains(r"^\s*[+-]?0\d").any().alias(name) for name in names]
    (found,) = plan.select(tests).collect(engine="streaming").rows(named=True)
    return [name for name in names if found[name]]


def _separator(kind: str) -> str:
    return "\t" if kind == "tsv" else ","
