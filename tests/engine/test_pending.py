"""What is said of rows that wait in jobs, by the state of the job."""

from __future__ import annotations

import pytest

from smelt.engine.pending import held_notes, is_stranded, pending_words
from smelt.ledger.base import Holding
from smelt.ledger.jobs import HOLDING


@pytest.mark.parametrize(
    ("line", "words", "note"),
    [
        (Holding(1, "abc", "submitted"), "pending in job abc", "collects them"),
        (Holding(1, "abc", "creating"), "which another call is submitting", "collects them"),
        (Holding(1, "abc", "doubtful"), "Whether it was created is not known", "collects them"),
        (Holding(1, "abc", "orphaned"), "does not know under this key", "key and project"),
        (Holding(1, "abc", "lost"), "results are gone", "may have been billed"),
        (Holding(1, "abc", "submitted", is_foreign=True), "any_key=True collects it", "any_key=True collects them"),
    ],
)
def test_what_is_said_is_true_in_the_state_of_the_job(line: Holding, words: str, note: str) -> None:
    assert words in pending_words(line)
    assert note in held_notes([line])[0]


@pytest.mark.parametrize("state", HOLDING)
def test_only_jobs_that_go_on_are_collected_by_the_same_call(state: str) -> None:
    said = held_notes([Holding(1, "abc", state)])[0]

    assert ("The same call" in said) is not is_stranded(Holding(1, "abc", state))


def test_each_kind_of_job_is_told_once() -> None:
    lines = [Holding(at, "abc", state) for at, state in enumerate(("submitted", "lost", "ended", "lost"))]

    assert len(held_notes(lines)) == 2
