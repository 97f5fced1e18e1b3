"""What IN may be, and that its cells come out as they went in."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from smelt.cli.inputs import opened
from smelt.cli.parser import parser
from tests.cli.command import Shell

FRAME = pl.DataFrame({"name": ["Arm", "Sanofi", None], "size": [1, 2, 3]})


def rows(written: str, *arguments: str) -> pl.DataFrame:
    options = parser().parse_known_args(["estimate", written, *arguments])[0]
    with opened(written, options) as source:
        frame = source.plan.collect()
        assert source.rows() == frame.height
    return frame


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.csv", FRAME.write_csv),
        ("a.TSV", lambda path: FRAME.write_csv(path, separator="\t")),
        ("a.parquet", FRAME.write_parquet),
        ("a.jsonl", FRAME.write_ndjson),
        ("a.ndjson", FRAME.write_ndjson),
        ("a.arrow", FRAME.write_ipc),
        ("a.feather", FRAME.write_ipc),
    ],
)
def test_a_file_is_read_by_its_ending(name: str, write: Any, shell: Shell) -> None:
    write(shell.folder / name)

    assert rows(name).equals(FRAME)


def test_a_pattern_reads_all_files_in_the_order_of_their_names(shell: Shell) -> None:
    for at in (2, 1):
        FRAME.with_columns(size=pl.lit(at)).write_parquet(shell.folder / f"part-{at}.parquet")

    assert rows("part-*.parquet")["size"].to_list() == [1, 1, 1, 2, 2, 2]
    assert rows("part-*.parquet", "--limit", "4").height == 4


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(shell: Shell) -> None:
    FRAME.write_csv(shell.folder / "part[1].csv")

    assert rows("part[1].csv").equals(FRAME)


def test_numbers_that_are_none_keep_their_digits(shell: Shell) -> None:
    shell.write("codes.csv", "zip,phone,size\n01234,+0049,1\n75000,123,0\n")

    found = rows("codes.csv")

    assert found["zip"].to_list() == ["01234", "75000"]
    assert found["phone"].to_list() == ["+0049", "123"]
    assert found["size"].to_list() == [1, 0]
    assert rows("codes.csv", "--text", "size")["size"].to_list() == ["1", "0"]
    assert rows("codes.csv", "--text").dtypes == [pl.String] * 3


def test_a_cell_that_does_not_fit_comes_late_and_makes_the_column_text(shell: Shell) -> None:
    shell.write("late.csv", "size\n" + "1\n" * 20_000 + "n/a\n")

    found = rows("late.csv")

    assert found.schema["size"] == pl.String
    assert found["size"][-1] == "n/a"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"name\n\xff\xfe\n"),
        ("a.parquet", b"PAR1 and no more"),
        ("a.arrow", b"nothing"),
        ("a.jsonl", b"{\n"),
        ("a.jsonl", b"[1, 2]\n"),
        ("a.csv", gzip.compress(b"name\nArm\n", mtime=0)[:20]),
    ],
)
def test_a_file_that_is_something_else_is_refused_before_anything_is_sent(
    name: str, content: bytes, shell: Shell
) -> None:
    Path(name).write_bytes(content)

    done = shell("run", name, "Classify {name}.", "-m", "mock:", "-o", "out.csv")

    assert done.code == 2, done.err
    assert len(done.err.splitlines()) <= 2
    assert not Path("out.csv").exists()
