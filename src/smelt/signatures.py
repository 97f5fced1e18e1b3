"""Signatures that show the options by name, so that `?` and completion in a notebook do, too."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import TypeVar

from smelt.options import Options, Settings

C = TypeVar("C", bound=Callable[..., object])


def spelled_out(function: C) -> C:
    """Give *function*, which takes `**options: Unpack[Options]`, a signature with each option and its default."""
    found = inspect.signature(function)
    own = [one for one in found.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    defaults = Settings()
    options = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if one.name in ("params", "output") else getattr(defaults, one.name),
            annotation=Options.__annotations__[one.name],
        )
        for one in fields(Settings)
    ]
    function.__signature__ = found.replace(parameters=[*own, *options])  # type: ignore[attr-defined]  # Read by inspect.
    return function
