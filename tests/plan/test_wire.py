"""The wire: rows travel under tokens that nothing else in the request can be taken for."""

from __future__ import annotations

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from smelt.plan.wire import draw_tokens, user_text


def test_tokens_are_unique_and_two_places_apart() -> None:
    tokens = draw_tokens(1_000, "", random.Random(1))

    assert len(set(tokens)) == 1_000
    near = {token[:at] + "?" + token[at + 1 :] for token in tokens for at in range(5)}
    assert len(near) == 5_000


def test_no_token_occurs_in_a_cell() -> None:
    drawn = draw_tokens(50, "", random.Random(7))

    again = draw_tokens(50, " ".join(drawn), random.Random(7))

    assert not set(drawn) & set(again)


class Stuck(random.Random):
    """Draws one and the same token, as if all others stood in the cells."""

    def randbytes(self, n: int) -> bytes:
        return bytes(n)


def test_cells_that_hold_every_short_token_do_not_keep_a_request_from_leaving() -> None:
    drawn = draw_tokens(1, "", Stuck())

    (longer,) = draw_tokens(1, drawn[0], Stuck())

    assert longer not in drawn[0]


@given(
    st.lists(st.dictionaries(st.text(), st.text() | st.none() | st.integers()), min_size=1, max_size=8),
    st.integers(0, 2**32),
)
def test_any_text_travels_unchanged_and_no_cell_can_be_taken_for_protocol(
    cells: list[dict[str, object]], seed: int
) -> None:
    texts = [json.dumps(cell, ensure_ascii=False) for cell in cells]
    tokens = draw_tokens(len(texts), "".join(texts), random.Random(seed))

    user = user_text([(token, text, None) for token, text in zip(tokens, texts, strict=True)])

    sent, _ = json.JSONDecoder().raw_decode(user)
    assert [row["id"] for row in sent] == tokens
    assert [row["row"] for row in sent] == cells


def test_a_row_asked_again_says_what_was_wrong() -> None:
    user = user_text([("kkkkb", '{"a":1}', 'x: not "one"')])

    assert json.JSONDecoder().raw_decode(user)[0][0]["problem"] == 'x: not "one"'
