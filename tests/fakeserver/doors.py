"""What the doors beside the models share: who may enter, and what goes wrong on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.fakeserver.faults import REFUSALS, RESPONSES, TRANSPORTS, Fault, Response, status
from tests.fakeserver.messages import Headers, WireProtocol


def struck(
    protocol: WireProtocol,
    headers: Headers,
    faults: Sequence[Fault],
    answer: Callable[[], Response],
    *,
    is_open: bool = False,
) -> tuple[Response, Fault | None]:
    """What answers a call that *faults* strike, and how it travels.

    A fault of transport strikes after the work was done, so the answer is lost; a refusal strikes before, unless it
    says `"done": true`. If the door *is_open*, the call needs no key.
    """
    if not is_open and not protocol.authorised(headers):
        return status({"kind": "auth"}, protocol), None
    refusal = next((one for one in faults if one.name in REFUSALS), None)
    transport = next((one for one in faults if one.name in TRANSPORTS), None)
    if refusal is not None and not refusal.options.get("done"):
        return REFUSALS[refusal.name](refusal.options, protocol), transport
    response = answer()
    if refusal is not None:
        response = REFUSALS[refusal.name](refusal.options, protocol)
    for fault in faults:
        if fault.name in RESPONSES:
            response = RESPONSES[fault.name](response, fault.options)
    return response, transport
