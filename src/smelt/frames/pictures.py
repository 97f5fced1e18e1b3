"""Pictures in memory: those of Pillow, and arrays. Pillow is imported only if a caller has such a picture."""

from __future__ import annotations

import io
import os
import struct
import sys
from pathlib import Path
from typing import Any

from smelt.errors import MissingDependencyError
from smelt.frames.mediafiles import read_file
from smelt.plan.mediafacts import facts_of, type_of

_QUALITY = 90  # Of JPEG: 12 ms for a photo, where PNG takes 308.
_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_WRITABLE = ("L", "RGB", "LA", "RGBA")
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N")  # Grey of 16 bits: Pillow would write all that is not black as white.
_NO_RANGE = ("I", "F")
_MOST_PIXELS = 89_000_000  # A file of some kB can hold a picture of gigabytes.
_THUMBNAIL = 160  # Pixels.
_BROKEN = "an image that cannot be decoded"


def is_picture(value: object) -> bool:
    """Whether *value* is an image of Pillow, which this does not import."""
    return any(one.__module__ == "PIL.Image" and one.__name__ == "Image" for one in type(value).__mro__)


def file_of(picture: Any) -> bytes | None:
    """The bytes of the file that *picture* was opened from, or None if its pixels are those of no file.

    An image that was only opened is not decoded: `load` would keep its pixels in the caller's object for good.

    Raises:
        ValueError: The image was opened and never read, and its file cannot be read any more.
    """
    name = os.fspath(getattr(picture, "filename", "") or "")
    if getattr(picture, "tile", None) and not picture.tell():  # Opened and not decoded yet: it equals its file.
        if name:
            return read_file(name).data
        return _rest_of(picture.fp)
    if not name or not Path(name).is_file():
        return None
    try:
        data = read_file(name).data
        with _pillow().open(io.BytesIO(data)) as fresh:
            is_alike = (fresh.mode, fresh.size) == (picture.mode, picture.size)
            is_same = is_alike and pixels_of(fresh) == pixels_of(picture)
    except _damages():  # The file was replaced by another one.
        return None
    return data if is_same else None


def pixels_of(picture: Any) -> bytes:
    """The pixels of *picture*, with what they mean.

    Raises:
        ValueError: They cannot be decoded.
    """
    try:
        pixels = picture.tobytes()
    except _damages():
        raise ValueError(_BROKEN) from None
    # Pixels of a palette are numbers of colours: two pictures may differ in their palettes only.
    palette = f"{picture.getpalette()} {picture.info.get('transparency')!r} " if picture.mode in ("P", "PA") else ""
    return b"".join([f"{picture.mode} {picture.size[0]}x{picture.size[1]} {palette}".encode(), pixels])


def media_type_of(picture: Any) -> str:
    """The media type that `encoded` gives to *picture*."""
    return "image/png" if _has_alpha(picture) else "image/jpeg"


def encoded(picture: Any, most: int | None) -> bytes:
    """*picture* as a file: JPEG, or PNG if it has transparent parts; its longer side at most *most* pixels.

    Raises:
        ValueError: It has no bytes that a model could look at.
    """
    if picture.mode in _NO_RANGE:
        raise ValueError(
            f"an image of mode {picture.mode}, whose black and white are not known; convert it to L or RGB"
        )
    has_alpha, given = _has_alpha(picture), picture
    try:
        if picture.mode in _DEEP:
            picture = picture.convert("I").point(lambda value: value / 256).convert("L")
        elif picture.mode not in _WRITABLE:
            picture = picture.convert("LA" if picture.mode == "La" else "RGBA" if has_alpha else "RGB")
        if most is not None and max(picture.size) > most:
            picture = picture.copy() if picture is given else picture  # `thumbnail` changes its picture.
            picture.thumbnail((most, most))
        buffer = io.BytesIO()
        if has_alpha:
            picture.save(buffer, "PNG")
        else:
            picture.save(buffer, "JPEG", quality=_QUALITY)
    except _damages():
        raise ValueError(_BROKEN) from None
    return buffer.getvalue()


def shrunk(data: bytes, most: int | None) -> bytes:
    """The image file *data* encoded anew, its longer side at most *most* pixels; turned as its camera data says.

    Raises:
        ValueError: It cannot be decoded, or has more pixels than fit into memory.
    """
    _pillow()  # `_damages` asks whether it is loaded.
    try:
        picture = _opened(data)
        if most is not None and picture.mode in _WRITABLE:
            picture.thumbnail((most, most))  # Before it is turned: of a large JPEG, only a part is decoded.
        picture = _turned(picture)
    except ValueError:
        raise
    except _damages():
        raise ValueError(_BROKEN) from None
    return encoded(picture, most)


def thumbnail(data: bytes) -> bytes:
    """The image file *data* as a small JPEG to show to people; empty if Pillow is not there, or cannot decode it."""
    try:
        picture = _opened(data)
        picture.draft("RGB", (_THUMBNAIL, _THUMBNAIL))
        picture = _turned(picture).convert("RGBA")
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        paper = _pillow().new("RGB", picture.size, "white")
        paper.paste(picture, mask=picture)
    except MissingDependencyError:
        return b""
    except _damages():
        return b""
    buffer = io.BytesIO()
    paper.save(buffer, "JPEG", quality=70)
    return buffer.getvalue()


def require() -> None:
    """Refuse if Pillow is not installed.

    Raises:
        MissingDependencyError: Names the extra.
    """
    _pillow()


def from_array(array: Any) -> Any:
    """A NumPy array of 8-bit grey, RGB or RGBA pixels as an image of Pillow.

    Raises:
        TypeError: It has another shape or dtype.
    """
    if array.dtype.name != "uint8" or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise TypeError(f"an array of {array.dtype.name} and shape {array.shape}, which is no image of 8-bit pixels")
    return _pillow().fromarray(array)


def _has_alpha(picture: Any) -> bool:
    return picture.mode in _ALPHA or (picture.mode == "P" and "transparency" in picture.info)


def _opened(data: bytes) -> Any:
    """The image in *data*, not decoded.

    Raises:
        ValueError: It would take too much memory.
    """
    width, height = facts_of(data, type_of(data) or "")[:2]  # Pillow itself has a limit, too; it only warns at first.
    if width * height > _MOST_PIXELS:
        most = f"{_MOST_PIXELS // 10**6} million are the most that are decoded"
        raise ValueError(f"an image of {width:,} x {height:,} pixels; {most}")
    return _pillow().open(io.BytesIO(data))


def _turned(picture: Any) -> Any:
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture)


def _damages() -> tuple[type[Exception], ...]:
    """What Pillow raises for damaged and for huge images."""
    pillow = sys.modules.get("PIL.Image")
    bombs = (pillow.DecompressionBombError, pillow.DecompressionBombWarning) if pillow is not None else ()
    return (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError, *bombs)


def _rest_of(file: Any) -> bytes:
    if file is None or file.closed:
        raise ValueError("an image whose file is closed; pass its bytes, or load() it before")
    at = file.tell()
    try:
        file.seek(0)
        data: bytes = file.read()
    finally:
        file.seek(at)
    return data


def _pillow() -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise MissingDependencyError.for_extra("media", "PIL") from None
    return Image
