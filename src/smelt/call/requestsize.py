"""The size of a request of a call: how many rows it carries, before any reply tells more."""

from __future__ import annotations

from smelt.call.preparation import Preparation
from smelt.plan.mediacolumns import KINDS
from smelt.plan.tokens import reply_bytes, reply_tokens, text_tokens
from smelt.providers.decisions import decisions_of

_FIRST_ROWS = 5  # Rows of the first request, which tests the key, the model and the schema.
_ROOM = 2  # A chunk is planned with this multiple of a row's usual reply tokens, and fills half of the output limit.
_MOST_AUTO_ROWS = 25  # Larger chunks hardly save more of the shared instructions, and answers get worse.


def first_rows(call: Preparation) -> int:
    """The rows of the first request, if smelt chooses the number."""
    return min(_FIRST_ROWS, most_rows(call))


def rows_in_flight(call: Preparation) -> int:
    """The rows that are asked at the same time when all workers are busy."""
    return call.concurrency * most_rows(call)


def most_rows(call: Preparation) -> int:
    """The most rows that a request may carry."""
    capabilities, chosen = call.provider.capabilities, call.settings.batch_size
    if call.settings.isolation == "row" or capabilities.takes_one_row:
        return 1
    if call.decisions:
        return min(_by_decisions(call), _MOST_AUTO_ROWS if chosen == "auto" else chosen)
    if chosen != "auto":
        return chosen
    if call.has_media:
        return _by_media(call)
    return min(_MOST_AUTO_ROWS, _by_output(call), capabilities.rows_per_request or _MOST_AUTO_ROWS)


def _by_decisions(call: Preparation) -> int:
    """How many rows the questions leave room for that the endpoint for decisions takes in one request."""
    return decisions_of(call.provider, call.params).questions // len(call.decisions)


def _by_media(call: Preparation) -> int:
    """How many rows with media the provider takes. In a stream, the first rows need not have any."""
    declared = {KINDS[type(one)] for one in call.settings.media.values() if type(one) in KINDS}
    return call.provider.capabilities.media_rows if call.folded.media | declared == {"image"} else 1


def _by_output(call: Preparation) -> int:
    """How many answers fit into half of the provider's output limit.

    Based on the usual length of an answer, not on its maximum: a str without a length limit may take pages, but rarely
    does. If a reply is cut off, later requests are smaller.
    """
    fields = call.output.fields
    usual = min(reply_tokens(fields), _ROOM * max(1, text_tokens(reply_bytes(fields))))
    return max(1, call.provider.capabilities.max_output_tokens // (2 * usual))
