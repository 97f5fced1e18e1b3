"""Limits of the caller, where several runs share a lane."""

from __future__ import annotations

from smelt.lanes.caps import Caps


def test_the_tightest_of_each_limit_holds_and_none_is_no_limit() -> None:
    loose = Caps(concurrency=64, rpm=None, tpm=1_000, max_wait=60)
    tight = Caps(concurrency=8, rpm=100, tpm=None)

    assert Caps.tightest([loose, tight]) == Caps(concurrency=8, rpm=100, tpm=1_000, max_wait=60)
    assert Caps.tightest(iter([loose])) == loose
    assert Caps.tightest([Caps(concurrency=4), Caps(concurrency=5)]).rpm is None
