"""Final names of the output columns, by the `on_conflict` option if the frame already has a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Literal, get_args

from smelt.errors import CollisionError, SmeltConfigError

OnConflict = Literal["raise", "suffix", "replace"]


def resolve_names(
    existing: Sequence[str],
    outputs: Sequence[str],
    error_column: str,
    on_conflict: OnConflict = "raise",
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Choose the final name of every output column and of the error column.

    An error column from an earlier run counts as existing. Output columns are always appended at the end of the frame,
    in model order, even if they replace a column.

    Args:
        existing: The columns of the frame.
        outputs: The names of the output model's columns.
        error_column: The name of the error column.
        on_conflict: What to do if a name exists. `suffix` takes the first free name of `name_smelt`, `name_smelt2`, …;
            `replace` drops the existing column; `raise` raises.

    Returns:
        The final name for each wanted name, and the existing columns to drop.

    Raises:
        CollisionError: A name exists and *on_conflict* is `raise`, or two outputs have the same name.
        SmeltConfigError: *error_column* is not a string, or *on_conflict* is not one of the three.
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
            f"The output model has a field {error_column!r}, which is also the name of the error column. "
            "Choose another name with error_column='...'."
        )
    if doubled := sorted({name for name in outputs if outputs.count(name) > 1}):
        raise CollisionError(f"Two fields of the output model become the column {doubled[0]!r}. Rename one of them.")


def _collision(taken: Iterable[str]) -> CollisionError:
    listed = ", ".join(map(repr, taken))
    return CollisionError(
        f"The frame already has {listed}. Rename or drop it, or pass on_conflict='suffix' to keep both, "
        "or on_conflict='replace' to overwrite."
    )


def _suffixed(wanted: Sequence[str], taken: set[str]) -> dict[str, str]:
    # A suffixed name must not equal another wanted name either.
    used = taken | set(wanted)
    final = {}
    for name in wanted:
        final[name] = name if name not in taken else _free(name, used)
        used.add(final[name])
    return final


def _free(name: str, used: set[str]) -> str:
    candidates = (f"{name}_smelt{number if number > 1 else ''}" for number in count(1))
    return next(candidate for candidate in candidates if candidate not in used)
