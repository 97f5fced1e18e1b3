"""The observer that writes the events of a run to the logger `smelt`.

INFO: a run begins and ends. WARNING: it ends early, or waits long. DEBUG: each request, and short waits. Records hold
counts, times, and the names of provider and model: no text of a row, no prompt, no key.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from smelt.engine.events import Event, RequestEnded, RequestSent, Resumed, RowsSettled, RunEnded, RunStarted, Waiting
from smelt.messages import counted, lasted, price

_LONG = 10.0  # Seconds of a wait that is worth a warning.

_logger = logging.getLogger("smelt")
_logger.addHandler(logging.NullHandler())  # A library prints nothing unless the application asks for it.


@dataclass(slots=True)
class RunLogger:
    """Logs the events of one run.

    Attributes:
        name: Names the run in every record.
        settled: Its rows so far.
        requests: Requests that ended.
        input_tokens: Their input tokens.
        output_tokens: Their output tokens.
        cost_usd: Their dollars; None if a price is not known.
    """

    name: str = ""
    settled: RowsSettled | None = None
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0

    def __call__(self, event: Event) -> None:
        """Log *event*, if it is of interest."""
        match event:
            case RequestSent() if _logger.isEnabledFor(logging.DEBUG):
                _logger.debug(
                    "run %s: request %d sent, %s, %d in flight", self.name, event.number, _rows(event), event.in_flight
                )
            case RequestEnded():
                self._count(event)
            case RowsSettled():
                self.settled = event
            case RunStarted():
                self.name = event.run_id[:8]
                text = "run %s: %s (%d distinct) for %s:%s"
                _logger.info(
                    text, self.name, counted(event.rows, "row"), event.distinct_rows, event.provider, event.model
                )
            case Waiting():
                level = logging.WARNING if event.seconds >= _LONG else logging.DEBUG
                _logger.log(level, "run %s: waiting %s for %s", self.name, lasted(event.seconds), event.reason)
            case Resumed():
                _logger.debug("run %s: goes on", self.name)
            case RunEnded():
                self._end(event)
            case _:
                pass

    def _count(self, event: RequestEnded) -> None:
        self.requests += 1
        self.input_tokens += event.input_tokens
        self.output_tokens += event.output_tokens
        if event.ok or event.cost_usd is not None:
            unknown = self.cost_usd is None or event.cost_usd is None
            self.cost_usd = None if unknown else (self.cost_usd or 0.0) + (event.cost_usd or 0.0)
        if _logger.isEnabledFor(logging.DEBUG):
            outcome = "ok" if event.ok else "broken off" if event.is_broken_off else event.failure_kind or "unknown"
            _logger.debug(
                "run %s: request %d ended, %s, %s, %s, %d + %d tokens, id %s",
                self.name,
                event.number,
                outcome,
                _rows(event),
                lasted(event.seconds),
                event.input_tokens,
                event.output_tokens,
                event.request_id,
            )

    def _end(self, event: RunEnded) -> None:
        settled = self.settled or RowsSettled(answered=0, failed=0)
        level = logging.WARNING if event.is_early else logging.INFO
        cost = "price unknown" if self.cost_usd is None else price(self.cost_usd)
        _logger.log(
            level,
            "run %s: %s; %d answered, %d of them from the ledger, %d failed; %s, %d + %d tokens, %s",
            self.name,
            f"ended early ({event.reason})" if event.is_early else event.reason,
            settled.answered,
            settled.reused,
            settled.failed,
            counted(self.requests, "request"),
            self.input_tokens,
            self.output_tokens,
            cost,
        )


def run_logger() -> RunLogger | None:
    """The observer that logs a run; None if the application has turned the logger off."""
    return RunLogger() if _logger.isEnabledFor(logging.WARNING) else None


def _rows(event: RequestSent | RequestEnded) -> str:
    return counted(event.rows, "row")
