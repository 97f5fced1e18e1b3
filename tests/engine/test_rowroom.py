"""The room for a row's answer is what replies took, whatever was reckoned."""

from __future__ import annotations

import pytest

from smelt.engine.rowroom import RowRoom, mean_of_rows
from smelt.plan.replies import read_reply

TOKENS = ["aaaaa", "bbbbb", "ccccc"]


def test_nothing_is_known_before_the_first_reply() -> None:
    room = RowRoom()
    room.learn(0)

    assert room.wanted == 0


def test_the_room_is_half_as_much_again_as_rows_took() -> None:
    room = RowRoom()

    room.learn(120)

    assert room.wanted == 180


def test_what_a_single_long_reply_took_fades() -> None:
    room = RowRoom()
    room.learn(400)

    for _ in range(50):
        room.learn(30)

    assert room.usual == pytest.approx(30, rel=0.1)


@pytest.mark.parametrize(
    ("text", "spent", "mean"),
    [
        ('{"aaaaa":{"n":1},"bbbbb":{"n":2},"ccccc":{"n":3}}', 90, 30),
        ('{"aaaaa":{"n":1},"bbbbb":{"n":2},"ccccc":{"n', 80, 31),
        ('{"aaaaa":{"n":1},"bbbbb":{"n":' + 900 * "9", 930, 18),
        ('{"aaaaa":{"n":' + 900 * "9", 915, 0),
        ("", 0, 0),
    ],
    ids=["complete", "cut", "the last row ran away", "the only row ran away", "empty"],
)
def test_only_complete_rows_tell_what_a_row_takes(text: str, spent: int, mean: float) -> None:
    rows = read_reply(text, TOKENS, "keyed", is_cut=not text.endswith("}"))

    assert mean_of_rows(spent, text, TOKENS, rows) == pytest.approx(mean, abs=1)
