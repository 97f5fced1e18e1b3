"""Turns the caller's `model=` into a provider.

Everything that can be checked beforehand (the provider's name, the key, the address, a parameter, a missing extra) is
checked here, before any request.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from smelt.checks import integer
from smelt.environment import is_variable
from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.messages import nearest
from smelt.named import registry
from smelt.named.entries import Entry, ServerEntry
from smelt.providers.addresses import check_base_url
from smelt.providers.base import Provider
from smelt.providers.effort import NAMED, Thinking
from smelt.providers.own import Wrap, is_agent, is_async
from smelt.providers.redact import redact
from smelt.providers.secrets import KeyFunction, KeySource, Secret, check_key
from smelt.providers.tariff import Price
from smelt.providers.vendors import LOCAL, MOCK, VENDORS
from smelt.tracebacks import plainly


@dataclass(frozen=True)
class Model:
    """A model, and how to reach it. A key or address that is not given is read from the environment at use.

    Attributes:
        provider: `openai`, `anthropic`, `google`, `openrouter`, `groq`, `mistral`, `deepseek`, `xai`, `together`,
            `fireworks`, `cerebras`, `perplexity`, `nvidia`, `sambanova`, `huggingface`, `cloudflare`, `databricks`,
            `snowflake`, `azure`, `foundry`, `vertex`, `bedrock`, `mantle`, `vllm`, `sglang`, `ollama`, `llamacpp`,
            `lmstudio`, `local`, `mock`, or `compatible` for any other server of OpenAI's chat completions, which needs
            *base_url*.
        name: The model's name, in the provider's words. May be empty for `local`, which has a default, and for `mock`.
        api_key: The key, or a function that returns one or a token for each request, such as that of azure-identity's
            `get_bearer_token_provider`; it may be async. Kept out of repr, logs and pickles; a model that was pickled
            takes its key from the environment. Models with the same function are equal. Lanes and the ledger know a
            function's answers by the address instead of the key, so a new token finds the answers of the last one.
        key_env: Name of the environment variable that has the key, in place of *api_key*. It is read in each process
            when it asks, so it is what a model that travels to other processes needs.
        base_url: Another address of the same API.
        params: Parameters of every request, in the provider's words, such as `temperature`.
        allow_http: Whether the key may travel to another machine in clear text.
        thinking_tokens: Output tokens allowed for thoughts at first, on top of what the answers take. None: a value
            known for the model. Replies that think longer raise it. It does not set how much a model thinks: *thinking*
            does.
        thinking: How much the model should think, in the words of every provider: False (not at all), True (as much as
            it does by itself), or `minimal`, `low`, `medium`, `high`, `xhigh` or `max`, of which the nearest that the
            model has is taken. None: as the model does by itself, or as *params* say. Thoughts are paid as output.
        priced_as: A model with the same price, such as `openai:gpt-4.1-mini`, if the price list does not know *name*: a
            deployment may have any name. None: the price of *name*.
        price: The price itself, in US dollars per million tokens, if no listed model has it: `input` and `output`; and
            `cached` and `written` for input tokens read from and written to the provider's cache, if they cost
            otherwise. `batch` and `flex` are parts of the price, such as 0.5, that those tiers cost. `stored` is the
            price of a million tokens that Gemini keeps for an hour, if it is not that of Google's list.

    Raises:
        SmeltConfigError: There is no such provider, or an argument is malformed. Nothing is sent.

    Examples:
        >>> smelt.Model("openai", "gpt-4.1-mini", api_key="sk-secret", params={"temperature": 0})
        Model(provider='openai', name='gpt-4.1-mini', base_url=None, params={'temperature': 0}, allow_http=False)
    """

    provider: str
    name: str
    api_key: str | Secret | KeyFunction | KeySource | None = field(default=None, repr=False)
    base_url: str | None = None
    params: Mapping[str, Any] | None = field(default=None, hash=False)
    allow_http: bool = False
    thinking_tokens: int | None = field(default=None, repr=False)
    thinking: Thinking | None = field(default=None, repr=False)
    priced_as: str | None = field(default=None, repr=False)
    price: Mapping[str, float] | None = field(default=None, repr=False, hash=False)
    key_env: str | None = field(default=None, repr=False)

    @plainly
    def __post_init__(self) -> None:
        _check_names(self.provider, self.name)
        if self.base_url is not None:
            check_base_url(self.base_url, source="base_url")
        if self.api_key is not None and not isinstance(self.api_key, Secret | KeySource):
            object.__setattr__(self, "api_key", _kept(self.api_key))
        if self.key_env is not None:
            _check_variable(self.key_env)
            if self.api_key is not None:
                raise SmeltConfigError("api_key= and key_env= both say what the key is. Leave one out.")
        if self.params is not None and not isinstance(self.params, Mapping):
            raise SmeltConfigError.for_type("params", self.params, "a dict with string keys")
        if not isinstance(self.allow_http, bool):
            raise SmeltConfigError.for_type("allow_http", self.allow_http, "True or False")
        if self.thinking_tokens is not None:
            integer("thinking_tokens", self.thinking_tokens, 0, 1_000_000)
        if not (self.thinking is None or isinstance(self.thinking, bool) or self.thinking in NAMED):
            wanted = f"True, False or one of {', '.join(NAMED)}"
            raise SmeltConfigError.for_value("thinking", self.thinking, wanted)
        if self.priced_as is not None:
            _check_priced_as(self.priced_as)
        if self.price is not None:
            Price.read(self.price)
            if self.priced_as is not None:
                raise SmeltConfigError("price= and priced_as= both name a price. Leave one out.")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The model that a string like `"openai:gpt-4.1-mini"` names; further colons belong to the name.

        Args:
            text: `provider:name`.

        Returns:
            The model; its key and address are looked up when it is used.

        Raises:
            SmeltConfigError: There is no such provider, or no name.

        Examples:
            >>> smelt.Model.parse("ollama:qwen3:8b").name
            'qwen3:8b'
        """
        provider, colon, name = text.partition(":")
        if not colon:
            raise _no_model(text)
        return cls(provider, name)


