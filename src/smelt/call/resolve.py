"""Resolves a model name, or the default model, to a provider object."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from smelt.call.defaults import setting
from smelt.environment import environ
from smelt.errors import AuthConfigError, MissingDependencyError, SmeltConfigError, warn
from smelt.model import Model, Named, read_model
from smelt.providers.access import doubt_about, find_access
from smelt.providers.base import CompleteProvider
from smelt.providers.effort import effort_params
from smelt.providers.own import Wrap, complete
from smelt.providers.prices import check_named
from smelt.providers.secrets import KeySource, Secret, check_key
from smelt.providers.tariff import Price
from smelt.providers.thinking import thinking_params
from smelt.providers.vendors import LOCAL, MOCK, row_of
from smelt.providers.wrapped import Wrapped


def resolve_model(model: Any, *, params: Mapping[str, Any] | None = None, needs_key: bool = True) -> CompleteProvider:
    """The provider for *model*, after all checks that are possible without a request.

    Args:
        model: Anything that `read_model` takes, or None for the default:
            `smelt.configure(model=…)`, then `SMELT_MODEL`, then the embedded model if its extra is installed.
        params: The caller's parameters for every request; they override those of the `Model`.
        needs_key: Whether a missing key is an error; False if nothing will be sent.

    Raises:
        SmeltConfigError: Something is missing or wrong; the message says what to do.
    """
    named = read_model(default_model() if model is None else model)
    if isinstance(named, Wrap):
        return Wrapped(resolve_model(named.model, params=params, needs_key=needs_key), named.hooks)
    provider = _provider_of(named, params or {}, needs_key) if isinstance(named, Model) else complete(named)
    provider.check_params({**provider.params, **(params or {})})
    if needs_key:
        _begin(named)
    return provider


def _begin(model: Named) -> None:
    """Start a server of ours that is to start before the first row is asked."""
    module = sys.modules.get("smelt.providers.server")  # A server in hand proves that it is loaded.
    if module is not None and isinstance(model, module.Server):
        model.begin()


_EMBEDDED = Model(LOCAL.name, "")  # The default if no model is named.


def default_model() -> Any:
    """The model of a call that names none.

    Raises:
        SmeltConfigError: There is none.
    """
    if (named := setting("model")) is not None:
        return named
    if find_spec("xllamacpp") is None:
        raise SmeltConfigError(
            'No model is named. Pass model="openai:gpt-4.1-mini" or the like, call smelt.configure(model=…) or set '
            "SMELT_MODEL; or install the embedded model, which needs no key: pip install 'dfsmelt[local]'"
        )
    return _EMBEDDED


def _provider_of(model: Model, params: Mapping[str, Any], needs_key: bool) -> CompleteProvider:
    vendor, merged = row_of(model.provider, model.name), _asked_of(model, params)
    if vendor is LOCAL:
        return _local(model.name, merged, is_named=model is not _EMBEDDED)
    if vendor is MOCK:
        return _mock(model.name, merged)
    access = find_access(
        vendor,
        api_key=_key_of(model, needs_key=needs_key),
        base_url=model.base_url,
        allow_http=model.allow_http,
        environ=environ(),
        needs_key=needs_key,
    )
    if doubt := doubt_about(access, vendor):
        warn(doubt)
    if model.priced_as is not None:
        check_named(model.priced_as)
    provider: CompleteProvider = vendor.load()(
        vendor=vendor,
        model=model.name,
        access=access,
        params=merged,
        thinking_tokens=model.thinking_tokens,
        priced_as=model.priced_as,
        price=None if model.price is None else Price.read(model.price),
    )
    return provider


def _key_of(model: Model, *, needs_key: bool) -> Secret | KeySource | None:
    """The key that the caller gave, or named a variable for."""
    if model.key_env is None:
        return model.api_key if isinstance(model.api_key, Secret | KeySource) else None
    key = environ().get(model.key_env, "")
    if key:
        check_key(key, source=model.key_env)
        return Secret(key)
    if needs_key:
        raise AuthConfigError(f"The environment variable {model.key_env}, which is to have the key, is not set.")
    return None


def _asked_of(model: Model, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters of every request: those of *model*, its `thinking`, and those of the call."""
    merged = {**(model.params or {}), **params}
    if model.thinking is None:
        return merged
    if said := thinking_params(merged):
        raise SmeltConfigError(f"thinking= and params[{min(said)!r}] both say how much to think. Leave one out.")
    effort, warning = effort_params(row_of(model.provider, model.name).thinking, model.name, model.thinking)
    if warning:
        warn(warning)
    # Bedrock's field for other parameters of the model may be in both.
    both = [name for name in effort if isinstance(merged.get(name), Mapping)]
    return {**effort, **merged, **{name: {**effort[name], **merged[name]} for name in both}}


def _local(name: str, params: Mapping[str, Any], *, is_named: bool) -> CompleteProvider:
    if find_spec("xllamacpp") is None:
        raise MissingDependencyError.for_extra(LOCAL.extra, "xllamacpp")
    provider: CompleteProvider = LOCAL.load()(name, params=params, is_named=is_named)
    return provider


def _mock(name: str, params: Mapping[str, Any]) -> CompleteProvider:
    provider: CompleteProvider = MOCK.load()(name, params=params)
    return provider
