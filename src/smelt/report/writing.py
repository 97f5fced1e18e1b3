"""A page into a file: whole or not at all, for its owner's eyes, and never in the place of something else."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from smelt.checks import plain_path
from smelt.report.page import MARK


def target_of(path: object, *, overwrite: bool) -> Path:
    """The path to write to.

    Raises:
        SmeltConfigError: It is no path.
        OSError: It is a directory, is in none, or something other than a report is there and is not to be overwritten.
    """
    target = plain_path(path, 'the path of a file, such as "run.html"')
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a directory. Name a file in it, such as run.html.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no directory {target.parent}. Make it first, or name another file.")
    if not overwrite and os.path.lexists(target) and not _is_report(target):
        raise FileExistsError(
            f"{target} is there already and is no report of smelt. Pass overwrite=True to replace it."
        )
    return target


def write_page(text: str, target: Path) -> None:
    """Write *text* to *target*, readable by its owner only.

    Raises:
        OSError: It cannot be written; what was there is as it was.
    """
    with NamedTemporaryFile(  # Made for its owner only, under a name that nobody can have planted.
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
