"""One test's private provider: its configuration, its counters, and what it answers to a request."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from tests.fakeserver import errors, mediafaults
from tests.fakeserver.answers import TURN, check_rules, codec_of, expected, row_schema, sample, wavers
from tests.fakeserver.clouds import Gate
from tests.fakeserver.config import Config, Schedule
from tests.fakeserver.contents import Content, Contents, Refused
from tests.fakeserver.decisions import RATE
from tests.fakeserver.faults import COMPLETIONS, JSON, REFUSALS, RESPONSES, TRANSPORTS, Fault, Response, refused, status
from tests.fakeserver.flextier import FlexTier
from tests.fakeserver.hostile import Mood, Temper
from tests.fakeserver.hosts import HOSTS, IGNORING
from tests.fakeserver.jobdoor import JobDoor
from tests.fakeserver.jobs import Done
from tests.fakeserver.likely import told
from tests.fakeserver.limiter import Limit, Limiter
from tests.fakeserver.messages import BadRequest, Completion, Headers, Json, Prompt, WireProtocol
from tests.fakeserver.model import Row, capped, codes_of, names_of, render, rows_of, tokens_of
from tests.fakeserver.oddrows import with_bare_numbers
from tests.fakeserver.prefixes import Now
from tests.fakeserver.rowfaults import LISTS, ROWS, Entry, Scene
from tests.fakeserver.till import Till

SECRETS = frozenset(
    {"x-amz-security-token", "authorization", "x-api-key", "x-goog-api-key", "api-key", "proxy-authorization", "cookie"}
)
LINE = -1  # The number of a line of a job among the requests: `script` is for live ones.
AT_THE_GATE = 0.04  # Seconds that a 429 takes at the most: a rate limiter works on nothing.


@dataclass(frozen=True)
class Outgoing:
    """A reply and how it travels."""

    response: Response
    transport: Fault | None = None
    delay: float = 0.0


@dataclass
class Counters:
    """What has happened so far."""

    requests: int = 0
    rows_sent: int = 0
    rows_answered: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    max_in_flight: int = 0
    abandoned: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float = 0.0
    written_tokens: int = 0
    read_tokens: int = 0
    stored_dollars: float = 0.0
    contents: int = 0
    content_calls: Counter[str] = field(default_factory=Counter)
    useful_thoughts: int = 0
    connections: int = 0
    tokens_issued: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    rows_sent_by: Counter[str] = field(default_factory=Counter)
    timeline: list[list[int]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)


class Scenario:
    """Answers requests as its configuration says, and counts."""

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        self.config = config
        self._rng = self.rng = random.Random(config.seed)
        self._limiter = Limiter(Limit(**config.limit), clock) if config.limit is not None else None
        self.counters = Counters(timeline=self._limiter.timeline if self._limiter is not None else [])
        self._schedule = Schedule(config, self._rng)
        self._temper = Temper(config.oddities, self._rng) if config.oddities else None
        self._earlier_ids: tuple[Any, ...] = ()
        self._media_tokens = 0
        self._counted: list[str] = []  # The rows of the last request, by the column `count_by`.
        self.gate = Gate(config)
        self.jobs = JobDoor(self)
        self._till = Till(**config.bills) if config.bills is not None else None
        self._clock = clock
        self.contents = Contents(config.contents, self._till, lambda: self.jobs.depot.now)
        self._content: Content | None = None  # What the request at hand names.
        self._flex = FlexTier(**config.flex, rng=random.Random(f"flex {config.seed}"))
        check_rules(config.answers)
        self._turns = Counter[str]() if wavers(config.answers) else None

    def respond(self, protocol: WireProtocol, model: str, headers: Headers, body: bytes, *, path: str = "") -> Outgoing:
        """The reply to one request; *path* is that of the request, as it arrived."""
        number = self.counters.requests
        self.counters.requests += 1
        request_id = f"{number:08x}{self._rng.randrange(16**8):08x}"
        self.counters.paths[path.partition("/")[2].partition("/")[2]] += 1
        if expired := self.gate.refusal(protocol, path, headers, body) if protocol.authorised(headers) else None:
            response, transport = expired, None
        else:
            response, transport = self._response(protocol, model, headers, body, number, request_id)
        self.counters.statuses[response.status] += 1
        usual = {"date": _date(int(time.time())), protocol.id_header: f"req_{request_id}"}
        usual |= self._announced(protocol) | dict(self.config.headers)
        delay = self.config.latency + self._rng.uniform(-1, 1) * self.config.jitter
        if response.status == 429 and transport is None:
            delay = min(delay, AT_THE_GATE)
        return Outgoing(replace(response, headers=usual | response.headers), transport, max(0.0, delay))

    def told(self) -> dict[str, Any]:
        """The counters, with what kept contents cost so far."""
        contents, counters = self.contents, self.counters
        contents.settle()
        return vars(counters) | {
            "dollars": counters.dollars + contents.dollars,
            "stored_dollars": contents.stored_dollars,
            "written_tokens": counters.written_tokens + contents.written_tokens,
            "contents": len(contents.live),
            "content_calls": contents.calls,
        }

    def run_line(self, protocol: WireProtocol, body: Json, faults: Sequence[Fault]) -> Done:
        """The answer to one line of a job: by the same model as that to a request, without limits of rate."""
        counters = self.counters
        before = counters.input_tokens, counters.output_tokens, counters.dollars
        request_id = f"req_{self._rng.randrange(16**12):012x}"
        model = str(body.get("model") or "")
        data = json.dumps(body).encode()
        response, _ = self._response(protocol, model, {}, data, LINE, request_id, faults)
        try:
            said = json.loads(response.body)
        except ValueError:
            said = response.body.decode("utf-8", "replace")
        return Done(
            status=response.status,
            body=said,
            request_id=request_id,
            input_tokens=counters.input_tokens - before[0],
            output_tokens=counters.output_tokens - before[1],
            dollars=counters.dollars - before[2],
            rows=self._counted,
        )

    def _response(
        self,
        protocol: WireProtocol,
        model: str,
        headers: Headers,
        body: bytes,
        number: int,
        request_id: str,
        more: Sequence[Fault] = (),
    ) -> tuple[Response, Fault | None]:
        is_line = number == LINE
        try:
            parsed = json.loads(body)
            prompt = protocol.read(parsed, model)
            self._content = self.contents.named_by(parsed, model, headers) if isinstance(parsed, dict) else None
        except Refused as problem:
            code, name, words = problem.args
            return refused(code, {"error": {"code": code, "message": words, "status": name}}), None
        except (BadRequest, ValueError, KeyError, TypeError, AttributeError) as problem:
            code, words = errors.bad_request(protocol.refusals, str(problem))
            return refused(code, words), None
        if self._content is not None:
            prompt = replace(prompt, system=self._content.system)
        rows = rows_of(prompt.user)
        self._count(rows, headers, parsed)
        if refusal := self._refusal(protocol, headers, body, prompt, is_line=is_line):
            return refusal, None
        if self._flex.refuses(parsed):
            self.counters.faults["flex_declined"] += 1
            return status({"kind": self._flex.kind}, protocol), None
        if said := mediafaults.refusal(self.config.media, protocol.refusals, rows):
            return refused(*said), None
        self._media_tokens = mediafaults.tokens(self.config.media, rows)
        rows = mediafaults.permuted(self.config.media, rows)
        if self.config.host is not None:
            if (said := HOSTS[self.config.host](parsed)) is not None:
                return Response(said[0], JSON, json.dumps(said[1]).encode()), None
            prompt = replace(prompt, schema=IGNORING.get(self.config.host, prompt.schema))

        faults = [*self._schedule.of_request(number, rows), *more]
        self.counters.faults.update(fault.name for fault in faults if fault.name not in ROWS)
        transport = next((fault for fault in faults if fault.name in TRANSPORTS), None)
        for fault in faults:
            if fault.name in REFUSALS:
                return REFUSALS[fault.name](fault.options, protocol), transport
        mood = self._temper.mood(number) if self._temper is not None and rows else None
        if mood is not None and (odd := self._odd_refusal(mood, prompt, rows, protocol)) is not None:
            return odd, transport
        completion = self._completion(prompt, rows, faults, request_id, mood)
        completion = self._rung(completion, prompt, parsed, "batch" if is_line else self._flex.served(parsed))
        written = protocol.write(completion)
        if mood is not None:
            self.counters.faults.update(mood.struck)
            written = mood.enclose(written, completion.text, protocol)
        headers = {**JSON, **protocol.tier_headers(completion.tier)}
        response = Response(200, headers, with_bare_numbers(json.dumps(written)).encode())
        if mood is not None and not is_line:
            response = mood.send(response, protocol, may_stream=parsed.get("stream") is not False)
        for fault in faults:
            if fault.name in RESPONSES:
                response = RESPONSES[fault.name](response, fault.options)
        return response, transport

    def _refusal(
        self, protocol: WireProtocol, headers: Headers, body: bytes, prompt: Prompt, *, is_line: bool = False
    ) -> Response | None:
        """What a real provider refuses of its own accord: no key, too much, too fast."""
        config = self.config
        if not is_line and not protocol.authorised(headers):
            return status({"kind": "auth"}, protocol)
        if config.max_body_bytes is not None and len(body) > config.max_body_bytes:
            return status({"kind": "too_large"}, protocol)
        if config.most_output is not None and (prompt.max_tokens or 0) > config.most_output:
            code, words = errors.too_much_output(protocol.refusals, prompt.max_tokens or 0, config.most_output)
            return refused(code, words)
        tokens = tokens_of(prompt.system) + tokens_of(prompt.user)
        if config.context_tokens is not None and tokens > config.context_tokens:
            return status({"kind": "context_length"}, protocol)
        if self._limiter is None or is_line:
            return None
        wait = self._limiter.refuse(tokens + (prompt.max_tokens or 0), self.counters.in_flight)
        if wait is None:
            return None
        hint = protocol.waiting(wait) if self._limiter.limit.retry_after else {}
        return status({"kind": "rate_limit"} | hint, protocol)

    def _announced(self, protocol: WireProtocol) -> dict[str, str]:
        limits = self._limiter.announced() if self._limiter is not None else None
        return {} if limits is None else protocol.limits(limits)

    def _odd_refusal(self, mood: Mood, prompt: Prompt, rows: Sequence[Row], protocol: WireProtocol) -> Response | None:
        found = mood.instead(rows, protocol, self._scene(prompt))
        if found is None:
            return None
        self.counters.faults[found[0]] += 1
        return found[1]

    def _scene(self, prompt: Prompt) -> Scene:
        schema = prompt.schema or {}
        return Scene(
            rng=self._rng,
            schema=row_schema(schema, names_of(prompt.system)),
            root=schema,
            max_tokens=prompt.max_tokens,
            earlier_ids=self._earlier_ids,
        )

    def _completion(
        self, prompt: Prompt, rows: Sequence[Row], faults: Sequence[Fault], request_id: str, mood: Mood | None
    ) -> Completion:
        schema = prompt.schema or {}
        scene = self._scene(prompt)
        likely: Sequence[Entry] = ()
        if rows and mood is not None:
            text = mood.write(self._entries(rows, faults, scene), scene, codec_of(schema, prompt.system))
        elif rows:
            entries, codec = self._entries(rows, faults, scene), codec_of(schema, prompt.system)
            likely = entries
            if self.config.is_random and codec == "array":
                entries = [replace(entry, id=f"{self._rng.randrange(16**5):05x}") for entry in entries]
            text = render(entries, codec, codes_of(prompt.system))
        else:
            text = json.dumps(sample(schema, schema)) if schema else "ok"
        self._earlier_ids = tuple(row.id for row in rows)
        completion = Completion(
            text=text,
            model=prompt.model,
            request_id=request_id,
            usage=self.config.usage,
            questions=prompt.questions,
        )
        for fault in faults:
            if fault.name in COMPLETIONS:
                completion = COMPLETIONS[fault.name](completion, fault.options, scene)
        thought, is_silent = (mood.thought, mood.is_silent) if mood is not None else self._thoughts()
        if self.config.honour_max_tokens and prompt.max_tokens is not None:
            thought = min(thought, prompt.max_tokens)
            completion = capped(completion, prompt.max_tokens - thought, self.config.bytes_per_token)
        if thought:
            kind = "hidden" if is_silent else "reasoning"
            completion = replace(completion, usage={**(completion.usage or {}), kind: thought})
        if prompt.wants_scores and self.config.scores is not None and completion.text:
            completion = replace(completion, tokens=tuple(told(completion.text, rows, likely, self.config.scores)))
        self.counters.rows_answered += len(rows)
        self.counters.useful_thoughts += thought if completion.finish != "length" else 0
        return self._billed(completion, prompt)

    def _thoughts(self) -> tuple[int, bool]:
        """Tokens that are thought before the answer, and whether that is not told."""
        config = self.config.thoughts
        return (0, False) if config is None else (self._rng.randint(*config["tokens"]), not config["told"])

    def _entries(self, rows: Sequence[Row], faults: Sequence[Fault], scene: Scene) -> list[Entry]:
        template = sample(scene.schema, scene.root) if scene.schema else {}
        template.pop("id", None)
        # A model that is held to a schema gives no field beyond it, whatever it knows.
        allowed = scene.schema.get("properties", self.config.answers)
        rules = {name: rule for name, rule in self.config.answers.items() if name in allowed}
        entries: list[Entry] = []
        for position, row in enumerate(rows):
            said = expected(rules, row.cells if self._turns is None else self._turned(row))
            entry = Entry(
                row.id, {name: said.get(name, value) for name, value in template.items()} if template else said
            )
            fault = self._schedule.of_row(position, row, faults)
            if fault is None:
                entries.append(entry)
                continue
            self.counters.faults[fault.name] += 1
            entries += ROWS[fault.name](entry, fault.options, scene)
        for fault in faults:
            if fault.name in LISTS:
                entries = LISTS[fault.name](entries, fault.options, scene)
        return entries

    def _turned(self, row: Row) -> dict[str, Any]:
        """The cells of a row, and how often it was asked before."""
        assert self._turns is not None
        text = json.dumps(row.cells)
        self._turns[text] += 1
        return {**row.cells, TURN: self._turns[text] - 1}

    def _billed(self, completion: Completion, prompt: Prompt) -> Completion:
        spent_in = tokens_of(prompt.system) + tokens_of(prompt.user) + tokens_of(prompt.questions_text)
        if self.config.bills_schema and prompt.schema is not None:
            spent_in += tokens_of(json.dumps(prompt.schema, separators=(",", ":")))
        spent_in += self._media_tokens
        said = completion.usage
        answer = tokens_of(completion.text, self.config.bytes_per_token)
        spent_out = answer + sum((said or {}).get(kind, 0) for kind in ("reasoning", "hidden"))
        self.counters.input_tokens += spent_in
        self.counters.output_tokens += spent_out
        if said is None:
            return completion
        return replace(completion, usage={"input": spent_in, "output": spent_out} | dict(said))

    def _rung(self, completion: Completion, prompt: Prompt, body: Any, tier: str | None) -> Completion:
        """The completion with the counts of its bill, if there is a till; *tier* serves it if it is not None."""
        if self._till is None or completion.usage is None:
            return completion
        if prompt.questions:
            self.counters.dollars += completion.usage["input"] * RATE / 1_000_000
            return completion
        head = json.dumps(prompt.schema, separators=(",", ":")) + prompt.system
        made = completion.usage["output"]
        content = self._content
        receipt = self._till.ring(
            prompt.model,
            body,
            head=head,
            tail=prompt.user,
            made=made,
            now=Now(self.jobs.depot.now, self._clock()),
            after=self.config.latency,
            stored=None if content is None else content.tokens,
            tier=tier,
        )
        self.counters.dollars += receipt.dollars
        self.counters.written_tokens += receipt.written
        self.counters.read_tokens += receipt.read
        return replace(completion, usage={**completion.usage, **receipt.usage}, tier=receipt.tier)

    def _count(self, rows: Sequence[Row], headers: Headers, body: Any) -> None:
        counters = self.counters
        counters.rows_sent += len(rows)
        if self.config.count_by is not None:
            self._counted = [str(row.cells.get(self.config.count_by)) for row in rows]
            counters.rows_sent_by.update(self._counted)
        if self.config.log:
            shown = {name: value for name, value in headers.items() if name not in SECRETS}
            counters.log.append({"headers": shown, "secrets": sorted(SECRETS & headers.keys()), "body": body})


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
