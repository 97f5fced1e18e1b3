"""`smelt.batch.read`: results of the files of jobs, without a network, a key or a ledger."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import smelt
from smelt.batch.archive import _sent
from smelt.batch.files import history_in
from smelt.call.resolve import resolve_model
from smelt.plan.media import Media
from smelt.providers.base import Request
from smelt.providers.joblines import line_reader
from tests.batch.test_fakes import PROVIDERS, called
from tests.conftest import MakeScenario
from tests.fakeserver import FakeServer
from tests.fakeserver.answers import expected
from tests.models import RULES, Company

Change = Callable[[list[bytes]], list[bytes]]


@pytest.fixture(scope="module")
def written(fake: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """What a call with `artefacts=` has written, of each provider once."""
    made = dict[str, Path]()

    def make(provider: str) -> Path:
        if provider not in made:
            made[provider] = tmp_path_factory.mktemp(provider)
            scenario = fake.scenario(answers=RULES, count_by="name")
            called(provider, scenario, 25, made[provider] / "a.sqlite", artefacts=made[provider] / "out")
            scenario.close()
        return made[provider] / "out"

    return make


@pytest.fixture
def out(written: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of the files of OpenAI's job that a test may change."""
    out = Path(shutil.copytree(written("openai"), tmp_path / "out"))
    shutil.rmtree(out / "live")
    return out


def folder_in(out: Path) -> Path:
    (folder,) = (out / "jobs").iterdir()
    return folder


def change(path: Path, how: Change) -> None:
    path.write_bytes(b"".join(how(path.read_bytes().splitlines(keepends=True))))


def change_manifest(out: Path, **changes: Any) -> None:
    path = folder_in(out) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def answered(result: smelt.SmeltResult[Any]) -> int:
    """How many rows have an answer: the right one. The others say why they have none."""
    for row, one in zip(result.frame, result.data, strict=True):
        if one is None:
            assert row["smelt_error"]
        else:
            assert one.model_dump() == expected(RULES, {"name": row["name"], "number": row["number"]})
            assert row["sector"] == one.sector
    return result.metrics.successful_rows


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_result_is_made_of_the_files_alone(provider: str, written: Callable[[str], Path]) -> None:
    result = smelt.batch.read(written(provider), Company)

    assert (answered(result), result.metrics.total_rows, result.success) == (25, 25, True)
    assert result.model == f"{provider}:fake-1"
    assert result.metrics.requests == 5
    assert result.metrics.tiers["batch"] == 4
    assert result.metrics.input_tokens > 0


def test_damage_to_live_requests_costs_only_its_lines(written: Callable[[str], Path], tmp_path: Path) -> None:
    out = Path(shutil.copytree(written("openai"), tmp_path / "out"))
    (folder,) = (out / "live").iterdir()
    change(folder / "replies.jsonl", lambda lines: [b"{}\n", b"[]\n"])

    with pytest.warns(smelt.SmeltWarning, match="2 lines of the results cannot be read"):
        result = smelt.batch.read(out, Company)

    assert (answered(result), result.metrics.total_rows) == (20, 25)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_rows_that_a_job_left_and_that_were_asked_live_are_answered(scenario: MakeScenario, tmp_path: Path) -> None:
    lines = {"0": {"fault": "status", "code": 500}}
    fake = scenario(answers=RULES, count_by="name", jobs={"script": {"0": {"lines": lines}}})
    called("openai", fake, 25, tmp_path / "a.sqlite", artefacts=tmp_path / "out")

    result = smelt.batch.read(tmp_path / "out", Company)

    assert (answered(result), result.metrics.total_rows) == (25, 25)
    assert result.metrics.requests == 1 + 4 + 1


def test_the_manifest_tells_the_history_of_the_job(out: Path) -> None:
    states = [one["state"] for one in history_in(folder_in(out) / "manifest.json")]

    assert states == ["planned", "uploaded", "creating", "submitted", "ended", "collected"]


def test_the_folder_of_one_job_is_read_too(out: Path) -> None:
    assert answered(smelt.batch.read(folder_in(out), Company)) == 20


def swapped(lines: list[bytes]) -> list[bytes]:
    first, second = (json.loads(line) for line in lines[:2])
    first["custom_id"], second["custom_id"] = second["custom_id"], first["custom_id"]
    return [json.dumps(one).encode() + b"\n" for one in (first, second)] + lines[2:]


def of_others(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b'"custom_id":"', b'"custom_id":"x'), *lines[1:]]


DAMAGE: dict[str, tuple[str, Change, int, str | None]] = {
    "a line of results is lost": ("results", lambda lines: lines[1:], 15, None),
    "the results are cut off": ("results", lambda lines: [*lines[:3], lines[3][:40]], 15, "1 line of the results"),
    "a line is no JSON": ("results", lambda lines: [b"\xff{\n", *lines[1:]], 15, "cannot be read"),
    "a line is of somebody else": ("results", lambda lines: [*lines, b'{"custom_id":"x-1"}\n'], 20, "of no request"),
    "an id is changed": ("results", of_others, 15, "of no request"),
    "two ids are swapped": ("results", swapped, 10, "Replies under the id of another request: 2 lines"),
    "a line comes twice": ("results", lambda lines: [*lines, lines[0]], 20, None),
    "a request is damaged": (
        "requests",
        lambda lines: [lines[0][:50] + b"\n", *lines[1:]],
        15,
        "requests.jsonl cannot be read. Results of no",
    ),
}


