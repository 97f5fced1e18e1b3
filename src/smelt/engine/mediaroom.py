"""Bounds the bytes of media that are in memory at a time, and loads those of a request before it is announced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from smelt.plan.chunks import Chunk, Pending
from smelt.plan.media import Media, MediaKind, MediaText, Medium
from smelt.providers.base import Capabilities

MOST_BYTES = 64 * 2**20
"""Bytes of media in flight. A request holds about five times those of its own: raw, base64, JSON, and what the SDK and
the connection make of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """The media of the rows of a chunk.

    Attributes:
        chunk: The chunk without broken rows; it may be empty.
        media: By position of the row: its media, in the order of `Medium`s.
        broken: Rows whose media cannot be loaded, each with the reason.
    """

    chunk: Chunk
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


def load(chunk: Chunk, limits: Capabilities) -> Loaded:
    """Read the media of *chunk*. Rows without media need nothing; a row over the *limits* is broken."""
    media: dict[int, list[Media]] = {}
    broken: list[tuple[Pending, str]] = []
    for row in chunk.rows if chunk.has_media else ():
        try:
            if isinstance(row.text, MediaText):
                media[row.position] = _loaded(row.text, limits)
        except ValueError as problem:
            broken.append((row, str(problem)))
    if broken:
        gone = {row.position for row, _ in broken}
        chunk = replace(chunk, rows=tuple(row for row in chunk.rows if row.position not in gone))
    return Loaded(chunk=chunk, media=media, broken=broken)


def _loaded(row: MediaText, limits: Capabilities) -> list[Media]:
    found: list[Media] = []
    for column, medium in row.media:
        if problem := _problem(medium, limits):
            raise ValueError(f"column {column!r}: {problem}")
        try:
            loaded = medium.loaded()
        except (TypeError, ValueError) as problem:  # The caller may have put another value into the cell.
            raise ValueError(f"column {column!r}: {problem}") from None
        if loaded.size > (most := limits.media_bytes):
            raise ValueError(f"column {column!r}: {_too_big(loaded.size, most, 'one request')}{_remedy(loaded.kind)}")
        if loaded.kind == "image" and loaded.size > (most := limits.image_bytes or loaded.size):
            raise ValueError(f"column {column!r}: {_too_big(loaded.size, most, 'one image')}{_remedy(loaded.kind)}")
        found.append(loaded)
    if (whole := sum([one.size for one in found])) > limits.media_bytes:
        raise ValueError(f"its media together: {_too_big(whole, limits.media_bytes, 'one request')}")
    return found


def _problem(medium: Medium, limits: Capabilities) -> str:
    """What is wrong with *medium*, as far as that is known without its bytes."""
    if medium.url and medium.kind not in limits.media_urls:
        return "an address, and the provider fetches none. Pass the bytes"
    side, most = max(medium.width, medium.height), limits.image_side
    if most is not None and side > most:
        return f"an image of {side:,} pixels, and the provider takes {most:,}{_remedy('image')}"
    return ""


def _too_big(size: int, most: int, where: str) -> str:
    return f"{size / 1e6:,.3g} MB, and the provider takes {most / 1e6:,.3g} MB in {where}"


def _remedy(kind: MediaKind) -> str:
    return ". Make it smaller: media={…: smelt.Image(max_side=2000)}" if kind == "image" else ""
