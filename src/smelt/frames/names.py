"""Which names the output columns get, when the frame may have them already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Literal, get_args

from smelt.errors import CollisionError, SmeltConfigError

OnConflict = Literal["raise", "suffix", "replace"]


def settle_names(
    existing: Sequence[str],
    outputs: Sequence[str],
    error_column: str,
    on_conflict: OnConflict = "raise",
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Give every output column and the error column a name that is free.

    An error column that an earlier run left counts as existing. Output columns always go to the end of the frame, in
    the order of the model, also those that replace a column.

    Args:
        existing: The columns of the frame.
        outputs: The names that the output model wants.
        error_column: The name that the column of errors wants.
        on_conflict: What to do where a wanted name exists. `suffix` takes the first free of `name_smelt`,
            `name_smelt2`, …; `replace` drops the existing column.

    Returns:
        The final name for each wanted one, and the existing columns to drop.

    Raises:
        CollisionError: A wanted name exists, or two outputs want the same one.
        SmeltConfigError: *error_column* is not text, or *on_conflict* is none of the three.
    """
    if not isinstance(error_column, str):
        raise SmeltConfigError.for_type("error_column", error_column, "a column name")
    if on_conflict not in get_args(OnConflict):
        raise SmeltConfigError.for_value("on_conflict", on_conflict, "'raise', 'suffix' or 'replace'")
    wanted = [*outputs, error_column]
    _require_distinct(outputs, error_column)
    taken = tuple(name for name in existing if name in wanted)
    if not taken or on_conflict == "replace":
        return dict(zip(wanted, wanted, strict=True)), taken
    if on_conflict == "raise":
        raise _collision(taken)
    return _suffixed(wanted, set(existing)), ()


def _require_distinct(outputs: Sequence[str], error_column: str) -> None:
    if error_column in outputs:
        raise CollisionError(
            f"The output model has a field {error_column!r}, which is the name of the error column too. "
            "Choose another one with error_column='...'."
        )
    if doubled := sorted({name for name in outputs if outputs.count(name) > 1}):
        raise CollisionError(f"Two fields of the output model become the column {doubled[0]!r}. Rename one of them.")


def _collision(taken: Iterable[str]) -> CollisionError:
    listed = ", ".join(map(repr, taken))
    return CollisionError(
        f"The frame already has {listed}. Rename or drop what is there, or pass on_conflict='suffix' to keep both, "
        "or on_conflict='replace' to overwrite."
    )


def _suffixed(wanted: Sequence[str], taken: set[str]) -> dict[str, str]:
    # A name that is wanted as it stands is not free for a suffix.
    used = taken | set(wanted)
    final = {}
    for name in wanted:
        final[name] = name if name not in taken else _free(name, used)
        used.add(final[name])
    return final


def _free(name: str, used: set[str]) -> str:
    candidates = (f"{name}_smelt{number if number > 1 else ''}" for number in count(1))
    return next(candidate for candidate in candidates if candidate not in used)
