"""Reads rows of DuckDB, of any database with a driver for SQLAlchemy, and of data sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smelt.cli.telling import unreadable
from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.messages import nearest, shown_value

if TYPE_CHECKING:
    import polars as pl

_TABLE = re.compile(r"(duckdb|hf):|[a-z][a-z0-9_]*(\+[a-z0-9_]+)?://")
_ASKED = re.compile(r"[?&](query|table)=(.*)", re.DOTALL)  # The rest of the word, as it is.
_PASSWORD = re.compile(r"//.*@")
_AT_ONCE = 50_000  # Rows of a piece of Arrow data.
_TUPLES_AT_ONCE = 10_000  # Rows of a piece of Python values, or of a data set, which may have pictures.


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a word such as `duckdb:sales.duckdb?table=orders` names.

    Attributes:
        place: The word without its query.
        table: The table whose rows are meant.
        query: Or the query.
    """

    place: str
    table: str | None = None
    query: str | None = None

    @classmethod
    def of(cls, written: str) -> Table:
        """Read a word."""
        match = _ASKED.search(written)
        if match is None:
            return cls(place=written)
        return cls(place=written[: match.start()], **{match[1]: match[2]})

    @property
    def name(self) -> str:
        """What errors call it: without the query, and without what may be a password."""
        return _PASSWORD.sub("//…@", self.place)

    def sql(self, tables: Callable[[], Sequence[str]], quoted: Callable[[str], str]) -> str:
        """The query to run.

        Args:
            tables: The tables that there are, in case none is named.
            quoted: The name of a table as it stands in a query.

        Raises:
            SmeltConfigError: No table is named, and there is not exactly one; or there is none of that name.
        """
        if self.query is not None:
            return self.query
        known = list(tables())
        if self.table is None and len(known) != 1:
            listed = ", ".join(known[:8]) or "none"
            raise SmeltConfigError(
                f"{self.name}: say which rows, with ?table=NAME or '?query=SELECT …'. The tables: {listed}."
            )
        name = known[0] if self.table is None else self.table
        if "." not in name and name not in known:
            raise SmeltConfigError(f"{self.name}: there is no table {shown_value(name)}.{nearest(name, known)}")
        return f"SELECT * FROM {quoted(name)}"


def is_table(written: str) -> bool:
    """Whether *written* names rows of a database or a data set, and not a file."""
    return _TABLE.match(written) is not None


def shown(written: str) -> str:
    """*written* for a message: without a query, and without what may be a password."""
    return Table.of(written).name if is_table(written) else written


def pieces(written: str) -> Iterator[pl.DataFrame]:
    """The rows of *written*, piece by piece.

    Raises:
        SmeltConfigError: They cannot be read.
        MissingDependencyError: An extra is not installed.
    """
    if written.startswith("hf:"):
        from smelt.cli.hub import pieces_of

        return pieces_of(written.removeprefix("hf:"), _TUPLES_AT_ONCE)
    asked = Table.of(written)
    return _of_duckdb(asked) if written.startswith("duckdb:") else _of_sql(asked)


def _of_duckdb(asked: Table) -> Iterator[pl.DataFrame]:
    import polars as pl

    try:
        import duckdb
    except ModuleNotFoundError:
        raise MissingDependencyError.for_extra("duckdb", "duckdb") from None
    path = asked.place.removeprefix("duckdb:").removeprefix("//")
    if path and not Path(path).is_file():
        raise SmeltConfigError(f"There is no file {shown_value(path)}.")
    try:
        with duckdb.connect(path or ":memory:", read_only=bool(path)) as connection:

            def tables() -> list[str]:
                return [name for (name,) in connection.execute("SHOW TABLES").fetchall()]

            relation = connection.sql(asked.sql(tables, _in_quotes))
            if relation is None:
                raise SmeltConfigError(f"{asked.name}: the query gives no rows. It must be one SELECT.")
            named = enumerate(zip(_distinct(relation.columns), relation.types, strict=True), start=1)
            columns = [f"{_readable(f'#{at}', str(kind))} AS {_in_quotes(name)}" for at, (name, kind) in named]
            with closing(relation.project(", ".join(columns)).to_arrow_reader(_AT_ONCE)) as reader:
                yield pl.DataFrame(reader.schema.empty_table())
                for batch in reader:
                    yield pl.DataFrame(batch)
    except duckdb.Error as problem:
        raise unreadable(asked.name, problem) from None


