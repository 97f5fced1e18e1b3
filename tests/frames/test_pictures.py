"""Pictures of Pillow, and arrays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from smelt.frames import pictures
from smelt.plan.mediafacts import facts_of, type_of
from tests.media.pictures import png

DATA = png(5, side=40)


def opened(data: bytes = DATA) -> Any:
    return PIL.Image.open(io.BytesIO(data))


def test_an_image_that_was_only_opened_is_its_file_and_stays_undecoded(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(DATA)
    for picture in (opened(), PIL.Image.open(path)):
        assert pictures.file_of(picture) == DATA
        assert picture.tile  # `load` would have emptied it.
        assert pictures.file_of(picture) == DATA
        picture.load()
        assert picture.size == (40, 40)


def test_an_image_that_was_decoded_is_still_its_file_while_its_pixels_are_those_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(DATA)
    picture = PIL.Image.open(path)
    picture.load()
    assert pictures.file_of(picture) == DATA
    picture.putpixel((3, 3), (1, 2, 3))
    assert pictures.file_of(picture) is None


def test_an_image_whose_file_is_another_one_now_is_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(DATA)
    picture = PIL.Image.open(path)
    picture.load()
    path.write_bytes(b"no image")
    assert pictures.file_of(picture) is None
    path.unlink()
    assert pictures.file_of(picture) is None


def test_an_image_whose_file_was_closed_unread_says_so() -> None:
    with opened() as picture:
        pass
    with pytest.raises(ValueError, match="whose file is closed"):
        pictures.file_of(picture)


@pytest.mark.parametrize(
    ("mode", "media_type"),
    [
        ("RGB", "image/jpeg"),
        ("L", "image/jpeg"),
        ("CMYK", "image/jpeg"),
        ("1", "image/jpeg"),
        ("P", "image/jpeg"),
        ("HSV", "image/jpeg"),
        ("I;16", "image/jpeg"),
        ("RGBA", "image/png"),
        ("LA", "image/png"),
        ("La", "image/png"),
        ("PA", "image/png"),
        ("RGBa", "image/png"),
    ],
)
def test_pixels_become_a_file_of_a_type_that_models_take(mode: str, media_type: str) -> None:
    picture = PIL.Image.new(mode, (30, 20))
    assert pictures.file_of(picture) is None
    data = pictures.encoded(picture, None)
    assert type_of(data) == pictures.media_type_of(picture) == media_type
    assert facts_of(data, media_type)[:2] == (30, 20)


def test_a_picture_is_made_smaller_and_never_larger() -> None:
    assert facts_of(pictures.encoded(PIL.Image.new("RGB", (400, 100)), 80), "image/jpeg")[:2] == (80, 20)
    assert facts_of(pictures.encoded(PIL.Image.new("RGB", (40, 10)), 80), "image/jpeg")[:2] == (40, 10)


def test_a_file_that_is_made_smaller_is_turned_as_its_camera_says() -> None:
    buffer = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # Turned by a quarter.
    PIL.Image.new("RGB", (400, 100)).save(buffer, "JPEG", exif=exif)
    assert facts_of(pictures.shrunk(buffer.getvalue(), 80), "image/jpeg")[:2] == (20, 80)


@pytest.mark.parametrize("data", [b"", b"no image", DATA[:60]])
def test_a_broken_file_that_is_to_be_made_smaller_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be decoded"):
        pictures.shrunk(data, 20)


def test_arrays_of_8_bit_pixels_are_pictures_and_others_are_not() -> None:
    for shape in ((4, 6), (4, 6, 3), (4, 6, 4)):
        assert pictures.from_array(np.zeros(shape, np.uint8)).size == (6, 4)
    others = [np.zeros((4, 6)), *(np.zeros(shape, np.uint8) for shape in ((4,), (4, 6, 2), (1, 4, 6, 3)))]
    for array in others:
        with pytest.raises(TypeError, match="no image of 8-bit pixels"):
            pictures.from_array(array)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_without_a_range_are_no_picture(mode: str) -> None:
    with pytest.raises(ValueError, match=f"mode {mode}, whose black and white are not known"):
        pictures.encoded(PIL.Image.new(mode, (3, 3)), None)


def test_grey_of_16_bits_keeps_its_shades() -> None:
    deep = PIL.Image.fromarray(np.full((20, 30), 32_768, np.uint16))
    with PIL.Image.open(io.BytesIO(pictures.encoded(deep, None))) as sent:
        assert sent.getpixel((3, 3)) == pytest.approx(128, abs=2)


def test_two_pictures_that_differ_in_their_palettes_only_are_two() -> None:
    one, two = PIL.Image.new("P", (4, 4), 0), PIL.Image.new("P", (4, 4), 0)
    one.putpalette([0, 0, 0])
    two.putpalette([255, 0, 0])
    assert one.tobytes() == two.tobytes()
    assert pictures.pixels_of(one) != pictures.pixels_of(two)


def test_a_picture_of_the_caller_is_never_changed() -> None:
    picture = PIL.Image.new("RGB", (400, 100))
    pictures.encoded(picture, 80)
    assert picture.size == (400, 100)
    frames = io.BytesIO()
    PIL.Image.new("RGB", (400, 100)).save(
        frames, "GIF", save_all=True, append_images=[PIL.Image.new("RGB", (400, 100), "red")]
    )
    moving = opened(frames.getvalue())
    moving.seek(1)
    pictures.encoded(moving, 80)
    assert moving.size == (400, 100)


def test_a_small_file_of_a_huge_picture_is_not_decoded() -> None:
    bomb = bytearray(png(1))
    bomb[16:24] = (60_000).to_bytes(4) * 2
    with pytest.raises(ValueError, match=r"60,000 x 60,000 pixels; 89 million are the most"):
        pictures.shrunk(bytes(bomb), 100)
    assert pictures.thumbnail(bytes(bomb)) == b""


def test_a_thumbnail_is_small_and_turned_and_stands_on_white() -> None:
    buffer = io.BytesIO()
    PIL.Image.new("RGBA", (900, 300), (255, 0, 0, 0)).save(buffer, "PNG")
    small = pictures.thumbnail(buffer.getvalue())
    assert facts_of(small, "image/jpeg")[:2] == (160, 53)
    assert opened(small).convert("RGB").getpixel((5, 5)) == (255, 255, 255)
    assert pictures.thumbnail(b"%PDF-1.7") == b""
