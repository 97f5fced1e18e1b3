"""Pictures of the docs: each Mermaid fence of a page becomes an SVG in docs/pictures, which the site shows instead.

`python -m tests.pictures` draws them again after a fence was changed. Only that needs Mermaid (from npm) and a
browser: a page of the site loads nothing from elsewhere, and the theme alone would fetch Mermaid there.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.report.chromium import executable

MERMAID = "12.3.0"
DOCS = Path(__file__).resolve().parent.parent / "docs"
FOLDER = DOCS / "pictures"
_FENCE = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SETTINGS = {
    "startOnLoad": False,
    "theme": "base",
    "htmlLabels": False,  # A label in HTML is cut off where a reader's font is wider than ours.
    "flowchart": {"htmlLabels": False, "nodeSpacing": 18, "rankSpacing": 44, "padding": 8},
    "deterministicIds": True,
}
# The colours are the theme's, in its light and its dark scheme; a picture that is opened alone has the light ones.
_STYLE = """
[data-source] { font: 16px sans-serif; height: auto; }
[data-source] text { fill: var(--md-default-fg-color, #222); text-anchor: middle; }
[data-source] .node :is(rect, path) { fill: var(--md-default-bg-color, #fff); stroke: #5c7cba; stroke-width: 1.5px; }
[data-source] .cluster rect { fill: #5c7cba1c; stroke: #5c7cba55; }
[data-source] .edgePaths path { fill: none; stroke: var(--md-default-fg-color--light, #666); }
[data-source] .edge-thickness-thick { stroke-width: 3px; }
[data-source] marker :is(path, polygon) { fill: var(--md-default-fg-color--light, #666); }
[data-source] .edgeLabel rect { fill: var(--md-default-bg-color, #fff); }
[data-source] .edgeLabel text { font-weight: bold; }
"""


def inlined(source: str, _language: str, css_class: str, *_: Any, **__: Any) -> str:
    """The picture of a fence, as HTML. Zensical calls this while it builds a page: see zensical.toml."""
    drawn = {digest_of(path): path for path in FOLDER.glob("*.svg")}
    if (path := drawn.get(digest(source))) is None:
        raise LookupError("A Mermaid fence has no picture. To draw it: python -m tests.pictures")
    return f'<div class="{css_class}" tabindex="0">{path.read_text(encoding="utf-8")}</div>'


def fences() -> dict[str, str]:
    """The Mermaid fences of all pages, by the name of the picture of each."""
    return {
        f"{page.stem}-{number}.svg": source
        for page in sorted(DOCS.rglob("*.md"))
        for number, source in enumerate(_FENCE.findall(page.read_text(encoding="utf-8")), 1)
    }


def digest(source: str) -> str:
    return hashlib.sha256(source.strip().encode()).hexdigest()[:16]


def digest_of(picture: Path) -> str:
    """The digest of the fence that a picture was drawn of, or nothing."""
    found = re.search(r'data-source="(\w+)"', picture.read_text(encoding="utf-8"))
    return found[1] if found else ""


def main() -> None:
    wanted = fences()
    with TemporaryDirectory() as folder:
        subprocess.run(["npm", "install", "--silent", "--ignore-scripts", f"mermaid@{MERMAID}"], cwd=folder, check=True)
        script = Path(folder, "node_modules", "mermaid", "dist", "mermaid.min.js")
        pictures = dict(_drawn(wanted, script))
    FOLDER.mkdir(exist_ok=True)
    for old in {*FOLDER.glob("*.svg")} - {FOLDER / name for name in wanted}:
        old.unlink()
    for name, picture in pictures.items():
        (FOLDER / name).write_text(picture, encoding="utf-8")
        print(f"docs/pictures/{name}")


def _drawn(wanted: dict[str, str], script: Path) -> Iterator[tuple[str, str]]:
    sync_playwright = import_module("playwright.sync_api").sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_content("<body></body>")
        page.add_script_tag(path=script)
        page.evaluate("settings => mermaid.initialize(settings)", _SETTINGS)
        for name, source in wanted.items():
            draw = "async ([name, source]) => (await mermaid.render(name, source)).svg"
            svg = page.evaluate(draw, [name.removesuffix(".svg"), source])
            yield name, _styled(svg, digest(source))
        browser.close()


def _styled(svg: str, source: str) -> str:
    """A picture of Mermaid's in our colours, with the digest of its source and without what is not seen."""
    for unseen in (r"<style>.*?</style>", r"<defs>.*?</defs>", r' (?:data-(?!source)[\w-]+|style|filter)="[^"]*"'):
        svg = re.sub(unseen, "", svg, flags=re.DOTALL)
    for marker in re.findall(r'<marker id="([^"]+)"', svg):
        if f"url(#{marker})" not in svg:
            svg = re.sub(rf'<marker id="{marker}".*?</marker>', "", svg, flags=re.DOTALL)
    svg = re.sub(r"\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}", svg)
    head, _, body = svg.partition(">")
    return f'{head} data-source="{source}"><style>{_STYLE}</style>{body}\n'


if __name__ == "__main__":
    main()
