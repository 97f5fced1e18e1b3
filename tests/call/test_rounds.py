"""`votes=`: rows are asked again in other company until more votes cannot change their answers."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import SmeltConfigError, SmeltExhaustionError, SmeltInterrupt, SmeltWarning
from smelt.testing import ScriptedProvider, asked
from tests.trust.raters import Raters, tweets

Mood = Literal["positive", "neutral", "negative"]


class Place(BaseModel):
    city: str


class Shop(BaseModel):
    sector: Literal["food", "books"]
    place: Place


class Tweet(BaseModel):
    mood: Mood


ROWS = [{"name": f"shop {number}"} for number in range(60)]


def by_turn(*answers: str) -> Callable[[Mapping[str, Any]], dict[str, Any] | None]:
    """Answers each row with the next of *answers*; `-` leaves the row out."""
    turns: Counter[str] = Counter()

    def answer(row: Mapping[str, Any]) -> dict[str, Any] | None:
        word = answers[turns[row["name"]]]
        turns[row["name"]] += 1
        return None if word == "-" else {"sector": word, "place": {"city": "Oslo"}}

    return answer


def texts(provider: ScriptedProvider) -> list[tuple[str, ...]]:
    return [tuple(row["name"] for _, row in asked(one)) for one in provider.requests]


def test_five_votes_of_raters_are_right_more_often_at_the_cost_of_three_and_a_half() -> None:
    raters = Raters()
    numbers = range(0, len(tweets()), 2)
    frame = pd.DataFrame({"tweet": numbers})

    result = smelt.run(
        frame, "Mood of {tweet}?", Tweet, model=ScriptedProvider(raters, keep=False), votes=5, batch_size=20
    )

    found = result.frame["mood"].tolist()
    full = [Counter(tweets()[at][1][:5]).most_common(1)[0][0] for at in numbers]
    right = sum(mood == tweets()[at][0] for mood, at in zip(found, numbers, strict=True)) / len(found)
    assert found == full
    assert right >= 0.905
    assert raters.asked.total() / len(found) <= 3.6
    assert result.votes["votes"].sum() == raters.asked.total()


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, list], ids=["pandas", "polars", "records"])
def test_confidence_and_counts_are_columns_of_the_same_library(make: Any) -> None:
    frame = make([*ROWS, ROWS[0]])

    result = smelt.run(
        frame, "{name}?", Shop, model=ScriptedProvider(by_turn("food", "books", "food")), votes=3, with_confidence=True
    )

    def column(one: Any, name: str) -> list[Any]:
        return [row[name] for row in one] if make is list else list(one[name])

    assert column(result.frame, "sector_confidence") == pytest.approx([2 / 3] * 61)
    assert column(result.frame, "place.city_confidence") == [1.0] * 61
    assert [column(result.votes, name)[60] for name in ("votes", "failed", "sector_for", "sector_rival")] == [
        3,
        0,
        2,
        1,
    ]
    if make is pd.DataFrame:
        assert list(result.frame.columns)[-3:] == ["sector_confidence", "place.city_confidence", "smelt_error"]
        assert str(result.frame["sector_confidence"].dtype) == "Float64"
        assert str(result.votes["votes"].dtype) == "Int64"


def test_every_round_has_other_company_and_the_first_that_of_a_single_run() -> None:
    once, thrice = ScriptedProvider(by_turn("food")), ScriptedProvider(by_turn("food", "books", "food"))

    smelt.transform(ROWS, "{name}?", Shop, model=once, batch_size=20)
    smelt.transform(ROWS, "{name}?", Shop, model=thrice, votes=3, batch_size=20)

    sent = texts(thrice)
    assert sent[:3] == texts(once)
    assert [len(one) for one in sent] == [20] * 9
    assert len({frozenset(one) for one in sent}) == 9
    assert texts(thrice)[3:6] != sent[6:9]


def test_rows_are_not_shuffled_in_the_first_round_only_if_the_caller_says_so() -> None:
    provider = ScriptedProvider(by_turn("food", "food"))

    smelt.transform(ROWS, "{name}?", Shop, model=provider, votes=2, shuffle=False, batch_size=60)

    first, second = texts(provider)
    assert first == tuple(row["name"] for row in ROWS)
    assert second != first
    assert sorted(second) == sorted(first)


def test_a_decided_row_is_asked_no_more() -> None:
    turns: Counter[str] = Counter()

    def answer(row: Mapping[str, Any]) -> dict[str, Any]:
        turns[row["name"]] += 1
        is_torn = row["name"] == "shop 7" and turns["shop 7"] == 2
        return {"sector": "books" if is_torn else "food", "place": {"city": "Oslo"}}

    result = smelt.run(ROWS, "{name}?", Shop, model=ScriptedProvider(answer), votes=5)

    assert {name: count for name, count in turns.items() if count != 3} == {"shop 7": 4}
    assert {row["sector"] for row in result.frame} == {"food"}


class Doubt(BaseModel):
    mood: Mood | None
    is_late: bool
    note: str


def test_sure_asks_until_each_label_is_sure_and_says_which_are_not(tmp_path: Path) -> None:
    turns: Counter[str] = Counter()

    def answer(row: Mapping[str, Any]) -> dict[str, Any]:
        turns[row["name"]] += 1
        number, turn = int(row["name"].split()[-1]), turns[row["name"]]
        is_torn = {0: False, 1: turn == 2, 2: turn % 2 == 0}[number]
        return {"mood": "neutral" if is_torn else "positive", "is_late": turn in (8, 9, 10), "note": f"note {turn % 2}"}

    result = smelt.run(ROWS[:3], "{name}?", Doubt, model=ScriptedProvider(answer), votes=20, sure=0.05, progress=False)

    # Four values of `mood`, null among them, take 9 votes, or 13 with one against; `is_late` is sure after 7.
    assert [row["votes"] for row in result.votes] == [9, 13, 20]
    assert [row["mood_sure"] for row in result.votes] == [True, True, False]
    assert [row["is_late_sure"] for row in result.votes] == [True] * 3
    assert "note_sure" not in result.votes[0]
    assert "mood is not sure after all votes" in result.report(tmp_path / "run.html").read_text(encoding="utf-8")


def test_sure_without_a_choice_is_refused() -> None:
    provider = ScriptedProvider({})

    with pytest.raises(SmeltConfigError, match="bool, Literal or Enum, and the output model has none"):
        smelt.run(ROWS, "{name}?", str, model=provider, votes=9, sure=0.05)

    assert provider.requests == []


def test_the_raters_are_sure_of_few_tweets_and_right_about_these() -> None:
    raters = Raters()
    frame = pd.DataFrame({"tweet": range(0, len(tweets()), 20)})

    result = smelt.run(
        frame,
        "Mood of {tweet}?",
        Tweet,
        model=ScriptedProvider(raters, keep=False),
        votes=15,
        sure=0.05,
        progress=False,
    )

    right = result.frame["mood"] == [tweets()[at][0] for at in frame["tweet"]]
    is_sure = result.votes["mood_sure"].astype(bool)
    assert right[is_sure].mean() > 0.97 > right[~is_sure].mean()


def test_details_of_several_votes_add_up(tmp_path: Path) -> None:
    turns = by_turn("food", "books", "food", "food")
    options: Any = {"details": True, "batch_size": 20, "ledger": tmp_path / "a.sqlite", "progress": False}

    result = smelt.run(pd.DataFrame(ROWS), "{name}?", Shop, model=ScriptedProvider(turns), votes=3, **options)
    again = smelt.run(pd.DataFrame(ROWS), "{name}?", Shop, model=ScriptedProvider(turns), votes=3, **options)

    details = result.details
    assert details["requests"].tolist() == [3] * 60
    assert details["request"].between(7, 9).all()
    assert details["input_tokens"].sum() == result.metrics.input_tokens
    assert not details["from_ledger"].any()
    assert again.details["from_ledger"].all()


def test_a_failed_vote_is_none_and_a_row_without_any_fails_as_its_last_did() -> None:
    mute = by_turn("food", "food")

    def answer(row: Mapping[str, Any]) -> dict[str, Any] | None:
        return None if row["name"] == "shop 3" else mute(row)

    result = smelt.run(ROWS[:5], "{name}?", Shop, model=ScriptedProvider(answer), votes=2, max_attempts=1)
    turned = smelt.run(
        ROWS[:5], "{name}?", Shop, model=ScriptedProvider(by_turn("-", "books")), votes=2, max_attempts=1
    )

    assert [(one.position, one.kind) for one in result.errors] == [(3, "missing")]
    assert result.votes[3] == dict.fromkeys(result.votes[3])
    assert turned.success
    assert turned.frame[0]["sector"] == "books"
    assert turned.votes[0] == {
        "votes": 1,
        "failed": 1,
        "sector_for": 1,
        "sector_rival": 0,
        "place.city_for": 1,
        "place.city_rival": 0,
    }


def test_confidence_of_fewer_than_two_votes_is_null() -> None:
    provider = ScriptedProvider(by_turn("-", "books"))

    frame = smelt.transform(ROWS[:3], "{name}?", Shop, model=provider, votes=2, max_attempts=1, with_confidence=True)

    assert [row["sector_confidence"] for row in frame] == [None] * 3


def test_on_error_raise_raises_for_a_row_without_any_vote() -> None:
    with pytest.raises(SmeltExhaustionError, match="Row 0 failed"):
        smelt.run(
            ROWS[:3],
            "{name}?",
            Shop,
            model=ScriptedProvider(by_turn("-", "-")),
            votes=2,
            max_attempts=1,
            on_error="raise",
        )

    done = smelt.run(
        ROWS[:3],
        "{name}?",
        Shop,
        model=ScriptedProvider(by_turn("-", "food")),
        votes=2,
        max_attempts=1,
        on_error="raise",
    )
    assert done.success


def test_votes_are_found_again_and_a_single_run_counts_as_the_first_vote(tmp_path: Path) -> None:
    options: Any = {"ledger": tmp_path / "answers.sqlite", "batch_size": 20}
    turns = by_turn("food", "books", "food", "food")
    first, more, again, wider = (ScriptedProvider(turns) for _ in range(4))

    smelt.run(ROWS, "{name}?", Shop, model=first, **options)
    result = smelt.run(ROWS, "{name}?", Shop, model=more, votes=3, **options)
    repeated = smelt.run(ROWS, "{name}?", Shop, model=again, votes=3, **options)
    smelt.run(ROWS, "{name}?", Shop, model=wider, votes=5, **options)

    assert [one.rows_sent for one in (first, more, again, wider)] == [60, 120, 0, 60]
    assert repeated.data == result.data
    assert repeated.metrics.requests == 0
    assert repeated.metrics.ledger_rows == 180


def test_a_vote_warns_of_no_changed_prompt(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    options: Any = {"ledger": tmp_path / "answers.sqlite", "votes": 3}

    smelt.run(ROWS, "{name}?", Shop, model=ScriptedProvider(by_turn("food", "books", "food")), **options)

    assert [str(one.message) for one in recwarn] == []


def test_a_budget_that_ends_between_votes_keeps_the_answers_and_says_so() -> None:
    alone = smelt.run(ROWS, "{name}?", Shop, model=ScriptedProvider(by_turn("food")), batch_size=20)
    tokens = alone.metrics.input_tokens + alone.metrics.output_tokens
    provider = ScriptedProvider(by_turn("food", "books", "food"))

    with (
        pytest.warns(SmeltWarning, match=r"60 rows have an answer of fewer votes"),
        pytest.warns(SmeltWarning, match=r"stopped early: .*budget is spent"),
    ):
        result = smelt.run(ROWS, "{name}?", Shop, model=provider, votes=3, batch_size=20, max_tokens_total=2 * tokens)

    assert result.success
    assert result.metrics.input_tokens + result.metrics.output_tokens <= 2 * tokens
    assert {row["failed"] for row in result.votes} == {0}


def test_ctrl_c_in_a_later_round_keeps_the_votes_so_far() -> None:
    turns = by_turn("food", "books", "food")
    met: Counter[str] = Counter()

    def answer(row: Mapping[str, Any]) -> Any:
        met[row["name"]] += 1
        if met.total() == 90:
            signal.raise_signal(signal.SIGINT)
        return turns(row)

    with pytest.raises(SmeltInterrupt, match="60 of 60 rows answered") as caught:
        smelt.run(ROWS, "{name}?", Shop, model=ScriptedProvider(answer), votes=3, batch_size=10, concurrency=1)

    partial = caught.value.partial_result
    assert partial is not None
    assert {row["sector"] for row in partial.frame} == {"food"}
    assert 1 < sum(row["votes"] for row in partial.votes) / 60 < 2


def test_evaluate_and_preview_take_votes() -> None:
    labelled = [{**row, "known": "food"} for row in ROWS[:10]]

    found = smelt.evaluate(
        labelled,
        "{name}?",
        Shop,
        {"sector": "known"},
        model=ScriptedProvider(by_turn("books", "food", "food")),
        votes=3,
    )
    seen = smelt.preview(ROWS, "{name}?", Shop, 2, model=ScriptedProvider(by_turn("books", "food", "food")), votes=3)

    assert found.fields["sector"].accuracy.value == 1.0
    assert [row["sector"] for row in seen] == ["food", "food"]


def test_no_row_needs_no_vote() -> None:
    result = smelt.run(pd.DataFrame({"name": []}), "{name}?", Shop, model=ScriptedProvider({}), votes=3)

    assert (result.metrics.requests, len(result.votes)) == (0, 0)


def test_a_run_without_votes_has_no_counts() -> None:
    result = smelt.run(ROWS, "{name}?", Shop, model=ScriptedProvider(by_turn("food")))

    with pytest.raises(SmeltConfigError, match="asked each row once"):
        _ = result.votes


def test_votes_that_are_the_same_request_are_no_second_opinion() -> None:
    with pytest.warns(SmeltWarning, match="all votes for a row are the same request"):
        smelt.run(
            ROWS[:2],
            "{name}?",
            Shop,
            model=ScriptedProvider(by_turn("food", "food")),
            votes=2,
            isolation="row",
            params={"temperature": 0},
        )


def test_an_estimate_counts_the_votes_and_says_what_all_of_them_would_cost() -> None:
    once = smelt.estimate(ROWS, "{name}?", Tweet, model="openai:gpt-4.1-mini", batch_size=20)
    thrice = smelt.estimate(ROWS, "{name}?", Tweet, model="openai:gpt-4.1-mini", batch_size=20, votes=3)

    assert (once.votes, once.all_votes_cost_usd) == (1.0, None)
    assert thrice.votes == pytest.approx(2.18, abs=0.01)
    assert thrice.requests == 7
    assert thrice.all_votes_cost_usd == pytest.approx(3 * (once.cost_usd or 0))
    assert "about 2.2 votes for a row" in repr(thrice)
