"""Which rows are the same, whatever they are known by."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.plan import rows
from smelt.plan.rows import Key, Unsendable, fold, remembering

NULLS = '{"a":null}'
LONG = f'{{"a":"{"x" * 200}"}}'
UNSENDABLE = Unsendable("no text")


class Listed:
    """Rows with these texts; counts how often they are read."""

    names = ("a",)

    def __init__(self, texts: Sequence[str | Unsendable]) -> None:
        self._texts = texts
        self.read = 0

    def __len__(self) -> int:
        return len(self._texts)

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        self.read += len(positions)
        return [self._texts[position] for position in positions]


@given(st.lists(st.sampled_from([NULLS, LONG, LONG.upper(), '{"a":1}', '{"a":2}', UNSENDABLE])), st.booleans())
def test_every_row_is_asked_once(texts: list[str | Unsendable], skip_nulls: bool) -> None:
    seen: dict[Key, int] = {}

    folded, streamed = (fold(Listed(texts), skip_nulls=skip_nulls, seen=keys) for keys in (None, seen))

    first = [at if text is UNSENDABLE else texts.index(text) for at, text in enumerate(texts)]
    asked = [at for at in sorted(set(first)) if not (skip_nulls and texts[at] == NULLS)]
    assert folded == streamed
    assert list(folded.distinct) == asked
    assert list(folded.twins or first) == first
    assert folded.skipped == (texts.index(NULLS) if skip_nulls and NULLS in texts else None)
    assert sorted(seen.values()) == [at for at in asked if texts[at] is not UNSENDABLE]


@pytest.mark.parametrize(
    ("texts", "reads"),
    [(['{"a":1}', UNSENDABLE] * 50, 0), ([LONG] * 100, 100), (['{"a":1}'] * 64 + [LONG * 99] * 36, 100)],
    ids=["short", "long", "long-behind-short"],
)
def test_only_short_texts_are_kept_in_memory(texts: list[str | Unsendable], reads: int) -> None:
    source = Listed(texts)
    remembered = remembering(source)
    source.read = 0

    again = remembered.texts(range(len(texts)))

    assert again == texts
    assert (source.read, len(remembered), remembered.names) == (reads, len(texts), ("a",))


@pytest.mark.parametrize(("most", "reads"), [(100 * len(LONG), 0), (100 * len(LONG) - 1, 100)])
def test_a_caller_may_let_long_texts_stay_in_memory(most: int, reads: int) -> None:
    source = Listed([LONG] * 100)
    remembered = remembering(source, most=most)
    source.read = 0

    assert remembered.texts(range(100)) == [LONG] * 100
    assert source.read == reads


@given(st.lists(st.sampled_from([NULLS, LONG, '{"a":1}', '{"a":2}', '{"a":3}', '{"a":4}', UNSENDABLE])), st.booleans())
def test_equal_rows_are_found_among_more_than_one_dict_holds(texts: list[str | Unsendable], skip_nulls: bool) -> None:
    wanted = fold(Listed(texts), skip_nulls=skip_nulls)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_BLOCK", 3)
        patch.setattr(rows, "_MOST_LOOSE", 2)
        folded = fold(Listed(texts), skip_nulls=skip_nulls)

    assert folded == wanted
