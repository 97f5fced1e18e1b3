"""The form of the requests of a run: how rows are written, in which shape replies come, and what that takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from smelt.engine.inflight import Announced
from smelt.engine.room import Grant, Room
from smelt.engine.work import Work
from smelt.plan.chunks import Chunk
from smelt.plan.compact import Compact
from smelt.plan.decisions import Decisions
from smelt.plan.media import Media
from smelt.plan.packed import Layout
from smelt.plan.tokens import BYTES_PER_TOKEN, text_tokens
from smelt.plan.wire import Codec, name_media, reply_schema, user_parts, user_text
from smelt.providers.base import Capabilities, Request

_ROW_FRAME = 24  # Bytes around a row of a request.
_COMPACT_FRAME = 10  # The same on the compact wire.

_Row = tuple[str, str, str | None]  # Its token, its text, and what was wrong with an earlier answer.


@dataclass(kw_only=True, eq=False)
class RequestForm:
    """How requests are written. It changes if a reply or a pilot shows that another form is better.

    Attributes:
        work: The specification of the run.
        capabilities: The provider's limits and features.
        room: What replies have shown of the model.
        is_compact: Whether rows are asked on the compact wire.
    """

    work: Work
    capabilities: Capabilities
    room: Room
    is_compact: bool = False
    _constant_schema: Mapping[str, Any] | None = None
    _schema_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        # Providers add an "array" schema to the input as text. A "keyed" schema is a grammar that no model reads.
        is_read = self.capabilities.codec == "array" and not self.work.decisions
        schema = (self.is_compact and self._compact_schema) or self._schema((), "array")
        self._schema_bytes = len(json.dumps(schema, separators=(",", ":"))) if is_read else 0

    @property
    def codec(self) -> Codec:
        """The shape that replies are asked for."""
        return "array" if self.room.is_loose and self._may_be_loose else self.capabilities.codec

    def compact(self, chunk: Chunk) -> Compact | None:
        """How *chunk* is asked on the compact wire; None in the keyed form, as rows that were answered wrongly are."""
        is_keyed = not self.is_compact or self.codec != self.capabilities.codec
        return None if is_keyed or any(row.attempts for row in chunk.rows) else self.work.compact

    @cached_property
    def layout(self) -> Layout | None:
        """The order of the fields in replies without field names, which an earlier call may have asked for."""
        return Layout.of(self.work.asked)

    def fall_back(self) -> bool:
        """Ask for arrays of rows from now on, because the server does not hold a row to its token.

        Returns:
            Whether that is a change. It is none if the provider promises to enforce the schema.
        """
        was_keyed = self.codec == "keyed" and self._may_be_loose
        self.room.is_loose = self.room.is_loose or was_keyed
        return was_keyed

    @property
    def _may_be_loose(self) -> bool:
        return bool(self.work.array_system) and not self.capabilities.enforces_schema

    @property
    def system(self) -> str:
        """The instructions of most requests."""
        return self.work.compact.system if self.is_compact and self.work.compact is not None else self.work.system

    @property
    def shared_tokens(self) -> int:
        """Input tokens repeated in every request: instructions and schema."""
        return text_tokens(len(self.system) + self._schema_bytes)

    def prefix_tokens(self, system: str) -> int:
        """Input tokens that a provider could keep of requests with these instructions."""
        return text_tokens(len(system.encode(errors="replace")) + self._schema_bytes)

    def input_tokens(self, chunk: Chunk) -> int:
        """Input tokens of a request with *chunk*, media apart."""
        return text_tokens(len(self.system) + self._schema_bytes + round(self._row_bytes(chunk)))

    def row_tokens(self, chunk: Chunk) -> float:
        """Input tokens of the rows of *chunk*, media apart."""
        return self._row_bytes(chunk) / BYTES_PER_TOKEN

    def _row_bytes(self, chunk: Chunk) -> float:
        """The bytes of the rows of *chunk* in a request."""
        size, count = sum(map(len, [row.text for row in chunk.rows])), len(chunk.rows)
        size += count * self.work.question_bytes
        if self.work.compact is None or not self.is_compact:
            return size + _ROW_FRAME * count
        return (self.work.compact.table.size(size / count) + _COMPACT_FRAME) * count

    def render(self, announced: Announced, grant: Grant, codec: Codec, *, timeout: float) -> Request:
        """The request for the rows of *announced*, for replies in the shape *codec*."""
        rows, parts = self._rows(announced)
        tokens, compact, decided = announced.tokens, announced.compact, self.work.decisions
        system = self.work.system if codec == self.capabilities.codec else self.work.array_system
        is_laid_out = compact is not None and compact.layout is not None
        return Request(
            system=system if compact is None else compact.system,
            user=user_text(rows, self.work.reminder)
            if compact is None
            else compact.table.text([(one, text) for one, text, _ in rows]),
            parts=parts,
            schema=self._compact_schema if is_laid_out else self._schema(tokens, codec),
            max_output_tokens=grant.limit,
            params=self.work.params,
            timeout=timeout,
            output_model=self.work.output_model,
            prompt=self.work.prompt,
            layout=compact.layout if compact is not None else None,
            decisions=Decisions(tokens=tuple(tokens), fields=decided) if decided else None,
            scores=self.work.scores,
        )

    def _rows(self, announced: Announced) -> tuple[list[_Row], tuple[str | Media, ...]]:
        """The rows of *announced*, and the parts of its message if they hold media."""
        asked, is_decided = announced.chunk.rows, bool(self.work.decisions)
        rows: list[_Row] = [
            # A question has nothing to mend in an earlier answer.
            (token, row.text, None if is_decided else row.problem)
            for token, row in zip(announced.tokens, asked, strict=True)
        ]
        if not announced.media:
            return rows, ()
        named = [name_media(token, text) for token, text, _ in rows]
        rows = [(token, text, problem) for (token, _, problem), (text, _) in zip(rows, named, strict=True)]
        own = [announced.media.get(row.position, ()) for row in asked]
        media = [list(zip(names, ones, strict=True)) for (_, names), ones in zip(named, own, strict=True)]
        return rows, user_parts(rows, media)

    @cached_property
    def _compact_schema(self) -> Mapping[str, Any]:
        layout = None if self.work.compact is None else self.work.compact.layout
        return {} if layout is None else layout.schema(self.capabilities.dialect)

    def _schema(self, tokens: Sequence[str], codec: Codec) -> Mapping[str, Any]:
        if codec == "keyed":
            return reply_schema(self.work.asked, self.capabilities.dialect, codec, tokens)
        if self._constant_schema is None:
            self._constant_schema = reply_schema(self.work.asked, self.capabilities.dialect, codec, tokens)
        return self._constant_schema
