"""The map of the documentation for coding assistants, `docs/llms.txt`, made from the navigation and the pages.

`python -m tests.llms` writes it. Each line has a page, and its first sentence. The form is that of llmstxt.org.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from tests.test_readme import ROOT

FILE = ROOT / "docs" / "llms.txt"
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_SENTENCE = re.compile(r".+?[.?!:](?= |$)")
_LONGEST = 220


def text() -> str:
    """The file as it should be."""
    project = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    lines = [f"# {project['site_name']}", "", f"> {project['site_description']}", ""]
    lines += [
        "Read [For coding assistants](howto/assistants.md) first. The distribution is `dfsmelt`, the import `smelt`."
    ]
    for section in project["nav"]:
        for title, pages in section.items():
            lines += ["", f"## {title}", ""]
            listed = [{title: pages}] if isinstance(pages, str) else pages
            lines += [f"- [{name}]({path}): {about(path)}" for name, path in _pages(listed)]
    return "\n".join(lines) + "\n"


def about(path: str) -> str:
    """The first sentence of a page."""
    page = _FENCE.sub("", (ROOT / "docs" / path).read_text(encoding="utf-8"))
    paragraphs = (part.strip() for part in page.split("\n\n"))
    first = next((one for one in paragraphs if re.match(r"\w|`|\*\*", one)), "")
    plain = _LINK.sub(r"\1", " ".join(first.split()))
    match = _SENTENCE.match(plain)
    return (match[0] if match else plain)[:_LONGEST].rstrip(":") or "Signatures and help texts."


def _pages(pages: Any) -> Iterator[tuple[str, str]]:
    for one in pages:
        yield from one.items()


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
