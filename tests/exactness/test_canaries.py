"""A key appears in no exception, log, traceback, pickle, file or output, whatever fails and however it is shown."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeScenario, whole
from tests.exactness.companies import companies
from tests.fakeserver.client import ROOT
from tests.fakeserver.errors import OPENAI
from tests.fakeserver.faults import COMPLETIONS, REFUSALS, RESPONSES, TRANSPORTS
from tests.fakeserver.rowfaults import LISTS, ROWS
from tests.models import PROTOCOLS, PROVIDERS, RULES
from tests.providers.asking import CANARY, KEYS

NOWHERE = "http://127.0.0.1:9/v1"
# What a fault needs to be told, if anything.
OPTIONS: dict[str, dict[str, Any]] = {
    "says": {"text": "no"},
    "redirect": {"to": "http://localhost:9/stolen"},
    "set": {"field": "echo", "value": "x"},
    "status": {"code": 418},
    "trickle": {"every": 0.1},
    "slow_headers": {"every": 0.1},
    "gzip_bomb": {"megabytes": 8},
}
JOBS = (
    "echo",
    "html",
    "redirect",
    "reset_before",
    "hang",
    "cut_json",
    "gzip_bomb",
    "bad_status_line",
    "refuse",
    "drop",
)


def faults(provider: str) -> Iterator[tuple[str, Any]]:
    """Every fault of the fake server, and every kind of refusal, by name."""
    for name in sorted({*ROWS, *LISTS, *COMPLETIONS, *REFUSALS, *RESPONSES, *TRANSPORTS} - {"echo"}):
        yield name, {"fault": name, **OPTIONS.get(name, {})}
    for kind in OPENAI:
        yield f"status-{kind}", {"fault": "status", "kind": kind}
    for code in (400, 401, 404, 429, 500):
        yield f"echo-{code}", {"fault": "echo", "text": KEYS[provider], "code": code}
    yield "echo", {"fault": "echo", "text": KEYS[provider]}


EVERY = sorted({name for name, _ in faults(PROVIDERS[0])})
# The providers take turns with every other fault; each echoes its key.
IN_TURN = {
    provider: {name for number, name in enumerate(EVERY) if number % 8 == 2 * place or name.startswith("echo")}
    for place, provider in enumerate(PROVIDERS)
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "faulty", whole(IN_TURN, *({provider: {*EVERY}} for provider in PROVIDERS)), ids=["in turn", *PROVIDERS]
)
def test_a_key_is_in_no_byte_of_what_comes_out(
    faulty: dict[str, set[str]], scenario: MakeScenario, tmp_path: Path
) -> None:
    told: list[dict[str, Any]] = []
    scenarios: dict[str, Any] = {}
    for provider, struck in faulty.items():
        made = {
            name: scenario(answers=RULES, always=fault, log=True) for name, fault in faults(provider) if name in struck
        }
        urls = {name: one.base_url(PROTOCOLS[provider]) for name, one in made.items()} | {"refused": NOWHERE}
        jobs = {name: urls[name] for name in (*JOBS, "refused") if name in urls}
        (tmp_path / provider).mkdir()
        told.append({"provider": provider, "alone": urls, "jobs": jobs, "directory": str(tmp_path / provider)})
        scenarios |= {f"{provider} {name}": one for name, one in made.items()}
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("SMELT_")}
    places = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), "TMPDIR": str(tmp_path)}
    loud = {"OPENAI_LOG": "debug", "ANTHROPIC_LOG": "debug", "PYTHONASYNCIODEBUG": "1"}

    child = subprocess.run(
        [sys.executable, "-m", "tests.exactness.shouting"],
        cwd=ROOT,
        env=quiet | places | loud,
        input=json.dumps(told).encode(),
        capture_output=True,
        check=False,
    )

    assert child.returncode == 0, child.stderr[-3_000:].decode()
    said = {"stdout": child.stdout, "stderr": child.stderr}
    said |= {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert [where for where, text in said.items() if leaks(text)] == []
    watched = {name: text for name, text in said.items() if name.endswith((".log",))}
    assert [name for name, text in watched.items() if any(name.encode() in text for name in companies(8)["name"])] == []
    assert len(watched) == 3
    assert all(text.count(b"\n") > 20 for text in watched.values())
    # All of it did happen: the keys were sent, and there was much to be said.
    assert all(one.stats().log[0]["secrets"] for name, one in scenarios.items() if one.stats().requests)
    assert [name for name, one in scenarios.items() if not one.stats().requests] == []
    assert child.stdout.count(b"Traceback (most recent call last)") > 40
    assert b"DEBUG:httpcore2" in child.stderr
    assert any(name.endswith(".sqlite") for name in said)
    assert b"[key]" in child.stdout  # What was echoed was hidden.


def leaks(text: bytes) -> bool:
    """Whether *text* holds a key, or enough of one to be of use, plainly or in base64."""
    forms = [CANARY.encode(), *(base64.b64encode(b"x" * shift + CANARY.encode())[4:-4] for shift in range(3))]
    return any(form in text for form in forms)


def test_the_search_finds_what_it_looks_for() -> None:
    assert all(
        leaks(b"..." + form + b"...") for form in (KEYS["vllm"].encode(), base64.b64encode(KEYS["openai"].encode()))
    )
    assert not leaks(b"...[key]...")
