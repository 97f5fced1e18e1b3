"""Writes what the caller's own code returns for a row as the fields of an answer."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from smelt.plan.kinds import ROW_ID, Array, Field, Kind, Struct, Text
from smelt.plan.schema import Output


class NoAnswer(Exception):
    """What the caller's code returned is no answer; the message says why."""


def fields_of(value: object, output: Output, asked: Collection[str]) -> Mapping[str, Any]:
    """The fields of an answer by their names in the reply: from an object with fields, a dict, or JSON.

    If the output has one field, its value alone is an answer, too.

    Args:
        value: What the code returned.
        output: The whole output that the caller declared.
        asked: Names in the reply of the fields that are asked for; others of *output* are left out.

    Raises:
        NoAnswer: *value* is something else.
    """
    found = _without_id(_found(value, output), output)
    spare = {one.key for one in output.fields}.difference(asked)
    return {name: item for name, item in found.items() if name not in spare}


def _found(value: object, output: Output) -> dict[str, Any]:
    if isinstance(value, BaseModel):
        is_declared = isinstance(value, output.model)
        return _of_model(value, output.fields) if is_declared else _of_other(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _named({one.name: getattr(value, one.name) for one in fields(value)}, output.fields)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _named(value._asdict(), output.fields)
    if isinstance(value, Mapping):
        return _named(value, output.fields)
    if len(output.fields) == 1 and _is_value(output.fields[0].kind, value):
        key = output.fields[0].key
        said = None if output.is_single or not isinstance(value, str) else _json_of(value)
        return said if isinstance(said, dict) and key in said else {key: value}
    if isinstance(value, str):
        return _of_json(value)
    raise NoAnswer(f"returned {_called(value)}, not a model, a dict or a str")


def _is_value(kind: Kind, value: object) -> bool:
    """Whether *value* alone may be the answer for a field of this kind. A str may also be JSON of all fields."""
    if isinstance(value, str):
        return not isinstance(kind, Array | Struct)
    return kind.nullable if value is None else not isinstance(kind, Text | Struct)


def reply_text(token: str, fields: Mapping[str, Any]) -> str:
    """The reply with the answer to one row. A NaN is written as such: the output model says whether it is allowed.

    Raises:
        NoAnswer: A value has no JSON.
    """
    try:
        text = to_json(fields, inf_nan_mode="constants", by_alias=True, fallback=_without_numpy).decode()
    except (PydanticSerializationError, RecursionError, ValueError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise NoAnswer(f"returned a value that cannot be written as JSON: {reason}") from None
    rest = f",{text[1:]}" if text != "{}" else "}"
    return f'{{"rows":[{{"id":{json.dumps(token)}{rest}]}}'


def _of_model(value: BaseModel, declared: tuple[Field, ...]) -> dict[str, Any]:
    """The fields of a model's instance. Its own serializers and aliases for output are not used."""
    return {one.key: _plain(one.kind, getattr(value, one.name, None)) for one in declared}


def _plain(kind: Kind, value: Any) -> Any:
    if isinstance(kind, Struct) and isinstance(value, BaseModel) and isinstance(value, kind.model):
        return _of_model(value, kind.fields)
    if isinstance(kind, Array) and isinstance(value, list):
        return [_plain(kind.item, item) for item in value]
    return value


def _of_other(value: BaseModel) -> dict[str, Any]:
    try:
        return value.model_dump(by_alias=True)
    except PydanticSerializationError as problem:
        raise NoAnswer(f"returned a {type(value).__name__} that cannot be dumped: {problem}") from None


def _named(value: Mapping[Any, Any], declared: tuple[Field, ...]) -> dict[str, Any]:
    """*value* with the names of fields replaced by their aliases, and with the models in it written out."""
    by_name = {one.name: one for one in declared}
    by_name |= {one.key: one for one in declared}
    found = {}
    for name, item in value.items():
        if not isinstance(name, str):
            raise NoAnswer(f"returned a dict with the key {name!r:.60}, which is not a str")
        one = by_name.get(name)
        found[one.key if one else name] = _plain(one.kind, item) if one else item
    return found


def _without_id(found: dict[str, Any], output: Output) -> dict[str, Any]:
    """*found* without the key that replies use for the row's token; an output model never has it."""
    if ROW_ID in found:
        if output.model.model_config.get("extra") != "ignore":
            raise NoAnswer(f"returned the field {ROW_ID!r}, which the output model does not have")
        del found[ROW_ID]
    return found


def _of_json(value: str) -> dict[str, Any]:
    found = _json_of(value)
    if not isinstance(found, dict):
        raise NoAnswer("returned text that is not a JSON object")
    return found


def _json_of(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _called(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _without_numpy(value: Any) -> Any:
    """The Python values of a NumPy scalar or array, without importing NumPy."""
    tolist = getattr(value, "tolist", None)
    return tolist() if callable(tolist) else to_jsonable_python(value)
