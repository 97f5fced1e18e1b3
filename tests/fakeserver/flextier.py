"""The flex tier of a scenario: it declines requests when it lacks capacity, and serves some at the standard tier."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True)
class FlexTier:
    """What becomes of requests for the flex tier; all others pass.

    Attributes:
        rng: Draws what happens.
        declines: The probability that a request is refused for lack of capacity.
        by: The status of such a refusal.
        for_requests: So many of the first are refused, whatever is drawn.
        serves_standard: The probability that a request is served at the standard tier.
        asked: Requests that asked for it.
        declined: Those of them that were refused.
    """

    rng: random.Random
    declines: float = 0.0
    by: int = 429
    for_requests: int = 0
    serves_standard: float = 0.0
    asked: int = 0
    declined: int = 0

    def refuses(self, body: Any) -> bool:
        """Whether the request is refused."""
        if not _is_flex(body):
            return False
        self.asked += 1
        is_refused = self.asked <= self.for_requests or self.rng.random() < self.declines
        self.declined += is_refused
        return is_refused

    @property
    def kind(self) -> str:
        """The refusal, by its name in the tables of `errors`."""
        return "overloaded" if self.by == 503 else "no_capacity"

    def served(self, body: Any) -> str | None:
        """The tier that serves the request, if it is another one than it asks for."""
        return "standard" if _is_flex(body) and self.rng.random() < self.serves_standard else None


def _is_flex(body: Any) -> bool:
    return "flex" in (body.get("service_tier"), body.get("serviceTier"))
