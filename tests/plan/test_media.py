"""What stands for a medium in a row and in a request."""

from __future__ import annotations

from json.encoder import encode_basestring

import pytest

from smelt.plan.media import Media, MediaText, Medium, digest_of, media_of, without_query
from smelt.plan.wire import name_media, user_parts

PHOTO = Medium(type="image/jpeg", digest=digest_of(b"photo"), size=5)


def row(*columns: str) -> MediaText:
    cells = ",".join(f"{encode_basestring(name)}:{PHOTO.text}" for name in columns)
    return MediaText(f'{{"sku":"a",{cells}}}', tuple((name, PHOTO) for name in columns))


def test_a_text_with_media_is_the_same_key_as_its_text() -> None:
    text = row("photo")
    assert text == str(text)
    assert hash(text) == hash(str(text))
    assert media_of(text) == (("photo", PHOTO),)
    assert media_of("plain") == ()


def test_each_medium_is_named_by_token_and_column() -> None:
    text, names = name_media("k7f2x", row("before", 'a"b'))
    assert names == ["k7f2x/before", 'k7f2x/a\\"b']
    assert PHOTO.digest.hex() not in text
    assert '"before":{"media":"image/jpeg","as":"k7f2x/before"}' in text


def test_a_request_has_each_row_then_its_media_then_the_reminder() -> None:
    before, after, third = (Media(type="image/png", data=bytes([at])) for at in range(3))
    rows = [("aaa22", '{"n":1}', None), ("bbb33", '{"n":2}', "wrong"), ("ccc44", '{"n":3}', None)]
    media = [[("aaa22/x", before), ("aaa22/y", after)], [], [("ccc44/x", third)]]
    parts = user_parts(rows, media)
    assert parts[:2] == ('{"id":"aaa22","row":{"n":1}}\naaa22/x:', before)
    assert parts[2:4] == ("aaa22/y:", after)
    assert parts[4] == '{"id":"bbb33","row":{"n":2},"problem":"wrong"}\n{"id":"ccc44","row":{"n":3}}\nccc44/x:'
    assert parts[5] == third
    assert str(parts[6]).startswith("Answer every row above")
    assert len(parts) == 7


@pytest.mark.parametrize("end", ["?X-Signature=SECRET#frag", "#SECRET", ";sig=SECRET", ";sig=SECRET?x=1"])
def test_an_address_is_shown_without_its_query(end: str) -> None:
    signed = f"https://bucket.example.com/a.png{end}"
    medium = Medium(type="image/*", digest=digest_of(signed.encode()), size=0, url=signed)
    assert without_query(signed) == "https://bucket.example.com/a.png?…"
    for shown in (medium.text, str(Media(type="image/*", url=signed)), repr(Media(type="image/*", url=signed))):
        assert "SECRET" not in shown
    other = Medium(type="image/*", digest=digest_of(b"other"), size=0, url=signed + "2")
    assert other.text != medium.text
