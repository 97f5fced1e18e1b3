"""Reads one cell with a medium: bytes, an opened image, an array, a path, a data URL or an address."""

from __future__ import annotations

import os
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smelt.frames import pictures
from smelt.frames.mediafiles import File, bounded, checked_url, read_below, read_file
from smelt.plan.mediacolumns import Audio, Declared
from smelt.plan.mediafacts import facts_of, type_of

_DATA_URL = "data:"
_STRUCT = frozenset({"bytes", "path"})  # As Hugging Face datasets store images and audio.
_UNKNOWN = "bytes that do not begin like a PNG, JPEG, GIF, WebP, PDF, WAV or MP3 file"


@dataclass(frozen=True, slots=True)
class Content:
    """What a cell holds.

    Attributes:
        data: The bytes of the file; those of the pixels if *picture* is not None.
        is_fixed: Whether the same cell always has these bytes.
        picture: A picture that is in memory and in no file, or None.
        state: That of the file that was read, or 0; see `mediafiles.File`.

    A file that was opened by Pillow may be of a type that no model takes; then *data* must be encoded anew.
    """

    data: bytes
    is_fixed: bool = False
    picture: Any = None
    state: int = 0

    @property
    def media_type(self) -> str:
        """The media type that it is sent as, if it is not made smaller."""
        if self.picture is not None:
            return pictures.media_type_of(self.picture)
        return type_of(self.data) or "image/jpeg"

    def sent(self, most: int | None) -> bytes:
        """The bytes to send; the longer side of an image has at most *most* pixels.

        Raises:
            ValueError: It is an image that cannot be decoded.
        """
        if self.picture is not None:
            return pictures.encoded(self.picture, most)
        known = type_of(self.data)
        if known is not None and (most is None or not known.startswith("image/")):
            return self.data
        width, height = facts_of(self.data, known or "")[:2]
        if known is not None and most is not None and 0 < max(width, height) <= most:
            return self.data
        return pictures.shrunk(self.data, most)


@dataclass(frozen=True, slots=True)
class Address:
    """An address that the provider fetches."""

    url: str = field(repr=False)  # It may be signed.


def is_media(value: object) -> bool:
    """Whether *value* can be nothing else than a medium. A string never is by itself."""
    if isinstance(value, bytes | bytearray):
        return type_of(bytes(value[:16])) is not None
    if isinstance(value, memoryview):
        return type_of(value.tobytes()) is not None
    return pictures.is_picture(value) or _is_struct(value)


def is_null(value: object) -> bool:
    """Whether *value* is a missing one of any library, or a struct of bytes and path with neither."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, dict):
        return value.keys() == _STRUCT and value["bytes"] is None and value["path"] is None
    return isinstance(value, float) and value != value  # NaN.


def read_cell(value: object, declared: Declared | None) -> Content | Address:
    """The content of a cell that is not null.

    Raises:
        ValueError: It holds no medium, or one that must not be read; the message quotes nothing of it.
        TypeError: A value of this type is no medium.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return Content(_known(bounded(bytes(value))), is_fixed=isinstance(value, bytes))
    if pictures.is_picture(value):
        data = pictures.file_of(value)
        return Content(bounded(data)) if data is not None else Content(pictures.pixels_of(value), picture=value)
    if isinstance(value, Mapping) and value.keys() <= _STRUCT and isinstance(value.get("bytes", 0), bytes | None):
        inner = value["bytes"]
        return read_cell(value.get("path") if inner is None else inner, declared)
    if declared is None:
        raise TypeError(_undeclared(value))
    if isinstance(value, Path):
        if declared.root is not None:  # A path that was made of a row's text must not leave the root, either.
            return _of_file(read_below(os.fspath(declared.root), os.fspath(value)))
        return _of_file(read_file(os.fspath(value)))
    if isinstance(value, str):
        return _read_string(value, declared)
    if type(value).__module__.partition(".")[0] == "numpy":
        picture = pictures.from_array(value)
        return Content(pictures.pixels_of(picture), picture=picture)
    raise TypeError(f"a value of type {type(value).__name__}, which is no medium")


def _read_string(text: str, declared: Declared) -> Content | Address:
    if text[: len(_DATA_URL)].lower() == _DATA_URL:
        head, comma, body = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise ValueError("a data URL without base64")
        try:
            return Content(_known(bounded(b64decode(body, validate=True))), is_fixed=True)
        except NotBase64:
            raise ValueError("a data URL whose base64 is broken") from None
    if "://" in text[:32]:
        url = checked_url(text)
        if isinstance(declared, Audio):
            raise ValueError("an address; audio is sent as bytes")
        if not declared.urls:
            raise ValueError("an address; pass urls=True to have the provider fetch it")
        return Address(url)
    if declared.root is None:
        raise ValueError("a path, and no root= was given that it is relative to")
    return _of_file(read_below(os.fspath(declared.root), text))


def _of_file(file: File) -> Content:
    return Content(_known(file.data), state=file.state)


def _known(data: bytes) -> bytes:
    if type_of(data) is None:
        raise ValueError(_UNKNOWN)
    return data


def _is_struct(value: object) -> bool:
    if not isinstance(value, Mapping) or not value.keys() <= _STRUCT or "bytes" not in value:
        return False
    inner = value["bytes"]
    return isinstance(value.get("path"), str) if inner is None else isinstance(inner, bytes) and is_media(inner)


def _undeclared(value: object) -> str:
    if isinstance(value, str):
        return "text in a column of media; declare it with media=, as smelt.Image(root=...) for paths"
    return f"a value of type {type(value).__name__}"
