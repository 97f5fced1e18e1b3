"""Output models that are no pydantic classes: dicts of types, TypedDicts, dataclasses, NamedTuples, and single types.

Each is read as the pydantic model with the same fields, so columns, schema and ledger keys are the same; `restored`
gives validated answers back in the caller's form.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

import pydantic
import typing_extensions
from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from smelt.errors import SchemaError
from smelt.messages import shown_value

_SINGLE = "Answer"  # The name of the model of a dict or a single type, as messages show it.


class Formed(BaseModel):
    """The base of models that are made from another form.

    `__restore__` makes the caller's form of an answer from its fields by name. `__single__` says whether the caller
    gave one type, and not fields.
    """

    model_config = ConfigDict(protected_namespaces=())
    __restore__: ClassVar[Callable[[dict[str, Any]], Any]]
    __single__: ClassVar[bool] = False


def is_named(form: Any) -> bool:
    """Whether *form* names its fields: a pydantic class, or one of the other forms with fields."""
    return isinstance(form, Mapping) or (
        isinstance(form, type) and (issubclass(form, BaseModel) or _kind_of(form) is not None)
    )


def model_of(form: Any, above: tuple[Any, ...] = ()) -> type[BaseModel] | None:
    """The model with the fields of *form*: a dict of types, a TypedDict, a dataclass or a NamedTuple; None otherwise.

    Args:
        form: The form.
        above: The forms that contain it.

    Raises:
        SchemaError: A field of it has no type or no usable name, or the form contains itself.
    """
    if any(form is one for one in above):
        name = getattr(form, "__name__", _SINGLE)
        raise SchemaError(f"{name} contains itself; a column has a fixed depth. Spell the levels out, or use a list.")
    above = (*above, form)
    if isinstance(form, Mapping):
        for name, one in form.items():
            if isinstance(one, str) or not (isinstance(one, type | Mapping) or get_origin(one) is not None):
                shown = f"{shown_value(one)} as the type of {shown_value(name)}"
                raise SchemaError(f"The output model has {shown}. Give a type, such as str.")
        return _made(_SINGLE, {_checked(name): _field(modelled(one, above)) for name, one in form.items()}, dict)
    if isinstance(form, type) and (kind := _kind_of(form)) is not None:
        return _READERS[kind](form, above)
    return None


def single(form: Any, column: str) -> type[Formed]:
    """A model with one field of the type *form*, such as `Literal["a", "b"]`; replies call it *column*."""
    usable = column.isidentifier() and not column.startswith("_") and not hasattr(BaseModel, column)
    name = column if usable else "value"
    field: Any = _field(modelled(form)) if usable else (modelled(form), pydantic.Field(alias=column))
    model = _made(_SINGLE, {name: field}, lambda values: values[name])
    model.__single__ = True
    return model


def restored(value: Any) -> Any:
    """A validated *value* in the caller's form, at all depths."""
    if isinstance(value, Formed):
        return type(value).__restore__({name: restored(one) for name, one in dict(value).items()})
    if isinstance(value, list):
        return [restored(one) for one in value]
    return value


def _kind_of(form: type) -> str | None:
    if get_origin(form) is not None:
        return None
    if dataclasses.is_dataclass(form):
        return "dataclass"
    if typing_extensions.is_typeddict(form):
        return "TypedDict"
    return "NamedTuple" if issubclass(form, tuple) and hasattr(form, "_fields") else None


def _dataclass(form: Any, above: tuple[Any, ...]) -> type[BaseModel]:
    hints = _hints(form)
    asked = [one for one in dataclasses.fields(form) if one.init]
    _require_known(form, {one.name for one in asked})
    own: Mapping[str, FieldInfo] = getattr(form, "__pydantic_fields__", {})  # If it is a dataclass of pydantic's.
    fields: dict[str, Any] = {}
    for one in asked:
        default = own.get(one.name) or (
            pydantic.Field(default_factory=one.default_factory)
            if one.default_factory is not dataclasses.MISSING
            else (... if one.default is dataclasses.MISSING else one.default)
        )
        fields[_checked(one.name)] = _field(modelled(hints[one.name], above), default)

    def remake(values: dict[str, Any]) -> Any:
        """An instance with exactly these values, which went through its code once already."""
        made = form(**values)
        for name, value in values.items():
            if not _is_same(getattr(made, name), value):
                object.__setattr__(made, name, value)  # It may be frozen.
        return made

    is_plain = "__dataclass_fields__" in vars(form) and form.__dataclass_params__.init
    has_code = bool(own) or not is_plain or hasattr(form, "__post_init__")
    return _made(form.__name__, fields, remake, doc=_own_doc(form), checks=form if has_code else None)


def _is_same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and bool(one == other))


