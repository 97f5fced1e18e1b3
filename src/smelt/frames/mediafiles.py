"""Where the media of a cell may come from: files below a root, and addresses that a provider may fetch.

Cells are data, often from other people. So a path must not leave its root, and an address must not lead the provider
into a private network. Messages quote neither: a path is a value of a row, and the query of a URL may be a signature.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from time import time_ns
from urllib.parse import urlsplit

from smelt.errors import SmeltConfigError

MOST_BYTES = 50 * 2**20
"""The largest file that is read. No provider takes more in one part."""

_PRIVATE = (
    ".localhost",
    ".localdomain",
    ".local",
    ".internal",
    ".intranet",
    ".private",
    ".lan",
    ".home",
    ".corp",
    ".svc",
    ".arpa",
    ".test",
    ".invalid",
    ".onion",
)
_TOLD = ("http", "file", "ftp", "s3", "gs", "az", "hf")  # Schemes that a message may quote.
_LONGEST = 8_192  # Characters of an address.
# A pipe would wait for a writer, and a terminal could become that of this process; Windows would change line ends.
_OPENING = os.O_RDONLY | sum(getattr(os, f"O_{name}", 0) for name in ("NONBLOCK", "CLOEXEC", "NOCTTY", "BINARY"))
_MORE = 2**16  # Bytes that are looked for behind the end.
_SETTLED = 2_000_000_000  # Nanoseconds; the times of the coarsest file systems go in steps of 2 s.
_NO_HOST = "an address whose host is no public name; the provider could not fetch it, or should not"


@dataclass(frozen=True, slots=True)
class File:
    """A file that was read.

    Attributes:
        data: Its bytes.
        state: The same number twice means the same bytes. 0 means nothing: the file was written too lately for its
            times to tell.
    """

    data: bytes
    state: int


def real_folder(column: str, root: str | os.PathLike[str]) -> str:
    """The real path of *root*, so that a run goes on if the working directory changes.

    Raises:
        SmeltConfigError: It is no folder.
    """
    real = os.path.realpath(root)
    if not Path(real).is_dir():
        raise SmeltConfigError(
            f"media[{column!r}]: root={os.fspath(root)!r} is not a folder. A relative one starts at the working "
            "directory of this process."
        )
    return real


def read_below(root: str, path: str) -> File:
    """The file at *path*, relative to *root*, which it must not leave.

    Raises:
        ValueError: It is not a file below *root*, or cannot be read; the message does not quote the path.
    """
    folder = os.path.realpath(root)
    try:
        real = os.path.realpath(Path(folder, path))
    except ValueError:
        raise ValueError("a path with a null byte") from None
    if not _is_below(folder, real):
        raise ValueError("a path that leads out of the root folder")
    return read_file(real, folder)


def read_file(path: str, folder: str | None = None) -> File:
    """The regular file at *path*; if it is opened elsewhere than below *folder*, it is refused.

    Raises:
        ValueError: It is no regular file, too large, or cannot be read.
    """
    try:
        handle = os.open(path, _OPENING)
    except (OSError, ValueError) as problem:
        raise ValueError(f"a file that cannot be opened ({_reason(problem)})") from None
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("a path to something that is not a regular file")
        if folder is not None and not _is_still_there(path, folder, facts):
            raise ValueError("a path that leads out of the root folder")
        if facts.st_size > MOST_BYTES:
            raise ValueError(_too_large(facts.st_size))
        data = _all_of(handle, facts.st_size)  # One handle for size and content: the file may grow meanwhile.
        state, after = _state_of(facts, time_ns()), _state_of(os.fstat(handle), time_ns())
    except OSError as problem:
        raise ValueError(f"a file that cannot be read ({_reason(problem)})") from None
    finally:
        os.close(handle)
    return File(bounded(data), state if state == after else 0)


def bounded(data: bytes) -> bytes:
    """*data*, if no medium is larger than that.

    Raises:
        ValueError: It is empty or too large.
    """
    if not data:
        raise ValueError("an empty file")
    if len(data) > MOST_BYTES:
        raise ValueError(_too_large(len(data)))
    return data


def checked_url(url: str) -> str:
    """*url*, if a provider may be told to fetch it.

    Raises:
        ValueError: It is no https URL with a public host name; the message quotes nothing of it.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
        has_login = parts.username is not None or parts.password is not None
        port = parts.port
    except ValueError:
        raise ValueError("an address that is no URL") from None
    if (scheme := parts.scheme.lower()) != "https":
        told = f" of the scheme {scheme!r}" if scheme in _TOLD else ""
        raise ValueError(f"an address{told}; only https is passed on")
    if len(url) > _LONGEST:
        raise ValueError(f"an address of {len(url):,} characters; {_LONGEST:,} are the most")
    if has_login:
        raise ValueError("an address with a user name or a password in it")
    if not url.isprintable() or any(one in url for one in ' "<>\\^`{|}'):
        raise ValueError("an address with characters that no URL has")
    if port not in (None, 443):
        raise ValueError("an address with another port than 443")
    if not host.isascii():
        raise ValueError("an address whose host is not in ASCII; write it in Punycode (xn--…)")
    if "." not in host or host.endswith(_PRIVATE) or _is_literal(host):
        raise ValueError(_NO_HOST)
    return url


def _all_of(handle: int, size: int) -> bytes:
    """What is left in *handle*, of which *size* bytes are expected: a file object would make room for the most."""
    parts, left, next_part = [], MOST_BYTES + 1, size + 1
    while left > 0 and (part := os.read(handle, min(next_part, left))):
        parts.append(part)
        left, next_part = left - len(part), _MORE
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _state_of(facts: os.stat_result, now: int) -> int:
    """See `File.state`. *now* is the time of day in nanoseconds.

    Git tells by the same numbers whether a file changed, and also doubts those of files that are too young:
    git-scm.com/docs/racy-git.
    """
    if now - max(facts.st_ctime_ns, facts.st_mtime_ns) < _SETTLED:
        return 0
    return hash((facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns))


def _is_literal(host: str) -> bool:
    """Whether *host* is an address and no name; browsers and libraries also read `127.1` and `0x7f.1` as addresses."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        last = host.rpartition(".")[2]
        return last.isdigit() or last.startswith("0x")
    return True


def _is_below(folder: str, path: str) -> bool:
    return path != folder and os.path.commonpath([folder, path]) == folder


def _is_still_there(path: str, folder: str, facts: os.stat_result) -> bool:
    """Whether the open file is the one that *path* names now, and below *folder*: a link may have been changed."""
    try:
        return _is_below(folder, os.path.realpath(path)) and os.path.samestat(Path(path).stat(), facts)
    except OSError:
        return False


def _reason(problem: Exception) -> str:
    return "no such file" if isinstance(problem, FileNotFoundError) else type(problem).__name__


def _too_large(size: int) -> str:
    return f"a file of {size / 2**20:,.0f} MB; {MOST_BYTES // 2**20} MB are the most"
