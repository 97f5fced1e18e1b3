"""Keys, and functions that return keys, which show nothing of themselves: in no repr, log or pickle."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Self

from smelt.errors import AuthConfigError

KeyFunction = Callable[[], str | Awaitable[str]]
"""What may be passed as `api_key=` in place of a key: it is called for every request."""


class Hidden:
    """Something with a secret in it: shown without it, unpickled as None, and never copied."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def __reduce__(self) -> tuple[Any, ...]:
        return _nothing, ()

    def __deepcopy__(self, memo: object) -> Self:
        return self


class Secret(Hidden):
    """A key. It shows nothing of itself, not even in a traceback with local variables, and is unpickled as None."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself, for the SDK's client and for redaction."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


class KeySource(Hidden):
    """A function that returns the key of a request. Equal if the functions are; unpickled as None."""

    __slots__ = ("ask",)

    def __init__(self, ask: KeyFunction) -> None:
        self.ask = ask

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeySource) and self.ask == other.ask

    def __hash__(self) -> int:
        try:
            return hash(self.ask)
        except TypeError:  # An object with `__call__` and `__eq__`, but without `__hash__`.
            return hash(type(self.ask))


def names_a_key(name: str) -> bool:
    """Whether a variable called *name* holds a key: HF_TOKEN does, and TOKENIZERS_PARALLELISM does not."""
    return _NAME_OF_A_KEY.search(name) is not None


_NAME_OF_A_KEY = re.compile(r"(?:^|_)(?:api_?)?(?:key|token|secret|password)$", re.IGNORECASE)


def check_key(key: object, *, source: str) -> None:
    """Refuse a string that cannot be a key. The message never contains it.

    Raises:
        AuthConfigError: Says what is wrong.
    """
    if not isinstance(key, str):
        raise AuthConfigError(f"{source} must be a string, not a {type(key).__name__}.")
    if not key.strip():
        raise AuthConfigError(f"{source} is blank.")
    if key != key.strip():
        raise AuthConfigError(f"{source} has spaces or a line end around it. Remove them.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise AuthConfigError(f"{source} has characters that no key has. Copy it again.")


def _nothing() -> None:
    """The value of an unpickled `Secret` or `KeySource`: None."""
