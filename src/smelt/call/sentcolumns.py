"""The columns that a call sends: which ones, and the warning if the prompt names none."""

from __future__ import annotations

from collections.abc import Sequence

from smelt.call.options import Settings
from smelt.errors import ColumnError, warn
from smelt.messages import nearest, printable, shown_value
from smelt.plan.prompt import sent_columns

_told: set[str] = set()  # Prompts that name no column, and were warned about in this process.


def chosen(named: Sequence[str], known: Sequence[str], settings: Settings) -> Sequence[str] | None:
    """The columns to send: those of the `columns` option, else those that the prompt names, else all (None).

    A prompt that names a column outside the `columns` option is refused: the model could not see that column.
    """
    if settings.columns is None:
        return named or None
    there, sent = frozenset(known), frozenset(settings.columns)
    for name in settings.columns:
        if name not in there:
            raise ColumnError(
                f"columns has {shown_value(name)}, which is not a column of the data.{nearest(name, known)}"
            )
    if unseen := [name for name in named if name not in sent]:
        raise ColumnError(f"The prompt names {shown_value(unseen[0])}, but columns leaves it out. Add it to columns.")
    return settings.columns


def warn_of_all_columns(prompt: str, names: Sequence[str]) -> None:
    """Warn once per prompt that it names no column: often it is an f-string by mistake, and each column costs."""
    if prompt in _told:
        return
    _told.add(prompt)
    text = (
        f"The prompt names no column, so every request sends {printable(sent_columns(names))}. Write {{column}} for "
        "each column that the model needs, or pass columns=[...]. Do not use an f-string: it removes {column} from "
        "the prompt."
    )
    warn(text)
