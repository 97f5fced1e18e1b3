"""The tests of the reader trust the hostile model, so it is tested first: each oddity does its own thing only."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.conftest import MakeScenario
from tests.fakeserver import hostile, oddities
from tests.fakeserver.oddrows import DAMAGES, VALUES
from tests.fakeserver.oddtext import AROUND, SHAPES
from tests.fakeserver.oddwire import ENVELOPES, FIREWALL, INSTEAD, QUOTED, RESPONSES, THOUGHTS
from tests.fakeserver.rowfaults import Entry, Scene
from tests.fakeserver.test_fakeserver import ARRAY, post

ITEM = ARRAY["properties"]["rows"]["items"]
TEXT = 'a "b"\n\t\x0b\\$ \\d it\'s'
ENTRIES = [
    Entry("k2bcd", {"sector": "tech", "size": 3, "note": TEXT, "sum": "12.50"}),
    Entry("m3xyz", {"sector": "other", "size": 40, "note": None, "sum": "0.25"}),
]
RULES: dict[str, Any] = {"sector": {"const": "tech"}, "size": {"length": "name"}}


def scene() -> Scene:
    return Scene(rng=random.Random(1), schema=ITEM, root=ARRAY, max_tokens=None, earlier_ids=("zz222",))


def said(*names: str, entries: list[Entry] = ENTRIES, seed: int = 1) -> str:
    return hostile.Mood(names, random.Random(seed)).write(list(entries), scene(), "array")


@pytest.mark.parametrize("name", [*VALUES, *DAMAGES, *SHAPES, *AROUND])
def test_an_oddity_of_text_changes_the_text(name: str) -> None:
    assert any(said(name, entries=entries) != said(entries=entries) for entries in (ENTRIES[:1], ENTRIES[1:], ENTRIES))


def test_what_is_missing_is_missing() -> None:
    assert "} {" in said("missing_comma_of_rows")
    assert said("unfinished") == said()[:-2]
    assert said("empty") == ""


def test_drafts_have_the_right_ids_and_false_values() -> None:
    for seed in range(8):
        text = said("rows_twice", seed=seed)
        draft, final = json.loads(text, object_pairs_hook=lambda pairs: pairs if pairs[0][0] == "rows" else dict(pairs))
        assert [row["id"] for row in draft[1]] == [row["id"] for row in final[1]] == ["k2bcd", "m3xyz"]
        assert all(false["size"] != true["size"] for false, true in zip(draft[1], final[1], strict=True))


@pytest.mark.parametrize("name", [name for name in AROUND if name.startswith("endless")])
def test_a_thought_without_an_end_holds_no_answer(name: str) -> None:
    assert "40" not in json.dumps(said(name, entries=ENTRIES[1:]))


@pytest.mark.parametrize("name", [*ENVELOPES, *RESPONSES, "stream"])
def test_an_oddity_of_the_envelope_strikes_one_reply(name: str, scenario: MakeScenario) -> None:
    odd = scenario(answers=RULES, oddities={name: 1.0})
    plain = scenario(answers=RULES)

    found, usual = post(odd), post(plain)

    is_elsewhere = name in ENVELOPES and "compatible" not in ENVELOPES[name]
    ids = {body["id"]: "" for body in (json.loads(usual[2]),)}
    assert odd.stats().faults == {name: 1}
    assert (_shown(found, ids) == _shown(usual, ids)) == is_elsewhere


def _shown(answer: tuple[int, Any, bytes], ids: dict[str, str]) -> tuple[int, Any, bytes]:
    """An answer without what differs from request to request."""
    status, headers, body = answer
    kept = sorted((key, value) for key, value in headers.items() if key in ("content-type", "content-encoding"))
    try:
        read = json.loads(body)
    except ValueError:
        return status, kept, body
    blanks = len(body) - len(body.lstrip())
    return status, (kept, blanks), json.dumps({**read, "id": None, "created": None}).encode()


@pytest.mark.parametrize("name", INSTEAD)
def test_a_refusal_comes_in_place_of_an_answer(name: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, oddities={name: 1.0})
    words = {"firewall": FIREWALL, "quoting": QUOTED[0]}.get(name, "")
    user = json.dumps([{"id": "k2bcd", "row": {"name": words}}])
    usual = [post(fake, user=user) for _ in range(hostile.FIRST_ONCE)] if name in oddities.ONCE else []

    status, _, body = post(fake, user=user)

    assert all(one[0] == 200 for one in usual)
    assert (status, b'"rows' in body) != (200, True) or name in ("no_parts", "no_candidates")  # Gemini's alone.


@pytest.mark.parametrize("name", THOUGHTS)
def test_thoughts_take_their_tokens_from_the_limit(name: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, oddities={name: 1.0})

    choice, usage = (json.loads(post(fake, max_tokens=THOUGHTS[name] + 5)[2])[key] for key in ("choices", "usage"))

    assert choice[0]["finish_reason"] == "length"
    assert len(choice[0]["message"]["content"]) == 20
    assert usage["completion_tokens"] == THOUGHTS[name] + 5
    assert usage["completion_tokens_details"]["reasoning_tokens"] == (0 if "untold" in name else THOUGHTS[name])


def test_every_oddity_is_of_one_kind_and_unknown_ones_are_refused(scenario: MakeScenario) -> None:
    made = [*INSTEAD, "empty", *THOUGHTS, *VALUES, *DAMAGES, *SHAPES, *AROUND, *ENVELOPES, *RESPONSES, "stream"]
    assert sorted(oddities.NAMES) == sorted(made)
    assert set(oddities.rates(0.05)) == set(oddities.each(0.05)) == set(made)
    with pytest.raises(ValueError, match="unknown oddities \\['nonsense'\\]"):
        scenario(oddities={"nonsense": 0.1})
