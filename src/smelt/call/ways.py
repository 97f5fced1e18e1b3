"""The ways in which a call could be asked, each with its price: live, in jobs, and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from smelt.call.preparation import Preparation
from smelt.call.workorder import work_of
from smelt.engine.prefix import Prefix
from smelt.errors import SmeltConfigError
from smelt.plan.tokens import text_tokens
from smelt.providers.base import Usage
from smelt.providers.batching import batching_of
from smelt.providers.prices import cost_of
from smelt.providers.tiers import flex_of
from smelt.providers.usage import asked_tier

HEAD = ("way", "requests", "tokens in", "tokens out", "dollars", "share")
_LEAST = 0.01  # Dollars. For less, nobody chooses a way.

_Mode = Literal["now", "flex", "batch"]
_Wire = Literal["keyed", "compact", "auto"]


class Estimated(Protocol):
    """What is taken of an estimate; its dollars are None where they are not known."""

    @property
    def requests(self) -> int: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cost_usd(self) -> float | None: ...
    @property
    def batch_cost_usd(self) -> float | None: ...
    @property
    def flex_cost_usd(self) -> float | None: ...


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way in which a call could be asked.

    Attributes:
        name: The options that ask so, such as `mode="batch"`; `live` for none. `cached`, if the provider will keep the
            instructions in its prompt cache, which a run asks for by itself.
        is_asked: Whether the call is asked so.
        requests: Requests that would be sent, or lines of jobs.
        input_tokens: As in the estimate.
        output_tokens: As in the estimate.
        cost_usd: Dollars at the published prices.
    """

    name: str
    is_asked: bool
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: float


def ways(call: Preparation, estimated: Callable[[Preparation], Estimated]) -> tuple[Way, ...]:
    """The ways that the model and its host have, if the price of each is known and they matter; else none.

    Args:
        call: The call as it is asked.
        estimated: The estimate of a call, whatever its way.
    """
    asked = call.settings.mode, call.settings.wire
    is_decided = call.settings.via == "decisions"
    written, found = call.asked_via("generation"), []
    for mode, wire in _choices(written):
        one = estimated(replace(written, settings=replace(written.settings, mode=mode, wire=wire)))
        cost = {"batch": one.batch_cost_usd, "flex": one.flex_cost_usd}.get(mode, one.cost_usd)
        kept = _kept(written, one, wire) if mode == "now" else None
        if cost is None:
            continue
        found.append(
            Way(
                name=_name(mode, wire if _takes_compact(written) else "auto", is_kept=kept is not None),
                is_asked=(mode, wire) == asked and not is_decided,
                requests=one.requests,
                input_tokens=one.input_tokens,
                output_tokens=one.output_tokens,
                cost_usd=cost if kept is None else kept,
            )
        )
    found += _decided(call, estimated, is_asked=is_decided)
    matters = len(found) > 1 and max(one.cost_usd for one in found) >= _LEAST
    return tuple(found) if matters else ()


def _decided(call: Preparation, estimated: Callable[[Preparation], Estimated], *, is_asked: bool) -> Iterator[Way]:
    """The endpoint for decisions, if the call can be asked there."""
    with suppress(SmeltConfigError):
        one = estimated(call.asked_via("decisions"))
        if one.cost_usd is not None:
            yield Way(
                name='via="decisions"',
                is_asked=is_asked,
                requests=one.requests,
                input_tokens=one.input_tokens,
                output_tokens=one.output_tokens,
                cost_usd=one.cost_usd,
            )


def lines(found: Sequence[Way]) -> list[list[str]]:
    """The cells of the table, under `HEAD`."""
    dearest = max(one.cost_usd for one in found)
    return [
        [
            f"{one.name} (as asked)" if one.is_asked else one.name,
            f"{one.requests:,}",
            f"{one.input_tokens:,}",
            f"{one.output_tokens:,}",
            f"${one.cost_usd:,.3f}" if dearest < 1 else f"${one.cost_usd:,.2f}",
            f"{one.cost_usd / dearest:.0%}".replace("%", " %"),
        ]
        for one in found
    ]


def text(found: Sequence[Way]) -> list[str]:
    """The table as lines of text: names to the left, numbers to the right."""
    table = [list(HEAD), *lines(found)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]


def _choices(call: Preparation) -> Iterator[tuple[_Mode, _Wire]]:
    """The modes and the forms of rows that the call may choose from."""
    usual: _Wire = "keyed" if call.settings.wire == "keyed" else "auto"
    wires: list[_Wire] = [usual, "compact"] if _takes_compact(call) else [call.settings.wire]
    for wire in wires:
        for mode in _modes(call):
            yield mode, wire


def _modes(call: Preparation) -> Iterator[_Mode]:
    yield "now"
    with suppress(SmeltConfigError):  # The model has none.
        flex_of(call.provider)
        yield "flex"
    with suppress(SmeltConfigError):
        batching_of(call.provider)
        yield "batch"


def _takes_compact(call: Preparation) -> bool:
    return call.provider.capabilities.takes_compact and call.settings.via != "decisions" and not call.has_media


def _kept(call: Preparation, one: Estimated, wire: _Wire) -> float | None:
    """Dollars if the first request writes the instructions to the provider's cache, and all others read them there.

    None if a run would not ask for that, or if a price is not known.
    """
    terms = call.provider.capabilities.prefix
    if terms is None or one.requests < terms.requests:
        return None
    work = work_of(replace(call, settings=replace(call.settings, wire=wire)))
    tokens = text_tokens(len((work.compact.system if work.compact else work.system).encode()))
    if Prefix().life(terms, tokens, one.requests) == "no":
        return None
    each = Usage(
        input_tokens=one.input_tokens // one.requests,
        output_tokens=one.output_tokens // one.requests,
        tier=asked_tier(call.params),
    )
    first = cost_of(call.provider, replace(each, written_input_tokens=tokens))
    other = cost_of(call.provider, replace(each, cached_input_tokens=tokens))
    return None if first is None or other is None else first + other * (one.requests - 1)


def _name(mode: str, wire: str, *, is_kept: bool) -> str:
    parts = [f'mode="{mode}"'] * (mode != "now") + [f'wire="{wire}"'] * (wire != "auto")
    return ", ".join((parts or ["live"]) + ["cached"] * is_kept)