@pytest.mark.parametrize(("name", "how", "left", "words"), DAMAGE.values(), ids=DAMAGE)
def test_damage_costs_only_its_lines(out: Path, name: str, how: Change, left: int, words: str | None) -> None:
    change(folder_in(out) / f"{name}.jsonl", how)

    if words is None:
        result = smelt.batch.read(out, Company)
    else:
        with pytest.warns(smelt.SmeltWarning, match=words):
            result = smelt.batch.read(out, Company)

    assert answered(result) == left


def test_two_different_answers_to_a_line_do_not_count(out: Path) -> None:
    path = folder_in(out) / "results.jsonl"
    first = path.read_bytes().splitlines(keepends=True)[0]
    token = _sent((folder_in(out) / "requests.jsonl").read_bytes().splitlines(keepends=True)[0])
    assert token is not None
    other = {"custom_id": token[0], "response": json.loads(first)["response"]}
    text = json.dumps({"rows": [{"id": row.token, **expected(RULES, row.cells)} for row in token[1]]}) + " "
    other["response"]["body"]["output"][-1]["content"][-1]["text"] = text
    change(path, lambda lines: [*lines, json.dumps(other).encode() + b"\n"])

    result = smelt.batch.read(out, Company)

    assert answered(result) == 15
    assert {error.message for error in result.errors} == {"Its line has two different answers."}


def test_rows_of_a_job_that_was_not_collected_are_pending(out: Path) -> None:
    (folder_in(out) / "results.jsonl").unlink()
    change_manifest(out, state="submitted")

    result = smelt.batch.read(out, Company)

    assert (result.metrics.pending_rows, result.metrics.failed_rows, result.success) == (20, 0, False)
    assert result.frame[0]["smelt_error"].startswith("pending in job")


def test_a_job_that_cannot_be_read_does_not_hide_the_others(out: Path) -> None:
    (out / "jobs" / "empty").mkdir()

    with pytest.warns(smelt.SmeltWarning, match=r"empty: manifest\.json is missing"):
        assert answered(smelt.batch.read(out, Company)) == 20


class Other(BaseModel):
    colour: str


def test_another_output_model_is_refused(out: Path) -> None:
    with pytest.raises(smelt.SmeltConfigError, match="and not for colour"):
        smelt.batch.read(out, Other)


def test_jobs_with_different_questions_are_read_one_by_one(out: Path) -> None:
    shutil.copytree(folder_in(out), out / "jobs" / "second")
    path = out / "jobs" / "second" / "manifest.json"
    path.write_text(path.read_text().replace("Describe", "Judge"))

    with pytest.raises(smelt.SmeltConfigError, match="2 different models or prompts"):
        smelt.batch.read(out, Company)

    assert answered(smelt.batch.read(out / "jobs" / "second", Company)) == 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON, or is cut off"),
        ("[]", "does not say what was asked"),
        ('{"format": 1, "tag": 3, "fields": ["a"]}', "does not say what was asked"),
        ('{"format": 2}', "newer smelt"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_named(out: Path, text: str, words: str) -> None:
    (folder_in(out) / "manifest.json").write_text(text)

    with pytest.raises(smelt.SmeltConfigError, match=words):
        smelt.batch.read(out, Company)


def test_a_request_file_that_is_missing_is_named(out: Path) -> None:
    (folder_in(out) / "requests.jsonl").unlink()

    with pytest.raises(smelt.SmeltConfigError, match=r"requests\.jsonl cannot be read: No such file"):
        smelt.batch.read(out, Company)


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_a_folder_without_jobs_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(smelt.SmeltConfigError, match="has no jobs to read"):
        smelt.batch.read(tmp_path / path, Company)


def test_jobs_of_a_provider_of_the_callers_own_are_refused(out: Path) -> None:
    change_manifest(out, model="mock:mock")

    with pytest.raises(smelt.SmeltConfigError, match="smelt reads those of openai"):
        smelt.batch.read(out, Company)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_rows_that_differ_in_their_pictures_only_are_different(provider: str) -> None:
    client = line_reader(resolve_model(f"{provider}:fake-1", needs_key=False))
    assert client is not None
    rows = [
        f'{{"id":"{token}","row":{{"n":1,"photo":{{"media":"image/png","as":"{token}/photo"}}}}}}' for token in "ab"
    ]
    pictures = [Media(type="image/png", data=data) for data in (b"one", b"two")]
    request = Request(
        system="Say.",
        user=f"[{','.join(rows)}]\nAnswer.",
        schema={"type": "object", "properties": {}},
        max_output_tokens=10,
        parts=(f"{rows[0]}\na/photo:", pictures[0], f"{rows[1]}\nb/photo:", pictures[1], "Answer."),
    )

    sent = _sent(client.line("tag-1", request))  # type: ignore[attr-defined]  # Each client has it.

    assert sent is not None
    assert [(row.token, row.cells) for row in sent[1]] == [
        (token, {"n": 1, "photo": {"media": "image/png"}}) for token in "ab"
    ]
    assert len({row.key for row in sent[1]}) == 2


def test_the_module_is_loaded_late() -> None:
    assert "read" in dir(smelt.batch)
    assert sys.modules["smelt.batch"].__all__ == ["read"]
