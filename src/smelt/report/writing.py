"""Writes a report file: atomically, readable by its owner only, and never over a file that is not a report."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from smelt.checks import plain_path
from smelt.report.page import MARK


def target_of(path: object, *, overwrite: bool) -> Path:
    """The checked path to write to.

    Raises:
        SmeltConfigError: *path* is no path.
        OSError: *path* is a directory, its parent does not exist, or another file than a report exists there and
            *overwrite* is False.
    """
    target = plain_path(path, 'the path of a file, such as "run.html"')
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a directory. Name a file in it, such as run.html.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no directory {target.parent}. Make it first, or name another file.")
    if not overwrite and os.path.lexists(target) and not _is_report(target):
        raise FileExistsError(
            f"{target} already exists and is not a report of smelt. Pass overwrite=True to replace it."
        )
    return target


def write_page(text: str, target: Path) -> None:
    """Write *text* to *target* atomically, readable by its owner only.

    Raises:
        OSError: Writing failed; an existing file is unchanged.
    """
    with NamedTemporaryFile(  # Created with mode 0600, under a random name.
        "w", encoding="utf-8", newline="\n", dir=target.parent, prefix=f".{target.name}.", suffix=".part", delete=False
    ) as draft:
        try:
            draft.write(text)
            draft.close()
            Path(draft.name).replace(target)
        except BaseException:
            Path(draft.name).unlink(missing_ok=True)
            raise


def _is_report(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK.encode()
