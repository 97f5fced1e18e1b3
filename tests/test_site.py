"""The docs site builds without a complaint, has every page, and its pages load nothing from elsewhere."""

from __future__ import annotations

import fcntl
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from smelt.call.options import Settings
from smelt.plan.dialect import Dialect
from smelt.providers.anthropic import Anthropic
from smelt.providers.base import Capabilities
from smelt.providers.google import Google
from smelt.providers.openai import OpenAI
from smelt.providers.vendors import VENDORS
from tests import pictures
from tests.patience import HANGING
from tests.report.chromium import Seen, Visit, look_at, missing
from tests.test_readme import ROOT

CONFIG = ROOT / "zensical.toml"
_LOADED = re.compile(r'<(?:script|img|iframe|source)\b[^>]*?\bsrc="?([^"\s>]+)|<link\b[^>]*?\bhref="?([^"\s>]+)')
_LINK = re.compile(r'<a\b[^>]*?\bhref="?([^"\s>]+)')
_ID = re.compile(r'\bid="?([^"\s>]+)')
_KEYWORDS = {
    "smallest and largest number": "minimum",
    "multiple of": "multipleOf",
    "length of a text": "maxLength",
    "pattern": "pattern",
    "number of list items": "maxItems",
    "dates and times": "format",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is built now, strictly: what Zensical has to complain of fails here. All workers share one."""
    if find_spec("zensical") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("Zensical is not installed; it is in the group `docs`.")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "the-site"
    with (folder.parent / "the-site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            built = folder.with_suffix(".new")
            _build(built)
            built.rename(folder)
    return folder / "site"


def _build(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # A worker's that failed.
    folder.mkdir()
    shutil.copy(CONFIG, folder)
    for name in ("docs", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}  # For `tests.pictures`.
    built = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=HANGING)
    assert built.returncode == 0, built.stdout + built.stderr


@pytest.fixture(scope="module")
def seen(site: Path) -> dict[Visit, Seen]:
    """What pages look like, in one browser: each start takes two seconds of CPU."""
    if reason := missing():
        (pytest.fail if "CI" in os.environ else pytest.skip)(reason)
    visits = [*_visits_of_the_picture(site), *_visits_of_the_navigation(site), *_visits_of_the_widest(site)]
    return dict(zip(visits, look_at(visits), strict=True))


def _visits_of_the_picture(site: Path) -> list[Visit]:
    address = (site / "architecture.html").as_uri()
    return [Visit(url=address, width=width, scheme=scheme) for width in (360, 1280) for scheme in ("light", "dark")]


def _visits_of_the_navigation(site: Path) -> list[Visit]:
    """Before and after it is opened."""
    address = (site / "providers.html").as_uri()
    return [Visit(url=address, width=360), Visit(url=address, width=360, click="header label[for=__drawer]")]


def _visits_of_the_widest(site: Path) -> list[Visit]:
    pages = [site / page.relative_to(ROOT / "docs").with_suffix(".html") for page in _widest(ROOT / "docs")]
    pages.append(site / "reference" / "verbs.html")
    return [Visit(url=page.as_uri(), width=width) for width in (360, 768, 1280) for page in pages]


@pytest.mark.slow
@pytest.mark.whole
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = {page.relative_to(site).as_posix(): page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    outside = {
        (page, address)
        for page, text in pages.items()
        for found in _LOADED.findall(text)
        for address in found
        if address.startswith(("http:", "https:", "//"))
    }

    assert len(pages) > 25
    assert outside == set()


@pytest.mark.slow
@pytest.mark.whole
def test_every_link_of_a_page_leads_to_a_page_and_a_place_on_it(site: Path) -> None:
    # Zensical looks only at links inside docs/; one that leads out of it is good in a clone, and broken here.
    texts = {
        page.resolve(): page.read_text(encoding="utf-8") for page in site.rglob("*.html") if page.name != "404.html"
    }
    places = {page: {"", *_ID.findall(text)} for page, text in texts.items()} | {site.resolve(): {""}}
    links = {(page, *unquote(link).partition("#")) for page, text in texts.items() for link in _LINK.findall(text)}

    assert [
        (page.name, path, place)
        for page, path, _, place in links
        if not path.startswith(("http:", "https:")) and not place.startswith("__")  # What the theme opens and closes.
        if place not in places.get((page.parent / path).resolve() if path else page, ())
    ] == []


def test_every_fence_of_mermaid_has_the_picture_that_was_drawn_of_it() -> None:
    """If this fails, draw them again: `python -m tests.pictures`."""
    drawn = {path.name: pictures.digest_of(path) for path in pictures.FOLDER.glob("*.svg")}

    assert drawn == {name: pictures.digest(source) for name, source in pictures.fences().items()}
    assert len(drawn) > 0


@pytest.mark.slow
@pytest.mark.whole
def test_the_picture_of_the_house_is_seen_without_a_network(site: Path, seen: dict[Visit, Seen]) -> None:
    for visit in _visits_of_the_picture(site):
        page = seen[visit]
        assert [address for address in page.requests if address.startswith("http")] == [], visit
        assert page.found["width"] <= visit.width, visit
        assert "costs on disk" in page.found["text"], visit  # A word of the picture alone.


@pytest.mark.slow
@pytest.mark.whole
def test_the_reference_shows_help_texts_with_their_examples(site: Path) -> None:
    verbs = (site / "reference" / "verbs.html").read_text(encoding="utf-8")

    assert 'id="smelt.transform"' in verbs
    assert verbs.count("&gt;&gt;&gt;") > 10


@pytest.mark.slow
@pytest.mark.whole
def test_no_page_is_wider_than_the_window(site: Path, seen: dict[Visit, Seen]) -> None:
    found = [
        (visit.url, visit.width)
        for visit in _visits_of_the_widest(site)
        # A long line of code scrolls inside of its box.
        if seen[visit].found["width"] > visit.width or seen[visit].found["runs_out"]
    ]
    assert found == []


@pytest.mark.slow
@pytest.mark.whole
def test_the_navigation_can_be_reached_in_a_narrow_window(site: Path, seen: dict[Visit, Seen]) -> None:
    before, after = (seen[visit] for visit in _visits_of_the_navigation(site))

    assert "Verbs" not in before.found["links"]
    assert {"Verbs", "Options", "Limits", "Architecture"} <= set(after.found["links"])


def _widest(docs: Path) -> list[Path]:
    """The page with the longest line of code, and that with the table of the most columns."""
    pages = list(docs.rglob("*.md"))
    code = re.compile(r"^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)

    def longest(page: Path) -> int:
        fences = code.findall(page.read_text(encoding="utf-8"))
        return max((len(line) for fence in fences for line in fence.splitlines()), default=0)

    def most(page: Path) -> int:
        lines = page.read_text(encoding="utf-8").splitlines()
        return max((line.count("|") for line in lines if line.startswith("| ")), default=0)

    return [max(pages, key=longest), max(pages, key=most)]


def options_table() -> str:
    """The options of `transform` as Markdown: name, default, and the first sentence of what it says of itself."""
    told = dict(re.findall(r"^    (\w+): (.+?)(?=\n    \w|\Z)", _attributes(), re.MULTILINE | re.DOTALL))
    lines = ["| option | default | |", "| --- | --- | --- |"]
    for one in fields(Settings):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        sentence = re.split(r"(?<=[.:]) (?=[A-Z`])", " ".join(told[one.name].split()), maxsplit=1)[0].rstrip(":")
        lines.append(f"| `{one.name}` | `{default!r}` | {sentence} |")
    return "\n".join(lines)


def _attributes() -> str:
    return inspect.cleandoc(Settings.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]


def test_the_page_of_transform_lists_every_option_with_its_default() -> None:
    assert options_table() in (ROOT / "docs" / "reference" / "verbs.md").read_text(encoding="utf-8")


def test_the_site_names_the_version_it_is_of() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

    assert f"smelt {version} " in tomllib.loads(CONFIG.read_text(encoding="utf-8"))["project"]["copyright"]


def test_every_page_is_in_the_navigation_once() -> None:
    nav = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["project"]["nav"]
    docs = ROOT / "docs"

    assert sorted(_pages(nav)) == sorted(page.relative_to(docs).as_posix() for page in docs.rglob("*.md"))


def _pages(nav: list[dict[str, Any]]) -> Iterator[str]:
    for entry in nav:
        for target in entry.values():
            if isinstance(target, str):
                yield target
            else:
                yield from _pages(target)


@pytest.mark.parametrize("what", _KEYWORDS)
def test_the_table_of_providers_says_what_is_sent(what: str) -> None:
    text = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith(f"| {what} |"))
    cells = [cell.strip() for cell in row.split("|")[2:-1]]
    told = [_KEYWORDS[what] in dialect.keywords for dialect in (*_dialects(), Dialect())]

    assert [cell.startswith("sent") for cell in cells] == told


def _dialects() -> list[Dialect]:
    servers = [VENDORS[name].capabilities or Capabilities() for name in ("vllm", "llamacpp")]
    return [one.dialect for one in (OpenAI.usual, Anthropic.usual, Google.usual, *servers)]
