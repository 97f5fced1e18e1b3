"""Checks of the options that name columns or hold rows: which columns are sent, media, examples, names of new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smelt.errors import ColumnError, ColumnTypeError, ConfigTypeError, SmeltConfigError
from smelt.messages import shown_value
from smelt.plan.media import MediaText

if TYPE_CHECKING:
    from smelt.plan.mediacolumns import Declared

_MOST_EXAMPLES = 50


def columns(name: str, value: object) -> tuple[str, ...] | None:
    """*value* as the names of columns, each once; None if it is None."""
    if value is None:
        return None
    if isinstance(value, str):
        raise ColumnTypeError(f"{name} must be a list of column names, not a str. Write {name}=[{shown_value(value)}].")
    names = _listed(name, value)
    if not names:
        raise ColumnError(f"{name} is an empty list. Name the columns to send, or leave it out to send all.")
    for one in names:
        if not isinstance(one, str):
            raise ColumnTypeError(
                f"{name} must be a list of strings, but {shown_value(one)} is of type {type(one).__name__}. "
                "Column labels of any type are named by their text."
            )
    doubled = [one for one, count in Counter(names).items() if count > 1]
    if doubled:
        raise ColumnError(f"{name} has {shown_value(doubled[0])} twice. Name every column once.")
    return tuple(names)


def column_name(name: str, value: object) -> str:
    """*value* as the name of a column that can be made."""
    if not isinstance(value, str):
        raise SmeltConfigError.for_type(name, value, "the name of a column, as a string")
    if not value.strip():
        raise SmeltConfigError.for_value(name, value, "the name of a column, and not blank")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SmeltConfigError.for_value(name, value, "valid Unicode, without half of a surrogate pair") from None
    return value


def _listed(name: str, value: object) -> list[Any]:
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist"):  # `df.columns[:3]` is an Index or an array.
        return list(value.tolist())
    raise ColumnTypeError(str(SmeltConfigError.for_type(name, value, "a list of column names")))


def examples(name: str, value: object) -> tuple[str, ...]:
    """*value* as rows of canonical JSON, which is small, and the same for every kind of frame."""
    if value is None:
        return ()
    if isinstance(value, tuple) and all(isinstance(one, str) for one in value):
        return value  # These are the checked ones.
    # Imported late: `import smelt` loads no adapter, and no schema.
    from smelt.frames.adapt import adapt
    from smelt.plan.examples import no_media

    try:
        frame = adapt(value)
    except SmeltConfigError as problem:
        raise ConfigTypeError(f"{name}: {problem}") from None
    if len(frame) > _MOST_EXAMPLES:
        raise SmeltConfigError(
            f"{name} has {len(frame):,} rows; {_MOST_EXAMPLES} are the most. They go out with every request."
        )
    rows: list[str] = []
    for number, text in enumerate(frame.rows().texts(range(len(frame))), start=1):
        if not isinstance(text, str):
            raise SmeltConfigError(f"{name}, row {number}: {text.reason}.")
        if isinstance(text, MediaText):
            raise ColumnError(no_media(number, text.media[0][0]))
        rows.append(text)
    return tuple(rows)


def media(name: str, value: object) -> Mapping[str, Declared]:
    """*value* as what each column of media holds; a list of columns says only that they hold some."""
    if value is None:
        return {}
    from smelt.plan.mediacolumns import AnyMedia, Declared  # Imported late: most calls have no media.

    if (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and all(isinstance(one, str) for one in value)
    ):
        return dict.fromkeys(value, AnyMedia())
    wanted = 'a dict such as {"photo": smelt.Image()}, or a list of columns'
    if not isinstance(value, Mapping):
        raise SmeltConfigError.for_type(name, value, wanted)
    for column, declared in value.items():
        if not isinstance(column, str):
            raise SmeltConfigError.for_type(f"every key of {name}", column, f"the name of a column ({wanted})")
        if not isinstance(declared, Declared):
            raise SmeltConfigError.for_type(
                f"{name}[{shown_value(column)}]", declared, "smelt.Image(), smelt.Document() or smelt.Audio()"
            )
    return dict(value)
