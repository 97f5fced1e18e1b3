"""Counts of all runs that it observes, for a dashboard: as a dict, as JSON, or in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from smelt.engine.events import Event, RequestEnded, RequestSent, Resumed, RowsSettled, RunEnded, RunStarted, Waiting
from smelt.observe.histogram import PER_OCTAVE, Histogram

_OCTAVES = range(-7, 8)  # The buckets of durations end at these powers of two: 8 ms to 128 s.
_BROKEN_OFF = "broken_off"  # The run itself cancelled the request.
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

_Sample = tuple[str, Mapping[str, str], float]


@dataclass(slots=True)
class _Totals:
    """What all runs of one model have done."""

    runs: Counter[str] = field(default_factory=Counter)  # By the reason of their end.
    rows: Counter[str] = field(default_factory=Counter)  # Of runs that ended.
    requests: dict[str, int] = field(default_factory=dict)  # "ok", or the kind of failure.
    input: int = 0
    cached_input: int = 0
    written_input: int = 0
    output: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    seconds: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class _Run:
    """A run that has not ended."""

    model: tuple[str, str]
    totals: _Totals
    settled: RowsSettled
    in_flight: int = 0
    is_waiting: bool = False

    @property
    def rows(self) -> dict[str, int]:
        """Its rows so far, by what became of them."""
        settled = self.settled
        return {
            "answered": settled.answered - settled.reused,
            "failed": settled.failed,
            "reused": settled.reused,
        }


class Metrics:
    """Counts requests, rows, tokens and dollars of every run that it observes, by provider and model.

    Pass one instance as `observers=[metrics]` to as many calls as you like, and read it whenever you like, also while
    they run. It holds numbers only: no text of a row, no prompt, no key. Nothing is served or sent: give the text of
    `prometheus` to the HTTP server that you have, or write it into a file for the textfile collector.

    A request costs about two microseconds.

    Examples:
        >>> metrics = smelt.Metrics()
        >>> _ = df.smelt.transform("Classify {name}.", Company, model=scripted, observers=[metrics])
        >>> metrics.as_dict()["models"][0]["rows"]
        {'answered': 2, 'failed': 0, 'reused': 0}
    """

    def __init__(self) -> None:
        """Count nothing yet."""
        self._totals: dict[tuple[str, str], _Totals] = {}
        self._runs: dict[str, _Run] = {}

    def __call__(self, event: Event) -> None:
        """Count *event*. Events of runs whose beginning was not seen are ignored."""
        kind = type(event)
        run = self._runs.get(event.run_id)
        if kind is RunStarted:
            self._begin(event)  # type: ignore[arg-type]  # `kind` says so, twice as fast as `match`.
        elif run is None:
            return
        elif kind is RequestSent:
            run.in_flight = event.in_flight  # type: ignore[union-attr]
            run.is_waiting = False
        elif kind is RequestEnded:
            _end(run, event)  # type: ignore[arg-type]
        elif kind is RowsSettled:
            run.settled = event  # type: ignore[assignment]
        elif kind is Waiting or kind is Resumed:
            run.is_waiting = kind is Waiting
        elif kind is RunEnded:
            run.totals.runs[event.reason] += 1  # type: ignore[union-attr]
            run.totals.rows.update(run.rows)
            del self._runs[event.run_id]

    def _begin(self, event: RunStarted) -> None:
        model = (event.provider, event.model)
        totals = self._totals.setdefault(model, _Totals())
        self._runs[event.run_id] = _Run(model, totals, RowsSettled(answered=0, failed=0))

    def as_dict(self) -> dict[str, Any]:
        """All counts, as values that JSON can hold.

        Returns:
            `{"models": [...]}` with a dict for each provider and model: `runs` (`active`, `waiting`, and those that
            ended, by reason), `rows` (`answered` by a request, `reused` from the ledger, `failed`), `requests` (`ok`,
            or the kind of failure; those in flight are `in_flight`), `tokens` (`input`, of which `cached_input` and
            `written_input`, and `output`), `cost_usd` (of the requests that have a price), `unpriced_requests`, and
            `seconds` of a request (`mean`, `p50`, `p95`, `max`; off by at most 2.2 %).
        """
        return {"models": [self._summary(model, totals) for model, totals in self._totals.items()]}

    def json(self) -> str:
        """`as_dict` as JSON."""
        from json import dumps

        return dumps(self.as_dict())

    def prometheus(self) -> str:
        """All counts in Prometheus' text format 0.0.4; counters end in `_total`, durations are a histogram."""
        lines: list[str] = []
        for name, kind, about in _FAMILIES:
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            for model, totals in self._totals.items():
                labels = {"provider": model[0], "model": model[1]}
                for suffix, more, value in self._samples(name, model, totals):
                    lines.append(f"{name}{suffix}{_labels({**labels, **more})} {value:.17g}")
        return "\n".join([*lines, ""])

    def _summary(self, model: tuple[str, str], totals: _Totals) -> dict[str, Any]:
        active = self._active(model)
        seconds = totals.seconds
        return {
            "provider": model[0],
            "model": model[1],
            "runs": {"active": len(active), "waiting": sum(run.is_waiting for run in active), **totals.runs},
            "rows": dict(self._rows(model, totals)),
            "requests": {"in_flight": sum(run.in_flight for run in active), **totals.requests},
            "tokens": _tokens(totals),
            "cost_usd": totals.cost_usd,
            "unpriced_requests": totals.unpriced,
            "seconds": {
                "mean": seconds.mean,
                "p50": seconds.quantile(0.5),
                "p95": seconds.quantile(0.95),
                "max": seconds.most,
            },
        }

    def _active(self, model: tuple[str, str]) -> list[_Run]:
        return [run for run in self._runs.values() if run.model == model]

    def _rows(self, model: tuple[str, str], totals: _Totals) -> Counter[str]:
        rows = totals.rows.copy()
        for run in self._active(model):
            rows.update(run.rows)
        return rows

    def _samples(self, name: str, model: tuple[str, str], totals: _Totals) -> Iterable[_Sample]:
        active = self._active(model)
        match name:
            case "smelt_runs_active":
                return [("", {}, len(active))]
            case "smelt_runs_waiting":
                return [("", {}, sum(run.is_waiting for run in active))]
            case "smelt_requests_in_flight":
                return [("", {}, sum(run.in_flight for run in active))]
            case "smelt_runs_total":
                return _counted("reason", totals.runs)
            case "smelt_rows_total":
                return _counted("outcome", self._rows(model, totals))
            case "smelt_requests_total":
                return _counted("outcome", totals.requests)
            case "smelt_tokens_total":
                return _counted("type", _tokens(totals))
            case "smelt_cost_usd_total":
                return [("", {}, totals.cost_usd)]
            case "smelt_unpriced_requests_total":
                return [("", {}, totals.unpriced)]
            case _:
                return _histogram(totals)


