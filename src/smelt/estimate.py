"""What a call would send and cost, without sending anything."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.plan.chunks import AutoSize
from smelt.plan.rows import Unsendable
from smelt.plan.tokens import ROW_OVERHEAD, reply_tokens, text_tokens
from smelt.plan.wire import draw_tokens, reply_schema, user_text
from smelt.preparation import Preparation
from smelt.prices import cost_usd
from smelt.providers.base import Usage

_SAMPLE = 2_000  # Rows whose length is measured; more would not change the estimate.


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a call would take, if nothing has to be asked twice.

    Attributes:
        rows: The caller's rows.
        distinct_rows: Rows that differ, each of which is paid once.
        requests: Requests.
        input_tokens: Estimated from bytes, without what the provider caches.
        output_tokens: Estimated from the output model.
        cost_usd: Dollars by the published prices; None where the price is not known.
        model: The model that would answer, as `provider:name`.
    """

    rows: int
    distinct_rows: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    model: str

    def __str__(self) -> str:
        cost = "price unknown" if self.cost_usd is None else f"about ${self.cost_usd:,.4f}"
        return (
            f"{self.rows:,} rows ({self.distinct_rows:,} distinct) in about {self.requests:,} requests to {self.model}: "
            f"about {self.input_tokens:,} tokens in, {self.output_tokens:,} out, {cost}"
        )


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The first request of a call, exactly as it would be sent but for its random row tokens.

    Attributes:
        model: The model that would answer, as `provider:name`.
        system: The instructions.
        user: The rows.
        schema: JSON Schema of the reply.
        rows: How many rows it carries.
    """

    model: str
    system: str
    user: str
    schema: Mapping[str, Any]
    rows: int

    def __str__(self) -> str:
        schema = json.dumps(self.schema, indent=2, ensure_ascii=False)
        return f"to {self.model}\n\n--- system\n{self.system}\n\n--- user\n{self.user}\n\n--- reply schema\n{schema}"


def estimate(call: Preparation) -> Estimate:
    """Estimate rows, requests, tokens and dollars of *call*. Sends nothing."""
    distinct, provider, work = len(call.folded.distinct), call.provider, call.work()
    requests = _requests(distinct, AutoSize(most=work.most_rows, rows=work.first_rows if work.is_auto else work.most_rows))
    schema = text_tokens(len(json.dumps(reply_schema(work.output.fields, provider.capabilities.dialect, "array", ()))))
    per_request = text_tokens(len(work.system.encode())) + schema + 40
    input_tokens = round(requests * per_request + distinct * (_row_tokens(call) + ROW_OVERHEAD))
    output_tokens = distinct * reply_tokens(work.output.fields) + requests * 8
    return Estimate(
        rows=len(call.source),
        distinct_rows=distinct,
        requests=requests,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=_cost(call, requests, input_tokens, output_tokens),
        model=f"{provider.name}:{provider.model}",
    )


def explain(call: Preparation) -> Explanation:
    """The first request of *call*. Sends nothing."""
    work, provider = call.work(), call.provider
    count = work.first_rows if work.is_auto else work.most_rows
    texts = [text for text in _texts(call, work.order[: min(count, work.most_rows)]) if isinstance(text, str)]
    tokens = draw_tokens(len(texts), "".join(texts), random.Random(call.settings.seed))
    capabilities = provider.capabilities
    return Explanation(
        model=f"{provider.name}:{provider.model}",
        system=work.system,
        user=user_text([(token, text, None) for token, text in zip(tokens, texts, strict=True)]),
        schema=reply_schema(work.output.fields, capabilities.dialect, capabilities.codec, tokens),
        rows=len(texts),
    )


def _requests(rows: int, size: AutoSize) -> int:
    """How many requests carry *rows*, while clean replies let them grow."""
    requests = 0
    while rows > 0 and int(size.rows) < size.most:
        sent = min(rows, int(size.rows))
        rows, requests = rows - sent, requests + 1
        size.learn(sent=sent, answered=sent, was_cut=False)
    return requests + -(-rows // int(size.rows))


def _row_tokens(call: Preparation) -> float:
    distinct = call.folded.distinct
    positions = distinct[:: max(1, len(distinct) // _SAMPLE)]
    sizes = [len(text.encode("utf-8", "replace")) for text in _texts(call, positions) if isinstance(text, str)]
    return text_tokens(sum(sizes)) / len(sizes) if sizes else 0.0


def _texts(call: Preparation, positions: Sequence[int]) -> list[str | Unsendable]:
    return call.source.texts(positions) if len(positions) else []


def _cost(call: Preparation, requests: int, input_tokens: int, output_tokens: int) -> float | None:
    if not requests:
        return 0.0
    # Priced per request: some models charge more for long ones.
    usage = Usage(input_tokens=input_tokens // requests, output_tokens=output_tokens // requests)
    one = cost_usd(call.provider.name, call.provider.model, usage)
    return None if one is None else one * requests
