"""Keys that show nothing of themselves: in no repr, log or pickle."""

from __future__ import annotations

from typing import Any


class Secret:
    """A key. It shows nothing of itself, not even in a traceback with local variables, and is unpickled as None."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself, for the SDK's client and for redaction."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _nothing, ()

    def __deepcopy__(self, memo: object) -> Secret:
        return self


def _nothing() -> None:
    """The value of an unpickled `Secret`: None."""