_FAMILIES = (
    ("smelt_runs_active", "gauge", "Runs that have not ended."),
    ("smelt_runs_waiting", "gauge", "Runs that may send no request for a while."),
    ("smelt_requests_in_flight", "gauge", "Requests in flight."),
    ("smelt_runs_total", "counter", "Runs that ended, by reason."),
    ("smelt_rows_total", "counter", "Rows that were settled: answered by a request, reused from the ledger, failed."),
    ("smelt_requests_total", "counter", "Requests that ended: ok, or the kind of failure."),
    ("smelt_tokens_total", "counter", "Tokens; cached_input and written_input are parts of input."),
    ("smelt_cost_usd_total", "counter", "Dollars of the requests whose price is known."),
    ("smelt_unpriced_requests_total", "counter", "Requests that were answered and whose price is unknown."),
    ("smelt_request_seconds", "histogram", "Seconds from sending a request to its end."),
)


def _end(run: _Run, event: RequestEnded) -> None:
    totals, requests = run.totals, run.totals.requests
    run.in_flight = event.in_flight
    if event.is_broken_off:
        outcome = _BROKEN_OFF
    else:
        outcome = "ok" if event.ok else event.failure_kind or "unknown"
        totals.seconds.add(event.seconds)
    requests[outcome] = requests.get(outcome, 0) + 1
    totals.input += event.input_tokens
    totals.cached_input += event.cached_input_tokens
    totals.written_input += event.written_input_tokens
    totals.output += event.output_tokens
    if event.cost_usd is not None:
        totals.cost_usd += event.cost_usd
    elif event.ok:
        totals.unpriced += 1


def _tokens(totals: _Totals) -> dict[str, int]:
    return {name: getattr(totals, name) for name in ("input", "cached_input", "written_input", "output")}


def _counted(label: str, counts: Mapping[str, int]) -> Iterator[_Sample]:
    for name, count in counts.items():
        yield "", {label: name}, count


def _histogram(totals: _Totals) -> Iterator[_Sample]:
    counts, first = totals.seconds.counts, _OCTAVES.start * PER_OCTAVE
    seen = sum(count for bucket, count in counts.items() if bucket < first)
    yield "_bucket", {"le": f"{2.0**_OCTAVES.start:g}"}, seen
    for at in _OCTAVES[:-1]:
        seen += sum(counts.get(bucket, 0) for bucket in range(at * PER_OCTAVE, (at + 1) * PER_OCTAVE))
        yield "_bucket", {"le": f"{2.0 ** (at + 1):g}"}, seen
    yield "_bucket", {"le": "+Inf"}, totals.seconds.count
    yield "_sum", {}, totals.seconds.total
    yield "_count", {}, totals.seconds.count


def _labels(labels: Mapping[str, str]) -> str:
    shown = [f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()]
    return f"{{{','.join(shown)}}}"
