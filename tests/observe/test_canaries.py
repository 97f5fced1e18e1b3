"""No key and no text of a row is in anything that is written about a run, whatever goes wrong in it."""

from __future__ import annotations

import asyncio
import io
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import smelt
from smelt.model import Model
from smelt.result import SmeltResult
from tests.cli.command import Shell
from tests.cli.conftest import shell  # noqa: F401  # A fixture.
from tests.conftest import MakeScenario
from tests.exactness.test_canaries import JOBS, OPTIONS, faults, leaks
from tests.models import PROTOCOLS, RULES, Company
from tests.providers.asking import KEYS

ROW = "canary-of-a-row"
PROMPT = "Describe {name} {number}."
ECHO = {"fault": "echo", "text": f"Cannot read {ROW}-0", "code": 400}  # Servers quote the input in their refusals.


def frame() -> pd.DataFrame:
    return pd.DataFrame({"name": [f"{ROW}-{at}" for at in range(4)], "number": range(4)})


def told(texts: Mapping[str, str]) -> list[str]:
    """Where a canary is."""
    return [where for where, text in texts.items() if ROW in text or leaks(text.encode())]


@pytest.mark.slow
@pytest.mark.whole
async def test_what_observers_write_holds_no_canary(
    scenario: MakeScenario, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exporter, reader, metrics = InMemorySpanExporter(), InMemoryMetricReader(), smelt.Metrics()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    spans = smelt.observe.telemetry(tracer_provider=tracers, meter_provider=meters)
    observers = [spans, metrics, smelt.observe.RunLog(tmp_path / "runs.jsonl")]
    caplog.set_level(logging.DEBUG, logger="smelt")
    every = {**dict(faults("vllm")), "echo of a row": ECHO}
    made = {name: scenario(answers=RULES, always=fault) for name, fault in every.items()}

    few = asyncio.Semaphore(12)  # All at once make so many clients that some deadlines pass before a request.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = await asyncio.gather(
            *(_ran(one.base_url(PROTOCOLS["vllm"]), observers, few) for one in made.values())
        )

    data = reader.get_metrics_data()
    texts = {
        "log": "\n".join(one.getMessage() for one in caplog.records if one.name == "smelt"),
        "spans": "\n".join(one.to_json() for one in exporter.get_finished_spans()),
        "measures": "" if data is None else data.to_json(),
        "metrics": f"{metrics.as_dict()}{metrics.prometheus()}{metrics.json()}",
        "run log": (tmp_path / "runs.jsonl").read_text(),
        **{f"report {name}": _reported(one, tmp_path) for name, one in zip(made, results, strict=True) if one},
    }
    assert told({name: text for name, text in texts.items() if name != "report echo of a row"}) == []
    assert not leaks(texts["report echo of a row"].encode())
    assert all(len(text) > 1_000 for text in texts.values())
    assert texts["log"].count("ended") > len(made)
    assert [name for name, one in made.items() if not one.stats().requests] == []


async def _ran(url: str, observers: list[Any], few: asyncio.Semaphore) -> SmeltResult[Any] | None:
    model = Model("vllm", "fake-1", api_key=KEYS["vllm"], base_url=url)
    limits: dict[str, Any] = {"timeout": 0.5, "deadline": 20.0, "max_attempts": 1, "max_wait": 0.5}
    try:
        async with few:
            return await smelt.arun(
                frame(), PROMPT, Company, model=model, ledger=False, progress=False, observers=observers, **limits
            )
    except smelt.SmeltError as problem:
        found: SmeltResult[Any] | None = getattr(problem, "partial_result", None)
        return found


def _reported(result: SmeltResult[Any], folder: Path) -> str:
    return result.report(folder / "report.html", first_request=False).read_text()


@pytest.mark.parametrize("fault", [*JOBS, "echo of a row"])
def test_what_the_command_prints_holds_no_canary(
    fault: str,
    shell: Shell,  # noqa: F811
    scenario: MakeScenario,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    always = ECHO if fault == "echo of a row" else {"fault": fault, **OPTIONS.get(fault, {})}
    if fault == "echo":
        always = {"fault": "echo", "text": KEYS["openai"]}
    server = scenario(answers=RULES, always=always)
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["openai"])
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
    text = io.StringIO()
    frame().to_csv(text, index=False)
    shell.write("rows.csv", text.getvalue())

    done = shell(
        *("run", "rows.csv", "Describe {name}.", "--field", "sector:str", "-m", "openai:fake-1", "-o", "out.csv"),
        *("--json", "--log-json", "--no-ledger", "--max-attempts", "1", "--deadline", "1", "--set", "timeout=0.2"),
    )

    # The last words to the user quote a refusal as the server wrote it, without keys; events never do.
    lines = [line for line in done.err.splitlines() if line.startswith("{") or always is not ECHO]
    assert told({"out": done.out, "err": "\n".join(lines)}) == []
    assert not leaks(done.err.encode())
    assert '"event": "RequestEnded"' in done.err
    assert done.code in (0, 1, 3, 4)
