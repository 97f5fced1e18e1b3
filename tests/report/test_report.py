"""What a report says, and the file it is in. How it looks in a browser is in `test_browser.py`."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from base64 import b64encode
from datetime import date
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import SmeltConfigError, SmeltWarning
from smelt.messages import dollars
from smelt.providers.base import Billing, CallFailed, Reply, Request
from smelt.testing import ScriptedProvider
from tests.report.runs import PAYLOADS, PROMPT, Company, hostile_result, result_of, usual_result
from tests.report.test_markup import Parsed

STYLE = (files("smelt.report") / "report.css").read_text(encoding="utf-8")
ANSWER = {"sector": "tech", "founded": None}


def page_of(result: smelt.SmeltResult[Any], folder: Path, **options: Any) -> str:
    return result.report(folder / "run.html", **options).read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """What is to be read, with one space between any two words."""
    return " ".join(Parsed(re.sub(r"<(?!/?(?:b|i|span|bdi)\b)", " <", page)).text.split())


def small(rows: int = 3, *, model: Any = None, **options: Any) -> smelt.SmeltResult[Any]:
    frame = pd.DataFrame({"name": [f"name {at}" for at in range(rows)], "about": [f"cell {at}" for at in range(rows)]})
    return smelt.run(frame, PROMPT, Company, model=model or ScriptedProvider(ANSWER), progress=False, **options)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> str:
    return text_of(page_of(usual_result(), tmp_path_factory.mktemp("usual")))


# What it says


@pytest.mark.parametrize(
    "said",
    [
        "1,193 of 1,230 rows answered openai:gpt-4.1-mini",
        "Classify `name` by what `about` says.",
        "answered by requests 1,183 96.2 % not asked, because null 10 0.813 %",
        "failed: missing 25 2.03 % failed: invalid 12",
        "Equal to another row, so not asked again: 20 rows.",
        "at most 8,",
        "4 requests refused for rate (429)",
        "waiting: 3.",
        "Requests without a reply Number rate limit 4 timeout 1",
        "refused for rate (429) 4 possibly billed without an answer 1",
        "Tokens of answers that were not used ",
        "Rows from the ledger, at no cost 0",
        "input, cached",
        "input, written to the provider's cache",
        "Replies by service tier priority ",
        "Tokens per row Mean Median p95 Input",
        "13 missing No valid answer after 2 attempts: it was left out. request req_",
        "Columns sent name about Answer: Company",
        'sector one of "tech", "finance", "health", "other" What it mostly sells.',
        "founded an integer, at least 1600, at most 2100 or null",
        "max_attempts 2 timeout 120 isolation batch null_rows skip ledger off params.temperature 0",
    ],
    ids=lambda said: said[:24],
)
def test_it_says(usual: str, said: str) -> None:
    assert said in usual


@pytest.mark.parametrize("library", ["smelt", "Python", "pydantic", "pandas"])
def test_it_names_the_version_of(usual: str, library: str) -> None:
    assert re.search(rf"{library} \d+\.\d+", usual)


def test_the_first_request_is_the_one_that_was_sent(tmp_path: Path) -> None:
    provider = ScriptedProvider(ANSWER)

    page = page_of(small(30, model=provider, shuffle=True), tmp_path)

    shown = Parsed(page).text
    assert provider.requests[0].system in shown
    assert provider.requests[0].user in shown
    assert provider.requests[1].user not in shown


def test_without_the_first_request_no_cell_is_in_it(tmp_path: Path) -> None:
    result = small()

    with_rows, without = page_of(result, tmp_path), page_of(result, tmp_path, first_request=False)

    assert "cell 1" in with_rows
    assert "This page holds text of rows" in with_rows
    assert "cell 1" not in without
    assert "This page holds text of rows" not in without


def test_many_failed_rows_are_counted_and_not_all_listed(tmp_path: Path) -> None:
    provider = ScriptedProvider(lambda row: ANSWER if row["name"] == "name 0" else None)
    result = small(251, model=provider, max_attempts=1, batch_size=100)

    page = page_of(result, tmp_path)

    assert "Failed rows (250)" in page
    assert text_of(page).count("it was left out") == 100
    assert "150 rows more, in the result's errors" in text_of(page)


def test_rows_that_the_ledger_knows_are_told_apart(tmp_path: Path) -> None:
    ledger = tmp_path / "secret-folder" / "run.sqlite"
    ledger.parent.mkdir(mode=0o700)
    small(20, ledger=ledger)

    some, known = (text_of(page_of(small(rows, ledger=ledger), tmp_path)) for rows in (30, 20))

    assert "answered by requests 10 33.3 % known from the ledger 20 66.7 %" in some
    assert "known from the ledger 20 100 %" in known
    assert "No request was sent." in known
    assert "ledger on: run.sqlite" in known
    assert "secret-folder" not in known


def test_what_the_ledger_knows_is_shown_with_its_price_and_a_sample_of_answers(tmp_path: Path) -> None:
    def priced() -> ScriptedProvider:
        return ScriptedProvider(ANSWER, name="openai", model="gpt-4.1-mini")

    first = small(20, model=priced(), ledger=tmp_path / "run.sqlite")

    again = small(20, model=priced(), ledger=tmp_path / "run.sqlite")

    shown = text_of(page_of(again, tmp_path))
    cost = dollars(first.metrics.cost_usd or 0.0)
    assert f"Rows from the ledger, at no cost 20 what they cost when they were bought {cost}" in shown
    assert "Cost nothing Requests 0" in shown
    assert "Answers of 8 rows" in shown
    assert '{"name":"name 2"' in shown
    assert "This page holds text of rows: a sample of answers." in shown
    assert "Answers of" not in text_of(page_of(again, tmp_path, first_request=False))


def test_few_answers_are_all_shown_and_values_read_as_they_are(tmp_path: Path) -> None:
    class Answer(BaseModel):
        day: date
        tags: list[str]
        note: str | None

    answer = {"day": "2026-11-29", "tags": ["a", "b"], "note": None}
    job = smelt.Job("Read {name}.", Answer, progress=False)

    result = result_of(job, ScriptedProvider(answer), pd.DataFrame({"name": ["x", "y"]}, index=["first", "second"]))

    assert 'first {"name":"x"} day 2026-11-29 tags ["a","b"] note null second' in text_of(page_of(result, tmp_path))


def test_no_rows_make_a_report_too(tmp_path: Path) -> None:
    assert "0 of 0 rows answered" in page_of(small(0), tmp_path)


def test_a_run_that_was_cut_short_says_so(tmp_path: Path) -> None:
    with pytest.warns(SmeltWarning, match="stopped early"):
        result = small(200, max_tokens_total=2_000)

    page = text_of(page_of(result, tmp_path))

    assert "ended early: budget" in page
    assert "failed: budget" in page


def test_a_run_without_any_reply_has_no_latency(tmp_path: Path) -> None:
    refused = CallFailed("filtered", Billing.PAID_BAD, "Not this.")
    with pytest.warns(SmeltWarning, match="Every row failed"):
        result = small(1, model=ScriptedProvider(ANSWER, script=[refused]))

    page = text_of(page_of(result, tmp_path))

    assert "Median latency —" in page
    assert "Requests without a reply Number filtered 1" in page


def test_requests_that_take_no_time_or_hours_have_a_latency(tmp_path: Path) -> None:
    class Uneven(ScriptedProvider):
        async def send(self, request: Request) -> Reply:
            await asyncio.sleep([0.0, 30_000.0, 0.0][self._number % 3])
            return await super().send(request)

    frame = pd.DataFrame({"name": [str(at) for at in range(12)], "about": ["x"] * 12})
    job = smelt.Job(PROMPT, Company, progress=False, batch_size=2, timeout=100_000)

    page = page_of(result_of(job, Uneven(ANSWER), frame), tmp_path)

    assert "0 s to 8:20 h" in page
    assert "95 % within 8:" in page


def test_a_header_of_the_users_is_not_shown(tmp_path: Path) -> None:
    page = page_of(hostile_result("plain"), tmp_path)

    assert "extra_headers" in page
    assert "secret-of-mine" not in page


# What it is made of


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_text_adds_no_element_and_no_attribute(payload: str, tmp_path: Path) -> None:
    def skeleton(text: str) -> list[tuple[str, list[str]]]:
        tags = Parsed(page_of(hostile_result(text), tmp_path).split("<main>")[1]).tags
        return [(tag, sorted(attributes)) for tag, attributes in tags if attributes != {"class": "code"}]

    assert skeleton(payload) == skeleton("plain text")


def test_it_stands_alone(tmp_path: Path) -> None:
    tags = Parsed(page_of(usual_result(200), tmp_path)).tags

    assert not {tag for tag, _ in tags} & {"script", "img", "iframe", "object", "embed", "form", "base", "a", "use"}
    assert [attributes.get("href") for tag, attributes in tags if tag == "link"] == ["data:,"]
    assert not [
        name for _, attributes in tags for name in attributes if name.startswith("on") or name in ("src", "style")
    ]
    assert "url(" not in STYLE and "@import" not in STYLE


def test_its_policy_lets_in_its_own_style_and_nothing_else(tmp_path: Path) -> None:
    page = page_of(small(), tmp_path)

    (policy,) = [
        attributes["content"] for tag, attributes in Parsed(page).tags if attributes.get("http-equiv") is not None
    ]  # fmt: skip
    style = page.split("<style>")[1].split("</style>")[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_a_large_run_makes_a_small_page(tmp_path: Path) -> None:
    assert len(page_of(usual_result(), tmp_path)) < 100_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "paper", "least"),
    [("ink", "paper", 7.0), ("soft", "paper", 4.5), ("soft", "fill", 4.5), ("ink", "fill", 7.0),
    ("failed", "paper", 4.5),
     ("refused", "paper", 4.5), ("answered", "paper", 3.0), ("flight", "paper", 3.0), ("input", "paper", 3.0)],
)  # fmt: skip
def test_colours_can_be_told_apart(scheme: str, name: str, paper: str, least: float) -> None:
    light, dark = STYLE.split("@media (prefers-color-scheme: dark)")
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", light if scheme == "light" else dark))

    high, low = sorted((luminance(colours[name]), luminance(colours[paper])), reverse=True)

    assert (high + 0.05) / (low + 0.05) >= least


def luminance(colour: str) -> float:
    """By WCAG 2.2: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# The file


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_only_its_owner_can_read_it(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = small().report(tmp_path / "run.html")
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_takes_the_place_of_one(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    small(3).report(path)

    small(5).report(str(path))

    assert "5 of 5 rows" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", "<!doctype html>\n<html>my thesis"], ids=["empty", "data", "page"]
)
def test_nothing_else_is_overwritten_unless_told_to(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.html"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(FileExistsError, match=r"run\.html already exists and is not a report of smelt.*overwrite=True"):
        small().report(path)

    assert path.read_text(encoding="utf-8") == content
    small().report(path, overwrite=True)
    assert "3 of 3 rows" in path.read_text(encoding="utf-8")


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(3).report(tmp_path / "run.html")
    before = path.read_bytes()

    def fail(*paths: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)

    with pytest.raises(OSError, match="No space left"):
        small(5).report(path)

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        (3, SmeltConfigError, r'path must be the path of a file, such as "run\.html", not 3'),
        (b"run.html", SmeltConfigError, "path must be the path of a file"),
        (".", IsADirectoryError, "is a directory. Name a file in it"),
        ("no/such/folder/run.html", FileNotFoundError, r"^There is no directory no/such/folder\. Make it first"),
    ],
    ids=["number", "bytes", "directory", "missing directory"],
)
def test_a_bad_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any, error: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(error, match=message):
        small().report(path)

    assert list(tmp_path.iterdir()) == []


