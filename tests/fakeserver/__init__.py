"""A fake of the four providers: a real HTTP server on loopback that speaks their protocols, and every fault we know.

    scenario = fake.scenario(answers={"sector": {"choice": ["tech", "other"], "of": "name"}}, rates={"drop": 0.01})
    client = AsyncOpenAI(base_url=scenario.base_url("openai"), api_key="test", max_retries=0)
    …
    assert scenario.stats().rows_sent <= 1_120

The server is a process of its own, so that neither its CPU nor its loop gets into what is measured. Scenarios keep
tests apart. Start reading in `client.py` for the handle, in `config.py` for what can be asked for, and in `faults.py`
for the faults.
"""

from __future__ import annotations

from tests.fakeserver.client import FakeServer, Scenario, Stats

__all__ = ["FakeServer", "Scenario", "Stats"]
