"""The report as a browser shows it: whole, alone, and without anything that text put into it.

Skipped, with the reason, where there is no browser; CI installs one, and there a missing one is a failure.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.report.chromium import Seen, Visit, look_at, missing
from tests.report.runs import PAYLOADS, hostile_result, usual_result

pytestmark = [pytest.mark.slow, pytest.mark.whole]

LOOKS = {
    "phone, light": (360, "light"),
    "phone, dark": (360, "dark"),
    "screen, light": (1280, "light"),
    "screen, dark": (1280, "dark"),
}
HOSTILE = {"plain": "plain text", **PAYLOADS}
SECTIONS = [
    "H2 Rows", "H2 Answers of 8 rows", "H2 Requests over time", "H2 Latency", "H2 Spend", "H2 Failed rows (37)",
    "H2 Question", "H3 Columns sent",
    "H3 Answer: Company", "H2 Setting", "H2 First request", "H3 System", "H3 User",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _browser() -> None:
    if reason := missing():
        (pytest.fail if "CI" in os.environ else pytest.skip)(reason)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """What every page looks like, in one browser: each start takes two seconds of CPU."""
    folder = tmp_path_factory.mktemp("reports")
    usual = usual_result().report(folder / "usual.html").as_uri()
    visits = {look: Visit(url=usual, width=width, scheme=scheme) for look, (width, scheme) in LOOKS.items()}
    for name, payload in HOSTILE.items():
        visits[name] = Visit(url=reported(folder / f"{name}.html", payload), width=360, is_allowed_all=True)
    visits["let in"] = Visit(url=let_in(folder / "bad.html"), is_allowed_all=True)
    visits["kept out"] = Visit(url=kept_out(folder / "good.html"))
    return dict(zip(visits, look_at([*visits.values()]), strict=True))


@pytest.fixture(scope="module")
def usual(seen: dict[str, Seen]) -> dict[str, Seen]:
    """What a usual report looks like."""
    return {look: seen[look] for look in LOOKS}


@pytest.fixture(scope="module")
def hostile(seen: dict[str, Seen]) -> dict[str, Seen]:
    """What reports with hostile text in every place look like, with nothing but escaping between text and page."""
    return {name: seen[name] for name in HOSTILE}


def let_in(path: Path) -> str:
    """The address of a page that escapes nothing."""
    path.write_text(f"<!doctype html><title>x</title><main>{PAYLOADS['script']}<img src=http://127.0.0.1:9/x></main>")
    return path.as_uri()


def kept_out(path: Path) -> str:
    """The address of a report with what escaping might have missed."""
    usual_result(20).report(path)
    bad = "<script>window.injected=1</script><img src=http://127.0.0.1:9/x><style>main{display:none}</style>"
    path.write_text(path.read_text(encoding="utf-8").replace("</main>", f"{bad}</main>"), encoding="utf-8")
    return path.as_uri()


def reported(path: Path, payload: str) -> str:
    """The address of a report that holds *payload* and, behind it, what a notebook shows of the same result."""
    result = hostile_result(payload)
    result.report(path)
    page = path.read_text(encoding="utf-8").replace("</main>", f"{result._repr_html_()}</main>")
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("look", LOOKS)
def test_it_asks_for_nothing_and_the_console_is_silent(usual: dict[str, Seen], look: str) -> None:
    assert (usual[look].requests, usual[look].complaints) == ([], [])


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_sticks_out_of_the_page(usual: dict[str, Seen], look: str) -> None:
    found, (width, _) = usual[look].found, LOOKS[look]

    assert found["width"] <= width
    assert found["sticks_out"] == []
    assert found["smallest"] >= 11


def test_it_is_light_or_dark_as_the_reader_prefers(usual: dict[str, Seen]) -> None:
    colours = {look: (seen.found["paper"], seen.found["ink"]) for look, seen in usual.items()}

    assert colours["phone, light"] == colours["screen, light"] == ("rgb(255, 255, 255)", "rgb(28, 32, 36)")
    assert colours["phone, dark"] == colours["screen, dark"] == ("rgb(20, 23, 26)", "rgb(231, 234, 238)")


def test_it_can_be_read_by_ear(usual: dict[str, Seen]) -> None:
    found = usual["screen, light"].found

    assert found["headings"] == ["H1 1,193 of 1,230 rows answered", *SECTIONS]
    assert (found["unnamed"], found["headless"]) == (0, 0)
    assert found["title"] == "1,193 of 1,230 rows answered · smelt report"


@pytest.mark.parametrize("name", PAYLOADS)
def test_text_adds_no_element_and_no_attribute_and_does_nothing(hostile: dict[str, Seen], name: str) -> None:
    plain, seen = hostile["plain"], hostile[name]

    assert seen.found["elements"] == plain.found["elements"]
    assert seen.found["injected"] is None
    assert (seen.requests, seen.complaints) == ([], [])
    assert seen.found["sticks_out"] == []


@pytest.mark.parametrize("name", ["script", "style", "entities", "template", "latex"])
def test_hostile_text_is_shown_as_it_is(hostile: dict[str, Seen], name: str) -> None:
    assert hostile[name].found["text"].count(PAYLOADS[name]) >= 6


def test_the_test_would_see_what_got_in(seen: dict[str, Seen]) -> None:
    page = seen["let in"]

    assert page.found["injected"] == "1"
    assert page.requests == ["http://127.0.0.1:9/x net::ERR_INTERNET_DISCONNECTED"]
    assert "script" in page.found["elements"]


def test_its_policy_stops_what_escaping_might_miss(seen: dict[str, Seen]) -> None:
    page = seen["kept out"]

    assert page.found["injected"] is None
    assert page.requests == ["http://127.0.0.1:9/x csp"]
    assert "Rows" in page.found["text"]
    assert len(page.complaints) == 3


def test_a_characters_number_stands_for_what_shows_nothing(hostile: dict[str, Seen]) -> None:
    text: Any = hostile["bidi"].found["text"]

    assert "U+202E" in text
    assert "\u202e" not in text
