"""What a call would send and cost, without sending anything."""

from __future__ import annotations

import random
from collections import deque
from math import ceil

from smelt.call.preparation import Preparation
from smelt.call.thinking import room_of
from smelt.engine.sender import rows_worth
from smelt.engine.work import Work
from smelt.engine.workers import FEWEST_ROWS, MOST_WORKERS, provers, rows_of_prover
from smelt.estimates import Estimate, Explanation
from smelt.plan.chunks import AutoSize, Line, Size
from smelt.plan.tokens import BYTES_PER_TOKEN, fewest_rows, reply_bytes, text_tokens
from smelt.plan.wire import draw_tokens, reply_schema, user_text
from smelt.providers.base import Usage
from smelt.providers.prices import cost_usd

_SAMPLE = 2_000  # Rows whose length is measured; more would not change the estimate.


def estimate(call: Preparation) -> Estimate:
    """Estimate rows, requests, tokens and dollars of *call*. Sends nothing."""
    distinct, provider, work = len(call.folded.distinct), call.provider, call.work()
    row_bytes = _row_bytes(call)
    thoughts = room_of(provider, call.params).usual
    requests = _requests(work, row_bytes, workers=min(call.concurrency, MOST_WORKERS), thoughts=thoughts)
    frame, framed = len(user_text([]).encode()), len(user_text([("k7f2x", "", None)]).encode())
    sent = requests * (len(work.system.encode()) + frame) + distinct * (row_bytes + framed - frame + len(","))
    received = requests * len('{"rows":[]}') + distinct * reply_bytes(work.output.fields)
    thinking_tokens = round(requests * thoughts)
    input_tokens = round(sent / BYTES_PER_TOKEN)
    output_tokens = round(received / BYTES_PER_TOKEN) + thinking_tokens
    return Estimate(
        rows=len(call.source),
        distinct_rows=distinct,
        requests=requests,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=_cost(call, requests, input_tokens, output_tokens),
        model=f"{provider.name}:{provider.model}",
        columns=tuple(call.source.names),
        thinking_tokens=thinking_tokens,
    )


def explain(call: Preparation) -> Explanation:
    """The first request of *call*. Sends nothing."""
    work, provider = call.work(), call.provider
    line = Line(order=work.order, texts=work.source.texts, reject=lambda position, reason: None)
    chunk = line.next(Size(rows=work.first_rows if work.is_auto else work.most_rows))
    texts = [row.text for row in chunk.rows] if chunk else []
    tokens = draw_tokens(len(texts), "".join(texts), random.Random(call.settings.seed))
    capabilities = provider.capabilities
    return Explanation(
        model=f"{provider.name}:{provider.model}",
        system=work.system,
        user=user_text([(token, text, None) for token, text in zip(tokens, texts, strict=True)]),
        schema=reply_schema(work.output.fields, capabilities.dialect, capabilities.codec, tokens),
        rows=len(texts),
    )


def _requests(work: Work, row_bytes: float, *, workers: int, thoughts: float) -> int:
    """How many requests the run sends if every reply is clean: its own loop, in numbers only.

    The first request goes out alone, or as a few small ones; then *workers* at a time, and every reply lets the size grow.
    """
    left, requests = len(work.order), 0
    size = AutoSize(most=work.most_rows, rows=float(work.first_rows if work.is_auto else work.most_rows))
    by_bytes = max(1, int(Size(rows=1).input_bytes / max(1.0, row_bytes)))
    shared = text_tokens(len(work.system))
    size.least = min(fewest_rows(shared, row_bytes / BYTES_PER_TOKEN), work.most_rows) if work.is_auto else 1
    fewest = max(FEWEST_ROWS, rows_worth(thoughts, work), int(size.least))
    at_first = provers(left, work.most_rows)
    in_flight: deque[int] = deque()
    while left or in_flight:
        if left and len(in_flight) < (workers if requests > at_first or not in_flight else at_first):
            rows = int(size.rows)
            if requests < at_first > 1:
                rows = rows_of_prover(rows)
            if work.is_auto:
                rows = min(rows, max(fewest, ceil(left / workers)))
            rows = min(rows, by_bytes, left)
            in_flight.append(rows)
            left, requests = left - rows, requests + 1
        else:
            sent = in_flight.popleft()
            size.learn(sent=sent, answered=sent, was_cut=False)
    return requests


def _row_bytes(call: Preparation) -> float:
    """Bytes of one row on average, by a sample."""
    distinct = call.folded.distinct
    positions = distinct[:: max(1, len(distinct) // _SAMPLE)]
    texts = call.source.texts(positions) if len(positions) else []
    sizes = [len(text.encode("utf-8", "replace")) for text in texts if isinstance(text, str)]
    return sum(sizes) / len(sizes) if sizes else 0.0


def _cost(call: Preparation, requests: int, input_tokens: int, output_tokens: int) -> float | None:
    if not requests:
        return 0.0
    # Priced per request: some models charge more for long ones.
    usage = Usage(input_tokens=input_tokens // requests, output_tokens=output_tokens // requests)
    one = cost_usd(call.provider.name, call.provider.model, usage)
    return None if one is None else one * requests
