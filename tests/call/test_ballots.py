"""`votes=` where rows come little by little: streams, rows one by one, pipelines, plans, blocks of engines."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest

import smelt
from smelt.errors import AuthenticationError, SmeltConfigError, SmeltExhaustionError, SmeltInterrupt, SmeltWarning
from smelt.providers.base import Billing, CallFailed
from smelt.testing import ScriptedProvider, asked, run_jumping
from tests.call.killing import MOST_TWICE, ROWS, kill_and_go_on
from tests.conftest import MakeScenario, whole
from tests.fakeserver.answers import expected
from tests.models import RULES

Mood = Literal["good", "bad", "mixed"]
PROMPT = "Mood of {n}?"
MANY = 400


class Crowd:
    """Answers about numbered rows, which differ from vote to vote; every 41st vote fails."""

    def __init__(self, *, fails: bool = True) -> None:
        self.turns: Counter[int] = Counter()
        self.fails = fails

    def vote(self, number: int, turn: int) -> str | None:
        if self.fails and random.Random(f"fail {number} {turn}").randrange(41) == 0:
            return None
        return random.Random(f"{number} {turn}").choice(["good", "good", "good", "bad", "mixed"])

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        number = int(row["n"])
        self.turns[number] += 1
        answer = self.vote(number, self.turns[number])
        return None if answer is None else {"mood": answer}

    def full(self, number: int, votes: int) -> str | None:
        """The answer of all votes."""
        given = [one for turn in range(1, votes + 1) if (one := self.vote(number, turn)) is not None]
        return Counter(given).most_common(1)[0][0] if given else None


def pieces(frame: Any, seed: int) -> Iterator[Any]:
    """*frame* in pieces of random size, some of them empty."""
    chance, at = random.Random(seed), 0
    while at < len(frame):
        rows = chance.choice([0, 1, 7, 60, 200])
        yield frame[at : at + rows]
        at += rows


def streamed(frame: pd.DataFrame, model: Any, **options: Any) -> list[Any]:
    """Each answer, by a stream."""
    settings: dict[str, Any] = {"output": "mood", "batch_size": 20, "max_attempts": 1, "progress": False, **options}
    found = list(smelt.stream(pieces(frame, 3), PROMPT, Mood, model=model, **settings))
    return [None if pd.isna(one) else one for one in pd.concat(found)["mood"]]


def awaited(frame: pd.DataFrame, model: Any, **options: Any) -> list[Any]:
    """Each answer, by an asynchronous stream."""
    settings: dict[str, Any] = {"output": "mood", "batch_size": 20, "max_attempts": 1, "progress": False, **options}

    async def collected() -> list[Any]:
        return [one async for one in smelt.astream(pieces(frame, 4), PROMPT, Mood, model=model, **settings)]

    return [None if pd.isna(one) else one for one in pd.concat(asyncio.run(collected()))["mood"]]


def completed(frame: pd.DataFrame, model: Any, **options: Any) -> list[Any]:
    """Each answer, one by one."""
    settings: dict[str, Any] = {"output": "mood", "batch_size": 20, "max_attempts": 1, "progress": False, **options}
    found = {one.position: one.value for one in smelt.as_completed(frame, PROMPT, Mood, model=model, **settings)}
    return [found[at] for at in range(len(frame))]


def planned(frame: pd.DataFrame, model: Any, **options: Any) -> list[Any]:
    """Each answer, by a plan of Polars."""
    settings: dict[str, Any] = {"output": "mood", "batch_size": 20, "max_attempts": 1, "progress": False, **options}
    lazy: Any = pl.DataFrame({"n": frame["n"].tolist()}).lazy()
    return list(lazy.smelt.transform(PROMPT, Mood, model=model, **settings).collect()["mood"])


def piped(frame: pd.DataFrame, model: Any, **options: Any) -> list[Any]:
    """Each answer, by a pipeline."""
    of_run: dict[str, Any] = {
        "progress": False,
        **{name: options.pop(name) for name in ("on_error", "ledger") if name in options},
    }
    settings: dict[str, Any] = {"output": "mood", "batch_size": 20, "max_attempts": 1, **options}
    pipe = smelt.pipeline().transform(PROMPT, Mood, model=model, **settings)
    pipe = pipe.transform(
        "Say {mood} of {n}.", str, output="said", model=ScriptedProvider(lambda row: {"text": row["mood"]})
    )
    frame = pipe.run(frame, **of_run).frame
    assert frame["said"].equals(frame["mood"].astype("str").where(frame["mood"].notna()).astype(frame["said"].dtype))
    return [None if pd.isna(one) else one for one in frame["mood"]]


def mapped(frame: pd.DataFrame, model: Any, **options: Any) -> list[Any]:
    """Each answer, by blocks."""
    settings: dict[str, Any] = {"output": "mood", "batch_size": 20, "max_attempts": 1, **options}
    mapper = smelt.Mapper(smelt.Job(PROMPT, Mood, **settings), model)
    return [None if pd.isna(one) else one for one in pd.concat(list(mapper.stream(pieces(frame, 5))))["mood"]]


PLACES = [streamed, awaited, completed, planned, piped, mapped]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("votes", whole(3, 4, 5))
def test_every_place_gives_exactly_the_answers_of_all_votes(place: Any, votes: int) -> None:
    crowd = Crowd()
    frame = pd.DataFrame({"n": range(MANY)})

    found = place(frame, ScriptedProvider(crowd, keep=False), votes=votes)

    assert found == [crowd.full(number, votes) for number in range(MANY)]
    assert crowd.turns.total() < votes * MANY
    assert max(crowd.turns.values()) == votes


def test_rows_go_on_in_other_company_and_in_full_requests() -> None:
    crowd = Crowd()
    provider = ScriptedProvider(crowd)
    frames = [pd.DataFrame({"n": range(at, at + 200)}) for at in range(0, 2_000, 200)]

    list(smelt.stream(frames, PROMPT, Mood, output="mood", model=provider, votes=3, batch_size=20, progress=False))

    sent = [[int(row["n"]) for _, row in asked(one)] for one in provider.requests]
    met: Counter[int] = Counter()
    company: dict[int, list[set[int]]] = {}
    for rows in sent:
        for number in rows:
            company.setdefault(number, []).append(set(rows) - {number})
        met.update(rows)
    shared = [len(ones[0] & ones[1]) / len(ones[0]) for ones in company.values() if len(ones) > 1]
    assert sum(shared) / len(shared) < 0.3
    assert len(sent) <= 1.25 * sum(met.values()) / 20


def test_a_stream_and_a_call_find_each_others_votes(tmp_path: Path) -> None:
    options: Any = {"output": "mood", "ledger": tmp_path / "a.sqlite", "progress": False, "max_attempts": 1}
    crowd, again = Crowd(), ScriptedProvider(Crowd(), keep=False)
    frame = pd.DataFrame({"n": range(300)})
    first = pd.concat(
        list(smelt.stream(pieces(frame, 1), PROMPT, Mood, model=ScriptedProvider(crowd), votes=3, **options))
    )

    known = [number for number in range(300) if all(crowd.vote(number, turn) for turn in (1, 2, 3))]
    second = smelt.run(frame.iloc[known], PROMPT, Mood, model=again, votes=3, **options)
    third = pd.concat(list(smelt.stream(pieces(frame.iloc[known], 2), PROMPT, Mood, model=again, votes=3, **options)))

    assert again.rows_sent == second.metrics.requests == 0
    assert second.frame["mood"].tolist() == third["mood"].tolist() == first["mood"].iloc[known].tolist()


def test_equal_rows_of_several_frames_share_their_votes(tmp_path: Path) -> None:
    crowd = Crowd(fails=False)
    rows = [float(n) if n else float("nan") for n in range(30)]
    frames = [pd.DataFrame({"n": rows * 2}), pd.DataFrame({"n": rows}), pd.DataFrame({"n": [*rows[:3], 99.0]})]
    provider = ScriptedProvider(lambda row: crowd({"n": row["n"] or 0}), keep=False)
    options: Any = {"output": "mood", "ledger": tmp_path / "a.sqlite", "votes": 3}

    found = list(smelt.stream(frames, PROMPT, Mood, model=provider, progress=False, **options))

    moods = [one["mood"].tolist() for one in found]
    assert moods[0] == moods[1] * 2
    assert moods[2][:3] == moods[1][:3]
    assert max(crowd.turns.values()) <= 3
    assert set(crowd.turns) == {*range(30), 99}


def test_a_row_without_any_vote_fails_as_its_last_did() -> None:
    def answer(row: Mapping[str, Any]) -> dict[str, Any] | None:
        return {"mood": "good"} if row["n"] % 3 else None

    options: Any = {"output": "mood", "max_attempts": 1, "progress": False, "votes": 3}
    frames = pieces(pd.DataFrame({"n": range(60)}), 1)
    found = pd.concat(list(smelt.stream(frames, PROMPT, Mood, model=ScriptedProvider(answer), **options)))

    assert found["mood"].isna().tolist() == [n % 3 == 0 for n in range(60)]
    assert found["smelt_error"].dropna().str.startswith("missing").all()


def test_on_error_raise_ends_all_rounds_at_the_first_row_without_a_vote() -> None:
    sent: Counter[int] = Counter()

    def answer(row: Mapping[str, Any]) -> dict[str, Any] | None:
        sent[row["n"]] += 1
        return {"mood": "good"} if row["n"] != 3 else None

    with pytest.raises(SmeltExhaustionError, match="failed .missing"):
        streamed(pd.DataFrame({"n": range(5_000)}), ScriptedProvider(answer), votes=3, on_error="raise", shuffle=False)

    assert sent[3] == 3
    assert sent.total() < 10_000


@pytest.mark.parametrize("place", [streamed, completed, piped], ids=lambda place: place.__name__)
def test_a_wrong_key_is_raised_after_one_request(place: Any) -> None:
    refused = CallFailed("auth", Billing.REJECTED, "no such key", status=401)
    provider = ScriptedProvider({"mood": "good"}, script=[refused] * 9)

    with pytest.raises(AuthenticationError, match="no such key"):
        place(pd.DataFrame({"n": range(100)}), provider, votes=3)

    assert len(provider.requests) == 1


@pytest.mark.parametrize("place", ["stream", "pipeline"])
def test_a_budget_holds_for_all_votes_together(place: str) -> None:
    crowd = Crowd()
    frame = pd.DataFrame({"n": range(400)})
    options: dict[str, Any] = {"output": "mood", "batch_size": 20, "votes": 3, "max_attempts": 1}
    provider = ScriptedProvider(crowd, keep=False)
    limit = 9_000

    said = r"budget is spent.* The rows without an answer are marked" if place == "stream" else "budget is spent"
    with pytest.warns(SmeltWarning, match=said), pytest.warns(SmeltWarning, match="of fewer votes"):
        if place == "stream":
            stream = smelt.stream(
                pieces(frame, 1), PROMPT, Mood, model=provider, max_tokens_total=limit, progress=False, **options
            )
            found = pd.concat(list(stream))
            metrics: Any = stream.metrics
        else:
            pipe = smelt.pipeline().transform(PROMPT, Mood, model=provider, **options)
            result = pipe.run(frame, max_tokens_total=limit, progress=False)
            found, metrics = result.frame, result.metrics

    kinds = found["smelt_error"].dropna().str.removeprefix("mood: ").str.split(":").str[0].value_counts()
    assert metrics.input_tokens + metrics.output_tokens <= limit
    assert crowd.turns.total() > 100
    assert kinds["budget"] >= sum(number not in crowd.turns for number in range(400)) > 0
    assert set(kinds.index) <= {"budget", "missing"}


def test_a_deadline_holds_for_all_votes_together() -> None:
    crowd = Crowd()

    busy = most = 0

    class Slow(ScriptedProvider):
        async def send(self, request: Any) -> Any:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(1.0)
            busy -= 1
            return await super().send(request)

    async def collected() -> pd.DataFrame:
        frames = pieces(pd.DataFrame({"n": range(400)}), 2)
        stream = smelt.astream(
            frames, PROMPT, Mood, model=Slow(crowd), votes=3, output="mood", batch_size=20, concurrency=2,
            deadline=9.5, progress=False, max_attempts=1,
        )  # fmt: skip
        found: pd.DataFrame = pd.concat([one async for one in stream])
        return found

    with pytest.warns(SmeltWarning, match="deadline"), pytest.warns(SmeltWarning, match="of fewer votes"):
        found, seconds = run_jumping(collected())

    kinds = set(found["smelt_error"].dropna().str.split(":").str[0])
    assert seconds == pytest.approx(9.5)
    assert most == 2
    assert len(found) == 400
    assert "deadline" in kinds <= {"deadline", "missing"}
    assert found["mood"].notna().sum() > 0


def test_ctrl_c_keeps_the_votes_so_far_and_the_next_stream_goes_on(tmp_path: Path) -> None:
    crowd = Crowd()

    def answer(row: Mapping[str, Any]) -> Any:
        if crowd.turns.total() == 500:
            signal.raise_signal(signal.SIGINT)
        return crowd(row)

    options: Any = {"output": "mood", "ledger": tmp_path / "a.sqlite", "progress": False, "max_attempts": 1}
    options |= {"votes": 3, "batch_size": 20, "concurrency": 2}
    frame = pd.DataFrame({"n": range(MANY)})
    with pytest.raises(SmeltInterrupt, match="the same call continues from there") as caught:
        list(smelt.stream([frame], PROMPT, Mood, model=ScriptedProvider(answer), **options))
    before = crowd.turns.total()
    (found,) = smelt.stream([frame], PROMPT, Mood, model=ScriptedProvider(crowd), **options)

    partial = caught.value.partial_result
    assert partial is not None
    assert 0 < partial.metrics.successful_rows < MANY
    assert before < 600
    assert crowd.turns.total() - before <= 3 * MANY - 500
    assert found["mood"].notna().sum() > 0.99 * MANY


@pytest.mark.parametrize("events", whole([40], [75], [10, 60, 90], [110, 20]), ids=str)
@pytest.mark.parametrize("place", ["stream", "pipeline"])
def test_a_killed_run_goes_on_with_the_votes_that_it_has(
    place: str, events: list[int], scenario: MakeScenario, tmp_path: Path
) -> None:
    server = scenario(answers=RULES, count_by="name")
    out = kill_and_go_on(server, tmp_path, events, place=place)

    sent = server.stats().rows_sent_by
    assert out.kills >= 1
    assert sum(sent.values()) <= 2 * ROWS + out.kills * MOST_TWICE
    assert out.answers == [expected(RULES, {"name": f"company {at}"})["sector"] for at in range(ROWS)]


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_few_rows_need_no_other(place: Any, rows: int) -> None:
    frame = pd.DataFrame({"n": pd.Series(range(rows), dtype="int64")})

    if rows or place in (planned, completed):
        assert place(frame, ScriptedProvider({"mood": "good"}), votes=3) == ["good"] * rows


def test_confidence_and_cascades_are_refused_where_rows_come_little_by_little() -> None:
    provider = ScriptedProvider({})
    frame = [{"n": 1}]
    for options in ({"votes": 3, "with_confidence": True}, {"target_accuracy": 0.9}):
        given: Any = {"output": "mood", "model": provider, **options}
        with pytest.raises(SmeltConfigError, match="whole frame|about a cascade"):
            smelt.stream([frame], PROMPT, Mood, **given)
        with pytest.raises(SmeltConfigError, match="whole frame|about a cascade"):
            smelt.as_completed(frame, PROMPT, Mood, **given)
        with pytest.raises(SmeltConfigError, match="whole frame|about a cascade"):
            pl.LazyFrame(frame).smelt.transform(PROMPT, Mood, **given)  # type: ignore[attr-defined]
    assert provider.requests == []
