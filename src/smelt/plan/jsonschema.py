"""Reads a JSON Schema as an output model; what no column can hold is refused, with the place in the schema."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, Field

from smelt.errors import SchemaError
from smelt.messages import shown_value

_PLAIN = {"string": str, "integer": int, "number": float, "boolean": bool}
_FORMATS = {"date-time": datetime, "date": date, "duration": timedelta}
_LIMITS = {
    "minimum": "ge",
    "exclusiveMinimum": "gt",
    "maximum": "le",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "pattern": "pattern",
}
_SAID = {"title", "description", "default", "examples", "$schema", "$id", "$defs", "definitions", "$comment"}
_READ = {"type", "enum", "const", "format", "items", "properties", "required", "additionalProperties", "anyOf", "$ref"}
_DEEPEST = 20


def model_of_schema(schema: object) -> type[BaseModel]:
    """The output model that *schema* describes: an object with properties. A property that is not required may be null.

    Raises:
        SchemaError: It describes something else, or uses a keyword that cannot be kept; the message names the place.
    """
    if not isinstance(schema, Mapping):
        raise SchemaError(f"A schema is an object with properties, not {shown_value(schema)}.")
    return _Reader(schema).model(schema, "")


class _Reader:
    """Reads one schema, with its definitions."""

    def __init__(self, whole: Mapping[str, Any]) -> None:
        self._whole = whole

    def model(self, schema: Mapping[str, Any], place: str, depth: int = 0) -> type[BaseModel]:
        """The class of an object."""
        schema = self._resolved(schema, place)
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            raise SchemaError(f"{_at(place)} has no properties. Every object needs named fields.")
        required = schema.get("required", [])
        fields: dict[str, Any] = {}
        for key, one in properties.items():
            here = f"{place}.{key}" if place else str(key)
            annotation = self.annotation(one, here, depth + 1)
            name, alias = _name(str(key), here)
            about = {"description": one["description"]} if isinstance(one.get("description"), str) else {}
            if key in required:
                fields[name] = (annotation, Field(alias=alias, **about))
            else:
                fields[name] = (annotation | None, Field(None, alias=alias, **about))
        title = str(schema.get("title") or "Answer")
        try:
            model: Any = pydantic.create_model(title, __doc__=schema.get("description"), **fields)
        except (pydantic.PydanticUserError, NameError, TypeError, ValueError) as problem:
            raise SchemaError(f"{_at(place)} cannot be read: {str(problem).splitlines()[0]}") from None
        return model  # type: ignore[no-any-return]  # `create_model` is typed for fields that are known.

    def annotation(self, schema: Any, place: str, depth: int) -> Any:
        """The type of a field."""
        if not isinstance(schema, Mapping):
            raise SchemaError(f"{_at(place)} is {shown_value(schema)}, and no schema.")
        if depth > _DEEPEST:
            raise SchemaError(f"{_at(place)} is more than {_DEEPEST} levels deep, or contains itself.")
        schema = self._resolved(schema, place)
        if unknown := [key for key in schema if key not in {*_SAID, *_READ, *_LIMITS}]:
            raise SchemaError(f"{_at(place)} uses {shown_value(unknown[0])}, which cannot be kept. Leave it out.")
        variants, is_nullable = _variants(schema)
        if len(variants) != 1:
            raise SchemaError(f"{_at(place)} has {len(variants)} types. A column has one, and may be null beside it.")
        found = self._one(variants[0], place, depth)
        return found | None if is_nullable else found

    def _one(self, schema: Mapping[str, Any], place: str, depth: int) -> Any:
        schema = self._resolved(schema, place)
        if "const" in schema or "enum" in schema:
            return _choice(schema.get("enum", [schema.get("const")]), place)
        limits = {_LIMITS[key]: value for key, value in schema.items() if key in _LIMITS}
        match schema.get("type"):
            case "object":
                return self.model(schema, place, depth)
            case "array":
                item = self.annotation(schema.get("items"), f"{place}[]", depth + 1)
                return _limited(list[item], limits, place)  # type: ignore[valid-type]  # Not known before it runs.
            case "string" if schema.get("format") in _FORMATS:
                return _FORMATS[schema["format"]]
            case str() as one if one in _PLAIN:
                return _limited(_PLAIN[one], limits, place)
            case other:
                raise SchemaError(f"{_at(place)} has the type {shown_value(other)}. Write one of {', '.join(_PLAIN)}.")

    def _resolved(self, schema: Mapping[str, Any], place: str) -> Mapping[str, Any]:
        for _ in range(_DEEPEST):
            reference = schema.get("$ref")
            if reference is None:
                return schema
            found: Any = self._whole
            for part in str(reference).removeprefix("#/").split("/"):
                found = found.get(part) if isinstance(found, Mapping) else None
            if not str(reference).startswith("#/") or not isinstance(found, Mapping):
                raise SchemaError(f"{_at(place)} refers to {shown_value(reference)}, which is not in the schema.")
            schema = found
        raise SchemaError(f"{_at(place)} refers to itself.")


def _variants(schema: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], bool]:
    """The schemas that *schema* allows, without null; and whether it allows null."""
    kinds = schema.get("type")
    if "anyOf" in schema:
        variants = [one for one in schema["anyOf"] if isinstance(one, Mapping)]
    elif isinstance(kinds, list):
        variants = [{**schema, "type": one} for one in kinds]
    else:
        variants = [schema]
    left = [one for one in variants if one.get("type") != "null"]
    is_nullable = len(left) < len(variants)
    if len(left) == 1 and None in left[0].get("enum", ()):
        left = [{**left[0], "enum": [one for one in left[0]["enum"] if one is not None]}]
        is_nullable = True
    return left, is_nullable


def _choice(values: Any, place: str) -> Any:
    if not isinstance(values, list) or not values or not all(isinstance(one, str) for one in values):
        raise SchemaError(f"{_at(place)} has choices that are no strings. Only strings can be chosen from.")
    return Literal[tuple(values)]


def _limited(annotation: Any, limits: Mapping[str, Any], place: str) -> Any:
    if not limits:
        return annotation
    try:
        return Annotated[annotation, Field(**limits)]
    except (TypeError, ValueError) as problem:
        raise SchemaError(f"{_at(place)} has a limit that cannot be kept: {str(problem).splitlines()[0]}") from None


def _name(key: str, place: str) -> tuple[str, str | None]:
    """The attribute for a property, and its alias if it has another name."""
    if not key.isidentifier() or key.startswith("_"):
        raise SchemaError(f"{_at(place)} is no usable name. Use letters, digits and _, a letter first.")
    is_taken = keyword.iskeyword(key) or hasattr(BaseModel, key)
    return (f"{key}_", key) if is_taken else (key, None)


def _at(place: str) -> str:
    return f"The property {place!r} of the schema" if place else "The schema"
