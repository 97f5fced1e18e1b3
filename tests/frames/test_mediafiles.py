"""Which files and addresses a cell may name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smelt.frames import mediafiles
from smelt.frames.mediafiles import checked_url, read_below, read_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = tmp_path / "root"
    (folder / "in").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"a")
    (folder / "in" / "b.png").write_bytes(b"b")
    (folder / "empty.png").touch()
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "near.png").symlink_to(folder / "in" / "b.png")
    os.mkfifo(folder / "pipe")
    (tmp_path / "rooted").mkdir()
    (tmp_path / "rooted" / "c.png").write_bytes(b"c")
    return folder


@pytest.mark.parametrize(("path", "data"), [("a.png", b"a"), ("in/../in/b.png", b"b"), ("near.png", b"b")])
def test_a_file_below_the_root_is_read(root: Path, path: str, data: bytes) -> None:
    assert read_below(str(root), path).data == data
    assert read_below(os.path.relpath(root), str(root / path)).data == data


@pytest.mark.parametrize("expected", [0, 1, 99_999, 100_000, 200_000])
def test_a_file_is_read_to_its_end_whatever_size_it_had(root: Path, expected: int) -> None:
    whole = os.urandom(100_000)
    (root / "a.png").write_bytes(whole)
    with (root / "a.png").open("rb") as file:
        assert mediafiles._all_of(file.fileno(), expected) == whole


def test_a_file_that_grows_without_end_is_read_to_the_limit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mediafiles, "MOST_BYTES", 70_000)
    (root / "a.png").write_bytes(bytes(100_000))
    with (root / "a.png").open("rb") as file, pytest.raises(ValueError, match="are the most"):
        mediafiles.bounded(mediafiles._all_of(file.fileno(), 10))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../secret.png", "leads out of the root"),
        ("../rooted/c.png", "leads out of the root"),  # The root's name is the beginning of its own.
        ("/etc/passwd", "leads out of the root"),
        ("out.png", "leads out of the root"),
        ("in/../../secret.png", "leads out of the root"),
        (".", "leads out of the root"),
        ("in", "not a regular file"),
        ("pipe", "not a regular file"),
        ("gone.png", "no such file"),
        ("~/a.png", "no such file"),
        ("$HOME/a.png", "no such file"),
        ("file:///etc/passwd", "no such file"),
        ("a.png\0", "null byte"),
        ("empty.png", "empty file"),
        ("x" * 5_000, "cannot be opened"),
    ],
)
def test_everything_else_is_refused_without_quoting_it(root: Path, path: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        read_below(str(root), path)
    assert path not in str(caught.value) or path in (".", "in")
    assert str(root) not in str(caught.value)


def test_the_state_of_a_file_tells_whether_it_changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "a.png"
    written = path.stat().st_ctime_ns  # By the clock of the kernel, which may differ from that of the process.
    monkeypatch.setattr(mediafiles, "time_ns", lambda: written + 10**9)
    young = read_file(str(path)).state
    monkeypatch.setattr(mediafiles, "time_ns", lambda: written + 10**10)
    first, again = read_file(str(path)).state, read_file(str(path)).state
    facts = path.stat()
    path.write_bytes(b"b")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns - 1))

    assert young == 0  # It could be written again within the same tick of the clock.
    assert first == again != 0
    assert read_file(str(path)).state != first  # It has the same size.


def test_a_file_that_is_too_large_is_refused_before_it_is_read(root: Path) -> None:
    with (root / "huge.png").open("wb") as file:
        file.truncate(mediafiles.MOST_BYTES + 1)
    with pytest.raises(ValueError, match="a file of 50 MB; 50 MB are the most"):
        read_file(str(root / "huge.png"))


@pytest.mark.parametrize(
    "url", ["https://images.example.com/a.png", "https://cdn.example.org:443/x?sig=1", "HTTPS://a.bc/x"]
)
def test_a_public_address_is_passed_on(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.png",
        "ftp://example.com/a.png",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://user:SECRET@example.com/a.png",
        "https://user@example.com/a.png",
        "https://localhost/a.png",
        "https://intranet/a.png",
        "https://printer.local/a.png",
        "https://api.internal/a.png",
        "https://127.0.0.1/a.png",
        "https://127.1/a.png",
        "https://0x7f.1/a.png",
        "https://2130706433/a.png",
        "https://[::1]/a.png",
        "https://[fd00::1]/a.png",
        "https://169.254.169.254/latest/meta-data",
        "https://metadata.google.internal/x",
        "https://localhost./a.png",
        "https://example.com:8443/a.png",
        "https://example.com:99999/a.png",
        "https://exa mple.com/a.png",
        "https://example.com/a.png\nX: SECRET",
        "https:///a.png",
        "https://[::1/a.png",
    ],
)
def test_other_addresses_are_refused_without_quoting_them(url: str) -> None:
    with pytest.raises(ValueError, match="an address") as caught:
        checked_url(url)
    assert "SECRET" not in str(caught.value)
    assert url not in str(caught.value)
