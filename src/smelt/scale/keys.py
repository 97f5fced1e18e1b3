"""Keys that do not reach the workers of an engine, or that the engine would show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from smelt.errors import warn
from smelt.messages import printable
from smelt.model import Model
from smelt.providers.own import Wrap
from smelt.providers.secrets import KeySource, Secret
from smelt.providers.vendors import row_of

_OTHERS = ("SMELT_PACER_TOKEN", "PGPASSWORD", "REDISCLI_AUTH")


def secret_variables(model: Any) -> tuple[str, ...]:
    """The environment variables in which a process that asks *model* looks for secrets."""
    model = model.model if isinstance(model, Wrap) else model
    if not isinstance(model, Model):
        return _OTHERS
    usual = row_of(model.provider, model.name).key_variables
    return ((model.key_env,) if model.key_env else usual) + _OTHERS


def warn_of_kept(model: Any) -> None:
    """Warn of a key that workers will not have."""
    if isinstance(model, Model) and isinstance(model.api_key, Secret | KeySource):
        warn(
            "The key in api_key= does not travel to other processes: a key is in no pickle. Name the variable that has "
            'it there, smelt.Model(..., key_env="TEAM_KEY"), or set the usual one.'
        )


def warn_of_shown(model: Any, given: Iterable[str], where: str, instead: str) -> None:
    """Warn of secrets that an engine writes into its logs and shows.

    Args:
        model: The model.
        given: The environment variables that the engine was told.
        where: What the engine does with them.
        instead: Where to set them instead.
    """
    if shown := sorted({*secret_variables(model)}.intersection(given)):
        warn(f"{where}, and a secret is there: {printable(', '.join(shown))}. {instead}")
