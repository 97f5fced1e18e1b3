"""A column of media: each is read once for its hash, and again when its request is written.

Between the two, a few dozen bytes are kept of each, and no pixels: ten thousand photos of 2 MB are no reason to use
20 GB of memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from smelt.frames import pictures
from smelt.frames.mediacells import Address, Content, is_media, is_null, read_cell
from smelt.frames.mediafiles import real_folder
from smelt.plan.cells import NULL
from smelt.plan.media import DIGEST_BYTES, MediaKind, MediaText, Medium, digest_of, kind_of
from smelt.plan.mediacolumns import KINDS, Declared, Image
from smelt.plan.mediafacts import facts_of

_PROBED = 20  # Values that are looked at to decide whether a column holds media.
_TYPES = ("", "image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "audio/wav", "audio/mpeg")
_KIND_WORDS: dict[MediaKind, str] = {"image": "an image", "document": "a PDF", "audio": "an audio clip"}


def has_media(values: Iterable[Any]) -> bool:
    """Whether the first values of a column that are not null can be nothing else than media."""
    probed = 0
    for value in values:
        if is_null(value):
            continue
        if is_media(value):
            return True
        probed += 1
        if probed == _PROBED or isinstance(value, str):
            return False
    return False


class MediaColumn:
    """Reads the cells of one column as media.

    Args:
        name: The column.
        cell: Returns the value of a cell, by position.
        count: The rows.
        declared: What the caller says about the column, or None.
    """

    def __init__(self, name: str, cell: Callable[[int], Any], count: int, declared: Declared | None = None) -> None:
        self.name = name
        self._cell = cell
        self._declared = declared
        self._detail = declared.detail if isinstance(declared, Image) else None
        self._most_side = declared.max_side if isinstance(declared, Image) else None
        if self._most_side is not None:
            pictures.require()
        if declared is not None and declared.root is not None and count:
            self._declared = replace(declared, root=real_folder(name, declared.root))
        # The facts of each cell that was read.
        self._types = array("B", bytes(count))  # 0: not read.
        self._digests = bytearray(DIGEST_BYTES * count)
        self._states = array("q", bytes(8 * count))
        self._sizes = array("q", bytes(8 * count))
        self._widths = array("L", bytes(array("L").itemsize * count))  # Or pages, or milliseconds.
        self._heights = array("L", bytes(array("L").itemsize * count))

    def __call__(self, positions: Iterable[Any]) -> list[str]:
        """The texts of the cells at *positions*. A `Reader`."""
        return [self._text(int(position)) for position in positions]

    def _text(self, position: int) -> str:
        medium = self._medium(position)
        return NULL if medium is None else MediaText(medium.text, ((self.name, medium),))

    def _medium(self, position: int) -> Medium | None:
        if not self._types[position]:
            value = self._cell(position)
            if is_null(value):
                return None
            content = read_cell(value, self._declared)
            if isinstance(content, Address):
                return self._behind(content)
            self._keep(position, content)
        return self._kept(position)

    def _behind(self, address: Address) -> Medium:
        kind = KINDS.get(type(self._declared), "image")
        return Medium(
            type="application/pdf" if kind == "document" else "image/*",
            digest=digest_of(address.url.encode()),
            size=0,
            url=address.url,
            detail=self._detail,
        )

    def _keep(self, position: int, content: Content) -> None:
        """Keep the facts of the content of a cell."""
        media_type = content.media_type
        self._require_kind(kind_of(media_type))
        facts = facts_of(content.data, media_type)
        width, height = (facts.width, facts.height) if content.picture is None else content.picture.size
        # A picture that is to become a JPEG has about half a byte per pixel then; a byte is rarely too little.
        size = len(content.data) if content.picture is None or media_type != "image/jpeg" else width * height
        if self._most_side is not None and max(width, height) > self._most_side:
            scale = self._most_side / max(width, height)
            width, height, size = round(width * scale), round(height * scale), round(size * scale * scale)
        at = position * DIGEST_BYTES
        self._digests[at : at + DIGEST_BYTES] = digest_of(content.data)
        self._states[position] = content.state
        self._sizes[position] = size
        self._widths[position] = width or facts.pages or round(facts.seconds * 1_000)
        self._heights[position] = height
        self._types[position] = _TYPES.index(media_type)

    def _kept(self, position: int) -> Medium:
        media_type, measure = _TYPES[self._types[position]], self._widths[position]
        digest = bytes(self._digests[position * DIGEST_BYTES : (position + 1) * DIGEST_BYTES])
        kind = kind_of(media_type)
        return Medium(
            type=media_type,
            digest=digest,
            size=self._sizes[position],
            width=measure if kind == "image" else 0,
            height=self._heights[position],
            pages=measure if kind == "document" else 0,
            seconds=measure / 1_000 if kind == "audio" else 0.0,
            detail=self._detail,
            load=lambda: self._load(position, digest),
            shrink=pictures.thumbnail if kind == "image" else None,
        )

    def _load(self, position: int, digest: bytes) -> bytes:
        content = read_cell(self._cell(position), self._declared)
        if isinstance(content, Address) or not self._is_same(position, content, digest):
            raise ValueError("the file has changed since this run began")
        return content.sent(self._most_side)

    def _is_same(self, position: int, content: Content, digest: bytes) -> bool:
        """Whether *content* has the bytes of *digest*; hashing them again would be a fifth of the CPU of a request."""
        if content.is_fixed or (content.state and content.state == self._states[position]):
            return True
        return digest_of(content.data) == digest

    def _require_kind(self, kind: MediaKind) -> None:
        if KINDS.get(type(self._declared), kind) != kind:
            raise ValueError(f"{_KIND_WORDS[kind]} in a column that is declared as {type(self._declared).__name__}")
