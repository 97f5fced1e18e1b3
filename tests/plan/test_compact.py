"""Rows of requests with the names of the columns only once."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from smelt.frames.adapt import adapt
from smelt.plan.compact import Table, rows_of, table_of
from smelt.plan.wire import draw_tokens

NAMES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=4, unique=True)
CELLS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def canonical(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


@given(st.data())
def test_every_cell_travels_unchanged(data: st.DataObject) -> None:
    names = data.draw(NAMES)
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, CELLS)), min_size=1, max_size=4))
    shared = {name for name in names if data.draw(st.booleans())}
    rows = [{name: rows[0][name] if name in shared else cell for name, cell in row.items()} for row in rows]
    texts = [canonical(row) for row in rows]
    tokens = draw_tokens(len(rows), "".join(texts), random.Random(1))
    table = Table(names=tuple(names), constants={name: canonical(rows[0][name]) for name in names if name in shared})

    sent = list(rows_of(table.text(list(zip(tokens, texts, strict=True)))))

    assert sent == list(zip(tokens, rows, strict=True))


def table(rows: list[dict[str, Any]], *, is_whole: bool = True) -> Table:
    source = adapt(rows).rows()
    return table_of(source, range(len(source)), is_whole=is_whole)


ROWS = [{"name": "Acme", "country": "FR"}, {"name": "Blum", "country": "FR"}]


def test_what_is_the_same_in_the_whole_frame_is_sent_once_per_request() -> None:
    assert table(ROWS).constants == {"country": '"FR"'}
    assert table([*ROWS, {"name": "Cote", "country": "DE"}]).constants == {}


def test_nothing_is_known_to_be_the_same_if_more_rows_may_come() -> None:
    assert table(ROWS, is_whole=False).constants == {}


def test_a_single_row_has_no_shared_cells() -> None:
    assert table(ROWS[:1]).constants == {}


def test_the_head_is_the_same_in_every_request() -> None:
    names = table(ROWS)

    first, second = (names.text([("bbbbb", canonical(row))]) for row in ROWS)

    assert first.splitlines()[:2] == second.splitlines()[:2] == ['id ["name"]', 'all {"country":"FR"}']


def test_the_size_of_a_row_is_that_of_its_cells() -> None:
    text = canonical(ROWS[0])

    assert table(ROWS).size(len(text)) == len('["Acme"]')