# The short form


def test_the_short_form_has_neither_script_nor_style_sheet() -> None:
    tags = Parsed(usual_result(100)._repr_html_()).tags

    assert {tag for tag, _ in tags} == {"div", "strong", "table", "tr", "th", "td"}
    assert not [
        name for _, attributes in tags for name in attributes if name not in ("style", "scope", "role", "aria-label")
    ]


def test_what_is_recorded_of_a_run_does_not_depend_on_its_progress() -> None:
    frame = pd.DataFrame({"name": ["a"], "about": ["b"]})
    events: list[Any] = []
    jobs = [smelt.Job(PROMPT, Company, progress=progress) for progress in (False, events.append)]

    reports: list[Any] = [result_of(job, ScriptedProvider(ANSWER), frame)._report() for job in jobs]
    records = [report.record for report in reports]

    assert [one.timeline.sent for one in records] == [1, 1]
    assert len(events) > 3


def test_a_run_of_less_than_a_second_has_no_rate(tmp_path: Path) -> None:
    page = page_of(small(), tmp_path)

    assert "rows/s" not in page
    assert "Rows per second —" in text_of(page)


def test_votes_are_counted(tmp_path: Path) -> None:
    turns = iter("abababbbbbbb")  # The first vote of each row, then the second.
    model = ScriptedProvider(lambda row: {"sector": {"a": "tech", "b": "health"}[next(turns, "b")], "founded": None})

    shown = text_of(page_of(small(6, model=model, votes=3), tmp_path))

    assert "Votes Rows Share 2 votes 3 50 % 3 votes 3 50 %" in shown
    assert "all votes for sector agree 3 50 % all votes for founded agree 6 100 %" in shown
    assert "Votes Rows" not in text_of(page_of(small(3), tmp_path))
