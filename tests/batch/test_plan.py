"""What one job may hold."""

from __future__ import annotations

import random
import re

import pytest

from smelt.batch.plan import Load, draw_tag, line_id, number_in
from smelt.providers.base import BatchLimits

LIMITS = BatchLimits(lines=3, bytes=1_000, can_tag=True)


def test_a_tag_fits_every_provider() -> None:
    tags = {draw_tag(random.Random(seed)) for seed in range(50)}

    assert len(tags) == 50
    assert all(re.fullmatch("[a-z2-7]{12}", tag) for tag in tags)


def test_a_line_is_found_by_its_id() -> None:
    assert number_in("k7f", line_id("k7f", 42)) == 42


@pytest.mark.parametrize("line", [None, "", "k7f", "k7f-", "k7f-x", "other-1", "k7f-1-2", "k7f-" + "9" * 30, "k7f-²"])
def test_a_strange_id_is_of_no_line(line: str | None) -> None:
    assert number_in("k7f", line) is None


def test_a_job_is_full_by_lines_bytes_or_tokens() -> None:
    by_lines, by_bytes = Load(limits=LIMITS, lines=3), Load(limits=LIMITS, lines=1, bytes=900)
    by_tokens = Load(limits=LIMITS, most_tokens=100, lines=1, tokens=60)

    assert not by_lines.takes(1, 1)
    assert (by_bytes.takes(80, 1), by_bytes.takes(100, 1)) == (True, False)
    assert (by_tokens.takes(1, 40), by_tokens.takes(1, 41)) == (True, False)


def test_a_first_line_is_taken_whatever_its_tokens() -> None:
    assert Load(limits=LIMITS, most_tokens=10).takes(100, 50)
