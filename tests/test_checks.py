"""Checks of arguments: what is taken, and what is said of the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smelt.checks import integer, place_to_write, plain_path
from smelt.errors import SmeltConfigError


@pytest.mark.parametrize("value", [1, 10, np.int64(10), np.uint8(1)])
def test_an_integer_within_its_bounds_is_taken(value: Any) -> None:
    number = integer("n", value, 1, 10)

    assert number == value
    assert type(number) is int


@pytest.mark.parametrize(
    "value", [0, 11, -1, True, 1.0, "1", None, np.float64(2), np.bool_(True)], ids=lambda one: repr(one)
)
def test_anything_else_is_refused_by_name_and_bounds(value: Any) -> None:
    with pytest.raises(SmeltConfigError, match='n must be "auto" or an integer from 1 to 10'):
        integer("n", value, 1, 10, also='"auto" or ')


@pytest.mark.parametrize("path", ["a/b.txt", Path("a/b.txt")])
def test_a_path_may_be_text_or_a_path(path: Any) -> None:
    assert plain_path(path, "the path of a file") == Path("a/b.txt")


def test_the_home_directory_may_be_written_as_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")

    assert plain_path("~/b.txt", "the path of a file") == Path("/somewhere/b.txt")


@pytest.mark.parametrize("path", [None, 3, b"a", "a\0b", "~nobody-of-that-name/x"])
def test_what_no_file_can_be_called_is_refused(path: Any) -> None:
    with pytest.raises(SmeltConfigError, match="path must be the path of a file"):
        plain_path(path, "the path of a file")


@pytest.mark.parametrize(
    ("place", "match"),
    [
        (".", "is a folder"),
        ("fifo", "is a device, a pipe or a socket"),
        ("loop", "cannot be written: "),
        ("file/below", "cannot be written: Not a directory"),
        ("x" * 300, "cannot be written: File name too long"),
    ],
)
def test_a_place_that_cannot_take_a_file_is_refused(place: str, match: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()

    with pytest.raises(SmeltConfigError, match=match):
        place_to_write(tmp_path / place)


def test_a_place_for_a_file_is_what_a_link_points_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new")

    assert place_to_write(tmp_path / "link") == (tmp_path / "new").resolve()
    assert place_to_write(tmp_path / "folder" / "new") == (tmp_path / "folder" / "new").resolve()
