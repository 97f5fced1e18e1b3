"""Decompresses bodies that a gateway compressed unasked, with a size limit."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

_MOST_LAYERS = 3  # "gzip, gzip" has been seen; more than a few layers are an attack.
_MOST_MEMBERS = 1_024  # Block writers make one member per 64 kB; a hundred thousand members take seconds.
_WINDOW = 2**20  # Bytes that a body read as it comes is unpacked to at a time.
_PIECE = 128  # Bytes fed at a time to a codec without its own limit; they may unpack to some megabytes.


class Undecodable(Exception):
    """A body that cannot be decompressed. Says why."""


def unpacked(body: bytes, encoding: str, cap: int) -> bytes:
    """*body* decompressed by its content-encoding *encoding*, at most *cap* bytes at each layer.

    Raises:
        Undecodable: It is larger, damaged, or in an encoding that needs a package which is not installed.
    """
    layers = [layer for one in encoding.lower().split(",") if (layer := one.strip()) not in ("", "identity")]
    if len(layers) > _MOST_LAYERS:
        raise Undecodable(f"the answer is compressed {len(layers)} times")
    for layer in reversed(layers):
        body = _unpacked_once(body, layer, cap)
    return body


def piecewise() -> Callable[[bytes], Iterator[bytes]]:
    """A function that takes the parts of a gzip body as they come, and yields them decompressed, in small pieces.

    It raises `Undecodable` at a part that is no gzip. What follows the first member is taken for another one.
    """
    unpacker = zlib.decompressobj(wbits=31)

    def unpack(part: bytes) -> Iterator[bytes]:
        nonlocal unpacker
        while part:
            try:
                yield unpacker.decompress(part, _WINDOW)
            except zlib.error:
                raise Undecodable("the answer is not the gzip that it claims to be") from None
            part = unpacker.unconsumed_tail
            if unpacker.eof:
                part, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)

    return unpack


def _unpacked_once(body: bytes, layer: str, cap: int) -> bytes:
    codec = _CODECS.get(layer)
    if codec is None:
        raise Undecodable(f"the answer is compressed in a way that is not known ({layer[:20]!r})")
    try:
        found = codec(body, cap + 1)
    except ImportError:
        raise Undecodable(f"the answer is compressed as {layer}, which was not asked for and cannot be read") from None
    except Undecodable:
        raise
    except Exception:  # noqa: BLE001  # Each codec has its own exceptions.
        if body.lstrip()[:1] in (b"{", b"["):  # The header is wrong: the body is not compressed.
            return body
        raise Undecodable(f"the answer is not the {layer} that it claims to be") from None
    if len(found) > cap:
        raise Undecodable(f"the answer is larger than {cap // 2**20} MB")
    return found


def _gzip(body: bytes, most: int) -> bytes:
    """All members of *body*, each of which may be empty; other bytes after them are dropped."""
    found: list[bytes] = []  # A single member is not copied: it may be as large as the cap.
    for _ in range(_MOST_MEMBERS):
        unpacker = zlib.decompressobj(wbits=31)
        found.append(unpacker.decompress(body, most))
        most -= len(found[-1])
        body = unpacker.unused_data
        if most <= 0 or body[:2] != b"\x1f\x8b":
            return b"".join(found)
    raise Undecodable(f"the answer is compressed in more than {_MOST_MEMBERS} parts")


def _deflate(body: bytes, most: int) -> bytes:
    """Both formats that servers call deflate: with zlib's header, and without."""
    try:
        return zlib.decompressobj().decompress(body, most)
    except zlib.error:
        return zlib.decompressobj(wbits=-15).decompress(body, most)


def _brotli(body: bytes, most: int) -> bytes:
    unpacker = _first_of("brotli", "brotlicffi").Decompressor()
    return _in_pieces(body, getattr(unpacker, "process", None) or unpacker.decompress, most)


def _zstd(body: bytes, most: int) -> bytes:
    library = _first_of("compression.zstd", "backports.zstd", "zstandard")
    unpacker = library.ZstdDecompressor()
    if hasattr(unpacker, "decompressobj"):  # zstandard; the other libraries have their own limit.
        return _in_pieces(body, unpacker.decompressobj().decompress, most)
    return bytes(unpacker.decompress(body, most))


def _in_pieces(body: bytes, unpack: Callable[[bytes], bytes], most: int) -> bytes:
    found = bytearray()
    for start in range(0, len(body), _PIECE):
        found += unpack(body[start : start + _PIECE])
        if len(found) >= most:
            break
    return bytes(found)


def _first_of(*names: str) -> Any:
    for name in names[:-1]:
        try:
            return import_module(name)
        except ImportError:
            continue
    return import_module(names[-1])


_CODECS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
