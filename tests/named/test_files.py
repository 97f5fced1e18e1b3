"""Engine files of every kind and shape."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from smelt.errors import SmeltConfigError
from smelt.named.entries import Entry
from smelt.named.files import entries_in

GPT = Entry(vendor="openai", model="gpt-4.1-nano")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("e.yml", "engines:\n  fast: {backend: openai, model: gpt-4.1-nano}\n"),
        ("e.yaml", "engines:\n  - name: fast\n    backend: openai\n    model: gpt-4.1-nano\n"),
        ("e.yml", "- {name: fast, backend: openai, model: gpt-4.1-nano}\n"),
        ("e.yml", "fast: {backend: openai, model: gpt-4.1-nano}\n"),
        ("e.toml", '[engines.fast]\nbackend = "openai"\nmodel = "gpt-4.1-nano"\n'),
        ("e.toml", '[[engines]]\nname = "fast"\nbackend = "openai"\nmodel = "gpt-4.1-nano"\n'),
        ("e.json", '{"engines": {"fast": {"backend": "openai", "model": "gpt-4.1-nano"}}}'),
        ("e.JSON", '[{"name": "fast", "backend": "openai", "model": "gpt-4.1-nano"}]'),
        ("e.yml", "x: &x {backend: openai, model: gpt-4.1-nano}\nfast: *x\n"),
    ],
    ids=["table", "list", "bare list", "bare table", "TOML table", "TOML list", "JSON table", "JSON list", "alias"],
)
def test_each_shape_of_a_file_is_read(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)

    assert entries_in(tmp_path / name)["fast"] == GPT


def test_the_same_name_twice_with_the_same_fields_is_one_entry(tmp_path: Path) -> None:
    file = tmp_path / "e.yml"
    file.write_text("- {name: a, backend: openai, model: m}\n- {name: a, model: m, backend: openai}\n")

    assert list(entries_in(file)) == ["a"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("e.yml", "- {name: a, backend: openai, model: m}\n- {name: a, backend: openai, model: n}", "entry 'a': the "),
        ("e.yml", "a: {backend: openai, model: m}\na: {backend: openai, model: n}", "e.yml cannot be read: 'a' is the"),
        ("e.json", '{"a": {"model": "m"}, "a": {"model": "n"}}', "e.json cannot be read: 'a' is there twice"),
        ("e.yml", "engines: {}\nsteps: []", "there is 'steps' beside 'engines'"),
        ("e.yml", "- {backend: openai, model: m}", "e.yml, entry 1: the field 'name' is missing"),
        ("e.yml", "a: gpt-4.1-nano", "e.yml, entry 'a': this must be a table"),
        ("e.yml", "", "e.yml has no models"),
        ("e.yml", "a: [", "e.yml cannot be read: "),
        ("e.toml", "a = ", "e.toml cannot be read: "),
        ("e.json", "{", "e.json cannot be read: "),
        ("e.json", "[" * 100_000, "e.json cannot be read: "),
        ("e.yml", "a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("e.ini", "", "e.ini must be a file of models (.yml, .toml or .json)"),
        ("e.json", " " * (2**20 + 1), "is larger than 1 MB"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(SmeltConfigError, match=re.escape(said)):
        entries_in(tmp_path / name)


def test_what_a_merge_brings_in_may_be_overridden(tmp_path: Path) -> None:
    (tmp_path / "e.yml").write_text(
        "one: &one {backend: openai, model: gpt-4.1}\nfast: {<<: *one, model: gpt-4.1-nano}\n"
    )

    assert entries_in(tmp_path / "e.yml")["fast"] == GPT


def test_a_key_in_place_of_the_name_of_its_variable_is_refused_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "e.yml").write_text("a: {backend: openai, model: m, api_key_env: sk-proj-c4n4ry}")

    with pytest.raises(SmeltConfigError, match="must be the name of an environment variable") as caught:
        entries_in(tmp_path / "e.yml")

    assert "c4n4ry" not in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_bytes(b"\xff")

    with pytest.raises(SmeltConfigError, match=r"e\.yml cannot be read: No such file"):
        entries_in(tmp_path / "e.yml")
    with pytest.raises(SmeltConfigError, match=r"e\.json is not UTF-8"):
        entries_in(tmp_path / "e.json")


@pytest.mark.slow
def test_without_the_extra_the_command_that_installs_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "e.yml").write_text("a: {model: m}")
    code = (
        "import sys; sys.modules['yaml'] = None; import smelt\n"
        f"try: smelt.load_models({str(tmp_path / 'e.yml')!r})\n"
        "except smelt.errors.MissingDependencyError as problem: print(problem)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "pip install 'dfsmelt[yaml]'" in done.stdout
