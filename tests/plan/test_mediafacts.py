"""What is read from the beginning of a file."""

from __future__ import annotations

import io
import struct

import PIL.Image
import pytest

from smelt.plan.mediafacts import Facts, facts_of, type_of
from tests.media.pictures import png


def file(form: str, size: tuple[int, int] = (317, 201), mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new(mode, size, 7).save(buffer, form, **options)
    return buffer.getvalue()


PICTURES = {
    "png": (png(1, side=9), "image/png", Facts(9, 9)),
    "jpeg": (file("JPEG"), "image/jpeg", Facts(317, 201)),
    "progressive jpeg": (file("JPEG", progressive=True), "image/jpeg", Facts(317, 201)),
    "jpeg with a large comment": (file("JPEG", comment=b"x" * 60_000), "image/jpeg", Facts(317, 201)),
    "gif": (file("GIF"), "image/gif", Facts(317, 201)),
    "webp": (file("WEBP"), "image/webp", Facts(317, 201)),
    "lossless webp": (file("WEBP", lossless=True), "image/webp", Facts(317, 201)),
    "webp with alpha": (file("WEBP", mode="RGBA"), "image/webp", Facts(317, 201)),
    "wide webp": (file("WEBP", size=(9_000, 3), lossless=True), "image/webp", Facts(9_000, 3)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_type_and_size_of_a_picture_are_those_of_pillow(name: str) -> None:
    data, media_type, facts = PICTURES[name]
    assert type_of(data) == media_type
    assert facts_of(data, media_type) == facts


@pytest.mark.parametrize("name", PICTURES)
def test_a_file_that_is_cut_off_anywhere_has_no_facts_or_the_right_ones(name: str) -> None:
    data, media_type, facts = PICTURES[name]
    for end in range(min(len(data), 200)):
        assert facts_of(data[:end], media_type) in (Facts(), facts)


def test_pages_of_a_pdf_are_counted_and_those_of_a_compressed_one_estimated() -> None:
    buffer = io.BytesIO()
    pages = [PIL.Image.new("RGB", (20, 20)) for _ in range(3)]
    pages[0].save(buffer, "PDF", save_all=True, append_images=pages[1:])
    assert type_of(buffer.getvalue()) == "application/pdf"
    assert facts_of(buffer.getvalue(), "application/pdf") == Facts(pages=3)
    assert facts_of(b"%PDF-1.7" + bytes(200_000), "application/pdf") == Facts(pages=4)
    assert facts_of(b"%PDF-1.7", "application/pdf") == Facts(pages=1)


def test_length_of_audio() -> None:
    head = b"RIFF" + struct.pack("<I", 0) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 16_000, 2, 16)
    wav = (head + b"data" + struct.pack("<I", 32_000)).ljust(44, b"\0") + bytes(32_000)
    assert type_of(wav) == "audio/wav"
    assert facts_of(wav, "audio/wav").seconds == pytest.approx(2.0)
    assert type_of(b"ID3\x04") == type_of(b"\xff\xfb\x90\x00") == "audio/mpeg"
    assert facts_of(b"ID3" + bytes(31_997), "audio/mpeg").seconds == 2.0


@pytest.mark.parametrize("data", [b"", b"GIF", b"hello, world", b"RIFF1234AVI ", b"<svg", b"\x00\x01", b"BM123456"])
def test_other_beginnings_are_no_media(data: bytes) -> None:
    assert type_of(data) is None
