"""The parts of a step: files of rows that roll by size. A part is written without a name, synced and renamed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from smelt.errors import SmeltConfigError
from smelt.frames.adapt import adapt
from smelt.frames.partfiles import write_parquet
from smelt.pipelines.rows import Table
from smelt.plan.cells import cell_text

Suffix = Literal["jsonl", "parquet"]
ROW, PARENT, ERROR = "smelt_row", "smelt_parent", "smelt_error"
"""The columns beside those of the step: the number of the row there, that of the input's row, and why it failed."""

_MOST_ROWS = 65_536  # Of a part.
_MOST_BYTES = 64 * 2**20  # Of a part; of Parquet as they would be in JSON Lines, which is more.
_PROBED = 64  # Rows of a block whose bytes are looked at.
_BLOCK = 1_000  # Rows that are read at once.


class Parts:
    """The parts of one step.

    Attributes:
        rows: How many rows were written.
        left_out: Columns that no file can hold.
    """

    def __init__(self, folder: Path, suffix: Suffix) -> None:
        """Write into *folder*, which exists. The parts of an earlier run are replaced one by one."""
        self.rows = 0
        self.left_out: list[str] = []
        self._folder = folder
        self._suffix = suffix
        self._met = 0  # Rows that came, also those that are not written.
        self._done = 0
        self._file: BinaryIO | None = None
        self._size = self._in_part = 0
        self._waiting: list[Any] = []

    @property
    def count(self) -> int:
        """How many parts there are."""
        return self._done

    def add(
        self,
        table: Table,
        columns: Sequence[str],
        is_kept: Callable[[int], bool],
        why: Callable[[int], str | None] | None,
    ) -> None:
        """Write rows.

        Args:
            table: The rows.
            columns: The columns to write.
            is_kept: Whether the row at a position is written.
            why: The reason why the row at a position failed, or None; None if the step cannot fail.
        """
        taken = {ROW, PARENT} if why is None else {ROW, PARENT, ERROR}
        columns = [name for name in columns if name not in taken and self._is_writable(table, name)]
        most = min(_BLOCK, _MOST_ROWS)
        for begin in range(0, len(table), most):
            block = range(begin, min(begin + most, len(table)))
            kept = [at for at in block if is_kept(at)]
            if kept and self._suffix == "jsonl":
                self._add_lines(_lines(table, columns, kept, self._met, why))
            elif kept:
                self._add_frame(table, columns, kept, why)
        self._met += len(table)

    def close(self) -> None:
        """Write what is left, and remove what an earlier run wrote beyond it."""
        self._roll()
        for path in self._folder.glob(f"[0-9]*.{self._suffix}"):
            if path.stem.isdigit() and int(path.stem) >= self._done:
                path.unlink()

    def give_up(self) -> None:
        """Remove the file that is not complete."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._nameless.unlink(missing_ok=True)

    @property
    def _nameless(self) -> Path:
        return self._folder / f".part.{self._suffix}"

    def _is_writable(self, table: Table, name: str) -> bool:
        if name in self.left_out:
            return False
        try:
            table.frame.rows([name])
        except SmeltConfigError:  # Bytes, for example.
            self.left_out.append(name)
            return False
        return True

    def _add_lines(self, lines: Iterator[bytes]) -> None:
        for line in lines:
            if self._file is None:
                self._file = created(self._nameless)
            self._file.write(line)
            self._size += len(line)
            self._in_part += 1
            self.rows += 1
            if self._in_part >= _MOST_ROWS or self._size >= _MOST_BYTES:
                self._roll()

    def _add_frame(
        self, table: Table, columns: Sequence[str], kept: Sequence[int], why: Callable[[int], str | None] | None
    ) -> None:
        shaping, native = table.shaping, table.view({name: name for name in columns}, kept)
        native = shaping.with_column(native, ROW, shaping.made(native, [self._met + at for at in kept]))
        native = shaping.with_column(native, PARENT, shaping.made(native, [table.roots[at] for at in kept]))
        if why is not None:
            native = shaping.with_column(native, ERROR, shaping.made(native, [why(at) for at in kept]))
        if self._in_part and self._in_part + len(kept) > _MOST_ROWS:
            self._roll()
        self._waiting.append(native)
        self._in_part += len(kept)
        self._size += _bytes_of(table, columns, kept)
        self.rows += len(kept)
        if self._size >= _MOST_BYTES:
            self._roll()

    def _roll(self) -> None:
        """Commit the part that is being written."""
        if self._waiting:
            first, *more = self._waiting
            shaping = Table.of(first, adapt(first).names).shaping
            for one in more:
                first = shaping.stacked(first, one)
            self._file = created(self._nameless)
            write_parquet(first, self._file)
        if self._file is not None:
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())
            self._nameless.rename(self._folder / f"{self._done:06}.{self._suffix}")
            self._done += 1
        self._file, self._size, self._in_part, self._waiting = None, 0, 0, []


def _bytes_of(table: Table, columns: Sequence[str], kept: Sequence[int]) -> int:
    """About how many bytes of text the rows at *kept* are: as some of them tell."""
    some = kept[:: max(1, len(kept) // _PROBED)]
    texts = table.frame.rows(columns).texts(some) if columns else []
    return sum(len(text) for text in texts if isinstance(text, str)) * len(kept) // max(1, len(some))


def created(path: Path) -> BinaryIO:
    """A new, empty file that only its owner can read."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _lines(
    table: Table, columns: Sequence[str], kept: Sequence[int], first: int, why: Callable[[int], str | None] | None
) -> Iterator[bytes]:
    texts = table.frame.rows(columns).texts(kept) if columns else ["{}"] * len(kept)
    for at, text in zip(kept, texts, strict=True):
        own = f'{{"{ROW}":{first + at},"{PARENT}":{table.roots[at]}'
        if why is not None:
            own += f',"{ERROR}":{cell_text(why(at))}'
        rest = text[1:] if isinstance(text, str) and text != "{}" else "}"
        yield f"{own}{',' if len(rest) > 1 else ''}{rest}\n".encode()
