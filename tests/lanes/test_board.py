"""The numbers that processes of one machine share."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from smelt.lanes.board import SIZE, Board, Find, on_this_machine


def members(count: int) -> list[Board]:
    memory = bytearray(SIZE)
    return [Board(memory, random.Random(at)) for at in range(count)]


@pytest.fixture
def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Find:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return on_this_machine("openai\0model", random.Random(0))


def test_a_member_counts_the_others_that_stay() -> None:
    one, two, three = members(3)
    one.stay(10, 2)
    two.stay(10, 2)
    three.stay(10, 5)

    assert [one.others(11), one.others(13), one.others(16)] == [2, 1, 0]


def test_a_member_that_leaves_is_no_longer_counted_and_can_come_back() -> None:
    one, two = members(2)
    two.stay(0, 60)
    two.leave()

    assert one.others(1) == 0
    two.stay(1, 60)
    assert one.others(2) == 1


def test_nobody_is_counted_before_anybody_came() -> None:
    assert members(1)[0].others(0.0) == 0


def test_members_of_before_the_machine_was_started_anew_are_not_counted() -> None:
    one, two = members(2)
    two.stay(1_000_000, 60)

    assert one.others(5) == 0


def test_each_of_very_many_members_has_its_own_place_as_long_as_there_are_places() -> None:
    boards = members(124)
    for board in boards:
        board.stay(1, 60)

    assert boards[0].others(2) == 123


def test_what_one_notes_the_others_see() -> None:
    one, two = members(2)
    for _ in range(5):
        one.count(3.0, most=1.0)
    one.note(4.0, 20.0, 3.0)
    two.count(4.5, most=1.0)

    assert (two.event, two.rate, two.span, one.sent, one.last) == (4.0, 20.0, 3.0, 1.0, 4.5)


def test_requests_that_were_refused_late_were_not_let_through() -> None:
    one, two = members(2)
    one.note(1.0, 0.0, 0.0)
    one.note(3.0, 10.0, 2.0, counted=20)

    two.refused_late(2.0)
    two.refused_late(0.5)  # Of the time before.

    assert one.rate == pytest.approx(9.5)


def test_late_refusals_do_not_correct_a_rate_that_rests_on_few_requests() -> None:
    one, two = members(2)
    one.note(1.0, 0.0, 0.0)
    one.note(3.0, 10.0, 2.0, counted=20)

    for _ in range(40):
        two.refused_late(2.0)

    assert one.rate == pytest.approx(5.0)


def test_time_in_which_nobody_sent_although_one_could_is_idle() -> None:
    one, two = members(2)
    one.note(1.0, 20.0, 1.0)
    one.count(1.5, most=1.0)
    two.count(4.5, most=1.0)

    assert one.idle == pytest.approx(2.0)
    one.note(5.0, 20.0, 1.0)
    assert two.idle == 0.0


def test_the_board_is_made_only_if_it_is_told_to_be(find: Find, tmp_path: Path) -> None:
    assert find(False) is None
    assert list(tmp_path.iterdir()) == []

    made, found = find(True), find(False)

    assert made is not None and found is not None
    made.note(1.0, 20.0, 2.0)
    assert found.rate == 20.0


def test_the_file_is_private_and_its_name_tells_nothing(find: Find, tmp_path: Path) -> None:
    find(True)
    (folder,) = tmp_path.iterdir()
    (file,) = folder.iterdir()

    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]
    assert len(file.name) == 16 and "openai" not in file.name
    assert file.stat().st_size == SIZE


@pytest.mark.parametrize("obstacle", ["link", "open to all", "a file", "no folder"])
def test_without_a_private_folder_there_is_no_board(
    obstacle: str, find: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / f"smelt-lanes-{os.getuid()}"
    if obstacle == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    elif obstacle == "open to all":
        folder.mkdir()
        folder.chmod(0o777)
    elif obstacle == "a file":
        folder.write_text("mine")
    else:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))

    assert find(True) is None
    assert not (tmp_path / "elsewhere").exists() or not list((tmp_path / "elsewhere").iterdir())


def test_files_that_nobody_used_for_a_day_are_removed(find: Find, tmp_path: Path) -> None:
    find(True)
    (folder,) = tmp_path.iterdir()
    (old,) = folder.iterdir()
    os.utime(old, (1_000_000, 1_000_000))
    on_this_machine("a second one", random.Random(1))(True)
    on_this_machine("a third one", random.Random(1))(True)

    assert not old.exists()
    assert len(list(folder.iterdir())) == 2


def test_another_process_sees_the_same_numbers(find: Find, tmp_path: Path) -> None:
    board = find(True)
    assert board is not None
    script = (
        "import random; from smelt.lanes.board import on_this_machine\n"
        "board = on_this_machine('openai\\0model', random.Random(5))(False)\n"
        "board.stay(100.0, 60.0); board.note(99.0, 12.5, 3.0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "TMPDIR": str(tmp_path)})

    assert board.others(101.0) == 1
    assert (board.event, board.rate) == (99.0, 12.5)
