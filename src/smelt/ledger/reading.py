"""Parses stored rows and replies, and validates them again like a new reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import from_json

from smelt.plan.packed import Layout
from smelt.plan.replies import read_reply
from smelt.plan.schema import Output
from smelt.plan.validate import InvalidRow, Validator, completed, json_text
from smelt.plan.wire import Codec
from smelt.providers.base import Reply


class Reading:
    """Parses stored rows, and replies that were stored but not parsed."""

    def __init__(self, output: Output, codec: Codec) -> None:
        """Parse rows of *output* from replies in *codec*."""
        self._validator = Validator(output)
        self._keys = [field.key for field in output.fields]
        self._codec = codec
        self._layout = Layout.of(output.fields)  # A run may have asked on the compact wire.

    def stored(self, text: object) -> tuple[Any, ...] | None:
        """The values of a stored row; None if it is no longer valid."""
        try:
            return self._validator.values(text) if isinstance(text, str) else None
        except InvalidRow:
            return None

    def all_stored(self, texts: Sequence[object]) -> list[tuple[Any, ...] | None]:
        """The values of many stored rows; None for a row that is None or no longer valid."""
        return self._validator.all_values(texts)

    def standing(
        self, values: Sequence[tuple[Any, ...] | None], texts: Sequence[str]
    ) -> Sequence[tuple[Any, ...] | None]:
        """Stored *values*; None instead of those that do not stand in their row, of this canonical text, but must.

        A reply that an earlier run left unread was validated without its rows.
        """
        if not self._validator.reads_rows:
            return values
        strayed = self._validator.strayed
        return [
            one if one is not None and strayed(one, text) is None else None
            for one, text in zip(values, texts, strict=True)
        ]

    def narrowed(self, text: str | bytes) -> str:
        """The JSON of a stored row with more fields, cut to these; empty if it is no JSON object."""
        try:
            fields = from_json(text)
        except ValueError:
            return ""
        return json_text({key: fields[key] for key in self._keys if key in fields}) if isinstance(fields, dict) else ""

    def unread(self, text: str, tokens: Sequence[str]) -> str | None:
        """The beginning of a stored reply, redacted, if nothing can be parsed from it; None for an empty one."""
        rows = read_reply(text, tokens, self._codec, layout=self._layout)
        is_unread = rows.is_unreadable and not rows.is_cut and text.strip()
        return Reply(text=text).beginning if is_unread else None

    def replied(
        self, text: str, tokens: Sequence[str], known: Callable[[int], str | None] | None, *, finish: str | None = None
    ) -> list[tuple[int, str]]:
        """The valid rows of a stored reply.

        Args:
            text: The reply.
            tokens: The tokens of its rows.
            known: Returns the JSON of the answer that a row adds to, by position; None if replies are whole answers.
            finish: The stored finish reason.

        Returns:
            Positions in *tokens*, each with the JSON to store.
        """
        is_cut, may_be_cut = finish == "length", finish == "unknown"
        rows = read_reply(text, tokens, self._codec, layout=self._layout, is_cut=is_cut, may_be_cut=may_be_cut)
        found = []
        for at, token in enumerate(tokens):
            if token not in rows.found:
                continue
            try:
                answer = rows.found[token]
                if known is not None:
                    answer = completed(known(at) or "{}", answer)
                _, json = self._validator.read(answer)
            except InvalidRow:
                continue
            found.append((at, json))
        return found
