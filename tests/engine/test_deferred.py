"""Rows that another run has in flight: how they come back into line."""

from __future__ import annotations

from smelt.engine.deferred import Deferred
from smelt.ledger.base import NoLedger
from smelt.loop.jumping import run_jumping
from smelt.plan.chunks import Line, Pending, Size


def test_rows_that_were_asked_in_vain_come_back_alone_and_the_others_together() -> None:
    line = Line(order=(), texts=lambda positions: [], reject=lambda position, reason: None)
    held = Deferred(ledger=NoLedger(), line=line)
    held.add([Pending(0, "{}"), Pending(1, "{}", attempts=1), Pending(2, "{}")])

    are_back = run_jumping(held.come_back()).result

    chunks = [line.next(Size(rows=10)) for _ in range(3)]
    assert are_back
    assert [chunk and [row.position for row in chunk.rows] for chunk in chunks] == [[1], [0, 2], None]
