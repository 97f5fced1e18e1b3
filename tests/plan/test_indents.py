"""Indented replies are told from those that only have a line per row."""

from __future__ import annotations

import json

import pytest

from smelt.plan.indents import Indents
from tests.economy_jobs import JOBS, Job


def replies(job: Job, indent: int | None) -> list[str]:
    """Five replies with 25 rows each."""
    rows = [{"id": "k7f2x", **json.loads(json.dumps(job.answer(row)))} for row in job.rows(125)]
    return [json.dumps({"rows": rows[at : at + 25]}, indent=indent) for at in range(0, 125, 25)]


def counted(texts: list[str], rows: int = 25) -> Indents:
    indents = Indents()
    for text in texts:
        indents.add(text, rows)
    return indents


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
@pytest.mark.parametrize(("indent", "expected"), [(None, False), (2, True), (4, True)])
def test_indented_replies_to_each_job_are_many(job: Job, indent: int | None, expected: bool) -> None:
    assert counted(replies(job, indent)).are_many == expected


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_line_per_row_is_no_indentation(job: Job) -> None:
    lines = [text.replace('{"id"', '\n    {"id"') for text in replies(job, None)]

    assert counted(lines).share == 0


def test_line_breaks_in_texts_are_none() -> None:
    texts = [json.dumps({"rows": [{"id": "k7f2x", "note": "a\n\n\n\n\n\n\n\nb"}] * 25})] * 5

    assert counted(texts).share == 0


def test_a_few_rows_are_not_worth_a_word() -> None:
    assert not counted(replies(JOBS[0], 2)[:3]).are_many
