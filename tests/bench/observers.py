"""What an observer costs: microseconds of CPU per request of `smelt.Metrics`, alone.

    python -m tests.bench.observers

More than 3 µs for the events of one request (sent, ended, rows settled) end it with an error.
"""

from __future__ import annotations

import sys
import time

from smelt.engine.events import RequestEnded, RequestSent, RowsSettled, RunStarted
from smelt.observe.metrics import Metrics

_REQUESTS, _TIMES = 100_000, 5
_MOST_US = 3.0


def main() -> None:
    """Measure and print the best of five."""
    best = min(_measured() for _ in range(_TIMES)) / _REQUESTS * 1e6
    print(f"smelt.Metrics: {best:.2f} us of CPU per request")
    if best > _MOST_US:
        sys.exit("over the limit")


def _measured() -> float:
    metrics = Metrics()
    metrics(RunStarted(run_id="a", rows=1, distinct_rows=1, provider="openai", model="gpt"))
    sent = RequestSent(run_id="a", number=1, rows=20, in_flight=3)
    ended = RequestEnded(
        run_id="a", number=1, rows=20, seconds=0.7, ok=True, input_tokens=9, output_tokens=9, cost_usd=1.0
    )
    settled = RowsSettled(run_id="a", answered=20, failed=0)
    start = time.process_time()
    for _ in range(_REQUESTS):
        metrics(sent)
        metrics(ended)
        metrics(settled)
    return time.process_time() - start


if __name__ == "__main__":
    main()
