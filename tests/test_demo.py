"""The demo's table, and that the embedded model is up to its question."""

from __future__ import annotations

import pytest

import smelt
from smelt.demo import MODEL, PROMPT, Launch, missions


def test_the_table_is_large_enough_and_no_mission_is_in_it_twice() -> None:
    names = [row["mission"] for row in missions()]

    assert len(names) >= 30
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("row", missions(), ids=lambda row: row["mission"])
def test_every_known_answer_stands_in_its_note(row: dict[str, str]) -> None:
    assert row["year"] in row["note"]
    assert row["agency"] in row["note"]
    assert Launch.model_validate({"year": int(row["year"]), "agency": row["agency"]}).agency == row["agency"]


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The answers of smollm2-135m")
def test_the_embedded_model_agrees_with_most_known_answers() -> None:
    known = missions()[::5]
    rows = [{"mission": row["mission"], "note": row["note"]} for row in known]

    result = smelt.run(rows, PROMPT, Launch, model=MODEL, progress=False)

    agreeing = [
        answer is not None and (str(answer.year), answer.agency) == (row["year"], row["agency"])
        for answer, row in zip(result.data, known, strict=True)
    ]
    assert sum(agreeing) >= 0.7 * len(known)
