"""Whose files a ledger's are, and where they may be."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from smelt.errors import SmeltWarning, StoreError, StoreNotFoundError, StoreReadOnlyError, UnsafeStoreError
from smelt.ledger.files import default_path, located, remote_kind
from smelt.ledger.opening import open_store
from tests.ledger.acting import Actor

ROOT = os.geteuid() == 0


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
async def test_files_are_closed_to_others_under_any_umask(tmp_path: Path) -> None:
    path = tmp_path / "made" / "here" / "ledger.sqlite"
    open_store(path, makes_directory=True).close()
    actor = Actor(path)
    await actor.ask("a")

    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}

    assert modes == dict.fromkeys(
        ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.sqlite-lock"], 0o600
    )
    assert stat.S_IMODE(path.parent.stat().st_mode) == stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    actor.end()


def test_a_file_that_others_can_read_is_closed(path: Path) -> None:
    open_store(path).close()
    path.chmod(0o644)

    with pytest.warns(SmeltWarning, match="Other users could open"):
        open_store(path).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal", "-lock"])
def test_a_symlink_is_refused(path: Path, suffix: str) -> None:
    if suffix:
        open_store(path).close()
    link, target = path.with_name(path.name + suffix), path.with_name("target")
    link.unlink(missing_ok=True)
    target.write_bytes(b"precious")
    link.symlink_to(target)

    with pytest.raises(UnsafeStoreError, match="symbolic link"):
        open_store(path)

    assert target.read_bytes() == b"precious"


def test_a_dangling_symlink_makes_no_file(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))

    with pytest.raises(UnsafeStoreError, match="symbolic link"):
        open_store(path)

    assert not path.with_name("elsewhere").exists()


def test_a_hard_link_is_refused(path: Path) -> None:
    open_store(path).close()
    path.with_name("second").hardlink_to(path)

    with pytest.raises(UnsafeStoreError, match="second name"):
        open_store(path)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777], ids=oct)
def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)

    with pytest.raises(UnsafeStoreError, match="Other users can write") as caught:
        open_store(tmp_path / "ledger.sqlite")

    tmp_path.chmod(0o700)
    assert ("chmod" in str(caught.value)) == (mode < 0o1000)  # Nobody should close /tmp.


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
@pytest.mark.parametrize("given", ["file", "directory"])
def test_what_belongs_to_someone_else_is_refused(path: Path, given: str) -> None:
    open_store(path).close()
    os.chown(path if given == "file" else path.parent, 12_345, 12_345)

    with pytest.raises(UnsafeStoreError, match="another user"):
        open_store(path)

    os.chown(path.parent, 0, 0)


def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()

    with pytest.raises(StoreError, match="a directory; name a file in it"):
        open_store(tmp_path / "made")


def test_a_pipe_is_refused(path: Path) -> None:
    os.mkfifo(path, 0o600)

    with pytest.raises(StoreError, match="not an ordinary file"):
        open_store(path)


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match=r"cannot be made|not a directory|cannot be looked at"):
        open_store(tmp_path / "file" / "ledger.sqlite")


def test_a_directory_that_cannot_be_looked_for_is_one_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(StoreReadOnlyError, match=r"cannot be made: File name too long"):
        open_store(tmp_path / ("x" * 300) / "ledger.sqlite", makes_directory=True)


def test_nothing_is_made_where_a_ledger_is_only_looked_for(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match="There is no"):
        open_store(tmp_path / "made" / "ledger.sqlite", make=False)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", ["", " ", "a\0b", ".", "..", "/"], ids=repr)
def test_a_path_that_names_no_file_is_refused(bad: str) -> None:
    with pytest.raises(StoreError, match="must be the path of a file"):
        located(bad)


def test_the_default_is_in_the_cache_directory_unless_the_environment_says_otherwise(tmp_path: Path) -> None:
    assert default_path({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "smelt" / "ledger.sqlite"
    assert default_path({"XDG_CACHE_HOME": "relative"}) == Path.home() / ".cache" / "smelt" / "ledger.sqlite"
    assert default_path({"SMELT_LEDGER": " /x/y.sqlite "}) == Path("/x/y.sqlite")


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
36 22 0:32 / /home rw,relatime shared:2 - nfs4 server:/home rw
37 36 0:33 / /home/fast\\040disk rw - ext4 /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [("/srv", None), ("/home/ann", "nfs4"), ("/home/fast disk/x", None), ("/homestead", None)],
)
def test_a_network_file_system_is_known_by_its_mount(directory: str, kind: str | None) -> None:
    assert remote_kind(Path(directory), MOUNTS) == kind
