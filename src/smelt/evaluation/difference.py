"""How two results about the same rows differ: `SmeltResult.diff`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from smelt.evaluation.differing import Pairs, aligned, cells_of, parts_of
from smelt.evaluation.scores import Share
from smelt.evaluation.summary import html_table
from smelt.frames.adapt import adapt
from smelt.frames.names import resolve_names
from smelt.frames.overview import floats, integers, table, texts
from smelt.frames.shaping import shaping_of
from smelt.messages import counted, printable

if TYPE_CHECKING:
    from smelt.result import SmeltResult

_FIRST, _SECOND, _FIELDS = "first", "second", "smelt_differs"


@dataclass(frozen=True, kw_only=True)
class FieldDifference:
    """How the answers to one field differ.

    Attributes:
        field: Dotted path of the field.
        differ: The rows with different answers, out of the rows that both results answer.
        only_first: Rows that only the first result answers.
        only_second: Rows that only the second result answers.
    """

    field: str
    differ: Share
    only_first: int
    only_second: int


class Difference:
    """How two results about the same rows differ. Which of them is right, it does not know.

    Attributes:
        rows: Rows of the input.
        fields: What differs, by the dotted path of the field.
        differ: The rows that differ in any field, out of all rows. A row that only one of the two answers differs, too.
        lacking: Fields that only one of the two results has, which are not compared.

    Examples:
        >>> first = df.smelt.run("Classify {name}.", Company, model=scripted)
        >>> second = df.smelt.run("Classify {name}.", Company, model=ScriptedProvider({"sector": "tech"}))
        >>> found = first.diff(second)
        >>> found.fields["sector"].differ.count, found.fields["sector"].differ.of
        (1, 2)
        >>> found.disagreements[["name", "sector (first)", "sector (second)"]].values.tolist()
        [['Sanofi', 'health', 'tech']]
    """

    def __init__(self, first: SmeltResult[Any], second: SmeltResult[Any]) -> None:
        """Compare all rows now.

        Raises:
            SmeltConfigError: The results are not about the same rows, or have no field in common.
        """
        self._first, self._second = first, second
        self._pairs = aligned(first, second)
        self._answers = _answers(self._pairs)
        self.rows = len(self._pairs.places)
        self.lacking = self._pairs.lacking
        self._differing = [self._fields_of(row) for row in range(self.rows)]
        self.fields: Mapping[str, FieldDifference] = {field: self._field(field) for field in self._answers}
        self.differ = Share(count=sum(map(bool, self._differing)), of=self.rows)

    @cached_property
    def table(self) -> Any:
        """One row per field, as a frame of the library of the input.

        Columns: `field`; `rows` that both results answer; `differ`, how many of them have different answers; `rate`,
        their share, with the bounds `low` and `high` of its 95 % interval; `only_first` and `only_second`, the rows
        that only one of the results answers.
        """
        found = list(self.fields.values())
        shares = [one.differ for one in found]
        columns = [
            texts("field", [one.field for one in found]),
            integers("rows", [one.of for one in shares]),
            integers("differ", [one.count for one in shares]),
            floats("rate", [one.value for one in shares]),
            floats("low", [one.interval and one.interval[0] for one in shares]),
            floats("high", [one.interval and one.interval[1] for one in shares]),
            integers("only_first", [one.only_first for one in found]),
            integers("only_second", [one.only_second for one in found]),
        ]
        return table(self._first.frame, columns)

    @cached_property
    def disagreements(self) -> Any:
        """The rows that differ, as a frame of the library of the first result, with its index and in its order.

        Columns: those of the input; `<field> (first)` and `<field> (second)` for each column of answers that both
        results have; `smelt_differs`, the fields that differ, and `(error)` if only one result answers the row.
        """
        rows = [row for row, names in enumerate(self._differing) if names]
        frames = [
            adapt(adapt(result.frame).take([self._pairs.places[row][at] for row in rows]))
            for at, result in enumerate((self._first, self._second))
        ]
        shapings = [shaping_of(one.native) for one in frames]
        kept = [name for name in frames[0].names if name not in self._pairs.added]
        made = shapings[0].view(frames[0], {name: name for name in kept})
        wanted = [f"{field} ({of})" for field in self._pairs.columns for of in (_FIRST, _SECOND)]
        names, _ = resolve_names(kept, [*wanted, _FIELDS], "smelt_error", "suffix")
        for field, columns in self._pairs.columns.items():
            for of, frame, shaping, column in zip((_FIRST, _SECOND), frames, shapings, columns, strict=True):
                values = shaping.column(frame, column)
                if shaping is not shapings[0]:
                    values = shapings[0].made(made, shaping.values(values))
                made = shapings[0].with_column(made, names[f"{field} ({of})"], values)
        told = shapings[0].made(made, [", ".join(self._differing[row]) for row in rows])
        return shapings[0].with_column(made, names[_FIELDS], told)

    def __repr__(self) -> str:
        return "\n".join([f"Difference({self._headline()})", *(f"  {name}: {text}" for name, text in self._lines())])

    def _repr_html_(self) -> str:
        lines = html_table(None, [[name, text] for name, text in self._lines()])
        return f"<div><strong>Difference</strong> {escape(self._headline())}{lines}</div>"

    def _headline(self) -> str:
        models = f"{printable(self._first.model)} and {printable(self._second.model)}"
        return f"{self.differ.count:,} of {counted(self.rows, 'row')} differ, {models}"

    def _lines(self) -> list[tuple[str, str]]:
        lines = [(one.field, _in_words(one)) for one in self.fields.values()]
        return [*lines, *([("not compared", ", ".join(self.lacking))] if self.lacking else [])]

    def _field(self, field: str) -> FieldDifference:
        first, second = self._pairs.answered
        both = sum(one and other for one, other in zip(first, second, strict=True))
        return FieldDifference(
            field=field,
            differ=Share(count=sum(field in names for names in self._differing), of=both),
            only_first=sum(first) - both,
            only_second=sum(second) - both,
        )

    def _fields_of(self, row: int) -> list[str]:
        is_answered = [one[row] for one in self._pairs.answered]
        if not all(is_answered):
            return ["(error)"] if any(is_answered) else []
        return [field for field, (one, other) in self._answers.items() if one[row] != other[row]]


def _answers(pairs: Pairs) -> dict[str, tuple[Sequence[Any], Sequence[Any]]]:
    """The answers of both results by field, row by row; a nested model is replaced by its own fields."""
    found: dict[str, tuple[Sequence[Any], Sequence[Any]]] = {}
    for field, columns in pairs.columns.items():
        one, other = (cells_of(frame, column) for frame, column in zip(pairs.frames, columns, strict=True))
        one, other = ([cells[row[at]] for row in pairs.places] for at, cells in enumerate((one, other)))
        found |= {name: (part(one), part(other)) for name, part in parts_of(field, [*one, *other])}
    return found


def _in_words(found: FieldDifference) -> str:
    share = found.differ
    if share.value is None or share.interval is None:
        words = "no row that both answer"
    else:
        low, high = share.interval
        words = f"{share.count:,} of {share.of:,} differ ({share.value:.1%}; 95% interval {low:.1%} to {high:.1%})"
    alone = [(found.only_first, "first"), (found.only_second, "second")]
    return ", ".join([words, *(f"{count:,} answered by the {of} only" for count, of in alone if count)])
