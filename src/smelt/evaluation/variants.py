"""Reads the variants of a comparison, and decides for which of them the ledger may answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from smelt.call.defaults import resolved
from smelt.call.options import NAMES, Settings, unknown_option
from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.messages import shown_value
from smelt.model import called, is_model, read_model

# Options that decide which rows share a request, and their order. The ledger does not store that with an answer.
COMPANY = ("batch_size", "aim", "isolation", "shuffle", "seed")

_CHANGES = ("prompt", "model", *NAMES)
_WANTED = (
    'a dict from names to what is different, like {"one by one": {"batch_size": 1}, "twenty": {"batch_size": 20}}, '
    'or a list of such differences or of models, like ["openai:gpt-4.1-mini", "anthropic:claude-haiku-4-5"]'
)
_LONGEST_NAME = 60


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One variant of a job.

    Attributes:
        name: The caller's name for it.
        prompt: The question.
        model: The model to ask.
        settings: The options.
        changes: The caller's changes for this variant.
    """

    name: str
    prompt: str
    model: Any
    settings: Settings
    changes: Mapping[str, Any]

    def is_same_work(self, other: Variant) -> bool:
        """Whether the ledger would reuse the answers of one for the other."""
        return self._work == other._work

    def is_alike(self, other: Variant) -> bool:
        """Whether rows are grouped into requests in the same way in both."""
        return all(getattr(self.settings, name) == getattr(other.settings, name) for name in COMPANY)

    @property
    def _work(self) -> tuple[Any, ...]:
        return self.prompt, self.model, self.settings.params, self.settings.columns, self.settings.examples


def read_variants(
    given: object, prompt: str, output_model: Any, model: Any, options: Mapping[str, Any]
) -> tuple[Variant, ...]:
    """Check the *given* variants of a job.

    Variants that differ only in how rows are grouped into requests run without the ledger, because it would return the
    answers of the first variant for all of them. The same holds for a variant that sets one of these options
    (`COMPANY`). A variant that sets `ledger` keeps its own setting.

    Raises:
        SmeltConfigError: *given* is malformed or has fewer than two variants, or a change is not a valid option; the
            message names the variant.
    """
    named = _named(given)
    if len(named) < 2:
        raise SmeltConfigError.for_value("variants", given, f"at least two: {_WANTED}")
    variants = [_variant(name, changes, prompt, output_model, model, options) for name, changes in named.items()]
    return tuple(_told_apart(one, variants) for one in variants)


def about(name: str, problem: SmeltConfigError) -> SmeltConfigError:
    """*problem*, with the name of its variant."""
    return type(problem)(f"Variant {shown_value(name)}: {problem}")


def _named(given: object) -> dict[str, Mapping[str, Any]]:
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        if odd := [one for one in given if not (isinstance(one, Mapping | str) or is_model(one))]:
            raise SmeltConfigError.for_type("every one of variants", odd[0], _WANTED)
        names = [_name_of(one) for one in given]
        if doubled := next((one for one in names if names.count(one) > 1), None):
            raise SmeltConfigError(f"Two variants are {doubled}. Give them names: variants={{name: changes, ...}}.")
        return {name: _changes(one) for name, one in zip(names, given, strict=True)}
    if not isinstance(given, Mapping):
        raise SmeltConfigError.for_type("variants", given, _WANTED)
    for name, changes in given.items():
        if not isinstance(name, str):
            raise SmeltConfigError.for_type("every name of variants", name, "a string")
        if not isinstance(changes, Mapping):
            raise SmeltConfigError.for_type(f"variants[{shown_value(name)}]", changes, 'a dict, like {"batch_size": 1}')
    return dict(given)


def _changes(one: Any) -> Mapping[str, Any]:
    return one if isinstance(one, Mapping) else {"model": one}


def _name_of(one: Any) -> str:
    if not isinstance(one, Mapping):
        return _shortly(one)
    changes: Mapping[str, Any] = one
    return ", ".join(f"{name}={_shortly(value)}" for name, value in changes.items()) or "as it is"


def _shortly(value: Any) -> str:
    if is_model(value):
        return called(read_model(value))
    text = value if isinstance(value, str) else shown_value(value)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…"


def _variant(
    name: str, changes: Mapping[str, Any], prompt: str, output_model: Any, model: Any, options: Mapping[str, Any]
) -> Variant:
    try:
        for change in changes:
            if change not in _CHANGES:
                raise _unknown(change)
        own = {key: value for key, value in changes.items() if key in NAMES}
        settings = resolved({**options, **own}, output_model)
        asked = changes.get("model", model)
        asked = None if asked is None else read_model(asked)
    except SmeltConfigError as problem:
        raise about(name, problem) from None
    return Variant(
        name=name, prompt=changes.get("prompt", prompt), model=asked, settings=settings, changes=dict(changes)
    )


def _unknown(change: object) -> SmeltConfigError:
    if change in ("output_model", "truth", "n"):
        return ConfigTypeError(f"{change} is the same for all variants. Pass it to compare() itself.")
    return unknown_option(str(change), _CHANGES)


def _told_apart(one: Variant, all_of_them: Sequence[Variant]) -> Variant:
    if "ledger" in one.changes:
        return one
    says_so = any(name in COMPANY for name in one.changes)
    is_rival = any(one.is_same_work(other) and not one.is_alike(other) for other in all_of_them)
    if not (says_so or is_rival):
        return one
    if one.settings.mode == "batch":
        problem = SmeltConfigError(
            "it differs in how rows are grouped into requests, so it is asked without the ledger, which would answer "
            'with the rows of another variant; and mode="batch" needs a ledger. Leave out mode=, or give each variant '
            "a ledger= of its own."
        )
        raise about(one.name, problem)
    return replace(one, settings=replace(one.settings, ledger=False))
