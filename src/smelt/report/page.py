"""The shell of a page that loads nothing: its policy forbids it to, and lets in no style but its own."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from smelt.report.markup import Child, Html, el, joined

MARK = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="smelt">'
"""How every page begins; a file that does is one that a new page may replace."""


def page(title: str, *content: Child) -> str:
    """A whole page around *content*."""
    style = (files("smelt.report") / "report.css").read_text(encoding="utf-8")
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    head = joined(
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("meta", name="robots", content="noindex"),
        el("meta", name="format-detection", content="telephone=no"),  # A phone would make links of numbers.
        el("link", rel="icon", href="data:,"),  # Or a browser asks the page's server for one.
        el("title", title),
        el("style", Html(style)),  # Ours, and known by its digest.
    )
    return f"{MARK}{head}</head>\n<body>{el('main', *content)}</body></html>\n"
