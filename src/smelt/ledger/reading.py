"""What is read from a store is validated again, as if a model had just said it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import from_json

from smelt.plan.replies import read_reply
from smelt.plan.schema import Output
from smelt.plan.validate import InvalidRow, Validator, completed, json_text
from smelt.plan.wire import Codec
from smelt.providers.base import Reply


class Reading:
    """Reads stored rows, and replies that were stored before they were read."""

    def __init__(self, output: Output, codec: Codec) -> None:
        """Read rows of *output* from replies in *codec*."""
        self._validator = Validator(output)
        self._keys = [field.key for field in output.fields]
        self._codec = codec

    def stored(self, text: object) -> tuple[Any, ...] | None:
        """The values of a stored row; None where they are no answer any more."""
        try:
            return self._validator.values(text) if isinstance(text, str) else None
        except InvalidRow:
            return None

    def all_stored(self, texts: Sequence[object]) -> list[tuple[Any, ...] | None]:
        """The values of many stored rows; None for those that are no answer any more, or None."""
        return self._validator.all_values(texts)

    def narrowed(self, text: str | bytes) -> str:
        """The JSON of a stored row that has more fields, with these only; blank where it is none."""
        try:
            fields = from_json(text)
        except ValueError:
            return ""
        return json_text({key: fields[key] for key in self._keys if key in fields}) if isinstance(fields, dict) else ""

    def unread(self, text: str, tokens: Sequence[str]) -> str | None:
        """The beginning of a stored reply, redacted, if nothing can be read of it; None for an empty one."""
        rows = read_reply(text, tokens, self._codec)
        is_unread = rows.is_unreadable and not rows.is_cut and text.strip()
        return Reply(text=text).beginning if is_unread else None

    def replied(
        self, text: str, tokens: Sequence[str], known: Callable[[int], str | None] | None, *, finish: str | None = None
    ) -> list[tuple[int, str]]:
        """The valid rows of a stored reply.

        Args:
            text: The reply.
            tokens: The tokens of its rows.
            known: The JSON of the answer that a row's reply adds to, by its place; None where replies are whole answers.
            finish: Why the reply ended, as it was stored.

        Returns:
            Which of *tokens*, and the JSON to store.
        """
        is_cut, may_be_cut = finish == "length", finish == "unknown"
        rows = read_reply(text, tokens, self._codec, is_cut=is_cut, may_be_cut=may_be_cut)
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
