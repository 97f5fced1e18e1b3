"""A provider whose answers follow from the row and from nothing else, for exactly the fields that it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smelt.providers.base import Reply, Request
from smelt.testing import ScriptedProvider, answered

Rule = Callable[[Mapping[str, Any]], Any]


class DerivingProvider(ScriptedProvider):
    """Answers each field by its rule; a row for which *is_mute* is true gets no answer.

    Attributes:
        fields_asked: The fields of each request.
    """

    def __init__(
        self, rules: Mapping[str, Rule], *, is_mute: Rule = lambda row: False, keep: bool = True, **options: Any
    ) -> None:
        super().__init__({}, keep=keep, **options)
        self._rules = rules
        self._is_mute = is_mute
        self.fields_asked: list[tuple[str, ...]] = []

    async def send(self, request: Request) -> Reply:
        """Answer what is asked."""
        schema: Any = request.schema
        fields = tuple(name for name in schema["properties"]["rows"]["items"]["properties"] if name != "id")
        if self._keep:
            self.requests.append(request)
            self.fields_asked.append(fields)

        def answer(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
            return None if self._is_mute(row) else {name: self._rules[name](row) for name in fields}

        return answered(request, answer, self.capabilities.codec, self)
