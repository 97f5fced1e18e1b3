"""Reads the output model (a pydantic class or `str`) into a tree of `Field` and `Kind`; refuses unsupported types."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
from pydantic import AliasChoices, AliasPath, BaseModel, RootModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_json
from typing_extensions import TypeAliasType

from smelt.errors import SchemaError
from smelt.plan.constraints import constrained, fixed_point
from smelt.plan.forms import is_named, model_of, modelled, single
from smelt.plan.kinds import (
    ROW_ID,
    TEXT_COLUMN,
    Array,
    Boolean,
    Choice,
    Date,
    Duration,
    Field,
    Float,
    Integer,
    Kind,
    Struct,
    Text,
    Timestamp,
)
from smelt.plan.owncode import needs_whole, refuse_async_hooks

_DEEPEST = 20  # Levels of models and lists; providers accept at most ten, and every library recurses over them.

_PLAIN: dict[object, Kind] = {
    str: Text(),
    bool: Boolean(),
    int: Integer(),
    float: Float(),
    datetime: Timestamp(),
    date: Date(),
    timedelta: Duration(),
    pydantic.AwareDatetime: Timestamp(),
    pydantic.PastDatetime: Timestamp(),
    pydantic.FutureDatetime: Timestamp(),
    pydantic.NaiveDatetime: Timestamp(aware=False),
    pydantic.PastDate: Date(),
    pydantic.FutureDate: Date(),
}
_INSTEAD: dict[object, str] = {
    dict: "a nested model with named fields, or list[Model] with a key and a value",
    Mapping: "a nested model with named fields",
    Any: "a concrete type such as str",
    object: "a concrete type such as str",
    set: "list[...]",
    frozenset: "list[...]",
    tuple: "a nested model, or list[...]",
    bytes: "str",
    complex: "two float fields",
    Sequence: "list[...]",
    Iterable: "list[...]",
}


@dataclass(frozen=True, kw_only=True)
class Output:
    """The output of a job.

    Attributes:
        model: The class that validates a row.
        fields: Its fields, in declared order.
        is_text: Whether the caller asked for `str`; then *model* is made by smelt and has one field.
        is_single: Whether the caller asked for one type, such as `str` or `Literal["a", "b"]`, and not for fields.
        description: The docstring of *model*.
    """

    model: type[BaseModel]
    fields: tuple[Field, ...]
    is_text: bool = False
    is_single: bool = False
    description: str = ""


def read_output(output_model: Any, *, text_column: str = TEXT_COLUMN) -> Output:
    """Read the caller's *output_model*: a class or a dict with fields, or one type for the column *text_column*.

    Raises:
        SchemaError: It is none of these, or has a field whose type cannot be a typed column; the message names the
            field and an alternative.
    """
    if output_model is str:
        text = pydantic.create_model("FreeText", text=(str, ...))
        fields: tuple[Field, ...] = (Field(name=text_column, key="text", kind=Text()),)
        return Output(model=text, fields=fields, is_text=True, is_single=True)
    is_single = not is_named(output_model) and _is_field(modelled(output_model))
    model = _single(output_model, text_column) if is_single else _with_fields(output_model)
    fields = _fields(model, ())
    if is_single:
        fields = (replace(fields[0], name=text_column),)
    refuse_async_hooks(model)
    if any(field.key == ROW_ID for field in fields):
        raise SchemaError(
            f"{model.__name__} has a field {ROW_ID!r}, the name under which replies carry the row's token. "
            "Give the field another name or alias."
        )
    is_single = is_single or getattr(model, "__single__", False)  # Own code gets the model that was made of the type.
    return Output(model=model, fields=fields, is_single=is_single, description=_docstring(model))


def _single(output_model: Any, column: str) -> type[BaseModel]:
    if column == TEXT_COLUMN:
        shown = _written(output_model) or output_model
        raise SchemaError(f'The answer is one value of the type {shown}. Name its column: output="name".')
    return single(output_model, column)


def _with_fields(output_model: Any) -> type[BaseModel]:
    """The model class that *output_model* is, or that is made from it."""
    if isinstance(output_model, type) and issubclass(output_model, BaseModel):
        return output_model
    model = model_of(output_model)
    if model is None:
        if get_origin(output_model) is not None or output_model is Decimal:
            _kind(modelled(output_model), (), "output_model", ())  # Says why this type cannot be asked for.
        raise _no_model(output_model)
    return model


def part_of(output: Output, names: Sequence[str]) -> Output | None:
    """*output* with only the fields *names*; None if validators of its model may need the whole answer."""
    if output.is_text or not 0 < len(names) < len(output.fields) or needs_whole(output.model):
        return None
    return bare_part(output, names)


def bare_part(output: Output, names: Sequence[str]) -> Output:
    """*output* with only the fields *names*, without the model's own validators and hooks (`Annotated` ones stay)."""
    kept: dict[str, Any] = {
        name: (one.annotation, one) for name, one in output.model.model_fields.items() if name in names
    }
    model = pydantic.create_model(
        output.model.__name__, __config__=output.model.model_config, __doc__=output.model.__doc__, **kept
    )
    kept_fields = tuple(field for field in output.fields if field.name in names)
    return Output(model=model, fields=kept_fields, description=output.description)


