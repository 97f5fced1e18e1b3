"""Builds instances of output models from values that are already validated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined


def instance(model: type[BaseModel], fields: Mapping[str, Any]) -> BaseModel:
    """An instance with validated *fields*, made as in unpickling: no alias, validator or `__init__` is used again."""
    private = {
        name: one.get_default(call_default_factory=True, validated_data=dict(fields))
        for name, one in model.__private_attributes__.items()
    }
    made = model.__new__(model)
    made.__setstate__(
        {
            "__dict__": dict(fields),
            "__pydantic_fields_set__": set(fields),
            "__pydantic_extra__": None,
            "__pydantic_private__": {name: one for name, one in private.items() if one is not PydanticUndefined}
            or None,
        }
    )
    return made


def copied(one: BaseModel, fields: Mapping[str, Any]) -> BaseModel:
    """A shallow copy of *one* with these *fields*; private attributes are kept."""
    made = BaseModel.__copy__(one)
    made.__dict__.update(fields)
    return made
