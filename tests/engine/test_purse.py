"""A budget that several runs share: what one spends, has in flight or owes, another cannot spend."""

from __future__ import annotations

import asyncio

from smelt.engine.purse import Account, Purse
from smelt.providers.base import Usage


def accounts(most: int) -> tuple[Purse, Account, Account]:
    purse = Purse()
    first = Account(max_tokens=most, purse=purse, _output_ratio=1.0)
    return purse, first, Account(max_tokens=most, purse=purse, _output_ratio=1.0)


def tokens(number: int) -> Usage:
    return Usage(input_tokens=number, output_tokens=0)


def test_what_one_run_spends_or_has_in_flight_is_gone_for_the_other() -> None:
    purse, first, second = accounts(100)
    first.reserve(1, tokens(30))
    first.charge(1, tokens(30))
    first.reserve(2, tokens(30))

    assert second.fits(tokens(40)) and not second.fits(tokens(41))
    assert not purse.is_idle and not second.is_idle


async def test_a_run_that_waits_looks_again_when_another_gives_room() -> None:
    _, first, second = accounts(100)
    first.reserve(1, tokens(90))
    waiting = asyncio.create_task(second.has_room())
    await asyncio.sleep(0)
    assert not waiting.done()

    first.release(1)

    assert await waiting
    assert second.is_idle


def test_rows_that_were_begun_keep_what_they_need_to_the_end() -> None:
    purse, first, second = accounts(100)
    purse.owed = lambda account, rows: (0.0, 2 * rows if account is first else 0)

    assert first.fits(tokens(80), rows=10) and not first.fits(tokens(81), rows=10)
    assert second.fits(tokens(100), rows=10)
    assert (first.asked, second.asked) == (10, 10)


def test_the_words_are_about_the_whole_purse() -> None:
    _, first, second = accounts(100)
    first.reserve(1, tokens(30))
    first.charge(1, tokens(30))

    assert str(second) == "30 of max_tokens_total=100 tokens"
