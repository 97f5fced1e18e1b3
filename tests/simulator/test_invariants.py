"""The invariants notice: a world in which all is well, and one thing changed in what was seen of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from smelt.engine.work import Ending
from smelt.plan.answers import RowFailure
from smelt.providers.base import Billing, CallFailed
from tests.simulator.history import History
from tests.simulator.invariants import broken
from tests.simulator.stage import play
from tests.simulator.world import Launch, World

WORLD = World(
    seed=1,
    rows=12,
    batch_size=2,
    concurrency=2,
    has_ledger=True,
    launches=(Launch(end="cancelled", after=2.0), Launch()),
)


def _answer_of_another_row(history: History) -> None:
    for column in history.outings[-1].answers.columns:
        column[0] = column[1]


def _end_twice(history: History) -> None:
    history.outings[-1].answers.endings[3] += 1


def _fail_and_answer(history: History) -> None:
    history.outings[-1].answers.failures[3] = RowFailure("missing", "It was left out.")


def _raise(history: History) -> None:
    history.outings[-1].raised = ValueError("x")


def _leave_a_task(history: History) -> None:
    history.left.append("a task")


def _fail_without_reason(history: History) -> None:
    history.outings[0].answers.failures[11] = RowFailure("interrupted", "")


def _come_early(history: History) -> None:
    history.bill.entries[-1].told = history.bill.entries[-1].sent + 1.0


def _crowd(history: History) -> None:
    history.bill.entries[-1].in_flight = 3


def _do_not_wait_for_the_first(history: History) -> None:
    history.bill.entries[1].sent = 0.0


def _forget_a_request(history: History) -> None:
    history.bill.entries.pop()


def _send_without_intent(history: History) -> None:
    history.attempts.pop()


def _book_less(history: History) -> None:
    usage = replace(history.attempts[-1].usage, output_tokens=1)
    history.attempts[-1] = replace(history.attempts[-1], usage=usage)


def _hide_a_duplicate(history: History) -> None:
    history.attempts[-1] = replace(history.attempts[-1], billing="unknown")


def _miscount(history: History) -> None:
    history.outings[-1].counts.output_tokens += 1


def _sum_up_wrongly(history: History) -> None:
    history.spending[history.outings[-1].stored or 0]["cost_usd"] += 1.0


def _ask_again(history: History) -> None:
    history.bill.entries[-1].keys = history.bill.entries[0].keys


def _ask_side_by_side(history: History) -> None:
    last = history.bill.entries[-1]
    history.bill.entries.append(replace(last, run=0, sent=last.sent + 0.001))


def _lose_an_answer(history: History) -> None:
    history.kept.pop()


def _fail_for_nothing(history: History) -> None:
    answers = history.outings[-1].answers
    position = next(at for at, row in enumerate(history.outings[-1].rows) if row["n"] == 11)
    answers.failures[position] = RowFailure("missing", "It was left out.", 4)


def _stop_for_nothing(history: History) -> None:
    outing = history.outings[-1]
    outing.ending = Ending(
        counts=outing.counts, stop=CallFailed("server", Billing.REJECTED, "x"), fault=None, notices=[]
    )
    outing.answers.failures[11] = RowFailure("stopped", "It asks for a long pause.")


def _stop_for_a_pause_of_another_lane(history: History) -> None:
    _stop_for_nothing(history)
    entry = history.bill.entries[0]
    history.bill.entries.append(replace(entry, run=9, lane=9, retry_after=5_000.0))


def _stop_for_a_pause_that_is_over(history: History) -> None:
    _stop_for_nothing(history)
    history.bill.entries[0].retry_after = 950.0
    history.outings[-1].ended += 200.0


def _never_end(history: History) -> None:
    history.problem = TimeoutError("x")


@pytest.mark.parametrize(
    ("change", "invariant"),
    [
        (_answer_of_another_row, "no answer is on a wrong row"),
        (_end_twice, "every row ends once"),
        (_fail_and_answer, "every row ends once"),
        (_raise, "nothing unforeseen is raised"),
        (_leave_a_task, "nothing unforeseen is raised"),
        (_fail_without_reason, "failures have a kind and a reason"),
        (_come_early, "nobody comes back early"),
        (_crowd, "no more are in flight than allowed"),
        (_do_not_wait_for_the_first, "few requests prove the provider"),
        (_forget_a_request, "the run counts what was billed"),
        (_send_without_intent, "the ledger has the bill"),
        (_book_less, "the ledger has the bill"),
        (_hide_a_duplicate, "the ledger has the bill"),
        (_miscount, "the run counts what was billed"),
        (_sum_up_wrongly, "the ledger sums up as the run does"),
        (_ask_again, "nothing answered is asked again"),
        (_ask_side_by_side, "no row is in two requests at once"),
        (_lose_an_answer, "what was answered is kept"),
        (_fail_for_nothing, "every failure has its cause"),
        (_stop_for_nothing, "every failure has its cause"),
        (_stop_for_a_pause_of_another_lane, "every failure has its cause"),
        (_stop_for_a_pause_that_is_over, "every failure has its cause"),
        (_never_end, "comes to an end"),
    ],
    ids=lambda one: one.__name__.strip("_") if callable(one) else one,
)
def test_an_invariant_notices_when_it_is_broken(change: Callable[[History], None], invariant: str) -> None:
    history = play(WORLD)
    assert broken(history) == []

    change(history)

    assert invariant in {sentence.split(":")[0] for sentence in broken(history)}


def test_the_cancelled_run_left_something_to_do_and_something_to_reuse() -> None:
    first, second = play(WORLD).outings

    assert first.cancelled
    assert 0 < second.counts.reused == first.answers.answered < WORLD.rows
    assert second.answers.answered == WORLD.rows
