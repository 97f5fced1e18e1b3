"""Runs in virtual time, to make reports of."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, Field, create_model

import smelt
from smelt.providers.base import Billing, CallFailed, Reply, Request
from smelt.testing import ScriptedProvider, run_jumping

PROMPT = "Classify {name} by what {about} says."

# What tries to become markup, a script, a style, a template or a steering character.
PAYLOADS = {
    "script": "<script>window.injected=1</script>",
    "image": '"><img src=x onerror="window.injected=1">',
    "attribute": "' onmouseover='window.injected=1' autofocus onfocus='window.injected=1",
    "frame": "</td></table></div><iframe srcdoc='<script>parent.injected=1</script>'></iframe>",
    "url": "javascript:window.injected=1",
    "link": '<a href="javascript:window.injected=1" id=x>x</a><base href="https://evil.example/">',
    "style": "</style><style>*{display:none!important;background:url(https://evil.example/x)}</style>",
    "end of title": "</title></head><body onload=window.injected=1>",
    "svg": "</title></svg><svg onload=window.injected=1><animate onbegin=window.injected=1 attributeName=x>",
    "foreign": "<svg><foreignObject><math><mtext><img src=x onerror=window.injected=1>",
    "end of pre": "</code></pre></main><form action=https://evil.example><input autofocus onfocus=window.injected=1>",
    "comment": "<!-- --!><script>window.injected=1</script>",
    "cdata": "]]><![CDATA[<script>window.injected=1</script>",
    "refresh": "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "entities": "&lt;b&gt;&#x3c;i&#62;&NewLine;&amp;amp;&notit;",
    "template": "{{constructor.constructor('window.injected=1')()}} ${window.injected=1} <%= 1 %> {% raw %}",
    "latex": "$$\\href{javascript:window.injected=1}{x}$$ \\(x\\)",
    "bidi": "\u202egnp.exe\u2066\u2069\u200e\u200f",
    "controls": "a\x00b\x1b[31m\x1b]8;;http://evil.example\x1b\\c\x7f\x9b\x08",
    "lines": "a\rb\nc\u2028d\u2029e\x0bf",
    "nothing": "\ufeff\u200b\u2060\u00ad\U000e0041",
    "noncharacters": "\ufffe\uffff\U0010ffff\ue000",
    "combining": "e" + "\u0301" * 200,
    "long": "<b>" + "x" * 5_000,
}  # fmt: skip


class Company(BaseModel):
    """What is to be found."""

    sector: Literal["tech", "finance", "health", "other"] = Field(description="What it mostly sells.")
    founded: int | None = Field(default=None, ge=1600, le=2100)


class Steady(ScriptedProvider):
    """A provider that takes its time, refuses some requests and reports what a real one reports."""

    async def send(self, request: Request) -> Reply:
        number = self._number
        await asyncio.sleep(0.4 + 0.1 * (number * 7 % 13))
        reply = await super().send(request)
        third = (reply.usage.input_tokens or 0) // 3
        tier = "priority" if number % 10 == 0 else ""
        usage = replace(reply.usage, cached_input_tokens=third, written_input_tokens=third // 2, tier=tier)
        return replace(reply, usage=usage, request_id=f"req_{number:04}")


def result_of(job: smelt.Job[Any], model: Any, frame: Any) -> smelt.SmeltResult[Any]:
    return run_jumping(job.arun(model, data=frame)).result


def usual_result(rows: int = 1_200) -> smelt.SmeltResult[Any]:
    """A run with everything in it: refusals, a timeout, rows that fail in two ways, twins and nulls."""
    frame = pd.DataFrame({"name": [f"Company {at}" for at in range(rows)], "about": ["sells things"] * rows})
    frame = pd.concat([frame, frame[:20], pd.DataFrame({"name": [None] * 10, "about": [None] * 10})], ignore_index=True)
    refused = CallFailed("rate_limit", Billing.REJECTED, "Too many requests.", status=429, retry_after=3.0)
    late = CallFailed("timeout", Billing.UNKNOWN, "No reply within 120 s.")
    script = [None] * 9 + [refused] * 4 + [None] * 20 + [late]
    provider = Steady(_answer, script=script, name="openai", model="gpt-4.1-mini")
    job = smelt.Job(
        PROMPT, Company, progress=False, concurrency=8, max_attempts=2, null_rows="skip", params={"temperature": 0}
    )
    return result_of(job, provider, frame)


def _answer(row: Any) -> dict[str, Any] | None:
    number = int(row["name"].split()[1])
    if number % 50 == 13:
        return None
    return {"sector": "space" if number % 100 == 77 else "tech", "founded": 1999}


def hostile_result(payload: str) -> smelt.SmeltResult[Any]:
    """A result into which *payload* comes by every way that there is."""
    column = payload.replace("\0", "")  # What pandas and pydantic take as a name.
    frame = pd.DataFrame(
        {column: [payload, "a", "b"], "other": ["c", "d", payload]}, index=[payload, "1", payload + "2"]
    )
    name = "".join(one for one in payload if one.isidentifier())[:50] or "Model"
    fields: dict[str, Any] = {
        "label": (Literal["ok", payload], Field(description=payload)),
        "note": (str | None, Field(default=None, description=payload)),
    }
    model: Any = create_model(name, **fields)
    script = [None, CallFailed("filtered", Billing.PAID_BAD, payload, request_id=payload)]
    provider = Steady({"label": "ok", "note": payload}, script=script, name="scripted", model=payload)
    job = smelt.Job(
        payload.replace("{", "{{").replace("}", "}}"), model, progress=False, batch_size=1, concurrency=1,
        shuffle=False,
        error_column=column[:200] + "!", params={payload: payload, "extra_headers": {"X-Own": "secret-of-mine"}},
    )  # fmt: skip
    return result_of(job, provider, frame)
