from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.providers.base import CallFailed
from smelt.providers.transfers import Body, Lines, seconds_for, size_of, within
from smelt.testing import JumpingLoop


def split(parts: list[bytes], cap: int = 1_000) -> list[tuple[bytes, bool]]:
    lines = Lines(cap)
    found = [line for part in parts for line in lines.feed(part)]
    return found + lines.end()


@given(st.lists(st.binary(max_size=6).map(lambda text: text.replace(b"\r", b"\n")), max_size=20))
def test_lines_are_the_same_however_the_body_is_cut(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    lines = [line for line, _ in split(parts)]

    assert b"".join(lines) == whole
    assert lines == [line for line, _ in split([whole])] == whole.splitlines(keepends=True)
    assert all(line.count(b"\n") == line.endswith(b"\n") for line in lines)


def test_only_a_newline_ends_a_line() -> None:
    text = "a\u2028b\u0085c\x0bd\x1ce\n"

    assert split([text.encode()]) == [(text.encode(), False)]


@pytest.mark.parametrize("step", [1, 3, 7, 100])
def test_a_line_over_the_cap_is_cut_and_named(step: int) -> None:
    body = b"ok\n" + b"x" * 50 + b"\nok\n" + b"y" * 10 + b"\n" + b"z" * 11
    lines = split([body[start : start + step] for start in range(0, len(body), step)], cap=10)

    assert [is_over for _, is_over in lines] == [False, True, False, False, True]
    assert [lines[0], lines[2], lines[3]] == [(b"ok\n", False), (b"ok\n", False), (b"y" * 10 + b"\n", False)]
    assert all(len(line) <= 11 for line, _ in lines)


async def bytes_of(body: Body) -> bytes:
    return b"".join([piece async for piece in body])


async def test_a_body_is_as_long_as_it_says_and_can_be_sent_twice() -> None:
    body = Body(io.BytesIO(b"line\n" * 200_000), before=b"<", after=b">")

    assert len(await bytes_of(body)) == body.size
    assert await bytes_of(body) == b"<" + b"line\n" * 200_000 + b">"


async def test_lines_become_the_items_of_an_array() -> None:
    lines = [{"n": number, "text": "a\nb"} for number in range(30_000)]
    file = io.BytesIO(b"".join(json.dumps(one).encode() + b"\n" for one in lines))
    body = Body(file, before=b'{"requests":[', after=b"]}", comma=True)

    sent = await bytes_of(body)

    assert len(sent) == body.size
    assert json.loads(sent) == {"requests": lines}


async def test_a_file_that_shrinks_while_it_is_sent_is_noticed() -> None:
    file = io.BytesIO(b"line\n")
    body = Body(file)
    file.truncate(2)

    with pytest.raises(CallFailed, match="shorter"):
        await bytes_of(body)


def test_the_size_of_a_file_is_told_wherever_it_stood() -> None:
    file = io.BytesIO(b"12345")
    file.read(3)

    assert (size_of(file), file.tell()) == (5, 0)
    assert seconds_for(256_000_000) == 1_060


def test_a_transfer_that_trickles_ends_and_a_slow_reader_does_not_count() -> None:
    async def parts(every: float) -> AsyncIterator[bytes]:
        for _ in range(100):
            await asyncio.sleep(every)
            yield b"x" * 1_000

    async def read(every: float, pause: float) -> int:
        count = 0
        async for _ in within(parts(every)):
            count += 1
            await asyncio.sleep(pause)
        return count

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert runner.run(read(0.1, 3_600)) == 100
        with pytest.raises(TimeoutError):
            runner.run(read(1.0, 0))
