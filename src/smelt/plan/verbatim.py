"""Text that must stand in a column of its row: `smelt.Verbatim`, and the check of answers by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json import loads
from typing import Any

from smelt.errors import ColumnError, SmeltConfigError
from smelt.messages import nearest, shown_value
from smelt.plan.kinds import Array, Field, Kind, Struct, Text

KEYWORD = "verbatim"  # Among the constraints of a kind, so that it is a part of what is asked.


@dataclass(frozen=True, repr=False)
class Verbatim:
    """Declares a text that must stand in a column of its row: `quote: Annotated[str, smelt.Verbatim("review")]`.

    An answer that does not stand there is invalid: the row is asked again, and the model is told why. So no answer is
    made up, and none comes from another row of the request. In a list, each text must stand there. Null is allowed if
    the field may be null, and the empty text always. What is checked is the value after your own validators.

    The column must be among those that are sent. A number or a date in it is compared as the model reads it; in a list
    or struct, the text must stand in one of its values.

    Attributes:
        column: The name of the column.
        ignore_case: Whether `"ACME"` stands in `"Acme Inc"`.
        ignore_space: Whether any run of white space equals one space, and white space at the ends does not count. Line
            breaks are white space.

    Examples:
        >>> smelt.Verbatim("review", ignore_space=True)
        Verbatim('review', ignore_space=True)
    """

    column: str
    ignore_case: bool = False
    ignore_space: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.column, str) or not self.column:
            raise SmeltConfigError(f"Verbatim takes the name of a column, not {shown_value(self.column)}.")
        for name in ("ignore_case", "ignore_space"):
            if not isinstance(getattr(self, name), bool):
                raise SmeltConfigError.for_value(name, getattr(self, name), "True or False")

    def __repr__(self) -> str:
        options = "".join(f", {name}=True" for name in ("ignore_case", "ignore_space") if getattr(self, name))
        return f"Verbatim({self.column!r}{options})"

    @property
    def told(self) -> str:
        """What the model is told."""
        return f"copied character for character from the row's `{self.column}`"

    def stands(self, answer: str, cell: Any) -> bool:
        """Whether *answer* stands in *cell*, which is JSON."""
        sought = self._folded(answer)
        return not sought or any(sought in self._folded(text) for text in _texts(cell))

    def _folded(self, text: str) -> str:
        text = text.casefold() if self.ignore_case else text
        return " ".join(text.split()) if self.ignore_space else text


def has_verbatim(fields: Sequence[Field]) -> bool:
    """Whether answers with *fields* must be compared with their rows."""
    return any(True for field in fields for _ in _rules(field.kind))


def check_columns(fields: Sequence[Field], sent: Sequence[str], known: Sequence[str], media: Sequence[str]) -> None:
    """Refuse text of a column that the model does not read.

    Args:
        fields: The fields of the output model.
        sent: The columns that are sent.
        known: All columns of the data.
        media: The sent columns that hold media.

    Raises:
        ColumnError: There is no such column, or it is not sent as text.
    """
    for field in fields:
        for rule in _rules(field.kind):
            column, problem = rule.column, None
            if column not in known:
                problem = f"which is not a column of the data.{nearest(column, known)}"
            elif column not in sent:
                problem = f"which is not sent, so the model cannot copy from it. Name {{{column}}} in the prompt."
            elif column in media:
                problem = "which holds media. Verbatim compares text."
            if problem is not None:
                raise ColumnError(f"{field.name} must stand in {shown_value(column)}, {problem}")


def strayed(fields: Sequence[Field], values: Sequence[Any], text: str) -> str | None:
    """Which value does not stand in its column, in words for the model; None if all do.

    Args:
        fields: The fields of the output model.
        values: The validated values of a row, one for each field.
        text: The canonical JSON of the row.
    """
    cells = loads(text, parse_int=str, parse_float=str)
    for field, value in zip(fields, values, strict=True):
        for path, rule, answer in _answers(field.kind, value, field.key):
            if not rule.stands(answer, cells.get(rule.column)):
                return f"{path}: it is not in the row's `{rule.column}`; copy it from there, character for character"
    return None


def copied(fields: Sequence[Field], answer: Mapping[str, Any], cells: Mapping[str, Any]) -> dict[str, Any]:
    """A made-up *answer* as JSON, with pieces of the row's *cells* for the texts that must stand in them."""
    return {field.key: _copied(field.kind, answer[field.key], cells) for field in fields}


def _copied(kind: Kind, value: Any, cells: Mapping[str, Any]) -> Any:
    match kind:
        case _ if value is None:
            return None
        case Text(constraints={"verbatim": Verbatim() as rule}):
            text = next(_texts(cells.get(rule.column)), "").strip()
            return text[: len(value)].strip()
        case Array(item=item):
            return [_copied(item, one, cells) for one in value]
        case Struct(fields=fields):
            return copied(fields, value, cells)
        case _:
            return value


def _rules(kind: Kind) -> Iterator[Verbatim]:
    match kind:
        case Array(item=item):
            yield from _rules(item)
        case Struct(fields=fields):
            for field in fields:
                yield from _rules(field.kind)
        case _ if KEYWORD in kind.constraints:
            yield kind.constraints[KEYWORD]


def _answers(kind: Kind, value: Any, path: str) -> Iterator[tuple[str, Verbatim, str]]:
    """Each text of a *value* that must stand in its row, with the way to it."""
    match kind:
        case _ if value is None:
            return
        case Array(item=item):
            for at, one in enumerate(value):
                yield from _answers(item, one, f"{path}.{at}")
        case Struct(fields=fields):
            for field in fields:
                yield from _answers(field.kind, getattr(value, field.name), f"{path}.{field.key}")
        case _ if KEYWORD in kind.constraints:
            yield path, kind.constraints[KEYWORD], value


def _texts(cell: Any) -> Iterator[str]:
    """The texts of a *cell*, which is JSON; numbers are text already, as they were sent."""
    match cell:
        case None:
            return
        case bool():
            yield "true" if cell else "false"
        case list():
            for one in cell:
                yield from _texts(one)
        case dict():
            for one in cell.values():
                yield from _texts(one)
        case _:
            yield str(cell)
