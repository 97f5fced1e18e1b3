"""Where weights lie, and what is said when they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.local.weights import CATALOG, DEFAULT, fetched, home, is_here, named, place


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"SMELT_MODELS": "/models", "XDG_DATA_HOME": "/data"}, Path("/models"), id="own variable first"),
        pytest.param({"XDG_DATA_HOME": "/data"}, Path("/data/smelt/models"), id="xdg"),
        pytest.param({"XDG_DATA_HOME": "data"}, Path.home() / ".local/share/smelt/models", id="relative xdg ignored"),
        pytest.param({"XDG_DATA_HOME": ""}, Path.home() / ".local/share/smelt/models", id="empty xdg ignored"),
        pytest.param({}, Path.home() / ".local/share/smelt/models", id="default"),
    ],
)
def test_home_is_the_users_data_directory(environ: dict[str, str], expected: Path) -> None:
    assert home(environ) == expected


def test_a_home_that_the_system_does_not_know_is_told() -> None:
    with pytest.raises(SmeltConfigError, match="home directory is not known. Set SMELT_MODELS"):
        home({"SMELT_MODELS": "~no-such-user/models"})


def test_no_name_means_the_default() -> None:
    assert named("").name == DEFAULT


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(SmeltConfigError, match=r"no embedded model 'smollm2-35m'. Did you mean 'smollm2-135m'\?"):
        named("smollm2-35m")


@pytest.mark.parametrize("name", CATALOG)
def test_missing_weights_name_the_command(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_MODELS", str(tmp_path))

    with pytest.raises(MissingDependencyError, match=f"python -m smelt local pull {name}"):
        fetched(named(name))


def test_a_file_of_another_size_is_not_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_MODELS", str(tmp_path))
    place(named("")).parent.mkdir()
    place(named("")).write_bytes(b"GGUF")

    assert not is_here(named(""))


def test_the_parts_of_qwen_add_up() -> None:
    assert named("qwen2.5-coder-1.5b").size == 1_117_320_768
