"""The bytes of media in memory are bounded, and a medium that cannot be loaded costs only its row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smelt.engine.mediaroom import MOST_BYTES, MediaRoom, load
from smelt.plan.chunks import Chunk, Line, Pending, Size
from smelt.plan.media import MediaText, Medium, digest_of
from smelt.providers.base import Capabilities

REMEDY = "Make it smaller: media={…: smelt.Image(max_side=2000)}"


def broken() -> bytes:
    raise ValueError("gone")


def row(position: int, size: int = 3, read: Callable[[], bytes] = lambda: b"abc") -> Pending:
    medium = Medium(type="image/png", digest=digest_of(b"abc"), size=size, load=read)
    return Pending(position, MediaText("{}", (("photo", medium),)))


def test_room_is_taken_up_to_the_bound_and_a_single_request_always_gets_it() -> None:
    room, large = MediaRoom(), Chunk(rows=(row(0, MOST_BYTES + 1),))
    small = Chunk(rows=(row(1, 10), Pending(2, "{}")))
    assert room.take(large)
    assert not room.take(small)
    room.give_back(large)
    assert room.used == 0
    assert room.take(small)
    assert not room.take(large)
    assert room.take(Chunk(rows=(Pending(3, "{}"),)))


def test_a_row_whose_medium_cannot_be_loaded_is_named_and_the_others_are_loaded() -> None:
    loaded = load(Chunk(rows=(row(0), row(1, read=broken), Pending(2, "{}"), row(3))), Capabilities(media_bytes=10))
    assert {at: [one.data for one in media] for at, media in loaded.media.items()} == {0: [b"abc"], 3: [b"abc"]}
    assert [(one.position, reason) for one, reason in loaded.broken] == [(1, "column 'photo': gone")]


def test_a_medium_that_the_provider_does_not_take_is_refused_with_both_sizes() -> None:
    large = row(0, read=lambda: bytes(5_100_000))
    ((_, reason),) = load(Chunk(rows=(large,)), Capabilities(media_bytes=5_000_000)).broken
    assert reason == "column 'photo': 5.1 MB, and the provider takes 5 MB in one request. " + REMEDY


def test_a_chunk_is_cut_by_the_bytes_of_its_media_and_the_rest_comes_next() -> None:
    texts = [row(at, 40).text for at in range(5)]
    line = Line(order=range(5), texts=lambda positions: [texts[at] for at in positions], reject=lambda at, why: None)
    chunks = []
    while (chunk := line.next(Size(rows=4, media_bytes=100))) is not None:
        chunks.append([one.position for one in chunk.rows])
    assert [len(one) for one in chunks] == [2, 2, 1]
    assert sorted(at for one in chunks for at in one) == list(range(5))


def test_a_chunk_is_cut_by_the_number_of_its_media() -> None:
    texts = [row(at, 1).text for at in range(7)]
    line = Line(order=range(7), texts=lambda positions: [texts[at] for at in positions], reject=lambda at, why: None)
    sizes = []
    while (chunk := line.next(Size(rows=5, media_count=3))) is not None:
        sizes.append(len(chunk.rows))
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize(
    ("facts", "limits", "reason"),
    [
        ({"width": 9_000}, {"image_side": 8_000}, f"an image of 9,000 pixels, and the provider takes 8,000. {REMEDY}"),
        ({"url": "https://a.example/1.png"}, {}, "an address, and the provider fetches none. Pass the bytes"),
        ({}, {"image_bytes": 2_000_000}, f"3 MB, and the provider takes 2 MB in one image. {REMEDY}"),
    ],
    ids=["pixels", "address", "bytes"],
)
def test_a_medium_over_a_limit_of_the_provider_costs_its_row(facts: Any, limits: Any, reason: str) -> None:
    medium = Medium(type="image/png", digest=b"", size=3, load=lambda: bytes(3_000_000), **facts)
    chunk = Chunk(rows=(Pending(0, MediaText("{}", (("photo", medium),))),))

    ((_, found),) = load(chunk, Capabilities(**limits)).broken

    assert found == f"column 'photo': {reason}"
