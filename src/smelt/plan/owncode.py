"""The code that the author of an output model has written into it: validators and hooks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from smelt.errors import SchemaError


def has_own_code(model: type[BaseModel]) -> bool:
    """Whether validating an answer runs code of the model's author, at any depth."""
    return _runs_code(model.__pydantic_core_schema__)


def _runs_code(schema: object) -> bool:
    if isinstance(schema, dict):
        if str(schema.get("type")).startswith("function-"):
            return True
        if schema.get("post_init") or schema.get("custom_init") or schema.get("default_factory"):
            return True
        return any(_runs_code(part) for key, part in schema.items() if key != "metadata")
    return isinstance(schema, list | tuple) and any(map(_runs_code, schema))


def needs_whole(model: type[BaseModel]) -> bool:
    """Whether validators of *model* may need the whole answer."""
    found = model.__pydantic_decorators__
    return bool(
        found.validators
        or found.field_validators
        or found.root_validators
        or found.model_validators
        or model.model_post_init is not BaseModel.model_post_init
        or _looks_around(model.__pydantic_core_schema__)
    )


def _looks_around(schema: object) -> bool:
    """Whether a function in a core schema gets the other fields, such as a validator that takes a `ValidationInfo`."""
    if isinstance(schema, dict):
        if schema.get("type") == "with-info" or schema.get("default_factory_takes_data"):
            return True
        return any(_looks_around(part) for key, part in schema.items() if key != "metadata")
    return isinstance(schema, list | tuple) and any(_looks_around(part) for part in schema)


def has_async_code(schema: object) -> bool:
    """Whether a core *schema* calls a coroutine function, which pydantic does not await."""
    if isinstance(schema, dict):
        return any(has_async_code(part) for key, part in schema.items() if key != "metadata")
    if isinstance(schema, list | tuple):
        return any(map(has_async_code, schema))
    return callable(schema) and inspect.iscoroutinefunction(schema)


def refuse_async_hooks(output_model: type[BaseModel]) -> None:
    """Refuse async hooks: pydantic drops their coroutines, so the model would seem to work without running them.

    An async validator is not refused here: its coroutine becomes part of the answer, and that row fails.

    Raises:
        SchemaError: There is one.
    """
    for model in (output_model, *_models(output_model.__pydantic_core_schema__)):
        for name in ("model_post_init", "__init__"):
            if _is_async(getattr(model, name)):
                raise SchemaError(
                    f"{model.__name__}.{name} is async, and pydantic never awaits it, so it would not run. Write it "
                    "with def; do what needs await afterwards, with the result."
                )


def _models(schema: object) -> Iterator[type[BaseModel]]:
    """The classes of all models in a core *schema*."""
    if isinstance(schema, dict):
        if schema.get("type") == "model":
            yield schema["cls"]
        for key, part in schema.items():
            if key != "metadata":
                yield from _models(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from _models(part)


def _is_async(hook: Any) -> bool:
    # pydantic wraps the hook of a model with private attributes. Other wrappers may await what they wrap.
    while str(getattr(hook, "__globals__", {}).get("__name__")).startswith("pydantic.") and hasattr(
        hook, "__wrapped__"
    ):
        hook = hook.__wrapped__
    return inspect.iscoroutinefunction(hook)