def _require_known(form: type, fields: set[str]) -> None:
    needed = [one for one in inspect.signature(form).parameters.values() if one.default is one.empty]
    more = [
        one.name for one in needed if one.name not in fields and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if more:
        raise SchemaError(
            f"{form.__name__} needs {more[0]!r}, which is not one of its fields, to be made. Leave it out."
        )


def _named_tuple(form: Any, above: tuple[Any, ...]) -> type[BaseModel]:
    hints, defaults = _hints(form), form._field_defaults
    if not all(name in hints for name in form._fields):
        raise SchemaError(f"{form.__name__} has fields without a type. Write it as class {form.__name__}(NamedTuple).")
    fields = {_checked(name): _field(modelled(hints[name], above), defaults.get(name, ...)) for name in form._fields}
    return _made(form.__name__, fields, lambda values: form(**values), doc=_own_doc(form))


def _typed_dict(form: Any, above: tuple[Any, ...]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, hint in _hints(form).items():
        one, is_needed = hint, name in form.__required_keys__
        while (mark := get_origin(one)) in (*_MARKS, typing_extensions.ReadOnly):
            # Where annotations are strings, `__required_keys__` does not know the mark.
            is_needed = _MARKS.get(mark, is_needed)
            (one,) = get_args(one)
        # Providers require every field, so a model says null for a key that may be left out.
        fields[_checked(name)] = _field(modelled(one, above)) if is_needed else (modelled(one, above) | None, None)
    return _made(form.__name__, fields, lambda values: form(**values), doc=_own_doc(form))


_MARKS: Mapping[Any, bool] = {typing_extensions.Required: True, typing_extensions.NotRequired: False}
_READERS: Mapping[str, Callable[[Any, tuple[Any, ...]], type[BaseModel]]] = {
    "dataclass": _dataclass,
    "NamedTuple": _named_tuple,
    "TypedDict": _typed_dict,
}


def _field(annotation: Any, default: Any = ...) -> Any:
    """A field for `create_model`; a default inside of `Annotated` counts if there is no other."""
    has_own = get_origin(annotation) is Annotated and default is ...
    return annotation if has_own else (annotation, default)


def _hints(form: type) -> dict[str, Any]:
    try:
        return typing_extensions.get_type_hints(form, include_extras=True)
    except (NameError, TypeError, SyntaxError) as problem:
        raise SchemaError(f"A type in {form.__name__} does not resolve: {problem}.") from None


def modelled(annotation: Any, above: tuple[Any, ...] = ()) -> Any:
    """*annotation* with a model in place of every dataclass, TypedDict, NamedTuple or dict of types in it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        return Annotated[(modelled(inner, above), *metadata)]
    if origin is list:
        return list[modelled(get_args(annotation)[0], above)]  # type: ignore[misc]  # Not known before it runs.
    if origin in (Union, types.UnionType):
        return Union[tuple(modelled(one, above) for one in get_args(annotation))]  # noqa: UP007  # Not known before.
    if isinstance(annotation, Mapping) or (isinstance(annotation, type) and _kind_of(annotation) is not None):
        return model_of(annotation, above)
    return annotation


def _made(
    name: str,
    fields: Mapping[str, Any],
    restore: Callable[[dict[str, Any]], Any],
    *,
    doc: str | None = None,
    checks: Callable[..., Any] | None = None,
) -> type[Formed]:
    """A model with these fields. With *checks*, a class, an answer has the values that an instance of it has."""

    def check(answer: Formed) -> Formed:
        assert checks is not None
        # A field of `plan.probabilities` is none of the caller's.
        given = {one: restored(value) for one, value in dict(answer).items() if one in fields}
        made = checks(**given)
        for one, value in given.items():
            if not _is_same(changed := getattr(made, one), value):
                answer.__dict__[one] = changed
        return answer

    validators: dict[str, Any] = {"check_form": pydantic.model_validator(mode="after")(check)} if checks else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A field may be called "copy": nothing of ours calls the method.
            model: Any = pydantic.create_model(name, __base__=Formed, __doc__=doc, __validators__=validators, **fields)
    except (pydantic.PydanticUserError, NameError, TypeError, ValueError, KeyError) as problem:
        raise SchemaError(f"{name} has a field that pydantic cannot validate: {str(problem).splitlines()[0]}") from None
    model.__restore__ = restore
    return model  # type: ignore[no-any-return]  # `create_model` is typed for fields that are known.


def _checked(name: object) -> str:
    if not isinstance(name, str):
        raise SchemaError(f"The output model has a field {shown_value(name)}. Names of fields are strings.")
    if name.startswith("model_") and hasattr(BaseModel, name):
        raise SchemaError(f"The output model has a field {name!r}, which pydantic uses itself. Give it another name.")
    if not name.isidentifier() or name.startswith("_"):
        raise SchemaError(
            f"The output model has a field {shown_value(name)}. Use letters, digits and _, a letter first."
        )
    return name


def _own_doc(form: type) -> str | None:
    """The docstring that the author wrote, not the one that `dataclass` and `NamedTuple` make."""
    doc = form.__dict__.get("__doc__")
    return None if doc is None or doc.startswith(f"{form.__name__}(") else doc
