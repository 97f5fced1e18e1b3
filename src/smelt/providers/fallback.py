"""What is tried next if a server refuses to be asked for JSON as it was asked.

By refusing a request, before any work, a host says which structured output it takes and how it calls the output limit.
"""

from __future__ import annotations

import re
from dataclasses import replace

from smelt.providers.error_bodies import Complaint
from smelt.providers.shapes import Cap, Manner, Shape

MOST_STEPS = 4  # Three shapes below `strict`, and the other name of the limit.


def milder(manner: Manner, status: int, complaint: Complaint) -> Manner | None:
    """What to try after a request that was written in *manner* was refused; None if that is not the reason.

    A refusal of the schema itself, which no server of this kind would take, is not one of the manner.
    """
    if status not in _STATUSES:
        return None
    text = f"{complaint.message} {complaint.param or ''}".lower().replace("\u2019", "'")
    if _names(manner.cap, text) and not manner.is_other_cap and _UNKNOWN.search(text):
        other: Cap = "max_tokens" if manner.cap == "max_completion_tokens" else "max_completion_tokens"
        return replace(manner, cap=other, is_other_cap=True)
    if not (_UNKNOWN.search(text) or _WRONG_VALUE.search(text)) or _OF_THE_SCHEMA.search(text):
        return None
    if manner.shape == "strict" and _names("strict", text):
        return replace(manner, shape="json_schema")
    below = _BELOW.get(manner.shape)
    return replace(manner, shape=below) if below is not None and _SHAPE.search(text) else None


_STATUSES = (400, 404, 422, 501)  # 404: OpenRouter, if no host behind it takes all parameters.
# A server that refuses the schema refuses it with and without `strict`.
_BELOW: dict[Shape, Shape] = {"strict": "json_object", "json_schema": "json_object", "json_object": "words"}
_SHAPE = re.compile(
    r"response[_ ]?format|text\.format|json[_ -]?schema|json[_ -]?object|json mode|structured[ _-]?outputs?"
    r"|can handle the requested parameters|\bguided|output (?:type|format)"
)
_UNKNOWN = re.compile(
    r"not (?:\w+ )?support|n't (?:\w+ )?support|unsupported|unavailable|not available|not permitted|not allowed"
    r"|not enabled|not implemented|unknown|unrecogni[sz]ed|unexpected|no endpoints found"
)
_WRONG_VALUE = re.compile(r"(?:must|should) be (?:one of |either )?['\"`]?(?:json_schema|json_object|text)\b")
_OF_THE_SCHEMA = re.compile(
    r"invalid (?:json )?schema|in context=|schema fields|schema not supported: |schema is (?:invalid|too)|keyword"
)


def _names(word: str, text: str) -> bool:
    return re.search(rf"\b{word}\b", text) is not None
