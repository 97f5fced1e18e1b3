"""What one run tells its store, and what the next one gets to know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

import smelt.ledger
from smelt.errors import StoreFullError
from smelt.ledger.opening import open_store
from smelt.providers.base import Billing, CallFailed
from tests.ledger.acting import USAGE, Actor, count, reply_to, text_of

VALUES = ("tech", 3)


async def test_an_answered_row_is_known_to_the_next_run(path: Path) -> None:
    first = Actor(path)
    await first.ask("a", "b")
    first.end()

    second = Actor(path)

    assert second.knows("b", "c", "a") == [VALUES, None, VALUES]
    second.end()


@pytest.mark.parametrize(
    "changes",
    [{"prompt": "Other {name}."}, {"model": "fake-2"}, {"provider": "google"}, {"params": {"temperature": 0}}],
    ids=lambda changes: next(iter(changes)),
)
async def test_another_spec_knows_nothing_of_it(path: Path, changes: dict[str, object]) -> None:
    first = Actor(path)
    await first.ask("a")
    first.end()

    second = Actor(path, changes=changes)

    assert second.knows("a") == [None]
    second.end()


async def test_a_refresh_knows_nothing_and_replaces(path: Path) -> None:
    first = Actor(path)
    await first.ask("a")
    first.end()
    again = Actor(path, is_refresh=True)

    assert again.knows("a") == [None]
    await again.ask("a", answer={"sector": "other", "size": 9})
    again.end()

    last = Actor(path)
    assert last.knows("a") == [("other", 9)]
    last.end()


async def test_a_stored_row_that_is_no_answer_any_more_is_asked_again(path: Path) -> None:
    first = Actor(path)
    await first.ask("a")
    first.end()
    with open_store(path) as store, store.writing() as connection:
        connection.execute('UPDATE answers SET value = \'{"sector": "gone", "size": 3}\'')

    second = Actor(path)

    assert second.knows("a") == [None]
    second.end()


async def test_a_request_that_was_in_flight_at_a_crash_may_have_been_billed(path: Path) -> None:
    first = Actor(path)
    await first.send("a", "b")
    first.die()

    second = Actor(path, now=2_000_000.0)
    second.end()

    with smelt.ledger.open(path) as ledger:
        [one] = ledger.possible_duplicates()
        assert (one["run"], one["rows"], one["reason"], len(one["keys"])) == (first.run, 2, "lost", 2)


async def test_a_reply_that_was_not_read_at_a_crash_is_read_without_paying(path: Path) -> None:
    first = Actor(path)
    await first.send("a", "b")
    await first.land()
    first.die()

    second = Actor(path, now=2_000_000.0)

    assert second.recovered == 2
    assert second.knows("a", "b") == [VALUES, VALUES]
    second.end()
    assert count(path, "replies") == 0
    with smelt.ledger.open(path) as ledger:
        assert ledger.possible_duplicates() == []


async def test_of_a_leftover_reply_only_valid_rows_are_taken(path: Path) -> None:
    first = Actor(path)
    await first.send("a", "b")
    text = '{"rows": [{"id": "tok0", "sector": "gone", "size": 1}, {"id": "tok1", "sector": "tech", "size": 3}]}'
    await first.recorder.receive(1, reply_to(0).__class__(text=text), None)
    first.die()

    second = Actor(path, now=2_000_000.0)

    assert second.knows("a", "b") == [None, VALUES]
    second.end()


@pytest.mark.parametrize(("finish", "known"), [("stop", VALUES), ("length", None)])
async def test_a_leftover_reply_that_was_cut_is_read_as_one_that_was_cut(
    path: Path, finish: Literal["stop", "length"], known: tuple[Any, ...] | None
) -> None:
    first = Actor(path)
    await first.send("a")
    draft = 'Perhaps {"rows": [{"id": "tok0", "sector": "tech", "size": 3}]}'
    await first.recorder.receive(1, replace(reply_to(0), text=draft, finish=finish), None)
    first.die()

    second = Actor(path, now=2_000_000.0)

    assert second.knows("a") == [known]
    second.end()


async def test_a_leftover_reply_of_another_spec_waits_for_its_own(path: Path) -> None:
    first = Actor(path)
    await first.send("a")
    await first.land()
    first.die()

    other = Actor(path, now=2_000_000.0, changes={"model": "fake-2"})
    other.end()

    assert other.recovered == 0
    assert count(path, "replies") == 1


async def test_a_withdrawn_request_was_not_billed(path: Path) -> None:
    actor = Actor(path)
    await actor.send("a")
    actor.recorder.withdraw(1)
    actor.end()

    with smelt.ledger.open(path) as ledger:
        assert ledger.possible_duplicates() == []
        assert count(path, "attempts", "billing = 'not_sent'") == 1


@pytest.mark.parametrize("billing", list(Billing), ids=lambda billing: billing.value)
async def test_a_failure_is_kept_with_its_billing(path: Path, billing: Billing) -> None:
    actor = Actor(path)
    await actor.send("a")
    await actor.recorder.receive(1, CallFailed("server", billing, "no", status=500, request_id="req_9"), None)
    actor.end()

    assert count(path, "attempts", f"billing = '{billing.value}' AND status = 500 AND request_id = 'req_9'") == 1


async def test_requests_in_flight_when_a_run_ends_may_have_been_billed(path: Path) -> None:
    actor = Actor(path)
    await actor.send("a")
    actor.end("interrupted")

    with smelt.ledger.open(path) as ledger:
        assert [one["rows"] for one in ledger.possible_duplicates()] == [1]
        assert ledger.runs()[0]["state"] == "interrupted"


async def test_steps_of_one_turn_are_one_commit(path: Path) -> None:
    import asyncio

    actor = Actor(path)
    commits = []
    actor.store.connection.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    from smelt.plan.chunks import Pending

    await asyncio.gather(
        *(actor.recorder.intend(number, [Pending(number, text_of(str(number)))], ["t"], 5) for number in range(1, 9))
    )

    assert len(commits) == 1
    actor.store.connection.set_trace_callback(None)
    actor.end()


async def test_a_cancelled_wait_does_not_lose_the_reply(path: Path) -> None:
    import asyncio

    actor = Actor(path)
    await actor.send("a")
    landing = asyncio.get_running_loop().create_task(actor.land())
    await asyncio.sleep(0)
    landing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await landing
    actor.end()

    assert count(path, "attempts", "billing = 'paid'") == 1


async def test_inputs_are_stored_only_on_request(path: Path) -> None:
    shy = Actor(path)
    await shy.ask("canary-one")
    shy.end()
    open_ = Actor(path, keeps_inputs=True)
    await open_.ask("canary-two")
    open_.end()

    written = b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert b"canary-one" not in written
    assert b"canary-two" in written


async def test_inputs_of_rows_that_were_known_before_are_stored_too(path: Path) -> None:
    shy = Actor(path)
    await shy.ask("canary-one")
    shy.end()
    open_ = Actor(path, keeps_inputs=True)

    assert open_.knows("canary-one", "canary-two") == [VALUES, None]

    open_.end()
    assert count(path, "inputs") == 1


async def test_no_input_and_no_prompt_is_in_any_file_while_a_run_is_on(path: Path) -> None:
    actor = Actor(path)
    await actor.ask("canary-one")
    await actor.send("canary-two")

    written = b"".join(one.read_bytes() for one in path.parent.iterdir())

    assert b"canary" not in written
    assert b"Classify" not in written
    actor.end()


async def test_a_full_disk_refuses_intents_and_takes_what_was_paid_for(path: Path) -> None:
    actor = Actor(path)
    await actor.send("a")
    pages = actor.store.connection.execute("PRAGMA page_count").fetchone()[0]
    actor.store.connection.execute(f"PRAGMA max_page_count = {pages}")
    number = actor.number
    reached = False
    for at in range(200):
        try:
            await actor.send(*(f"row {at} {one}" for one in range(50)))
        except StoreFullError:
            reached = True
            break
    assert reached
    actor.store.connection.execute("PRAGMA max_page_count = 100000")  # What the reserve gave back.

    await actor.recorder.receive(number, reply_to(1), None)

    with pytest.raises(StoreFullError, match="The disk of the ledger"):
        await actor.send("b")
    actor.end("stopped")
    again = Actor(path)
    assert again.recovered == 1
    again.end()


async def test_what_is_spent_is_summed_by_run_model_and_day(path: Path) -> None:
    first = Actor(path, now=86_400.0 * 10)
    await first.ask("a", "b", cost_usd=0.5)
    await first.ask("c", cost_usd=None)
    first.end()
    second = Actor(path, now=86_400.0 * 11, changes={"model": "fake-2"})
    await second.ask("a", cost_usd=0.25)
    await second.send("b")
    second.end()

    with smelt.ledger.open(path) as ledger:
        by_run, by_model, by_day = ledger.spend(), ledger.spend(by="model"), ledger.spend(by="day")

    assert [(one["run"], one["requests"], one["cost_usd"], one["unpriced"]) for one in by_run] == [
        (first.run, 2, 0.5, 1),
        (second.run, 2, 0.25, 0),
    ]
    assert [one["possible_duplicates"] for one in by_run] == [0, 1]
    assert {one["model"]: one["input_tokens"] for one in by_model} == {"openai:fake-1": 200, "openai:fake-2": 100}
    assert [one["day"] for one in by_day] == ["1970-01-11", "1970-01-12"]


async def test_what_a_bill_depends_on_is_kept(path: Path) -> None:
    actor = Actor(path)
    flex = replace(USAGE, written_input_tokens=60, written_hour_tokens=40, audio_input_tokens=8, tier="flex")
    for usage in (flex, replace(USAGE, tier="standard"), USAGE):
        await actor.send("a")
        await actor.recorder.receive(actor.number, replace(reply_to(1), usage=usage), 0.25)
    actor.end()

    with smelt.ledger.open(path) as ledger, open_store(path) as store, store.reading() as connection:
        [spent] = ledger.spend()
        wanted = "SELECT written_input_tokens, written_hour_tokens, audio_input_tokens, tier FROM attempts ORDER BY id"
        kept = connection.execute(wanted).fetchall()
    assert (spent["written_input_tokens"], spent["tiers"]) == (60, "flex, standard")
    assert kept == [(60, 40, 8, "flex"), (None, None, None, "standard"), (None, None, None, None)]
