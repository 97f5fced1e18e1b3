"""Bodies that were compressed unasked: read, or refused within bounds of memory and time."""

from __future__ import annotations

import gzip
import sys
import zlib
from types import ModuleType
from typing import Any

import pytest

from smelt.providers.encodings import Undecodable, unpacked

CAP = 2**20
PLAIN = b'{"rows": [{"id": "k7f2"}]}' * 40


def raw(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


GOOD = [
    ("gzip", gzip.compress(PLAIN)),
    ("GZIP", gzip.compress(PLAIN)),
    ("x-gzip", gzip.compress(PLAIN)),
    ("gzip", gzip.compress(PLAIN[:99]) + gzip.compress(b"") + gzip.compress(PLAIN[99:])),
    ("gzip", gzip.compress(PLAIN) + b"\0" * 9),
    ("gzip", gzip.compress(PLAIN)[:-8]),
    ("deflate", zlib.compress(PLAIN)),
    ("deflate", raw(PLAIN)),
    ("deflate, gzip", gzip.compress(zlib.compress(PLAIN))),
    ("gzip, identity, gzip", gzip.compress(gzip.compress(PLAIN))),
    (" , identity", PLAIN),
    ("gzip", PLAIN),
]


@pytest.mark.parametrize(("encoding", "body"), GOOD, ids=range(len(GOOD)))
def test_what_is_packed_is_read(encoding: str, body: bytes) -> None:
    assert unpacked(body, encoding, CAP) == PLAIN


BOMB = b" " * (8 * CAP)
BAD: list[tuple[str, str, bytes, str]] = [
    ("gzip bomb", "gzip", gzip.compress(BOMB), "larger than 1 MB"),
    ("zlib bomb", "deflate", zlib.compress(BOMB), "larger than 1 MB"),
    ("raw bomb", "deflate", raw(BOMB), "larger than 1 MB"),
    ("bomb in a bomb", "gzip, gzip", gzip.compress(gzip.compress(BOMB)), "larger than 1 MB"),
    ("bomb of members", "gzip", gzip.compress(b"x") * 2_000, "more than 1024 parts"),
    ("bomb of layers", "gzip," * 50, PLAIN, "compressed 50 times"),
    ("garbage", "gzip", b"garbage", "is not the gzip that it claims to be"),
    ("unknown", "lzma", PLAIN, "in a way that is not known"),
]


@pytest.mark.parametrize(("encoding", "body", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_cannot_be_read_says_why(encoding: str, body: bytes, words: str) -> None:
    with pytest.raises(Undecodable, match=words):
        unpacked(body, encoding, CAP)


@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_an_encoding_without_its_library_says_so(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("brotli", "brotlicffi", "compression.zstd", "backports.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(Undecodable, match=f"compressed as {encoding}, which was not asked for and cannot be read"):
        unpacked(PLAIN, encoding, CAP)


class Unpacker:
    """As brotli's and zstandard's: unpacks what it is given, without a bound, here each byte to a thousand."""

    def process(self, piece: bytes) -> bytes:
        return piece * 1_000

    def decompressobj(self) -> Any:
        return self

    decompress = process


@pytest.mark.parametrize(
    ("encoding", "name", "made"), [("br", "brotli", "Decompressor"), ("zstd", "zstandard", "ZstdDecompressor")]
)
def test_a_library_without_a_bound_is_fed_in_pieces(
    encoding: str, name: str, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, other, None)
    library = ModuleType(name)
    setattr(library, made, Unpacker)
    monkeypatch.setitem(sys.modules, name, library)

    assert unpacked(b"x" * 500, encoding, CAP) == b"x" * 500_000
    with pytest.raises(Undecodable, match="larger than 1 MB"):
        unpacked(b"x" * 2_000, encoding, CAP)
