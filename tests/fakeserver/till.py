"""Bills requests as the providers publish it: exact prefix caches, reads, writes, tiers, batches, and prices by length.

The prices are a table of this file, so that a bill depends on nothing that the library under test uses: dollars per
million tokens, as published in November 2026 at developers.openai.com/api/docs/pricing, platform.claude.com/docs/en/
about-claude/pricing and ai.google.dev/gemini-api/docs/pricing. The shortest prefixes that are kept, and what is kept
without a mark, are in the same hosts' pages on prompt caching.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakeserver.prefixes import Now, Shelf, marks_of, scope_of

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What a model costs.

    Attributes:
        given: Input that no cache is involved in.
        read: Input read from a cache.
        made: Output.
        written: Input written to a cache.
        hour: Input written to a cache for an hour.
        keeps: What is kept. `marked`: prefixes up to a mark, at a price. `all`: the whole prompt too, at a price,
            unless the request asks for marked prefixes only. `free`: every prompt, for nothing.
        least: Tokens of the shortest prefix that is kept or read.
        stored: A million tokens of kept content for an hour.
        grain: Reads without a mark are multiples of so many tokens.
        batch: The factor of batches.
        batch_read: The same for input read from a cache.
        flex: The factor of the flex tier, if there is one.
        above: Input tokens above which all tokens of the request cost more.
        more_given: The factor of input there.
        more_made: The factor of output there.
    """

    given: float
    read: float
    made: float
    written: float = 0.0
    hour: float = 0.0
    keeps: Literal["marked", "all", "free"] = "free"
    least: int = 1_024
    stored: float = 0.0
    grain: int = 1
    batch: float = 0.5
    batch_read: float | None = None
    flex: float | None = None
    above: float = float("inf")
    more_given: float = 1.0
    more_made: float = 1.0


def _gpt(given: float, read: float, made: float, **more: Any) -> Rate:
    return Rate(given=given, read=read, made=made, **{"grain": 128, "flex": 0.5, **more})


def _gpt_6(given: float, read: float, written: float, made: float) -> Rate:
    long: dict[str, Any] = {"above": 272_000, "more_given": 2.0, "more_made": 1.5}
    return Rate(given=given, read=read, written=written, made=made, keeps="all", flex=0.5, **long)


def _claude(given: float, read: float, written: float, hour: float, made: float, **more: Any) -> Rate:
    return Rate(given=given, read=read, written=written, hour=hour, made=made, keeps="marked", **more)


