"""Which rows the strong model labels, and which answers of the cheap one are kept: decided by rows, scores and labels.

Equal rows are separate rows here, because the promise counts the caller's rows. They are neighbours in the ranking, so
most of them are kept or given up together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import comb, fsum, inf

from smelt.trust.verdict import Standing
from smelt.trust.walk import accepted

PAIRS = 40  # Rows that the strong model is asked twice, to see how often it agrees with itself.
_RISK = 0.05  # Of calling a model noisy that is not.
_DIGEST = 16  # Bytes.
_FAILED = (-inf,)

Score = tuple[float, ...]
"""How sure an answer is. A greater one is surer."""

_Scores = Sequence[Score] | Mapping[int, Score]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What chance decides, before any answer is known.

    Attributes:
        order: The rows in the order in which they are drawn.
        ties: By row: its place among rows with the same score. The same for equal rows.
    """

    order: Sequence[int]
    ties: Sequence[bytes]


class Population:
    """The rows about which a promise is made.

    Attributes:
        positions: The positions of the distinct ones.
        firsts: For each row the position of the first row that is equal to it.
    """

    def __init__(self, texts: Mapping[int, str], firsts: Sequence[int]) -> None:
        """Take the rows whose text is known.

        Args:
            texts: By the position of each distinct row.
            firsts: For each row of the frame the position of the first row that is equal to it.
        """
        self._texts = texts
        self.positions = list(texts)
        self.firsts = [first for first in firsts if first in texts]

    def __len__(self) -> int:
        return len(self.firsts)

    def __contains__(self, position: object) -> bool:
        return position in self._texts

    def draw(self, *, seed: int, turn: int) -> Draw:
        """As `draw`, about these rows."""
        return draw([self._texts[first] for first in self.firsts], seed=seed, turn=turn)

    def distinct(self, rows: Sequence[int]) -> list[int]:
        """The positions of *rows*, each once."""
        return list(dict.fromkeys(self.firsts[row] for row in rows))


def draw(texts: Sequence[str], *, seed: int, turn: int) -> Draw:
    """Draw rows by their *texts*: a hash of text, *seed* and *turn* decides, so the next run draws the same ones.

    Args:
        texts: The text of each row.
        seed: Another seed draws other rows.
        turn: The number of the draw. The draws of one call are independent of each other.
    """
    key = f"{seed} {turn}".encode()
    met: dict[bytes, int] = {}
    ties, lots = [], []
    for text in texts:
        tie = blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=_DIGEST).digest()
        met[tie] = number = met.get(tie, 0) + 1
        # A hash of its own: if the draw followed the order of ties, it would take the first rows of each tie.
        lots.append(blake2b(tie + number.to_bytes(8, "big"), key=b"lot " + key, digest_size=_DIGEST).digest())
        ties.append(tie)
    return Draw(order=sorted(range(len(lots)), key=lots.__getitem__), ties=ties)


def score(standings: Sequence[Standing] | None, place: int) -> Score:
    """How sure an answer is of the field at *place*: by its votes, by those for the whole row, then by its score.

    *standings*: how the votes for each field stand; None if there is no answer.
    """
    if standings is None:
        return _FAILED
    own = standings[place]
    votes = own.margin, own.agreement or 0.0, fsum(one.agreement or 0.0 for one in standings)
    if own.score is None:
        return (*votes, -inf)
    return (*votes, own.score)


def kept(
    scores: Sequence[Score], ties: Sequence[bytes], labels: Mapping[int, bool], *, target: float, confidence: float
) -> Sequence[int]:
    """The rows whose answers may be kept, the surest first.

    Args:
        scores: By row.
        ties: By row, as in `Draw`.
        labels: By drawn row: whether the strong model answers otherwise, or failed.
        target: As in `walk.accepted`.
        confidence: As in `walk.accepted`.
    """
    ranked = surest_first(range(len(scores)), scores, ties)
    ranks = {row: rank for rank, row in enumerate(ranked) if row in labels}
    found = {ranks[row]: is_wrong for row, is_wrong in labels.items()}
    return ranked[: accepted(len(scores), found, target, confidence)]


def surest_first(rows: Iterable[int], scores: _Scores, ties: Sequence[bytes]) -> list[int]:
    """*rows* by their scores, the surest first; those with the same score by their *ties*, as in `Draw`."""
    return sorted(rows, key=lambda row: (*(-one for one in scores[row]), ties[row], row))


def is_out_of_reach(same: int, asked: int, target: float) -> bool:
    """Whether a model that answered *same* of *asked* rows alike a second time surely does so in less than *target*."""
    chance = fsum(comb(asked, count) * target**count * (1 - target) ** (asked - count) for count in range(same + 1))
    return asked > 0 and chance < _RISK
