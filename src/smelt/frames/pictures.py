"""Pictures in memory: those of Pillow, and arrays. Pillow is imported only if a caller has such a picture."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from smelt.errors import MissingDependencyError
from smelt.frames.mediafiles import read_file

_QUALITY = 90  # Of JPEG: 12 ms for a photo, where PNG takes 308.
_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_PLAIN = ("L", "RGB", *_ALPHA)


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
            return read_file(name)
        return _rest_of(picture.fp)
    if not name or not Path(name).is_file():
        return None
    try:
        data = read_file(name)
        with _pillow().open(io.BytesIO(data)) as fresh:
            is_same = (fresh.mode, fresh.size) == (picture.mode, picture.size) and fresh.tobytes() == picture.tobytes()
    except (ValueError, OSError, SyntaxError):  # The file was replaced by another one.
        return None
    return data if is_same else None


def pixels_of(picture: Any) -> bytes:
    """The pixels of *picture*, with what they mean."""
    return f"{picture.mode} {picture.size[0]}x{picture.size[1]} ".encode() + bytes(picture.tobytes())


def media_type_of(picture: Any) -> str:
    """The media type that `encoded` gives to *picture*."""
    return "image/png" if _has_alpha(picture) else "image/jpeg"


def encoded(picture: Any, most: int | None) -> bytes:
    """*picture* as a file: JPEG, or PNG if it has transparent parts; its longer side at most *most* pixels."""
    has_alpha = _has_alpha(picture)
    if most is not None and max(picture.size) > most:
        picture = picture.convert("RGBA" if has_alpha else "RGB")
        picture.thumbnail((most, most))
    if picture.mode not in _PLAIN:
        picture = picture.convert("RGBA" if has_alpha else "RGB")
    buffer = io.BytesIO()
    if has_alpha:
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def shrunk(data: bytes, most: int | None) -> bytes:
    """The image file *data* encoded anew, its longer side at most *most* pixels; turned as its camera data says.

    Raises:
        ValueError: It cannot be decoded.
    """
    pillow = _pillow()
    from PIL import ImageOps

    try:
        with pillow.open(io.BytesIO(data)) as picture:
            return encoded(ImageOps.exif_transpose(picture), most)
    except (OSError, SyntaxError, pillow.DecompressionBombError):
        raise ValueError("an image that cannot be decoded") from None


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
