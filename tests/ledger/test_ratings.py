"""The scores of answers in the store: kept with the rows of a reply, and with a reply that a crash left unread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smelt.errors import SmeltWarning
from smelt.ledger.opening import open_store
from smelt.ledger.salvage import salvage
from tests.ledger.acting import Actor, count, reply_to, text_of

SCORES = {"sector": 1.5, "size": -20.0}


def scores_in(actor: Actor, *names: str) -> list[object]:
    return list(actor.recorder.scores([text_of(name) for name in names]))


async def test_the_scores_of_a_reply_are_found_by_the_next_run_and_by_none_after_it_is_replaced(path: Path) -> None:
    first = Actor(path)
    await first.send("a", "b")
    await first.land()
    first.commit(scores={0: SCORES})
    first.end()

    second = Actor(path, is_refresh=True)
    assert scores_in(second, "a", "b", "c") == [SCORES, None, None]
    await second.ask("a")  # Without scores.
    second.end()

    third = Actor(path)
    assert scores_in(third, "a") == [None]
    third.end()


async def test_the_scores_of_a_reply_that_was_not_read_at_a_crash_are_read_with_it(path: Path) -> None:
    first = Actor(path)
    await first.send("a", "b", "c")
    text = '{"rows": [{"id": "tok0", "sector": "gone", "size": 1}, {"id": "tok1", "sector": "tech", "size": 3}]}'
    scores = {"tok0": SCORES, "tok1": SCORES, "tok2": SCORES}
    await first.recorder.receive(1, replace(reply_to(0), text=text, scores=scores), None)
    first.die()

    second = Actor(path, now=2_000_000.0)

    assert scores_in(second, "a", "b", "c") == [None, SCORES, None]
    second.end()


async def test_scores_that_a_damaged_file_spoils_are_none(path: Path) -> None:
    first = Actor(path)
    await first.send("a", "b")
    await first.land()
    first.commit(scores={0: SCORES, 1: SCORES})
    first.end()
    with open_store(path) as store, store.writing() as connection:
        connection.execute("UPDATE scores SET value = '[1' WHERE key = (SELECT min(key) FROM scores)")

    second = Actor(path)
    assert sorted(map(str, scores_in(second, "a", "b"))) == [str(SCORES), "{}"]
    second.end()
    with pytest.warns(SmeltWarning, match="was damaged"):
        salvage(path).close()
    assert count(path, "scores") == 2
