"""Looks at pages in headless Chromium, in a process of its own, and tells what it saw.

A process of its own, since Playwright keeps an asyncio loop running on its thread, which no other test should find
there.

    python -m tests.report.chromium < visits.json > seen.json
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.patience import HANGING

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# The page's elements, each with the names of its attributes; but for what stands for a character that shows nothing.
_LOOK = """() => {
    const all = [...document.querySelectorAll('*')].filter(one => !one.matches('span.code'));
    const right = one => one.getBoundingClientRect().right;
    const boxed = one => one.closest('.box, pre, svg');
    return {
        elements: all.map(one => [one.tagName.toLowerCase(), ...one.getAttributeNames().sort()].join(' ')),
        text: document.body.innerText,
        title: document.title,
        injected: window.injected === undefined ? null : String(window.injected),
        width: document.documentElement.scrollWidth,
        sticks_out: all.filter(one => !boxed(one) && right(one) > innerWidth + 0.5)
            .map(one => one.outerHTML.slice(0, 80)),
        runs_out: [...document.querySelectorAll('pre > code')].filter(
            one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX === 'visible').length,
        paper: getComputedStyle(document.body).backgroundColor,
        ink: getComputedStyle(document.body).color,
        headings: [...document.querySelectorAll('h1, h2, h3')].map(one => one.tagName + ' ' + one.innerText),
        smallest: Math.min(...all.filter(one => one.innerText && one.closest('main')).map(
            one => parseFloat(getComputedStyle(one).fontSize))),
        unnamed: all.filter(one => one.matches('svg, [role=region]') && !one.getAttribute('aria-label')).length,
        links: all.filter(one => one.matches('nav a'))
            .filter(one => one.checkVisibility({visibilityProperty: true}) && right(one) > 0)
            .map(one => one.innerText.trim()),
        headless: [...document.querySelectorAll('table')].filter(one => !one.querySelector('th[scope=col]')).length,
    };
}"""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A page to look at.

    Attributes:
        url: Where it is.
        width: Pixels.
        scheme: What the reader prefers, "light" or "dark".
        is_allowed_all: Whether the page's own policy is put aside, so that what got into the page would act.
        click: The selector of what is clicked before the page is looked at, if anything.
        picture: Where to save a picture of it, if at all.
    """

    url: str
    width: int = 1280
    scheme: str = "light"
    is_allowed_all: bool = False
    click: str | None = None
    picture: str | None = None


@dataclass(kw_only=True)
class Seen:
    """What there was to see: see `_LOOK`.

    Attributes:
        found: What the page said of itself.
        complaints: Messages on the console, and errors.
        requests: Addresses that were asked for, beside the page's own, and what kept them from being reached.
    """

    found: dict[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def missing() -> str | None:
    """Why no page can be looked at here, or None."""
    if find_spec("playwright") is None:
        return "Playwright is not installed; it is in the development group `browser`."
    if executable() is None:
        return "There is no Chromium here. On Debian and Ubuntu: apt-get install -y chromium"
    return None


def look_at(visits: Sequence[Visit]) -> list[Seen]:
    """Visit pages, one after the other, in one browser."""
    told = json.dumps([asdict(one) for one in visits])
    run = subprocess.run(
        [sys.executable, "-m", "tests.report.chromium"], input=told, capture_output=True, text=True, check=False,
        timeout=HANGING
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return [Seen(**one) for one in json.loads(run.stdout)]


def main() -> None:
    """Read visits, print what was seen."""
    sync_playwright = import_module("playwright.sync_api").sync_playwright  # Types come with it, and it may be missing.
    visits = [Visit(**one) for one in json.load(sys.stdin)]
    # As root, as in a container, Chromium starts without its sandbox only. The pages are our own, and there is no
    # network.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=options)
        pages: dict[Any, Any] = {}
        seen = [_visit(_page(browser, pages, one), one) for one in visits]
        browser.close()
    json.dump([asdict(one) for one in seen], sys.stdout)


def _page(browser: Any, pages: dict[Any, Any], visit: Visit) -> Any:
    """A tab with the preferences of *visit*; one is enough for all pages that are read alike: each costs a process."""
    key = (visit.width, visit.scheme, visit.is_allowed_all)
    if key not in pages:
        context = browser.new_context(
            viewport={"width": visit.width, "height": 800}, color_scheme=visit.scheme, bypass_csp=visit.is_allowed_all
        )
        context.set_offline(True)
        pages[key] = context.new_page()
    return pages[key]


def _visit(page: Any, visit: Visit) -> Seen:
    page.goto("about:blank")  # What the page before still had to say is not heard any more.
    seen = Seen()
    heard = {
        "console": lambda message: seen.complaints.append(message.text),
        "pageerror": lambda error: seen.complaints.append(str(error)),
        "requestfinished": lambda request: seen.requests.append(request.url),
        "requestfailed": lambda request: seen.requests.append(f"{request.url} {request.failure}"),
    }
    for event, hear in heard.items():
        page.on(event, hear)
    page.goto(visit.url)
    seen.requests = [one for one in seen.requests if one != visit.url]
    if visit.click:
        page.click(visit.click)
        page.evaluate("() => Promise.all(document.getAnimations().map(one => one.finished))")
    seen.found = page.evaluate(_LOOK)
    if visit.picture:
        page.screenshot(path=visit.picture, full_page=True)
    for event, hear in heard.items():
        page.remove_listener(event, hear)
    return seen


def executable() -> str | None:
    found = (shutil.which(name) for name in _NAMES)
    return next((str(Path(one)) for one in found if one), None)


if __name__ == "__main__":
    main()
