"""Names of output columns when the frame may have them already."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.errors import CollisionError, SmeltConfigError
from smelt.frames.names import resolve_names


@pytest.mark.parametrize("on_conflict", ["raise", "suffix", "replace"])
def test_free_names_are_kept(on_conflict: Any) -> None:
    assert resolve_names(["a"], ["b", "c"], "err", on_conflict) == ({"b": "b", "c": "c", "err": "err"}, ())


@pytest.mark.parametrize("existing", [["x", "label"], ["x", "smelt_error"]], ids=["output", "errors of an earlier run"])
def test_a_taken_name_is_refused_with_both_ways_out(existing: list[str]) -> None:
    with pytest.raises(CollisionError, match=rf"already has '{existing[1]}'.*'suffix'.*'replace'"):
        resolve_names(existing, ["label"], "smelt_error", "raise")


def test_suffixes_take_the_first_free_name() -> None:
    names, dropped = resolve_names(["a", "a_smelt", "err"], ["a", "b"], "err", "suffix")

    assert names == {"a": "a_smelt2", "b": "b", "err": "err_smelt"}
    assert dropped == ()


def test_a_suffixed_name_stays_clear_of_the_other_outputs() -> None:
    names, _ = resolve_names(["a"], ["a", "a_smelt"], "a_smelt2", "suffix")

    assert names == {"a": "a_smelt3", "a_smelt": "a_smelt", "a_smelt2": "a_smelt2"}


def test_replacing_drops_what_is_there_and_nothing_else() -> None:
    names, dropped = resolve_names(["err", "x", "a"], ["a", "b"], "err", "replace")

    assert names == {"a": "a", "b": "b", "err": "err"}
    assert dropped == ("err", "a")


@pytest.mark.parametrize("on_conflict", ["raise", "suffix", "replace"])
@pytest.mark.parametrize(
    ("outputs", "message"),
    [(["a", "err"], "field 'err'.*error_column="), (["a.b", "a.b"], "Two fields.*'a.b'")],
    ids=["error column", "each other"],
)
def test_outputs_that_clash_among_themselves_are_always_refused(
    outputs: list[str], message: str, on_conflict: Any
) -> None:
    with pytest.raises(CollisionError, match=message):
        resolve_names([], outputs, "err", on_conflict)


@pytest.mark.parametrize("error_column", [None, 5, True], ids=repr)
def test_an_error_column_that_is_not_text_is_refused(error_column: Any) -> None:
    with pytest.raises(SmeltConfigError, match="error_column must be a column name"):
        resolve_names([], ["a"], error_column)


@pytest.mark.parametrize("on_conflict", ["overwrite", None, ["raise"]], ids=repr)
def test_an_unknown_way_is_refused(on_conflict: Any) -> None:
    with pytest.raises(SmeltConfigError, match="on_conflict must be 'raise', 'suffix' or 'replace'"):
        resolve_names([], ["a"], "err", on_conflict)
