"""What a scenario can be told, how its faults are written, and when they strike."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakeserver.answers import Rule
from tests.fakeserver.errors import KINDS
from tests.fakeserver.faults import NAMES, Fault
from tests.fakeserver.model import BYTES_PER_TOKEN, Row
from tests.fakeserver.rowfaults import ROWS


@dataclass(frozen=True, kw_only=True)
class Config:
    """What `FakeServer.scenario` takes.

    A fault is written `{"fault": NAME, **options}`, or as its name alone; the names are in `faults.py`. A fault of rows
    strikes the first row unless it says `"rows": "all"` or `"rows": [0, 2]`.

    Attributes:
        answers: A rule per field (see `answers.py`) that the schema has; other fields hold any value that it allows.
        rates: Probability of a fault by name: per row for faults of rows, per request for the others.
        oddities: Probability, per request, of each oddity of the hostile model (see `hostile.py`).
        seed: Seed of everything that is drawn. Draws follow the order in which requests arrive.
        script: Faults by request number, from 0: one fault or a list.
        always: Faults of every request: one fault or a list.
        until_ok: `always` ends after this many requests.
        poison: `{"column": …, "values": […], "status": KIND}`, or `"fault": …` in place of the status: strikes every
            request that has one of those rows; a fault of rows strikes those rows only. One, or a list.
        latency: Seconds that every reply takes, give or take `jitter`; a 429, for which nobody works, comes within
            0.04.
        honour_max_tokens: Whether replies end at the request's token limit.
        bytes_per_token: Bytes of one output token: 4, or fewer for a tokenizer that knows the text badly.
        is_random: Whether the model has random weights: it follows the schema, but copies no token of a row. An array
            leaves the ids to it; a schema with a property per row does not.
        context_tokens: Longer requests are refused as too long.
        max_body_bytes: Larger requests are refused as too large.
        thoughts: Tokens of thought before every answer, `{"tokens": [LEAST, MOST], "told": true}`: billed as output,
            counted against the request's token limit, and reported unless they are not to be told.
        most_output: Requests with a higher token limit are refused.
        bills_schema: Whether the schema is billed as input, as providers do.
        bills: Whether requests are billed by the published prices, with caches, see `Till`; its options. Replies then
            report what it says, and `Stats.dollars` is the sum.
        contents: What it allows of contents that Gemini keeps, and what goes wrong with them: `contents.Terms`.
        flex: What becomes of requests for the flex tier: `declines`, the probability that one is refused for lack of
            capacity; `by`, the status of such a refusal (429 or 503); `for_requests`, so many of the first are refused;
            `serves_standard`, the probability that one is served, and billed, at the standard tier.
        usage: `cached` and `reasoning` tokens to report with every reply.
        headers: Further headers of every reply.
        host: A host whose refusals of requests for JSON it has, see `hosts.py`.
        limit: A rate limit, see `Limit`.
        token_seconds: How long the tokens and keys that this server hands out say that they are valid.
        token_lasts: Requests after which any key or token is refused as expired, whatever it said.
        token_refusal: What the token endpoint answers instead of a token: `{"code": …, "body": …}`.
        jobs: What its Batch API allows, and what happens to jobs: `jobs.Terms`.
        count_by: A column; `Stats.rows_sent_by` then counts how often each of its values was sent.
        media: What it refuses of media, or does to them: see `mediafaults.py`.
        scores: How likely the tokens of replies are, and how that is told if a request asks for it: `likely`. None:
            such requests are answered as if they had not asked.
        log: Whether to keep every request's headers and body.
    """

    answers: Mapping[str, Rule] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    oddities: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    script: Mapping[str, Any] = field(default_factory=dict)
    always: Any = ()
    until_ok: int | None = None
    poison: Any = ()
    latency: float = 0.0
    jitter: float = 0.0
    honour_max_tokens: bool = True
    bytes_per_token: float = BYTES_PER_TOKEN
    is_random: bool = False
    context_tokens: int | None = None
    max_body_bytes: int | None = None
    thoughts: Mapping[str, Any] | None = None
    most_output: int | None = None
    bills_schema: bool = False
    bills: Mapping[str, Any] | None = None
    contents: Mapping[str, Any] = field(default_factory=dict)
    flex: Mapping[str, Any] = field(default_factory=dict)
    usage: Mapping[str, int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    host: str | None = None
    limit: Mapping[str, Any] | None = None
    token_seconds: int = 3_600
    token_lasts: int | None = None
    token_refusal: Mapping[str, Any] | None = None
    jobs: Mapping[str, Any] = field(default_factory=dict)
    count_by: str | None = None
    media: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] | None = None
    log: bool = False


@dataclass(frozen=True)
class Poison:
    """Rows that bring a fault upon their request."""

    column: str
    values: Sequence[Any]
    fault: Fault

    def strikes(self, row: Row) -> bool:
        return row.cells.get(self.column) in self.values


class Schedule:
    """Which faults strike which request and which row."""

    def __init__(self, config: Config, rng: random.Random) -> None:
        self._random = rng.random
        self._script = {int(number): faults_in(value) for number, value in config.script.items()}
        self._always = faults_in(config.always)
        self._until = math.inf if config.until_ok is None else config.until_ok
        self._poisons = [_poison(one) for one in _listed(config.poison)]
        rates = [(_fault(name), rate) for name, rate in config.rates.items()]
        self._row_rates = [(fault, rate) for fault, rate in rates if fault.name in ROWS]
        self._request_rates = [(fault, rate) for fault, rate in rates if fault.name not in ROWS]

    def of_request(self, number: int, rows: Sequence[Row]) -> list[Fault]:
        """The faults of a request: scripted, standing, brought by poison, drawn."""
        faults = list(self._script.get(number, ()))
        if number < self._until:
            faults += self._always
        for poison in self._poisons:
            if poison.fault.name not in ROWS and any(poison.strikes(row) for row in rows):
                faults.append(poison.fault)
        return faults + [fault for fault, rate in self._request_rates if self._random() < rate]

    def of_row(self, position: int, row: Row, faults: Sequence[Fault]) -> Fault | None:
        """The fault of one row, given those of its request. At most one, so that counts stay readable."""
        for fault in faults:
            where = fault.options.get("rows", (0,))
            if fault.name in ROWS and (where == "all" or position in where):
                return fault
        for poison in self._poisons:
            if poison.fault.name in ROWS and poison.strikes(row):
                return poison.fault
        return next((fault for fault, rate in self._row_rates if self._random() < rate), None)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def faults_in(value: Any) -> list[Fault]:
    """The faults that *value* names: one or a list."""
    return [_fault(one) for one in _listed(value)]


def _fault(value: Any) -> Fault:
    written = {"fault": value} if isinstance(value, str) else dict(value)
    name = written.pop("fault")
    if name not in NAMES:
        raise ValueError(f"unknown fault {name!r}; there are {sorted(NAMES)}")
    if name == "status" and "code" not in written and written.get("kind") not in KINDS:
        raise ValueError(f"a status needs a code, or a kind of {sorted(KINDS)}, not {written}")
    return Fault(name, written)


def _poison(value: Mapping[str, Any]) -> Poison:
    fault = _fault(value["fault"]) if "fault" in value else _fault({"fault": "status", "kind": value["status"]})
    return Poison(value["column"], value["values"], fault)
