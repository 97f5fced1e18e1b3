"""The columns that a call adds to a frame: their names, and the fields that they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from smelt.call.options import Settings
from smelt.errors import SchemaError
from smelt.frames.base import Frame
from smelt.frames.names import resolve_names
from smelt.plan.kinds import Field, Struct
from smelt.plan.probabilities import asked_output, declared
from smelt.plan.schema import Output
from smelt.trust.calibration import Calibrator


@dataclass(frozen=True, kw_only=True)
class Column:
    """An output column: its name, and the field that it shows.

    Attributes:
        name: Name of the column in the frame.
        path: Field names, from the output model down to the field.
        field: The field at the end of the path.
    """

    name: str
    path: tuple[str, ...]
    field: Field


@dataclass(frozen=True, kw_only=True)
class Added:
    """What a call adds to a frame.

    Attributes:
        output: The fields to ask for.
        columns: The output columns.
        confidences: The columns of confidence: the name of each, by the field that it is about.
        error_column: Name of the error column.
        dropped: Columns of the frame that output columns replace.
    """

    output: Output
    columns: tuple[Column, ...]
    confidences: dict[str, str]
    error_column: str
    dropped: tuple[str, ...]


def added_to(frame: Frame, output_model: Any, settings: Settings) -> Added:
    """What a call with *output_model* and *settings* adds to *frame*.

    Raises:
        SmeltConfigError: The output model is wrong, its columns do not go into such a frame, or their names collide.
    """
    output = asked_output(output_model, text_column=settings.output, via=settings.via)
    wanted = columns_of(output, flatten=settings.flatten)
    # A score that was not calibrated is not shown: it is no confidence.
    is_told = settings.with_confidence if settings.votes > 1 else isinstance(settings.with_confidence, Calibrator)
    asked = declared(output.fields) if is_told else ()
    leaves = [".".join(path) for path, _ in _paths(asked, (), flatten=True)]
    told = {leaf: f"{leaf}_confidence" for leaf in leaves}
    names = [*(one.name for one in wanted), *told.values()]
    final, dropped = resolve_names(frame.names, names, settings.error_column, settings.on_conflict)
    columns = tuple(replace(one, name=final[one.name]) for one in wanted)
    for column in columns:
        frame.require(".".join(column.path), column.field.kind)
    return Added(
        output=output,
        columns=columns,
        confidences={leaf: final[name] for leaf, name in told.items()},
        error_column=final[settings.error_column],
        dropped=tuple(dropped),
    )


def columns_of(output: Output, *, flatten: bool) -> tuple[Column, ...]:
    """The columns that *output* becomes, by the names of its fields.

    Raises:
        SchemaError: Two columns have one name.
    """
    wanted = [
        Column(name=".".join(path) if flatten else path[0], path=path, field=field)
        for path, field in _paths(output.fields, (), flatten)
    ]
    if doubled := [name for name, count in Counter(one.name for one in wanted).items() if count > 1]:
        raise SchemaError(f"With flatten=True two columns are called {doubled[0]!r}. Rename one of the fields.")
    return tuple(wanted)


def _paths(fields: Sequence[Field], above: tuple[str, ...], flatten: bool) -> list[tuple[tuple[str, ...], Field]]:
    found: list[tuple[tuple[str, ...], Field]] = []
    for one in fields:
        path = (*above, one.name)
        if flatten and isinstance(one.kind, Struct):
            found += _paths(one.kind.fields, path, flatten)
        else:
            found.append((path, one))
    return found
