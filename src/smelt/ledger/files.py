"""Paths and permissions of a ledger: files that only the owner can read, in a directory that only the owner can write.

Checks use names only and never open the store: closing any descriptor of a file drops the locks that SQLite holds on it
in this process (POSIX; https://www.sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from smelt.environment import cache_folder
from smelt.errors import StoreError, StoreNotFoundError, StoreReadOnlyError, UnsafeStoreError, warn
from smelt.ledger.answerstore import SCHEMES, is_url, shown

SIDES = ("-wal", "-shm", "-journal", "-lock")  # Files beside a store while it is in use.

ELSEWHERE = "Pass another file as ledger=, or ledger=False to keep none."

OFF = ("off", "false", "no", "0")  # Values of SMELT_LEDGER for no ledger,
_ON = ("on", "true", "yes", "1")  # and for the one in the cache directory.
_SWITCHES = (*OFF, *_ON, "none", "null", "disable", "disabled", "enable", "enabled")

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_REMOTE = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gfs2",
    "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "virtiofs",
})  # fmt: skip


def named_path(environ: Mapping[str, str]) -> Path | None:
    """The path in `SMELT_LEDGER`; None if it is unset, a switch (on, off) or the URL of an answer store.

    Raises:
        StoreError: It is another URL, or a bare word, so more likely a misspelt switch than a file.
    """
    named = environ.get("SMELT_LEDGER", "").strip()
    if not named or named.lower() in (*OFF, *_ON) or is_url(named):
        return None
    _refuse_url(named)
    if os.sep not in named and "." not in named and not named.startswith("~"):
        raise StoreError(
            f"The environment variable SMELT_LEDGER is {named!r}, which is neither the path of a file nor one of "
            f"{', '.join(OFF)}. For a file in the current directory, write ./{named}."
        )
    return Path(named)


def _refuse_url(text: str) -> None:
    scheme, sign, _ = text.strip().partition("://")
    if sign and scheme.replace("+", "").isalnum():
        raise StoreError(f"No answer store has a URL that begins with {scheme}://. There are {', '.join(SCHEMES)}.")


def named_url(environ: Mapping[str, str]) -> str | None:
    """The URL of an answer store in `SMELT_LEDGER`; None if it is no URL."""
    named = environ.get("SMELT_LEDGER", "").strip()
    return named if is_url(named) else None


def default_path(environ: Mapping[str, str]) -> Path:
    """The store of a user who names none: the path in `SMELT_LEDGER`, or a file in the cache directory.

    Raises:
        StoreError: The variable is no path.
        StoreReadOnlyError: Neither the variable nor a home directory is there.
    """
    if (named := named_path(environ)) is not None:
        return named
    try:
        folder = cache_folder(environ)
    except RuntimeError:
        raise StoreReadOnlyError(
            "There is no home directory for the ledger. Give a path, as ledger= or SMELT_LEDGER."
        ) from None
    return folder / "ledger.sqlite"


def located(path: str | os.PathLike[str]) -> Path:
    """*path* with its directory resolved. The file name is not resolved, so that a symlink there is detected.

    Raises:
        StoreError: It cannot be the path of a file.
    """
    text = os.fsdecode(path)
    if is_url(text):
        raise StoreError(f"{shown(text)} is an answer store, which only runs use. Name the file of a ledger here.")
    _refuse_url(text)
    if not text.strip() or "\0" in text:
        raise StoreError(f"A ledger's path must be the path of a file, not {text!r}.")
    if text.strip().lower() in _SWITCHES or get_close_matches(text.strip().lower(), OFF[:2], cutoff=0.8):
        raise StoreError(
            f"{text!r} looks like a switch. Pass ledger=False to keep no ledger; for a file of that name, write "
            f"./{text}."
        )
    try:
        given = Path(text).expanduser()
    except RuntimeError:
        raise StoreError(f"There is no home directory for {text!r}. Give the whole path.") from None
    if not given.name or text.endswith((os.sep, f"{os.sep}.")) or given.name == "..":
        raise StoreError(f"A ledger's path must be the path of a file, not {text!r}.")
    try:
        return given.parent.resolve() / given.name
    except (OSError, RuntimeError) as problem:
        raise StoreError(f"The path {text!r} cannot be followed: {problem}.") from None


def ensure_directory(directory: Path) -> None:
    """Create *directory*, closed to others, if it is missing; refuse one that others own or can write to.

    Raises:
        UnsafeStoreError: Other users could put files there.
        StoreReadOnlyError: It cannot be created.
        StoreError: It is no directory.
    """
    try:
        missing = [one for one in (directory, *directory.parents) if not one.exists()]
        for one in reversed(missing):
            one.mkdir(mode=0o700, exist_ok=True)
            one.chmod(0o700)  # The umask may have removed the owner's bits.
    except OSError as problem:
        raise StoreReadOnlyError(
            f"The ledger's directory {directory} cannot be made: {problem.strerror}. {ELSEWHERE}"
        ) from None
    check_directory(directory)


def check_directory(directory: Path) -> None:
    """Refuse a directory where other users could put files.

    Raises:
        UnsafeStoreError: It belongs to another user, or others can write to it.
        StoreNotFoundError: It is missing.
        StoreError: It is no directory.
    """
    try:
        found = directory.stat()
    except FileNotFoundError:
        raise StoreNotFoundError(f"There is no directory {directory}. Check the path.") from None
    except OSError as problem:
        raise StoreError(f"The directory {directory} cannot be read: {problem.strerror}. {ELSEWHERE}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise StoreError(f"{directory} is not a directory. {ELSEWHERE}")
    if found.st_uid != os.geteuid():
        raise UnsafeStoreError(
            f"The directory {directory} belongs to another user. Keep the ledger in one of your own."
        )
    if found.st_mode & _OTHERS_WRITE:
        # The permissions of a shared directory like /tmp must not be changed.
        way = "Keep" if found.st_mode & stat.S_ISVTX else f"Close it (chmod go-w {directory}) or keep"
        raise UnsafeStoreError(
            f"Other users can write to the directory {directory}, so they could replace the ledger. {way} the ledger "
            "elsewhere."
        )


def check_file(path: Path) -> bool:
    """Whether the store at *path* exists; refuse a file that is unsafe. Nothing is changed.

    Raises:
        UnsafeStoreError: It, or a file beside it, is a symlink, another user's, or has a second hard link.
        StoreError: It is no regular file.
    """
    for side in sides_of(path):
        _check_one(side)
    return _check_one(path)


def _check_one(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as problem:
        raise StoreError(f"{path} cannot be examined: {problem.strerror}. {ELSEWHERE}") from None
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeStoreError(f"{path} is a symbolic link, which a ledger does not follow. Name the file itself.")
    if not stat.S_ISREG(found.st_mode):
        what = "a directory; name a file in it" if stat.S_ISDIR(found.st_mode) else "not an ordinary file"
        raise StoreError(f"{path} is {what}.")
    if found.st_uid != os.geteuid():
        raise UnsafeStoreError(f"{path} belongs to another user. {ELSEWHERE}")
    if found.st_nlink > 1:
        raise UnsafeStoreError(f"{path} has a second name (a hard link), so others may be able to read it. {ELSEWHERE}")
    return True


def close_to_others(path: Path) -> None:
    """Remove other users' permissions on the store at *path* and its side files, and warn about it."""
    for one in (path, *sides_of(path)):
        with suppress(FileNotFoundError):
            if one.lstat().st_mode & _OTHERS and os.access(one, os.W_OK):
                one.chmod(0o600)
                text = f"Other users could open {one}, which may hold answers. It is closed to them from now on."
                warn(text)


