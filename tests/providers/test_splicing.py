"""The body of a request with media is the JSON that any encoder would write."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from smelt.plan.media import Base64, Media
from smelt.providers.splicing import spliced

PHOTO = Media(type="image/png", data=bytes(range(256)) * 40)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.sampled_from([PHOTO.base64])
)
BODIES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(BODIES)
def test_a_spliced_body_says_what_it_was_made_of(body: Any) -> None:
    assert json.loads(spliced(body)) == json.loads(json.dumps(body))


def test_media_keep_their_order_and_their_quotation_marks() -> None:
    other = Media(type="image/gif", data=b"GIF89a")
    body = {"input": [{"a": PHOTO.data_url}, {"text": 'é "quoted"'}, {"b": other.data_url}], "n": 1}
    assert isinstance(PHOTO.data_url, Base64)
    assert spliced(body) == json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    assert b"data:image/gif;base64,R0lGODlh" in spliced(body)


def test_an_address_is_written_as_any_text() -> None:
    signed = Media(type="image/*", url='https://example.com/a?b="c"')
    assert json.loads(spliced([signed.data_url])) == [signed.url]
