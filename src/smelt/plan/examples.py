"""Examples of rows with their right answers, which the model sees before the rows that it answers.

They are part of the instructions, so they are the same text in every request and providers can cache it. They carry no
row tokens, so no answer can be matched to them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.errors import ColumnError, SchemaError
from smelt.messages import nearest, shown_value
from smelt.plan.kinds import Field, Struct
from smelt.plan.packed import Layout
from smelt.plan.schema import Output
from smelt.plan.validate import InvalidRow, Validator


@dataclass(frozen=True)
class Example:
    """A row with its right answer.

    Attributes:
        row: The columns that are sent, by name.
        answer: The values of the output fields, by their names in replies.
    """

    row: Mapping[str, Any]
    answer: Mapping[str, Any]

    def line(self, fields: Sequence[Field], layout: Layout | None = None) -> str:
        """The example as one line of JSON, with these *fields* of its answer; without their names if in a *layout*."""
        answer: Any = {one.key: self.answer[one.key] for one in fields}
        if layout is not None:
            answer = layout.answer(answer)
        return _json({"row": self.row, "answer": answer})


def read_examples(
    texts: Sequence[str], columns: Sequence[str], output: Output, media: Collection[str] = ()
) -> tuple[Example, ...]:
    """Read examples, given as JSON objects with the *columns* that are sent and the fields of *output*.

    Raises:
        ColumnError: An example lacks a column that is sent, or has a value in a column of *media*.
        SchemaError: It lacks a field, or its answer is not a valid one.
    """
    if not texts:
        return ()
    validator, found = Validator(output), []
    for number, text in enumerate(texts, start=1):
        cells: dict[str, Any] = json.loads(text)
        for name in columns:
            if name not in cells:
                raise ColumnError(f"examples has no column {shown_value(name)}, which is sent.{nearest(name, cells)}")
            if name in media and cells[name] is not None:
                raise ColumnError(no_media(number, name))
        answer = {field.key: _given(field, cells, field.name) for field in output.fields}
        row = {name: cells[name] for name in columns}
        try:
            values, valid = validator.read(answer)
        except InvalidRow as problem:
            raise SchemaError(f"The answer of example {number} is not valid: {problem}.") from None
        if (stray := validator.strayed(values, _json(row))) is not None:
            raise SchemaError(f"The answer of example {number} is not valid: {stray}.")
        found.append(Example(row=row, answer=json.loads(valid)))
    return tuple(found)


def _given(field: Field, cells: Mapping[str, Any], column: str) -> Any:
    """The right answer for *field*, in one *column* or in a column `parent.child` per field of a nested model."""
    if column in cells:
        return cells[column]
    if not isinstance(field.kind, Struct) or not any(name.startswith(f"{column}.") for name in cells):
        raise SchemaError(
            f"examples has no column {shown_value(column)} with the right answers.{nearest(column, cells)}"
        )
    inner = {one.key: _given(one, cells, f"{column}.{one.name}") for one in field.kind.fields}
    is_null = field.kind.nullable and all(value is None for value in inner.values())
    return None if is_null else inner


def no_media(number: int, column: str) -> str:
    """What is said of an example with a medium."""
    return (
        f"examples, row {number}: column {shown_value(column)} holds media, and examples are text only. "
        "Leave the cell empty (None), or describe what it shows in the prompt."
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