def _no_model(given: object) -> SchemaError:
    shown, way = f"a {type(given).__name__}", "Declare one: class Answer(BaseModel): label: Literal['a', 'b']"
    if isinstance(given, BaseModel):
        shown, way = f"an instance of {type(given).__name__}", f"Pass the class itself: {type(given).__name__}"
    elif isinstance(given, str):
        way = "Pass the class itself, not its name; str without quotes asks for free text"
    elif given is None:
        shown = "None"
    elif (written := _written(given)) is not None:
        shown = written if get_origin(given) is not None else f"the class {written}"
    return SchemaError(f"output_model must be a class with fields, a dict of types or one type, not {shown}. {way}.")


def _is_field(annotation: object) -> bool:
    """Whether *annotation* can be the type of a field."""
    try:
        _kind(annotation, (), "Answer.value", ())
    except SchemaError:
        return False
    return True


def _written(annotation: object) -> str | None:
    """A type as its author wrote it; None if *annotation* is not a type."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    is_type = get_origin(annotation) is not None or annotation is Any
    return re.sub(r"\b(typing|typing_extensions|datetime|decimal)\.", "", str(annotation)) if is_type else None


def _fields(model: type[BaseModel], above: tuple[type, ...]) -> tuple[Field, ...]:
    name = model.__name__
    if issubclass(model, RootModel):
        raise SchemaError(f"{name} is a RootModel, which has no named fields. Give a BaseModel with one field for it.")
    if model is BaseModel:
        raise SchemaError("BaseModel itself has no fields. Declare a class of your own: class Answer(BaseModel): ...")
    if model in above:
        raise SchemaError(f"{name} contains itself; a column has a fixed depth. Spell the levels out, or use a list.")
    if not model.__pydantic_complete__ and not _is_rebuilt(model):
        raise SchemaError(f"{name} has a forward reference that does not resolve. Call {name}.model_rebuild() first.")
    if not model.model_fields:
        raise SchemaError(f"{name} has no fields, so there is nothing to ask for.")
    if model.model_config.get("extra") == "allow":
        raise SchemaError(f"{name} allows extra fields, which cannot become declared columns. Use extra='forbid'.")
    fields = tuple(_field(model, one, info, (*above, model)) for one, info in model.model_fields.items())
    keys = [field.key for field in fields]
    if doubled := {key for key in keys if keys.count(key) > 1}:
        raise SchemaError(f"{name} has two fields with the alias {min(doubled)!r}. Every field needs its own.")
    return fields


def _is_rebuilt(model: type[BaseModel]) -> bool:
    try:
        return bool(model.model_rebuild(raise_errors=False))
    except pydantic.errors.PydanticUndefinedAnnotation:
        return False


def _field(model: type[BaseModel], name: str, info: FieldInfo, above: tuple[type, ...]) -> Field:
    path = f"{model.__name__}.{name}"
    if name.startswith("model_") and hasattr(BaseModel, name):
        raise SchemaError(
            f"{path} has a name that pydantic uses itself. Give the field another name, and this as alias."
        )
    kind = _kind(info.annotation, info.metadata, path, above)
    return Field(
        name=name,
        key=_wire_key(model, name, info, path),
        kind=kind,
        description=info.description or "",
        examples=_examples(info),
        required=info.is_required(),
    )


def _docstring(model: type) -> str:
    """The class's own docstring on one line; not that of a base class."""
    return " ".join(inspect.cleandoc(model.__dict__.get("__doc__") or "").split())


def _examples(info: FieldInfo) -> tuple[str, ...]:
    try:
        return tuple(to_json(one, by_alias=True).decode() for one in info.examples or ())
    except (PydanticSerializationError, TypeError):
        return ()  # It is unknown which of the examples a model could give.