RATES = {
    "gpt-4.1-mini": _gpt(0.40, 0.10, 1.60, flex=None, batch_read=1.0),
    "gpt-5-mini": _gpt(0.25, 0.025, 2.00),
    "gpt-5.4-mini": _gpt(0.75, 0.075, 4.50),
    "gpt-6-luna": _gpt_6(0.10, 0.01, 0.125, 0.50),
    "gpt-6.1-sol": _gpt_6(2.00, 0.10, 2.50, 10.00),
    "claude-haiku-4-5": _claude(1.00, 0.10, 1.25, 2.00, 5.00, least=4_096),
    "claude-haiku-5-5": _claude(0.10, 0.01, 0.125, 0.20, 0.50, least=512, above=100_000, more_given=5.0, more_made=5.0),
    "claude-sonnet-5-5": _claude(2.00, 0.10, 2.50, 4.00, 10.00, least=512),
    "claude-opus-4-7": _claude(5.00, 0.50, 6.25, 10.00, 25.00, least=2_048),
    "gemini-2.5-flash": Rate(given=0.30, read=0.03, made=2.50, flex=0.5, batch_read=1.0, stored=1.0),
    "gemini-3.5-flash-lite": Rate(given=0.30, read=0.03, made=2.50, flex=0.5, batch_read=2 / 3, stored=1.0),
    "gemini-3.8-flash": Rate(given=0.75, read=0.075, made=3.75, flex=0.5, stored=1.0),  # Twice as much from 2027 on.
}


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What one request is billed for. The counts of input are parts of `given`."""

    given: int
    read: int
    written: int
    hour: int
    made: int
    tier: str
    dollars: float

    @property
    def usage(self) -> dict[str, int]:
        """The counts, by the names that the protocols write."""
        return {"input": self.given, "cached": self.read, "written": self.written, "written_hour": self.hour} | {
            "output": self.made
        }


@dataclass(kw_only=True)
class Till:
    """Bills the requests of one account, which share its caches.

    Attributes:
        tokens_per_byte: A quarter, or more for long prompts of few bytes.
        serves: The tier that serves every request, whatever it asks for; None: the one it asks for.
        reads_unmarked: Whether models that keep every prompt for nothing find it again. Google promises nothing.
    """

    tokens_per_byte: float = 0.25
    serves: str | None = None
    reads_unmarked: bool = True
    _kept: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # In order.
    _shelf: Shelf = field(default_factory=Shelf)

    def ring(
        self,
        model: str,
        body: Json,
        *,
        head: str,
        tail: str,
        made: int,
        now: Now,
        after: float = 0.0,
        stored: int | None = None,
        tier: str | None = None,
    ) -> Receipt:
        """Bill one request.

        Args:
            model: The model's name.
            body: The request, as it was sent.
            head: What all requests of a job share: the schema and the instructions.
            tail: The rows.
            made: Output tokens.
            now: The time.
            after: Seconds until the response begins.
            stored: Tokens of *head* that are kept content, which the request names; None if it names none.
            tier: The tier that serves it: `batch` for a line of a job. None: see `serves`.
        """
        rate, tier = RATES[model], tier or self.serves or _asked(body)
        if tier == "flex" and rate.flex is None:
            tier = "standard"
        given, written, hour = self.tokens(head + tail), 0, 0
        if stored is not None:
            read = stored
        elif rate.keeps == "free":
            read = self._read_unmarked(rate, self._kept.setdefault((model, tier), []), head + tail)
        else:
            # The lines of a job run at the same time: none reads what another one writes.
            after = 3_600.0 if tier == "batch" else after
            marks = marks_of(body, head, head + tail, is_all=rate.keeps == "all")
            scope = (model, tier, *scope_of(body))
            read, written, hour = self._marked(rate, scope, marks, now, after)
        counts = {"given": given, "read": read, "written": written, "hour": hour, "made": made}
        return Receipt(**counts, tier=tier, dollars=dollars(rate, **counts, tier=tier))

    def _read_unmarked(self, rate: Rate, kept: list[str], prompt: str) -> int:
        if self.tokens(prompt) < rate.least or not self.reads_unmarked:
            return 0
        at = bisect_left(kept, prompt)  # What it shares most with stands beside it.
        common = max((_common(one, prompt) for one in kept[max(0, at - 1) : at + 1]), default=0)
        kept.insert(at, prompt)
        read = self.tokens(prompt[:common]) // rate.grain * rate.grain
        return read if read >= rate.least else 0

    def _marked(
        self, rate: Rate, scope: tuple[Any, ...], marks: Mapping[str, float], now: Now, after: float
    ) -> tuple[int, int, int]:
        """Tokens read, tokens written, and those of them for an hour or longer."""
        long = {mark: life for mark, life in marks.items() if self.tokens(mark) >= rate.least}
        found = self._shelf.found(scope, list(long), now)
        read = self.tokens(found)
        written = hour = 0
        for mark in sorted((one for one in long if len(one) > len(found)), key=len):
            more = self.tokens(mark) - read - written
            written, hour = written + more, hour + more * (long[mark] >= 3_600)
            self._shelf.put(scope, mark, life=long[mark], now=now, after=after)
        return read, written, hour

    def tokens(self, text: str) -> int:
        """What *text* counts."""
        return int(len(text.encode(errors="surrogatepass")) * self.tokens_per_byte)


def dollars(rate: Rate, *, given: int, read: int, written: int, hour: int, made: int, tier: str) -> float:
    """What a request with these counts costs."""
    factor = {"batch": rate.batch, "flex": rate.flex or 1.0}.get(tier, 1.0)
    of_read = rate.batch_read if tier == "batch" and rate.batch_read is not None else factor
    more_given, more_made = (rate.more_given, rate.more_made) if given > rate.above else (1.0, 1.0)
    of_input = [
        (given - read - written) * rate.given * factor,
        read * rate.read * of_read,
        (written - hour) * rate.written * factor,
        hour * rate.hour * factor,
    ]
    return (sum(of_input) * more_given + made * rate.made * factor * more_made) / 1_000_000


def _asked(body: Json) -> str:
    """The tier that a request asks for; all but the cheap ones are the standard one here."""
    asked = body.get("service_tier") or body.get("serviceTier")
    return "flex" if asked == "flex" else "standard"


def _common(one: str, other: str) -> int:
    """How many characters two texts share from the start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, yours) in pairs if mine != yours), min(len(one), len(other)))
