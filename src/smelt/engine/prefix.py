"""Which requests ask the provider to keep their instructions, which all requests of a run share, in its prompt cache.

To write a prefix costs more than to send it, to read it costs a tenth. So a request is marked only if others follow it,
or if the prefix is kept already. The first one goes alone: requests that leave together would each write.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from smelt.providers.base import CallFailed, Life, PrefixTerms, Reply

_SPARE = 0.75  # Share of the shortest prefix that an estimate must reach: too short a prefix is skipped for nothing.
_MOST_FAILURES = 2  # Requests that fail before the others no longer wait for the first.


@dataclass(kw_only=True, eq=False)
class Prefix:
    """What is known of one question's instructions at a provider. Runs of this process that ask the same share it.

    Attributes:
        clock: Seconds, also while a stream waits for its next frame.
        pauses: How often the provider had forgotten the prefix when the next request came.
    """

    clock: Callable[[], float] = field(default_factory=lambda: now)
    pauses: int = 0
    _until: float = -inf  # Then the provider forgets it, unless it is used.
    _sent: float = -inf  # The last request, marked or not.
    _failures: int = 0
    _is_skipped: bool = False  # A marked request wrote and read nothing.

    def life(self, terms: PrefixTerms, tokens: int, rest: float) -> Life:
        """How long the provider is asked to keep the prefix.

        Args:
            terms: When the provider keeps one.
            tokens: The estimated tokens of the prefix.
            rest: Requests that are still to be sent, the next one included.
        """
        if tokens < _SPARE * terms.least or not (rest >= terms.requests or self._is_near(terms)):
            return "no"
        # A prefix that is not kept when it is wanted again is written again each time.
        is_pausing = self.pauses > 0 or self._is_forgotten
        return "hour" if is_pausing and terms.has_hour and tokens >= terms.least else "minutes"

    def is_due(self, terms: PrefixTerms, tokens: int, rest: float) -> bool:
        """Whether the next request writes the prefix, so that the others wait for its reply."""
        is_open = self._failures < _MOST_FAILURES and not self._is_skipped and self.clock() >= self._until
        return is_open and self.life(terms, tokens, rest) != "no"

    def sent(self) -> None:
        """A request with the prefix is sent."""
        self.pauses += self._is_forgotten and self._sent < self._until
        self._sent = self.clock()

    def learn(self, terms: PrefixTerms, life: Life, outcome: Reply | CallFailed) -> None:
        """Learn from the outcome of a request that asked for *life*."""
        if life == "no":
            return
        if isinstance(outcome, CallFailed):
            self._failures += 1
        elif outcome.usage.written_input_tokens or outcome.usage.cached_input_tokens:
            self._failures, self._is_skipped = 0, False
            self._until = self.clock() + (3_600.0 if life == "hour" else terms.seconds)
        else:
            self._is_skipped = True

    @property
    def _is_forgotten(self) -> bool:
        return -inf < self._until <= self.clock()

    def _is_near(self, terms: PrefixTerms) -> bool:
        """Whether the prefix is kept, or the last request with it was so recent that it would be."""
        now = self.clock()
        return terms.outlasts_run and (now < self._until or now < self._sent + terms.seconds)


def now() -> float:
    """Seconds that also pass while a stream waits for its next frame, when the loop's clock stands still."""
    return time.monotonic()
