"""Arrow schemas in the words of Spark SQL."""

from __future__ import annotations

from typing import Any

from smelt.errors import SmeltConfigError
from smelt.frames.dtypes import load_arrow
from smelt.messages import shown_value


def ddl_of(schema: Any) -> str:
    """An Arrow schema as a DDL string of Spark.

    Raises:
        SmeltConfigError: Spark has no type for a column.
    """
    return ", ".join(f"{_quoted(one.name)} {_type(one.type, one.name)}" for one in schema)


def recast(batch: Any) -> Any:
    """A record batch with text in place of dictionaries, which Spark cannot read."""
    types = load_arrow().types
    plain = [one.cast(one.type.value_type) if types.is_dictionary(one.type) else one for one in batch.columns]
    return type(batch).from_arrays(plain, names=batch.schema.names)


def _type(kind: Any, name: str) -> str:
    types = load_arrow().types
    if types.is_dictionary(kind):
        return _type(kind.value_type, name)
    if types.is_struct(kind):
        return f"struct<{', '.join(f'{_quoted(one.name)}: {_type(one.type, name)}' for one in kind)}>"
    if types.is_map(kind):
        return f"map<{_type(kind.key_type, name)}, {_type(kind.item_type, name)}>"
    if any(is_list(kind) for is_list in (types.is_list, types.is_large_list, types.is_fixed_size_list)):
        return f"array<{_type(kind.value_type, name)}>"
    if types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if types.is_timestamp(kind):
        return "timestamp_ntz" if kind.tz is None else "timestamp"
    for is_one, word in _words(types):
        if is_one(kind):
            return word
    raise SmeltConfigError(f"Spark has no type for the column {shown_value(name)}, which is {kind} in Arrow.")


def _words(types: Any) -> list[tuple[Any, str]]:
    return [
        (types.is_string, "string"),
        (types.is_large_string, "string"),
        (types.is_string_view, "string"),
        (types.is_boolean, "boolean"),
        (types.is_int8, "tinyint"),
        (types.is_int16, "smallint"),
        (types.is_int32, "int"),
        (types.is_int64, "bigint"),
        (types.is_float32, "float"),
        (types.is_float64, "double"),
        (types.is_date32, "date"),
        (types.is_time, "time"),
        (types.is_duration, "interval day to second"),
        (types.is_binary, "binary"),
        (types.is_large_binary, "binary"),
        (types.is_fixed_size_binary, "binary"),
        (types.is_null, "void"),
    ]


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
