"""The fake's jobs, through the real SDKs."""

from __future__ import annotations

import io
import json
from typing import Any

import openai
import pytest

from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.fakeserver.test_fakeserver import ARRAY, RULES, USER


def openai_lines(count: int, url: str = "/v1/responses") -> bytes:
    shape = {"type": "json_schema", "name": "reply", "schema": ARRAY, "strict": True}
    body = {"model": "fake-1", "instructions": "Classify.", "input": USER, "text": {"format": shape}}
    lines = [{"custom_id": f"t-{number}", "method": "POST", "url": url, "body": body} for number in range(count)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def submitted(sdk: openai.AsyncOpenAI, content: bytes, **more: Any) -> Any:
    file = await sdk.files.create(file=("smelt-x.jsonl", io.BytesIO(content), "application/jsonl"), purpose="batch")
    return await sdk.batches.create(
        input_file_id=file.id, endpoint="/v1/responses", completion_window="24h", metadata={"smelt": "x"}, **more
    )


def sdk_of(fake: Scenario, key: str = "key") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=fake.base_url("openai"), api_key=key, max_retries=0)


async def ended(sdk: openai.AsyncOpenAI, name: str) -> Any:
    for _ in range(10):
        batch = await sdk.batches.retrieve(name)
        if batch.status in ("completed", "failed", "expired", "cancelled"):
            return batch
    raise AssertionError(batch)


async def lines_of(sdk: openai.AsyncOpenAI, name: str | None) -> list[Any]:
    content = (await sdk.files.content(name)).content if name else b""
    return [json.loads(line) for line in content.split(b"\n") if line]


async def test_a_job_of_openai_is_run_once_and_billed(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, count_by="name")
    async with sdk_of(fake) as sdk:
        batch = await submitted(sdk, openai_lines(4))
        assert batch.status == "validating"

        batch = await ended(sdk, batch.id)
        lines = await lines_of(sdk, batch.output_file_id)

    assert (batch.status, batch.error_file_id) == ("completed", None)
    assert (batch.request_counts.total, batch.request_counts.completed) == (4, 4)
    assert {line["custom_id"] for line in lines} == {"t-0", "t-1", "t-2", "t-3"}
    assert all(line["response"]["body"]["status"] == "completed" for line in lines)
    assert [(one["id"], one["charged"], len(one["rows"])) for one in fake.jobs().bill] == [
        (f"t-{number}", True, 5) for number in range(4)
    ]
    assert [(one["tag"], one["lines"], one["run"]) for one in fake.jobs().jobs] == [("x", 4, 4)]


async def test_an_expired_job_has_both_files(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, jobs={"usual": {"end": "expired", "share": 0.5}})
    async with sdk_of(fake) as sdk:
        batch = await ended(sdk, (await submitted(sdk, openai_lines(4))).id)
        good, bad = await lines_of(sdk, batch.output_file_id), await lines_of(sdk, batch.error_file_id)

    assert batch.status == "expired"
    assert (len(good), [line["error"]["code"] for line in bad]) == (2, ["batch_expired"] * 2)
    assert len(fake.jobs().bill) == 2


async def test_a_cancelled_job_keeps_what_was_done(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, jobs={"usual": {"waits": 60, "runs": 240}})
    async with sdk_of(fake) as sdk:
        batch = await submitted(sdk, openai_lines(4))
        fake.advance(120)
        assert (await sdk.batches.cancel(batch.id)).status == "cancelling"

        batch = await ended(sdk, batch.id)
        good = await lines_of(sdk, batch.output_file_id)

    assert batch.status == "cancelled"
    assert len(good) == len(fake.jobs().bill) == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (openai_lines(1) + b"{oops\n", "invalid_json_line"),
        (openai_lines(1) * 2, "duplicate_custom_id"),
        (openai_lines(1, "/v1/embeddings"), "url_mismatch"),
    ],
)
async def test_a_bad_file_fails_a_job(scenario: MakeScenario, content: bytes, code: str) -> None:
    fake = scenario()
    async with sdk_of(fake) as sdk:
        batch = await ended(sdk, (await submitted(sdk, content)).id)

    assert (batch.status, batch.errors.data[0].code) == ("failed", code)
    assert fake.jobs().bill == []


async def test_too_many_waiting_tokens_fail_a_job_without_an_error_of_http(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"most_waiting": 2_000})
    async with sdk_of(fake) as sdk:
        first, second = [await submitted(sdk, openai_lines(5)) for _ in range(2)]
        assert (await ended(sdk, second.id)).errors.data[0].code == "token_limit_exceeded"
        assert (await ended(sdk, first.id)).status == "completed"


async def test_a_line_is_struck_in_the_file(scenario: MakeScenario) -> None:
    fake = scenario(
        answers=RULES,
        jobs={"usual": {"lines": {
            "0": "lost", "1": "doubled", "2": {"fault": "swapped", "with": 3}, "4": "garbled", "5": "unknown_id",
            "6": "zero", "7": {"fault": "status", "kind": "rate_limit"}, "8": "never_run", "9": "drop",
        }}},
    )  # fmt: skip
    async with sdk_of(fake) as sdk:
        batch = await ended(sdk, (await submitted(sdk, openai_lines(10))).id)
        content = (await sdk.files.content(batch.output_file_id)).content
        bad = {line["custom_id"]: line for line in await lines_of(sdk, batch.error_file_id)}

    assert content.count(b'"custom_id":"t-1"') == 2
    assert b'"t-0"' not in content
    assert b"someone-else-1" in content
    assert sum(_is_json(line) for line in content.splitlines()) == len(content.splitlines()) - 1
    assert bad["t-6"]["response"] == {"status_code": 0, "request_id": "", "body": {}}
    assert bad["t-7"]["response"]["status_code"] == 429
    assert bad["t-8"]["error"]["code"] == "batch_expired"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


async def test_a_lost_answer_to_a_create_leaves_a_job(scenario: MakeScenario) -> None:
    fake = scenario(jobs={"http": {"create": {"0": "reset_before", "1": {"fault": "status", "code": 500}}}})
    async with sdk_of(fake) as sdk:
        with pytest.raises(openai.APIConnectionError, match="Connection"):
            await submitted(sdk, openai_lines(1))
        with pytest.raises(openai.InternalServerError, match="500"):
            await submitted(sdk, openai_lines(1))

        assert [batch.metadata async for batch in await sdk.batches.list()] == [{"smelt": "x"}]


async def test_a_job_belongs_to_its_key(scenario: MakeScenario) -> None:
    fake = scenario()
    async with sdk_of(fake) as sdk, sdk_of(fake, "another") as other:
        batch = await submitted(sdk, openai_lines(1))

        with pytest.raises(openai.NotFoundError, match="No batch found"):
            await other.batches.retrieve(batch.id)
        assert (await other.batches.list()).data == []
