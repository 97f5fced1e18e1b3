"""The scores of the answers of a run, from replies and from the ledger, by the positions of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from smelt.engine.inflight import Delivery
from smelt.ledger.base import RunLedger
from smelt.plan.scores import Scores
from smelt.plan.validate import Accepted
from smelt.providers.base import Reply


@dataclass(kw_only=True, eq=False)
class Scoring:
    """Keeps the scores of a run that asks for them.

    Attributes:
        scores: By position; without rows that have none.
    """

    scores: dict[int, Scores] = field(default_factory=dict)
    _has_any: bool | None = None  # Whether a reply had any; None before the first one with an answer.

    def recall(self, ledger: RunLedger, positions: Sequence[int], texts: Sequence[str]) -> None:
        """Take the scores of answers that are in the *ledger*, by the canonical *texts* of their rows."""
        found = zip(positions, ledger.scores(texts), strict=True)
        self.scores.update({at: one for at, one in found if one is not None})

    def take(
        self, delivery: Delivery, reply: Reply, accepted: Sequence[Accepted], note: Callable[[str], None], name: str
    ) -> dict[int, Scores]:
        """Take the scores of the *accepted* rows of a *reply*, and return them.

        Args:
            delivery: The request.
            reply: The reply.
            accepted: The rows.
            note: Receives a notice, once, if the server gives no scores.
            name: The server's name.
        """
        if self._has_any is None and accepted:
            self._has_any = bool(reply.scores)
            if not self._has_any:
                note(
                    f"{name} gives no probabilities of the tokens of its replies, or none that fit them, so these "
                    "answers have no scores. The run goes on without."
                )
        rows = zip(delivery.flight.chunk.rows, delivery.tokens, strict=True)
        tokens = {row.position: token for row, token in rows} if reply.scores else {}
        found = {
            one.row.position: scores
            for one in accepted
            if (scores := reply.scores.get(tokens.get(one.row.position, "")))
        }
        self.scores.update(found)
        return found