def sides_of(path: Path) -> list[Path]:
    """The files beside the store at *path* while it is in use."""
    return [path.with_name(path.name + side) for side in SIDES]


def set_aside(path: Path) -> bool:
    """Move a log of another store away from the store at *path*: SQLite would replay it into that store.

    Returns:
        Whether there was one; then a warning named its new place.
    """
    kept = [path.with_name(path.name + side) for side in ("-wal", "-journal")]
    kept = [one for one in kept if one.exists() and one.stat().st_size]
    if kept:
        aside = free_name(path, "stray")
        for one in kept:
            one.rename(aside.with_name(aside.name + one.name.removeprefix(path.name)))
        text = f"The log beside the ledger {path} was of another ledger, which is gone. It was renamed to {aside}-wal."
        warn(text)
    for side in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + side).unlink(missing_ok=True)  # An empty log, or an index, which is rebuilt.
    return bool(kept)


def free_name(path: Path, mark: str) -> Path:
    """An unused name beside *path*, whose side files' names are unused, too."""
    number = 1
    while True:
        one = path.with_name(f"{path.name}.{mark}" + (f".{number}" if number > 1 else ""))
        if not any(os.path.lexists(each) for each in (one, *sides_of(one))):
            return one
        number += 1


def create_private(path: Path) -> int:
    """Create an empty file that only its owner can read, whatever the umask; return its descriptor.

    Raises:
        FileExistsError: The name is in use, even if only by a dangling symlink.
        StoreError: It cannot be created.
    """
    try:
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise
    except OSError as problem:
        raise StoreError(f"{path} cannot be made: {problem.strerror}. {ELSEWHERE}") from None
    os.fchmod(made, 0o600)
    return made


def copies_of(path: Path) -> list[Path]:
    """The copies of the store at *path*: made before a migration or a recovery, moved aside, or rescued."""
    marks = (".damaged", ".v", ".stray", ".rescued")
    return sorted(
        one for one in path.parent.iterdir() if one.name.startswith(tuple(path.name + mark for mark in marks))
    )


def sync_directory(directory: Path) -> None:
    """Flush new names in *directory* to disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remote_kind(directory: Path, mounts: str | None = None) -> str | None:
    """The kind of network file system that *directory* is on, or None for a local disk.

    Args:
        directory: A resolved path.
        mounts: The text of `/proc/self/mountinfo`; read if not given. Without that file (not Linux) the result is None.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
        except OSError:
            return None
    found = ("", "")
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].encode().decode("unicode_escape")
        if len(point) >= len(found[0]) and directory.is_relative_to(point):
            found = (point, after.split(" ")[0])
    return found[1] if found[1] in _REMOTE else None
