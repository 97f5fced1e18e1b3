"""Bounds the bytes of media that are in memory at a time, and loads those of a request before it is announced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smelt.plan.chunks import Chunk, Pending
from smelt.plan.media import Media, MediaText, Medium

MOST_BYTES = 96 * 2**20
"""Bytes of media in flight. A request holds about five times those of its own: raw, base64, JSON, and what the SDK and
the connection make of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """The media of the rows of a chunk.

    Attributes:
        media: By position of the row: its media, in the order of `Medium`s.
        broken: Rows whose media cannot be loaded, each with the reason.
    """

    media: Mapping[int, Sequence[Media]]
    broken: Sequence[tuple[Pending, str]] = ()


@dataclass(kw_only=True, eq=False)
class MediaRoom:
    """The bytes of media that a run has in memory for its requests."""

    used: int = 0

    def take(self, chunk: Chunk) -> bool:
        """Take room for the media of *chunk*, if there is any; a single request always gets it."""
        size = chunk.media_bytes
        if size and self.used and self.used + size > MOST_BYTES:
            return False
        self.used += size
        return True

    def give_back(self, chunk: Chunk) -> None:
        """Give back what `take` took for *chunk*."""
        self.used -= chunk.media_bytes


def load(chunk: Chunk, most: int) -> Loaded:
    """Read the media of *chunk*. Rows without media need nothing.

    Args:
        chunk: The rows.
        most: The most bytes of one medium that the provider takes.
    """
    media: dict[int, list[Media]] = {}
    broken: list[tuple[Pending, str]] = []
    for row in chunk.rows:
        try:
            if isinstance(row.text, MediaText):
                media[row.position] = [_loaded(name, medium, most) for name, medium in row.text.media]
        except ValueError as problem:
            broken.append((row, str(problem)))
    return Loaded(media=media, broken=broken)


def _loaded(column: str, medium: Medium, most: int) -> Media:
    loaded = medium.loaded()
    if loaded.size > most:
        shown = f"{loaded.size / 1e6:,.2g} MB, and the provider takes {most / 1e6:,.2g} MB in one request"
        raise ValueError(f"column {column!r}: {shown}")
    return loaded
