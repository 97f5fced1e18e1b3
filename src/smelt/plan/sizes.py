"""How many rows a request carries if smelt chooses: the tokens of the instructions against time, by the run's aim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

Aim = Literal["balanced", "cheap", "fast"]

USUAL_ROWS = 20  # Rows of the requests that costs are compared with.
FEWEST_ROWS = 5  # A request does not carry fewer rows than this only to save time.
# Input tokens that a run may take, as a share of those with USUAL_ROWS rows per request. The documented shares are 1.15
# and 1.5: the rest is for what no plan knows, such as rows of other lengths and the last rows of a block.
_SPARE = 32  # One worker in so many is not planned with: a request too many would wait for a whole other one.
_DEARER: Mapping[Aim, float] = {"balanced": 1.12, "fast": 1.45}


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """What is left to ask, and by how many requests at a time.

    Attributes:
        rows: Rows in the queue.
        workers: Requests that are expected to be in flight at a time.
        busy: Requests in flight.
        most: Rows that a request may carry.
        fewest: Rows that a request should carry for another reason than its instructions.
        is_paced: Whether a rate limit keeps the requests apart, so that fewer of them are done sooner.
    """

    rows: int
    workers: int
    busy: int
    most: int
    fewest: int = 1
    is_paced: bool = False


@dataclass(kw_only=True)
class Ration:
    """Counts the requests of a run, and how many more its aim allows.

    The first requests of a run are small, and retries cost their instructions again. So the size of a request follows
    from what is left of the whole run's ration, not from a fixed number of rows.

    Attributes:
        aim: What the run is to be.
        shared: Tokens that every request repeats; 0 before the first request.
        requests: Requests so far.
        rows: Rows in them.
        tokens: Tokens of these rows.
    """

    aim: Aim = "balanced"
    shared: int = 0
    requests: int = 0
    rows: int = 0
    tokens: float = 0.0

    def take(self, rows: int, tokens: float, *, shared: int) -> None:
        """Count a request for *rows* rows of *tokens* tokens."""
        self.shared = shared
        self.requests += 1
        self.rows += rows
        self.tokens += tokens

    def fewest(self, left: int, aim: Aim) -> int:
        """The fewest rows per request with which *left* more rows stay within the ration of *aim*."""
        if aim == "cheap" or not (self.shared and self.rows):
            return 1
        total, dearer = self.rows + left, _DEARER[aim]
        usual = ceil(total / USUAL_ROWS)
        per_row = self.tokens / self.rows
        allowed = dearer * usual + (dearer - 1) * total * per_row / self.shared
        by_ration = ceil(left / max(1, int(allowed - self.requests)))
        return max(by_ration, fewest_rows(self.shared, per_row, dearer))


def rows_wanted(queued: Queued, ration: Ration) -> int:
    """How many of the queued rows the next request carries.

    If all rows fit into the requests that may leave now, or into these and one more for each worker, they are divided
    evenly, so that no worker is idle while another is at its last, long request. Else requests are full.
    """
    if ration.aim == "cheap" or queued.is_paced:
        return _evenly(queued.rows, queued.most)
    free = max(1, queued.workers - queued.busy - queued.workers // _SPARE)
    are_last = queued.rows <= free * queued.most
    shares = free if are_last else free + queued.workers
    # Small requests one after another lose in latency what the last of them gains, so only a last wave is dearer.
    by_price = ration.fewest(queued.rows, ration.aim if are_last else "balanced")
    fewest = max(FEWEST_ROWS, queued.fewest, by_price)
    return min(queued.most, max(fewest, ceil(queued.rows / shares)))


def fewest_rows(shared: float, row: float, dearer: float) -> int:
    """The fewest rows of a request whose input tokens per row are *dearer* times those with 20 rows, or less.

    Args:
        shared: Tokens that every request repeats.
        row: Tokens of a row, including its id and braces.
        dearer: At least 1.
    """
    most = dearer * (shared / USUAL_ROWS + row)
    return max(1, ceil(shared / max(1e-9, most - row)))


def _evenly(rows: int, most: int) -> int:
    return ceil(rows / ceil(rows / most)) if rows else most
