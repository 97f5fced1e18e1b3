"""What is tried next if a server refuses to be asked for JSON as it was asked.

By refusing a request, before any work, a host says which structured output it takes and how it calls the output limit.
That is remembered as long as the process lives, so a second run begins with what the first one learnt.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace

from smelt.providers.base import Request
from smelt.providers.error_bodies import Complaint
from smelt.providers.prose import Prose
from smelt.providers.shapes import Cap, Manner, Shape

MOST_STEPS = 6  # Three shapes below `strict`, the other name of the limit, no word about caches, and no scores.


class Manners:
    """How each server is asked, by what it refused before; the least recently used ones are forgotten."""

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._found: OrderedDict[Hashable, Manner] = OrderedDict()

    def of(self, server: Hashable, first: Manner) -> Manner:
        """The manner for *server*, which begins with *first*."""
        return self._found.get((server, first), first)

    def lower(self, server: Hashable, first: Manner, *, refused: Manner, found: Manner) -> None:
        """Ask *server* in the manner *found* from now on, unless another request has changed *refused* meanwhile."""
        if self.of(server, first) != refused:
            return
        self._found[server, first] = found
        self._found.move_to_end((server, first))
        while len(self._found) > self._most:
            self._found.popitem(last=False)


def milder(manner: Manner, status: int, complaint: Complaint, asked: Request | None = None) -> Manner | None:
    """What to try after a request that was written in *manner* was refused; None if that is not the reason.

    A refusal of the schema itself, which no server of this kind would take, is not one of the manner. Words that the
    server quotes from the request *asked* do not count: a row may be about schemas.
    """
    if status not in (*_STATUSES, *_OF_SCORES):
        return None
    said = Prose(f"{complaint.message} {complaint.param or ''}", asked)
    if asked is not None and asked.scores and manner.asks_scores and said.matches(_SCORES):
        return replace(manner, asks_scores=False)
    if status not in _STATUSES:
        return None
    if said.matches(_word(manner.cap)) and not manner.is_other_cap and said.matches(_UNKNOWN):
        other: Cap = "max_tokens" if manner.cap == "max_completion_tokens" else "max_completion_tokens"
        return replace(manner, cap=other, is_other_cap=True)
    if manner.names_cache and said.matches(_CACHE):
        return replace(manner, names_cache=False)
    if not (said.matches(_UNKNOWN) or said.matches(_WRONG_VALUE)) or said.matches(_OF_THE_SCHEMA):
        return None
    if manner.shape == "strict" and said.matches(_word("strict")):
        return replace(manner, shape="json_schema")
    below = _BELOW.get(manner.shape)
    return replace(manner, shape=below) if below is not None and said.matches(_SHAPE) else None


_OF_SCORES = (403, 500)  # "You are not allowed to request logprobs from this model"; SGLang and others fail.
_SCORES = re.compile(r"log[_ -]?prob|\bn_probs\b|\binclude\b|can handle the requested parameters")
_STATUSES = (400, 404, 422, 501)  # 404: OpenRouter, if no host behind it takes all parameters.
# A server that refuses the schema refuses it with and without `strict`.
_BELOW: dict[Shape, Shape] = {"strict": "json_object", "json_schema": "json_object", "json_object": "words"}
# The last ones are Anthropic's, Bedrock's and Gemini's.
_SHAPE = re.compile(
    r"response[_ ]?format|text\.format|json[_ -]?schema|json[_ -]?object|json mode|structured[ _-]?outputs?"
    r"|can handle the requested parameters|\bguided|output (?:type|format)|output_format"
    r"|output_?config|response_?mime_?type|response_?json_?schema"
)
_CACHE = re.compile(r"prompt_cache_(?:options|breakpoint|key)")
_UNKNOWN = re.compile(
    r"not (?:\w+ )?support|n't (?:\w+ )?support|unsupported|unavailable|not available|not permitted|not allowed"
    r"|not enabled|not implemented|unknown|unrecogni[sz]ed|unexpected|no endpoints found"
)
_WRONG_VALUE = re.compile(r"(?:must|should) be (?:one of |either )?['\"`]?(?:json_schema|json_object|text)\b")
_OF_THE_SCHEMA = re.compile(
    r"invalid (?:json )?schema|in context=|schema fields|schema not supported: |schema is (?:invalid|too)|keyword"
    r"|format\.schema\b|schema\.(?:properties|items|\$defs)"
)


def _word(word: str) -> re.Pattern[str]:
    return re.compile(rf"\b{word}\b")