_IN_WORDS = re.compile(
    r"\b(U?HUGEINT|BIGNUM|VARINT|UUID|INTERVAL|BIT|MAP|UNION|ENUM|JSON|VARIANT|GEOMETRY)\b|WITH TIME ZONE"
)


def _readable(column: str, kind: str) -> str:
    """A column of a query, of a kind that Polars can read: as text, if it cannot read its own."""
    if _IN_WORDS.search(kind) is None or kind == "TIMESTAMP WITH TIME ZONE":
        return column
    text = f"to_json({column})" if kind.endswith(("]", ")")) and not kind.startswith("ENUM") else column
    return f"CAST({text} AS VARCHAR)"


def _in_quotes(name: str) -> str:
    return f'"{name.replace(chr(34), chr(34) * 2)}"'


def _of_sql(asked: Table) -> Iterator[pl.DataFrame]:
    try:
        import sqlalchemy
    except ModuleNotFoundError:
        raise MissingDependencyError.for_extra("sql", "sqlalchemy") from None
    try:
        url = sqlalchemy.make_url(asked.place)
        if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).is_file():
            raise SmeltConfigError(f"There is no file {shown_value(url.database)}.")
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:

            def tables() -> list[str]:
                there = sqlalchemy.inspect(connection)
                return [*there.get_table_names(), *there.get_view_names()]

            def quoted(name: str) -> str:
                quote = engine.dialect.identifier_preparer.quote_identifier
                return ".".join(quote(part) for part in name.split("."))

            sql = asked.sql(tables, quoted)
            streaming = connection.execution_options(stream_results=True, max_row_buffer=_TUPLES_AT_ONCE)
            found = streaming.exec_driver_sql(sql)
            if not found.returns_rows:
                raise SmeltConfigError(f"{asked.name}: the query gives no rows. It must be one SELECT.")
            names = list(found.keys())
            yield from (_of_tuples(names, part) for part in _parts(found))
    except ModuleNotFoundError as problem:
        raise SmeltConfigError(f"{asked.name} needs the package {problem.name}: pip install {problem.name}.") from None
    except sqlalchemy.exc.NoSuchModuleError:
        kind = asked.name.partition(":")[0]
        raise SmeltConfigError(f"{asked.name}: {kind} is no database that is known. Download a file first.") from None
    except sqlalchemy.exc.SQLAlchemyError as problem:
        raise unreadable(asked.name, getattr(problem, "orig", None) or problem) from None


def _parts(found: Any) -> Iterator[Sequence[Any]]:
    """The rows of a result in parts; one without rows if there are none, because it has the columns."""
    part = found.fetchmany(_TUPLES_AT_ONCE)
    yield part
    while part := found.fetchmany(_TUPLES_AT_ONCE):
        yield part


def _of_tuples(names: Sequence[str], rows: Sequence[Any]) -> pl.DataFrame:
    import polars as pl

    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pl.DataFrame([_column(name, values) for name, values in zip(_distinct(names), columns, strict=True)])


def _column(name: str, values: Sequence[Any]) -> pl.Series:
    """A column of one type: its own, or text if the database put several into it, or one that Polars has not."""
    import polars as pl

    kinds = {type(one) for one in values} - {type(None)}
    if kinds <= {int, float} and len(kinds) == 2:
        return pl.Series(name, values, dtype=pl.Float64, strict=False)
    if len(kinds) > 1 or not kinds <= _plain():
        return pl.Series(name, [None if one is None else str(one) for one in values], dtype=pl.String)
    return pl.Series(name, values, strict=True)


def _plain() -> frozenset[type]:
    from datetime import date, datetime, time, timedelta
    from decimal import Decimal

    return frozenset([bool, int, float, str, bytes, date, datetime, time, timedelta, Decimal])


def _distinct(names: Sequence[str]) -> list[str]:
    """*names*, each once: a join may give two columns one name."""
    found: dict[str, None] = {}
    for name in names:
        at, free = 2, name
        while free in found:
            at, free = at + 1, f"{name}_{at}"
        found[free] = None
    return list(found)
