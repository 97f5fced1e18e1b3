"""Fetching wheels with what the machine has: tools that are broken, that trust no one, or that say why they fail."""

from __future__ import annotations

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.local import wheels
from smelt.local.wheels import Tool, cause_in, found_tools, unpack
from tests.test_readme import ROOT

_UV = """Using CPython 3.11.7 interpreter at: /usr/bin/python3
error: Failed to fetch: https://pypi.org/simple/llm/
  cause: error sending request for url (https://pypi.org/simple/llm/)
  cause: client error (Connect)
  cause: invalid peer certificate: UnknownIssuer

hint: Consider enabling use of system TLS certificates with the `--system-certs` command-line flag
"""
_UV_0_8 = """  \u00d7 Failed to fetch: `https://user:secret@mirror.example/simple/llm/`
  ├─▶ client error (Connect)
  ╰─▶ invalid peer certificate: UnknownIssuer
  help: Consider enabling use of system TLS certificates
"""
_PIP_SSL = """WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by \
'SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed \
certificate in chain (_ssl.c:1006)'))': /simple/llm/
ERROR: Could not find a version that satisfies the requirement llm==1 (from versions: none)
ERROR: No matching distribution found for llm==1
"""
_PIP_REFUSED = """WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('\
<pip._vendor.urllib3.connection.HTTPConnection object at 0x7f9c988f7950>: Failed to establish a new connection: \
[Errno 111] Connection refused')': /simple/llm/
ERROR: Could not find a version that satisfies the requirement llm==1 (from versions: none)
"""
_PIP_TIMEOUT = """WARNING: Retrying (Retry(total=0)) after connection broken by '\
ReadTimeoutError("HTTPSConnectionPool(host='pypi.org', port=443): Read timed out. (read timeout=15.0)")': /simple/llm/
ERROR: Could not find a version that satisfies the requirement llm==1 (from versions: none)
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            _UV, "Failed to fetch: https://pypi.org/simple/llm/: invalid peer certificate: UnknownIssuer", id="uv"
        ),
        pytest.param(
            _UV_0_8,
            "Failed to fetch: `https://mirror.example/simple/llm/`: invalid peer certificate: UnknownIssuer",
            id="uv 0.8",
        ),
        pytest.param(
            _PIP_SSL,
            "Could not find a version that satisfies the requirement llm==1 (from versions: none): "
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in chain",
            id="pip, certificate",
        ),
        pytest.param(
            _PIP_REFUSED,
            "Could not find a version that satisfies the requirement llm==1 (from versions: none): "
            "[Errno 111] Connection refused",
            id="pip, refused",
        ),
        pytest.param(
            _PIP_TIMEOUT,
            "Could not find a version that satisfies the requirement llm==1 (from versions: none): "
            """ReadTimeoutError("HTTPSConnectionPool(host='pypi.org', port=443): """
            """Read timed out. (read timeout=15.0)")""",
            id="pip, timeout",
        ),
        pytest.param("", "it said nothing", id="nothing"),
        pytest.param("line\nIllegal instruction\n", "Illegal instruction", id="the last line"),
    ],
)
def test_the_cause_is_the_error_and_what_is_below_it(text: str, told: str) -> None:
    assert cause_in(text) == told


def stub(folder: Path, name: str, script: str) -> str:
    """An executable of the shell called *name*."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def writes(place: str = "$target") -> str:
    """Shell that puts a file into the target, which is the word before the last."""
    return f'while [ $# -gt 2 ]; do shift; done; target=$1; echo here > "{place}/file"'


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (folder := tmp_path / "target").mkdir()
    return folder


def test_the_next_tool_is_tried_after_one_that_fails(tmp_path: Path, target: Path) -> None:
    broken = stub(tmp_path, "broken", f"{writes('$target')}; echo half > $target/half; echo error: no >&2; exit 2")
    good = stub(tmp_path, "good", writes())

    unpack("llm==1", target, [Tool(name="uv", command=(broken,)), Tool(name="pip", command=(good,))])

    assert [one.name for one in target.iterdir()] == ["file"]


def test_a_tool_that_cannot_be_run_at_all_is_passed_over(tmp_path: Path, target: Path) -> None:
    (foreign := tmp_path / "foreign").write_bytes(b"\x7fELF of another machine")
    foreign.chmod(0o755)
    good = stub(tmp_path, "good", writes())

    unpack("llm==1", target, [Tool(name="uv", command=(str(foreign),)), Tool(name="pip", command=(good,))])

    assert (target / "file").exists()


def test_what_every_tool_said_is_told(tmp_path: Path, target: Path) -> None:
    first = stub(tmp_path, "first", "echo 'ERROR: no such thing.' >&2; exit 1")
    second = stub(tmp_path, "second", f"cat >&2 <<'END'\n{_UV}END\nexit 2")

    with pytest.raises(
        SmeltConfigError,
        match=r"^llm==1 could not be fetched: pip says: no such thing; uv says: .*: invalid peer certificate: "
        r"UnknownIssuer\. Can this machine reach PyPI, .*\? If its certificate is your company's own, name it in "
        r"PIP_CERT",
    ):
        unpack("llm==1", target, [Tool(name="pip", command=(first,)), Tool(name="uv", command=(second,))])


def test_other_certificates_are_tried_if_the_first_are_not_accepted(tmp_path: Path, target: Path) -> None:
    script = f'if [ "$CERTS" != other ]; then echo error: invalid peer certificate >&2; exit 2; fi; {writes()}'
    picky = stub(tmp_path, "picky", script)

    unpack(
        "llm==1", target, [Tool(name="uv", command=(picky,), environ={"CERTS": "own"}, otherwise={"CERTS": "other"})]
    )

    assert (target / "file").exists()


def test_what_the_user_set_comes_first(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERTS", "mine")
    picky = stub(tmp_path, "picky", f'[ "$CERTS" = mine ] || exit 1; {writes()}')

    unpack("llm==1", target, [Tool(name="uv", command=(picky,), environ={"CERTS": "own"})])

    assert (target / "file").exists()


def test_no_tool_at_all_says_how_to_get_one(target: Path) -> None:
    with pytest.raises(MissingDependencyError, match="needs pip or uv, and neither was found: python -m ensurepip"):
        unpack("llm==1", target, [])


def test_a_uv_that_is_gone_gives_way_to_the_one_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = stub(tmp_path, "uv", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV", str(tmp_path / "gone" / "uv"))

    # Only as far as uv: behind it a Python with pip may be set up.
    assert next(tool for tool in found_tools(tmp_path / "room") if tool.name == "uv").command[0] == uv


def test_uv_is_called_in_one_way() -> None:
    spec = spec_from_file_location("dev", ROOT / "dev.py")
    assert spec
    assert spec.loader
    spec.loader.exec_module(dev := module_from_spec(spec))

    assert (dev.SYSTEM_CERTS, dev.BUNDLES) == (wheels.SYSTEM_CERTS, wheels.BUNDLES)
    assert sys.modules.get("dev") is not dev
