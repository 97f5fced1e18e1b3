"""The HTML page around a report. Its Content-Security-Policy forbids all loading and allows only its own style."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from smelt.report.markup import Child, Html, el, joined

MARK = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="smelt">'
"""The first bytes of every report. A file that begins with them may be replaced by a new report."""


def page(title: str, *content: Child) -> str:
    """A complete HTML page with *content*."""
    style = (files("smelt.report") / "report.css").read_text(encoding="utf-8")
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    head = joined(
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("meta", name="robots", content="noindex"),
        el("meta", name="format-detection", content="telephone=no"),  # Else a phone turns numbers into links.
        el("link", rel="icon", href="data:,"),  # Else a browser requests an icon from the server.
        el("title", title),
        el("style", Html(style)),  # smelt's own; the policy allows it by digest.
    )
    return f"{MARK}{head}</head>\n<body>{el('main', *content)}</body></html>\n"
