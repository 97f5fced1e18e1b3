"""The traffic of a call, for its estimate: the bytes of a request, and how many requests there will be."""

from __future__ import annotations

from collections import deque

from smelt.call.preparation import Preparation
from smelt.engine.pilot import REQUESTS, ROWS_PER_REQUEST
from smelt.engine.sender import rows_worth
from smelt.engine.work import Work
from smelt.engine.workers import provers, rows_of_prover
from smelt.plan.chunks import Size
from smelt.plan.media import media_of
from smelt.plan.sizes import Queued, Ration, rows_wanted
from smelt.plan.tokens import BYTES_PER_TOKEN, text_tokens
from smelt.plan.wire import user_text
from smelt.providers.mediatokens import counter_of

_SAMPLE = 2_000  # About this many rows are measured; more would not change the estimate.


def measured(call: Preparation) -> tuple[float, float, float]:
    """The bytes of a row, and the bytes and the input tokens of its media: averages of a sample."""
    distinct = call.folded.distinct
    positions = distinct[:: max(1, len(distinct) // _SAMPLE)]
    texts = call.source.texts(positions) if len(positions) else []
    sizes = [len(text.encode("utf-8", "replace")) for text in texts if isinstance(text, str)]
    media = [medium for text in texts if isinstance(text, str) for _, medium in media_of(text)]
    count, tokens_of = len(sizes) or 1, counter_of(call.provider)
    return sum(sizes) / count, sum([one.size for one in media]) / count, sum(map(tokens_of, media)) / count


def request_bytes(work: Work, row_bytes: float) -> tuple[float, float, int]:
    """The bytes around the rows of a request, of a row with *row_bytes* of canonical text, and of the instructions."""
    if (compact := work.compact) is not None and work.wire == "compact":
        each = compact.table.size(row_bytes) + len("k7f2x \n")
        return len(compact.table.text([]).encode()), each, len(compact.system.encode())
    frame, framed = len(user_text([]).encode()), len(user_text([("k7f2x", "", None)]).encode())
    return frame, row_bytes + framed - frame + len(",") + work.question_bytes, len(work.system.encode())


def requests_of(work: Work, left: int, row_bytes: float, *, workers: int, thoughts: float) -> int:
    """How many requests the run sends for *left* rows if every reply is valid. Simulates its loop with numbers only.

    First one request is sent, or a few; then *workers* at a time. Every reply lets the chunk size grow.
    """
    size = work.size_at_first()
    by_bytes = max(1, int(Size(rows=1).input_bytes / max(1.0, row_bytes)))
    _, each, system = request_bytes(work, row_bytes)
    ration, fewest = Ration(aim=work.aim), rows_worth(thoughts, work)
    at_first = provers(left, work.most_rows, work.aim, is_auto=work.is_auto)
    fixed = 0 if work.is_auto else left
    in_flight: deque[int] = deque()
    while left or in_flight:
        if left and len(in_flight) < (workers if ration.requests > at_first or not in_flight else at_first):
            rows = int(size.rows)
            if ration.requests < at_first > 1:
                rows = rows_of_prover(rows, at_first, rows=fixed)
            if work.is_auto:
                queued = Queued(rows=left, workers=workers, busy=len(in_flight), most=rows, fewest=fewest)
                rows = rows_wanted(queued, ration)
            rows = min(rows, by_bytes, left)
            in_flight.append(rows)
            left -= rows
            ration.take(rows, rows * each / BYTES_PER_TOKEN, shared=text_tokens(system))
        else:
            sent = in_flight.popleft()
            size.learn(sent=sent, answered=sent, was_cut=False)
    return ration.requests


def pilot_tokens(work: Work, row_bytes: float, thoughts: float) -> tuple[int, int]:
    """The input and the output tokens of one of the three questions of a pilot."""
    frame, each, system = request_bytes(work, row_bytes)
    rows = REQUESTS * min(ROWS_PER_REQUEST, work.most_rows)
    sent = REQUESTS * (system + frame) + rows * each
    received = REQUESTS * len('{"rows":[]}') + rows * work.reply_bytes
    return round(sent / BYTES_PER_TOKEN), round(received / BYTES_PER_TOKEN + REQUESTS * thoughts)
