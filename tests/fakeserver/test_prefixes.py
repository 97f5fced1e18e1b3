"""The fake bills prompt caches by the published rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakeserver.contents import Contents, Refused
from tests.fakeserver.messages import BadRequest
from tests.fakeserver.prefixes import Now, check
from tests.fakeserver.till import RATES, Receipt, Till

HEAD = "a guideline " * 800  # 2,400 tokens.
ROWS = "the rows of a request " * 100  # 550 tokens.
MARK = {"prompt_cache_breakpoint": {"mode": "explicit"}}
EXPLICIT = {"prompt_cache_options": {"mode": "explicit"}}


def openai(**more: Any) -> dict[str, Any]:
    marked = {"type": "input_text", "text": HEAD, **MARK}
    return {
        "input": [{"role": "developer", "content": [marked]}, {"role": "user", "content": ROWS}],
        **EXPLICIT,
        **more,
    }


def anthropic(**control: str) -> dict[str, Any]:
    return {"system": [{"type": "text", "text": HEAD, "cache_control": {"type": "ephemeral", **control}}]}


def ring(
    till: Till, model: str, body: Mapping[str, Any], *, head: str = HEAD, tail: str = ROWS, at: float = 0.0, **more: Any
) -> Receipt:
    return till.ring(model, body, head=head, tail=tail, made=10, now=Now(at, more.pop("loop", at)), **more)


def test_a_marked_prefix_is_written_once_and_read_by_the_next_request() -> None:
    till = Till()

    first, second = ring(till, "gpt-6-luna", openai()), ring(till, "gpt-6-luna", openai(), tail="others")

    assert (first.written, first.read) == (2_400, 0)
    assert (second.written, second.read) == (0, 2_400)


@pytest.mark.parametrize(
    "other",
    [{"prompt_cache_key": "b"}, {"reasoning": {"effort": "high"}}, {"service_tier": "flex"}],
    ids=["key", "effort", "tier"],
)
def test_everything_in_the_match_must_be_equal(other: dict[str, Any]) -> None:
    till = Till()
    ring(till, "gpt-6-luna", openai())

    assert ring(till, "gpt-6-luna", openai(**other)).read == 0


def test_a_prefix_that_differs_in_one_character_is_not_read() -> None:
    till = Till()
    ring(till, "gpt-6-luna", openai())

    assert ring(till, "gpt-6-luna", openai(), head="A" + HEAD[1:]).read == 0


def test_implicit_mode_writes_the_rows_and_explicit_mode_without_a_mark_nothing() -> None:
    rows: dict[str, Any] = {"instructions": HEAD, "input": ROWS}

    assert ring(Till(), "gpt-6-luna", rows).written == 2_950
    assert ring(Till(), "gpt-6-luna", rows | EXPLICIT).written == 0


def test_a_request_without_a_mark_reads_nothing() -> None:
    till = Till()
    ring(till, "gpt-6-luna", openai())

    assert ring(till, "gpt-6-luna", {"input": ROWS, **EXPLICIT}).read == 0


def test_below_the_minimum_nothing_is_written_and_nothing_said() -> None:
    assert ring(Till(), "gpt-6-luna", openai(), head="short").written == 0
    assert ring(Till(), "claude-haiku-4-5", anthropic()).written == 0
    assert ring(Till(), "claude-haiku-5-5", anthropic()).written == 2_400


def test_requests_that_leave_together_each_write() -> None:
    till = Till()

    written = [ring(till, "gpt-6-luna", openai(), loop=at, after=1.0).written for at in (0.0, 0.5, 1.1)]

    assert written == [2_400, 2_400, 0]


@pytest.mark.parametrize(("control", "life"), [({}, 300), ({"ttl": "1h"}, 3_600)])
def test_a_prefix_lives_as_long_as_it_was_asked_to_and_each_read_renews_it(control: dict[str, str], life: int) -> None:
    till = Till()
    first = ring(till, "claude-sonnet-5-5", anthropic(**control))

    reads = [ring(till, "claude-sonnet-5-5", anthropic(**control), at=life * at).read for at in (0.9, 1.8, 2.9)]

    assert (first.hour, reads) == (2_400 if life == 3_600 else 0, [2_400, 2_400, 0])


def test_lines_of_a_job_do_not_read_each_others_writes() -> None:
    till = Till()

    written = [ring(till, "claude-sonnet-5-5", anthropic(), at=at, tier="batch").written for at in (0, 60)]

    assert written == [2_400, 2_400]


@pytest.mark.parametrize(
    ("body", "may_mark"),
    [
        (EXPLICIT, False),
        ({**EXPLICIT, "prompt_cache_retention": "24h"}, True),
        ({"input": [{"role": "developer", "content": [{"type": "text", "text": "", **MARK}]}]}, True),
        ({"input": [{"role": "developer", "content": [{"type": "input_text", "text": "", **MARK}] * 5}]}, True),
    ],
    ids=["old model", "both ways", "words of chat", "five marks"],
)
def test_wrong_words_on_the_cache_are_refused(body: dict[str, Any], may_mark: bool) -> None:
    with pytest.raises(BadRequest, match="prompt_cache_"):
        check(body, may_mark=may_mark)


class Door:
    """Kept contents of one key, at a time that the test moves."""

    def __init__(self, **terms: Any) -> None:
        self.now = 0.0
        self.contents = Contents(terms, Till(), lambda: self.now)

    def ask(self, method: str, name: str = "", body: Any = None, key: str = "k") -> tuple[int, Any]:
        request = self.request(method, body, key)
        found = self.contents.answer(request, f"/v1/cachedContents{name and '/' + name.partition('/')[2]}")
        assert found is not None
        return found[0].status, json.loads(found[0].body)

    def request(self, method: str, body: Any = None, key: str = "k") -> Any:
        headers = {"x-goog-api-key": key}
        return SimpleNamespace(method=method, headers=headers, body=json.dumps(body or {}).encode())

    def make(self, text: str = HEAD, ttl: str = "600s") -> tuple[int, Any]:
        body = {"model": "models/gemini-3.8-flash", "systemInstruction": {"parts": [{"text": text}]}, "ttl": ttl}
        return self.ask("POST", body=body)


def test_a_list_shows_the_contents_of_a_key_in_pages() -> None:
    door = Door()
    names = [door.make()[1]["name"] for _ in range(3)]

    found, _ = door.contents.answer(door.request("GET"), "/v1/cachedContents", "pageSize=1000") or (None, None)
    first = json.loads(found.body) if found else {}
    rest, _ = door.contents.answer(door.request("GET"), "/v1/cachedContents", "pageToken=2") or (None, None)
    last = json.loads(rest.body) if rest else {}

    assert [one["name"] for one in first["cachedContents"] + last["cachedContents"]] == names
    assert (first["nextPageToken"], "nextPageToken" in last) == ("2", False)
    assert door.ask("GET", key="other")[1] == {}


def test_a_content_is_kept_until_its_time_is_over_and_storage_is_billed() -> None:
    door = Door()
    _, made = door.make()
    body = {"cachedContent": made["name"]}
    found = door.contents.named_by(body, "gemini-3.8-flash", {"x-goog-api-key": "k"})

    door.now = 601

    assert found is not None
    assert found.tokens == 2_400
    with pytest.raises(Refused, match="CachedContent not found"):
        door.contents.named_by(body, "gemini-3.8-flash", {"x-goog-api-key": "k"})
    rate = RATES["gemini-3.8-flash"]
    assert door.contents.stored_dollars == pytest.approx(2_400 / 1e6 * rate.stored / 6)
    assert door.contents.dollars == pytest.approx(2_400 / 1e6 * (rate.given + rate.stored / 6))


def test_a_content_is_renewed_and_deleted() -> None:
    door = Door()
    name = door.make()[1]["name"]
    door.now = 590

    renewed = door.ask("PATCH", name, {"ttl": "600s"})
    door.now = 1_000
    deleted, again = door.ask("DELETE", name), door.ask("DELETE", name)

    assert (renewed[0], deleted[0], again[0]) == (200, 200, 403)
    assert door.contents.stored_dollars == pytest.approx(2_400 / 1e6 * 1_000 / 3_600)


def test_a_content_below_the_minimum_is_refused_with_both_counts() -> None:
    status, body = Door(least=4_096).make()

    assert (status, body["error"]["message"]) == (
        400,
        "Cached content is too small. total_token_count=2400, min_total_token_count=4096",
    )


def test_the_free_tier_keeps_nothing() -> None:
    assert Door(most=0).make()[0] == 429


def test_a_content_of_another_key_looks_like_one_that_is_gone() -> None:
    door = Door()
    name = door.make()[1]["name"]

    assert door.ask("GET", name, key="other")[0] == 403


@pytest.mark.parametrize(
    ("body", "model", "words"),
    [
        ({"systemInstruction": {}}, "gemini-3.8-flash", "can not be used"),
        ({}, "gemini-2.5-flash", "has to be the same"),
    ],
)
def test_a_request_may_not_say_again_what_the_content_says(body: dict[str, Any], model: str, words: str) -> None:
    door = Door()
    body = {"cachedContent": door.make()[1]["name"], **body}

    with pytest.raises(BadRequest, match=words):
        door.contents.named_by(body, model, {"x-goog-api-key": "k"})