Named = Model | Provider | Wrap
"""What `read_model` reads."""


def is_model(one: object) -> bool:
    """Whether *one* is something that `read_model` takes, apart from a string."""
    is_object = isinstance(one, Model | Wrap | Provider) and not isinstance(one, type)
    return is_object or is_agent(one) or is_async(one)


def read_model(model: object) -> Named:
    """The model that the caller named, checked as far as possible without a key or an SDK.

    Raises:
        SmeltConfigError: It names no model.
    """
    if isinstance(model, str):
        return Model.parse(model) if ":" in model else _registered(model)
    if isinstance(model, Model | Wrap) or (isinstance(model, Provider) and not isinstance(model, type)):
        return model
    if is_agent(model) or is_async(model) or inspect.isroutine(model) or isinstance(model, functools.partial):
        return _own(model)
    if isinstance(model, list | tuple):
        raise ConfigTypeError(
            "A list of models is a cascade, model=[cheap, strong] with target_accuracy=0.95. It needs the scores of "
            "all rows before the strong model is asked, so transform, run, classify, evaluate, estimate and a step of "
            "a pipeline take it; here, name one model."
        )
    wanted = (
        'a string like "openai:gpt-4.1-mini", a smelt.Model, an async function, a PydanticAI agent, or an object with '
        "the members of a provider"
    )
    raise SmeltConfigError.for_type("model", model, wanted)


def _own(code: Any) -> Provider:
    """A provider that calls the caller's code. Refuses a function that is not async."""
    # Imported late: they load pydantic, and most programs name a model of a vendor.
    if is_agent(code):
        from smelt.providers.agent import Agent

        return Agent(code)
    from smelt.providers.worker import Worker

    return Worker(code)


def _registered(name: str) -> Named:
    """The model that *name* was registered for."""
    found = registry.find(name)
    if found is None:
        raise _no_model(name)
    return of_entry(found) if isinstance(found, Entry) else found


def of_entry(entry: Entry) -> Named:
    """The model of an entry of an engine file.

    Raises:
        SmeltConfigError: The model cannot be asked that way.
    """
    try:
        if entry.server is not None:
            return _server_of(entry, entry.server)
        return Model(
            entry.vendor,
            entry.model,
            key_env=entry.key_variable,
            base_url=entry.base_url,
            params=entry.params or None,
        )
    except SmeltConfigError as problem:
        raise type(problem)(f"{entry.source}: {problem}") from None


def _server_of(entry: Entry, how: ServerEntry) -> Provider:
    from smelt.providers.server import Server  # Imported late: most processes start no server.

    return Server(
        entry.vendor,
        entry.model,
        dtype=how.dtype,
        devices=how.devices,
        lazy=how.lazy,
        args=how.args,
        params=entry.params,
        env=how.env,
        **({} if how.idle is None else {"idle": how.idle}),
    )


def _no_model(text: str) -> SmeltConfigError:
    """The error for a string without a colon that is no registered name."""
    shown = redact(text, limit=60)  # Someone may have passed a key as the model; do not show it.
    names = registry.names()
    named = f" or a registered name, not {shown!r}.{nearest(text, names)}" if names else f", not {shown!r}."
    return SmeltConfigError(f'model must be "provider:name", like "openai:gpt-4.1-mini"{named}')


def called(model: Named) -> str:
    """A model as `provider:name`, with the tag of its hooks."""
    if isinstance(model, Wrap):
        tag = f"[{model.hooks.tag}]" if model.hooks.tag else ""
        return called(read_model(model.model)) + tag
    return f"{model.provider}:{model.name}" if isinstance(model, Model) else f"{model.name}:{model.model}"


def _kept(api_key: object) -> Secret | KeySource:
    if callable(api_key):
        return KeySource(api_key)
    check_key(api_key, source="api_key")
    assert isinstance(api_key, str)
    return Secret(api_key)


def _check_variable(name: object) -> None:
    if not isinstance(name, str):
        raise SmeltConfigError.for_type("key_env", name, "the name of an environment variable")
    if not is_variable(name):
        raise SmeltConfigError(
            "key_env must be the name of an environment variable, like OPENAI_API_KEY. What is there looks like a key: "
            "pass it as api_key=."
        )


def _check_priced_as(named: object) -> None:
    provider, colon, name = named.partition(":") if isinstance(named, str) else ("", "", "")
    if not (colon and name):
        raise SmeltConfigError.for_type("priced_as", named, 'a string like "openai:gpt-4.1-mini"')
    if provider not in VENDORS or VENDORS[provider].priced_as is None:
        listed = [one.name for one in VENDORS.values() if one.priced_as]
        raise SmeltConfigError(f"priced_as names no provider with listed prices.{nearest(provider, listed)}")


def _check_names(provider: object, name: object) -> None:
    if not isinstance(provider, str):
        raise SmeltConfigError.for_type("provider", provider, "a string")
    if provider not in VENDORS:
        raise SmeltConfigError(f"There is no provider {provider!r}.{nearest(provider, VENDORS)}")
    if not isinstance(name, str):
        raise SmeltConfigError.for_type("name", name, "a string")
    if not name and provider not in (LOCAL.name, MOCK.name):
        raise SmeltConfigError(f'The model of {provider} has no name. Write it as "{provider}:name".')
    if not name.isprintable() or any(char.isspace() for char in name):
        raise SmeltConfigError(f"The model name {name!r} has spaces or control characters.")
