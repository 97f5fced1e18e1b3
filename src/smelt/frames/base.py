"""The adapter protocol for frame libraries: read rows as canonical JSON, attach typed columns by position.

An adapter is made once per call. It works on a snapshot of the caller's frame and never changes the frame. The adapters
`pandas`, `polars`, `records` and (for streams only) `arrow` have the same members in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from smelt.errors import ColumnError, ColumnTypeError, SmeltConfigError
from smelt.frames.mediacolumn import MediaColumn
from smelt.plan.cells import NULL, cell_text, object_texts
from smelt.plan.kinds import Kind
from smelt.plan.media import MediaText, media_of
from smelt.plan.mediacolumns import Declared
from smelt.plan.rows import Unsendable

Reader = Callable[[Any], list[str]]
"""Returns the JSON fragments of one column for a block of positions (converted by the `prepare` of `Rows`)."""

NONE_DECLARED: Mapping[str, Declared] = MappingProxyType({})
CELL_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)
_PROBED = 20  # Maximum values checked to decide whether an object column can be sent.


@dataclass(frozen=True, kw_only=True)
class OutputColumn:
    """One column to attach.

    Attributes:
        name: Its final name.
        kind: The kind of its values; None for the error column, which is nullable text.
        values: Validated pydantic values, one per row; None for a row without one.
    """

    name: str
    kind: Kind | None
    values: Sequence[Any]


class Frame(Protocol):
    """A snapshot of the caller's frame."""

    @property
    def native(self) -> Any:
        """The caller's own frame."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, as strings."""
        ...

    def __len__(self) -> int: ...

    def rows(self, columns: Sequence[str] | None = None, media: Mapping[str, Declared] = NONE_DECLARED) -> Rows:
        """The rows as JSON: the named columns, or all. Other columns are not read.

        Args:
            columns: Their names.
            media: The columns that the caller declares to hold media. Others hold media if their cells can be nothing
                else.

        Raises:
            ColumnError: A column is missing or named twice, or its type has no text form.
        """
        ...

    def labels(self, positions: Sequence[int]) -> list[object]:
        """The index labels at *positions*; the positions themselves if the frame has no index."""
        ...

    def take(self, positions: Sequence[int]) -> Any:
        """A native frame of the rows at *positions*, in that order."""
        ...

    def require(self, field: str, kind: Kind) -> None:
        """Refuse a *field* of this *kind* if its column needs a package that is not installed.

        Raises:
            MissingDependencyError: The package is missing; the message names the field and the extra.
        """
        ...

    def attach(self, columns: Sequence[OutputColumn], dropped: Sequence[str] = ()) -> Any:
        """A native frame without the *dropped* columns and with *columns* appended, aligned by position.

        Everything else (index, order, dtypes, attrs) is unchanged.
        """
        ...