def _wire_key(model: type[BaseModel], name: str, info: FieldInfo, path: str) -> str:
    alias = name if info.validation_alias is None else info.validation_alias
    if model.model_config.get("validate_by_alias") is False:
        alias = name
    if isinstance(alias, AliasChoices):
        alias = next((one for one in alias.choices if isinstance(one, str)), AliasPath(name))
    if isinstance(alias, AliasPath):
        raise SchemaError(f"{path} has an AliasPath, which has no single name to ask for. Use a plain alias.")
    if not alias or not alias.isprintable() or set(alias) & set('"\\'):
        raise SchemaError(
            f"{path} has the alias {alias!r}, which no model would repeat exactly. Use letters and digits."
        )
    return alias


def _kind(annotation: Any, metadata: Iterable[Any], path: str, above: tuple[type, ...]) -> Kind:
    metadata = list(metadata)
    while True:
        if isinstance(annotation, TypeAliasType):
            annotation = annotation.__value__
        elif get_origin(annotation) is Annotated:
            annotation, *inner = get_args(annotation)
            metadata = [*inner, *metadata]
        else:
            break
    if len(above) > _DEEPEST:
        raise SchemaError(
            f"{above[0].__name__} is nested more than {_DEEPEST} levels deep. Spread it over flatter models."
        )
    if get_origin(annotation) in (Union, types.UnionType):
        return _optional(annotation, metadata, path, above)
    if any(one is pydantic.Json or isinstance(one, pydantic.Json) for one in metadata):
        raise SchemaError(
            f"{path} is Json[...], JSON inside a string. Declare what is in it: the answer is JSON already."
        )
    base = _unconstrained(annotation, metadata, path, above)
    return constrained(base, metadata, path)


def _optional(annotation: Any, metadata: list[Any], path: str, above: tuple[type, ...]) -> Kind:
    members = [one for one in get_args(annotation) if one is not type(None)]
    if len(members) != 1:
        shown = " | ".join(getattr(one, "__name__", str(one)) for one in members)
        raise SchemaError(
            f"{path} is a union of types ({shown}), and a typed column holds one type. "
            "Use one nullable field per type, or a str."
        )
    return replace(_kind(members[0], metadata, path, above), nullable=len(get_args(annotation)) > 1)


def _unconstrained(annotation: Any, metadata: list[Any], path: str, above: tuple[type, ...]) -> Kind:
    if (plain := _PLAIN.get(annotation) if isinstance(annotation, type) else None) is not None:
        return plain
    if annotation is Decimal:
        return fixed_point(metadata, path)
    origin = get_origin(annotation) or annotation
    if origin is Literal:
        return _literal(annotation, path)
    if origin is list:
        if not get_args(annotation):
            raise SchemaError(f"{path} is a bare list. Say what is in it: list[str].")
        return Array(item=_kind(get_args(annotation)[0], (), f"{path}[]", (*above, list)))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _enum(annotation, path)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Struct(model=annotation, fields=_fields(annotation, above), description=_docstring(annotation))
    raise _unsupported(annotation, origin, path)


def _literal(annotation: Any, path: str) -> Kind:
    values = get_args(annotation)
    strings = tuple(value for value in values if type(value) is str)
    if len(strings) + (None in values) != len(values) or not strings:
        raise SchemaError(
            f"{path} is a Literal with values that are not strings, which providers enforce differently. "
            "Use strings, or an int with bounds."
        )
    return Choice(values=tuple(dict.fromkeys(strings)), nullable=None in values)


def _enum(enum: type[Enum], path: str) -> Kind:
    values = tuple(member.value for member in enum)
    if not values or not all(type(value) is str for value in values):
        raise SchemaError(f"{path} is an Enum whose values are not strings. Use a str Enum or a Literal of strings.")
    return Choice(values=values)


_USABLE = "str, int, float, bool, Literal, Decimal, datetime, date, timedelta, list or a nested model"


def _unsupported(annotation: Any, origin: Any, path: str) -> SchemaError:
    shown = getattr(annotation, "__name__", None) or str(annotation).removeprefix("typing.")
    instead = next((text for one, text in _INSTEAD.items() if origin is one), None)
    if isinstance(annotation, typing.TypeVar):
        instead = "the concrete type: parametrise the generic model"
    return SchemaError(
        f"{path} is of type {shown}, which no provider can enforce and no typed column holds. Use {instead or _USABLE}."
    )