class Rows:
    """The rows of some columns, serialised one block at a time. A `RowSource`.

    Attributes:
        media_names: The columns that hold media, or may hold them in a later frame.
    """

    def __init__(
        self,
        columns: Mapping[str, Reader],
        count: int,
        *,
        prepare: Callable[[Sequence[int]], Any] = lambda positions: positions,
    ) -> None:
        self._columns = dict(columns)
        self._count = count
        self._prepare = prepare
        self.media_names = tuple(name for name, one in self._columns.items() if isinstance(one, MediaColumn))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are sent."""
        return tuple(self._columns)

    def __len__(self) -> int:
        return self._count

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        """Canonical JSON objects of the rows at *positions*, in that order."""
        parts, refused = self.cells(positions)
        texts: list[str | Unsendable] = list(object_texts(self.names, parts, len(positions)))
        if self.media_names:
            texts = [_with_media(text, cells) for text, *cells in zip(texts, *parts, strict=True)]
        for place, reason in refused.items():
            texts[place] = reason
        return texts

    def cells(self, positions: Sequence[int]) -> tuple[list[list[str]], dict[int, Unsendable]]:
        """The JSON of each column of the rows at *positions*; and by place in these, why a row has no text."""
        block = self._prepare(positions)
        refused: dict[int, Unsendable] = {}
        return [self._fragments(name, block, positions, refused) for name in self._columns], refused

    def _fragments(self, name: str, block: Any, positions: Sequence[int], refused: dict[int, Unsendable]) -> list[str]:
        read = self._columns[name]
        try:
            return read(block)
        except CELL_ERRORS:
            pass  # One cell made the whole block fail: read the rows one by one to find it.
        fragments = []
        for place, position in enumerate(positions):
            try:
                fragments += read(self._prepare([position]))
            except CELL_ERRORS as error:
                refused.setdefault(place, refusal(name, error))
                fragments.append(NULL)
        return fragments


def _with_media(text: Any, cells: Sequence[str]) -> Any:
    """The *text* of a row with the media of its *cells*."""
    media = tuple(one for cell in cells for one in media_of(cell))
    return MediaText(text, media) if media else text


def chosen(columns: Sequence[str] | None, names: Sequence[str]) -> Sequence[str]:
    """The *columns* to send, checked against the existing *names*; None means all.

    Raises:
        ColumnError: A column is missing or named twice, or the list is empty.
    """
    if columns is None:
        return names
    if not isinstance(columns, list | tuple) or not all(isinstance(name, str) for name in columns):
        raise ColumnError(f"columns must be a list of column names, not {type(columns).__name__} {columns!r:.80}.")
    if not columns:
        raise ColumnError("columns is empty. Name at least one column, or leave it out to send all.")
    known = set(names)
    for name in columns:
        if name not in known:
            raise ColumnError.for_name(name, names)
    require_distinct(columns)
    return columns


def require_distinct(names: Iterable[str]) -> None:
    """Refuse duplicate names, and names that are not valid Unicode.

    Raises:
        ColumnError: A name is refused; the message names the columns.
    """
    seen: set[str] = set()
    if doubled := {name for name in names if name in seen or seen.add(name)}:  # type: ignore[func-returns-value]
        listed = ", ".join(map(repr, sorted(doubled)))
        raise ColumnError(f"More than one column is called {listed} (names are compared as text). Rename them first.")
    for name in seen:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ColumnError(f"The column name {name!a} has half of a surrogate pair. Rename it first.") from None


def require_text(name: str, values: Iterable[Any]) -> None:
    """Refuse an object column if its first non-null values have no text form.

    Raises:
        ColumnError: The column is refused; the message names the column and the type.
    """
    problems: list[str] = []
    for value in values:
        try:
            if value is not None and cell_text(value) != NULL:
                return
        except TypeError as error:
            problems.append(str(error))
        except CELL_ERRORS:
            return  # The problem is this value, not its type.
        if len(problems) == _PROBED:
            break
    if problems:
        raise no_text(name, problems[0])


def no_text(name: str, problem: str) -> ColumnError:
    """The error for a column whose type has no text form."""
    hint = ""
    if problem.endswith("Path"):
        hint = f" If it names images or PDFs, pass media=[{name!r}]."
    elif problem in ("binary values", "a value of type bytes"):
        hint = f" If each cell is one image, PDF or clip, pass media=[{name!r}]: a broken one then costs only its row."
    return ColumnTypeError(
        f"Column {name!r} holds {problem}, which cannot be sent as text. Leave it out with columns=[...], or convert "
        f"it first.{hint}"
    )


def require_lengths(columns: Sequence[OutputColumn], count: int) -> None:
    """Refuse columns without exactly one value per row: pandas and Polars would broadcast or cut some of them."""
    for column in columns:
        if len(column.values) != count:
            raise ValueError(f"Column {column.name!r} has {len(column.values)} values for {count} rows.")


def misfit(what: str, found: int, rows: int) -> SmeltConfigError:
    """The error for a column that a user's function made, and that has not one value for each row."""
    return SmeltConfigError(f"{what} gave {found:,} values for {rows:,} rows. It must give one value for each row.")


def refusal(name: str, error: Exception) -> Unsendable:
    """Why a row cannot be sent whose cell in the column *name* raised *error*."""
    return Unsendable(f"column {name!r}: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Why a cell has no text form. Uses only smelt's own words: a library's message may quote the cell."""
    match error:
        case UnicodeError():
            return "text with half of a surrogate pair"
        case OverflowError():
            return "a time outside the years 1 to 9999"
        case RecursionError():
            return "nested too deeply"
        case _:
            return str(error) if type(error) in (TypeError, ValueError) else "a value that has no text"
