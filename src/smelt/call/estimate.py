"""The estimate of what a call needs and costs; sends nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, fsum

from smelt.call.gauge import check_calibrator
from smelt.call.ladder import calls_of
from smelt.call.preparation import Preparation
from smelt.call.prospects import Prospect, prospect
from smelt.call.tally import waves
from smelt.call.thinking import room_of
from smelt.call.traffic import measured, pilot_tokens, request_bytes, requests_of
from smelt.call.ways import HEAD, Way, text, ways
from smelt.call.ways import lines as cells
from smelt.call.workorder import work_of
from smelt.engine.pilot import REQUESTS, is_worthwhile
from smelt.engine.work import Work
from smelt.messages import counted, price, printable
from smelt.plan.prompt import sent_columns
from smelt.plan.tokens import BYTES_PER_TOKEN
from smelt.providers.base import FLEX, Usage
from smelt.providers.prices import cost_of, source_of
from smelt.providers.usage import asked_tier
from smelt.trust.outlook import mean_votes, wave_votes
from smelt.trust.votes import Panel


def estimate(call: Preparation) -> Estimate:
    """Estimate rows, requests, tokens and dollars of *call*, and of the other ways to ask it. Sends nothing."""
    if call.earlier:
        return _of_cascade(call)
    found = _alone(call)
    return _with_votes(call, found) if call.settings.votes > 1 else replace(found, ways=ways(call, _alone))


def _of_cascade(call: Preparation) -> Estimate:
    """The likely estimate of a call to several models."""

    def estimated(one: Preparation) -> Estimate:
        return _with_votes(one, _alone(one)) if one.settings.votes > 1 else _alone(one)

    def in_jobs(one: Preparation) -> Estimate:
        whole = estimated(one)
        return replace(whole, cost_usd=whole.batch_cost_usd)

    found = prospect(call, estimated)
    batched = prospect(call, in_jobs) if call.settings.mode == "batch" else None
    cheapest, *others = [estimated(one) for one in calls_of(call)]
    asked = [(found.share, one) for one in others]
    asked = asked[-1:] if found.is_alone else [(1.0, cheapest), *asked]

    def summed(count: Callable[[Estimate], int]) -> int:
        return ceil(fsum(share * count(one) for share, one in asked))

    return replace(
        others[-1],
        requests=summed(lambda one: one.requests),
        input_tokens=summed(lambda one: one.input_tokens),
        output_tokens=summed(lambda one: one.output_tokens),
        thinking_tokens=summed(lambda one: one.thinking_tokens),
        media_tokens=summed(lambda one: one.media_tokens),
        cost_usd=found.likely_cost_usd,
        model=" then ".join(found.models),
        flex_cost_usd=None,
        batch_cost_usd=None if batched is None else batched.likely_cost_usd,
        compact_cost_usd=None,
        cascade=batched or found,
    )


def _with_votes(call: Preparation, once: Estimate) -> Estimate:
    """The estimate of a call with votes, by that of one which asks each row *once*."""
    check_calibrator(call)
    most = call.settings.votes
    leaves = Panel(call.output).leaves
    if len(waves(call.settings)) < most:
        votes = wave_votes(most, len(leaves))
    else:
        votes = mean_votes(most, [leaf.labels for leaf in leaves], sure=call.settings.sure)
    return replace(
        once,
        requests=ceil(once.requests * votes),
        input_tokens=round(once.input_tokens * votes),
        output_tokens=round(once.output_tokens * votes),
        thinking_tokens=round(once.thinking_tokens * votes),
        media_tokens=round(once.media_tokens * votes),
        cost_usd=_times(once.cost_usd, votes),
        flex_cost_usd=_times(once.flex_cost_usd, votes),
        batch_cost_usd=_times(once.batch_cost_usd, votes),
        compact_cost_usd=_times(once.compact_cost_usd, votes),
        votes=votes,
        all_votes_cost_usd=_times(once.cost_usd, most),
    )


def _times(cost_usd: float | None, votes: float) -> float | None:
    return None if cost_usd is None else cost_usd * votes


def _alone(call: Preparation) -> Estimate:
    distinct, provider, work, mode = len(call.folded.distinct), call.provider, work_of(call), call.settings.mode
    if mode == "now" and is_worthwhile(work, distinct) and _cost(call, 1, 1, 1):
        return _with_pilot(call, work)
    row_bytes, media_bytes, media_tokens = measured(call)
    thoughts = 0.0 if work.decisions else room_of(provider, call.params).usual
    by_media = max(1, int(provider.capabilities.media_bytes / media_bytes)) if media_bytes else work.most_rows
    work = replace(work, most_rows=min(work.most_rows, by_media))
    requests = requests_of(work, distinct, row_bytes, workers=call.concurrency, thoughts=thoughts)
    frame, each, system = request_bytes(work, row_bytes)
    sent = requests * (system + frame) + distinct * each
    received = 0 if work.decisions else requests * len('{"rows":[]}') + distinct * work.reply_bytes
    thinking_tokens = round(requests * thoughts)
    media = round(distinct * media_tokens)
    input_tokens = round(sent / BYTES_PER_TOKEN) + media
    output_tokens = round(received / BYTES_PER_TOKEN) + thinking_tokens
    cost_usd = _cost(call, requests, input_tokens, output_tokens, tier=work.tier or None)
    return Estimate(
        rows=len(call.source),
        distinct_rows=distinct,
        requests=requests,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=cost_usd,
        model=f"{provider.name}:{provider.model}",
        columns=tuple(call.source.names),
        thinking_tokens=thinking_tokens,
        media_tokens=media,
        assumes=_assumptions(call, work.tier) if cost_usd else "",
        flex_cost_usd=_cost(call, requests, input_tokens, output_tokens, tier=FLEX) if mode == "flex" else None,
        batch_cost_usd=_batch_cost(call, work, distinct, sent + media * BYTES_PER_TOKEN, received),
    )


def _with_pilot(call: Preparation, work: Work) -> Estimate:
    """The estimate of a run with a pilot: at most, if it stays with the keyed form, and if it takes the compact one.

    The pilot asks its rows twice in the keyed form and once in the compact one; one of the three is part of any run.
    """
    keyed, compact = (
        _alone(replace(call, settings=replace(call.settings, wire=wire))) for wire in ("keyed", "compact")
    )
    row_bytes, _, _ = measured(call)
    shaped = work_of(replace(call, settings=replace(call.settings, wire="compact")))
    thoughts = room_of(call.provider, call.params).usual
    asked, answered = pilot_tokens(work, row_bytes, thoughts)
    asked_compact, answered_compact = pilot_tokens(shaped, row_bytes, thoughts)
    other = (
        compact.requests + 2 * REQUESTS,
        compact.input_tokens + 2 * asked,
        compact.output_tokens + 2 * answered,
    )
    requests = keyed.requests + 2 * REQUESTS
    input_tokens = keyed.input_tokens + asked + asked_compact
    output_tokens = keyed.output_tokens + answered + answered_compact
    return replace(
        keyed,
        requests=requests,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=_cost(call, requests, input_tokens, output_tokens),
        thinking_tokens=keyed.thinking_tokens + round(2 * REQUESTS * thoughts),
        compact_cost_usd=_cost(call, *other),
    )


def _batch_cost(call: Preparation, work: Work, distinct: int, sent: float, received: float) -> float | None:
    """Dollars in jobs of a Batch API: *sent* and *received* bytes in full requests, after a first one that is live."""
    if call.settings.mode != "batch":
        return None
    first = min(work.first_rows if work.is_auto else work.most_rows, distinct)
    requests = ceil((distinct - first) / work.most_rows)
    share = (distinct - first) / distinct if distinct else 0.0
    thoughts = room_of(call.provider, call.params).usual
    sent_tokens, made_tokens = sent / BYTES_PER_TOKEN, received / BYTES_PER_TOKEN
    jobs = _cost(
        call, requests, round(sent_tokens * share), round(made_tokens * share + requests * thoughts), tier="batch"
    )
    alone = round(sent_tokens * (1 - share)), round(made_tokens * (1 - share) + thoughts)
    live = _cost(call, 1 if first else 0, *alone)
    return None if live is None or jobs is None else live + jobs


def _cost(
    call: Preparation, requests: int, input_tokens: int, output_tokens: int, *, tier: str | None = None
) -> float | None:
    if not requests:
        return 0.0
    # Priced per request: some models charge more for long requests.
    usage = Usage(
        input_tokens=input_tokens // requests, output_tokens=output_tokens // requests, tier=asked_tier(call.params)
    )
    one = cost_of(call.provider, usage, tier=tier)
    return None if one is None else one * requests


def _assumptions(call: Preparation, own: str) -> str:
    """*own*: what stands for the tier of requests that have a price of their own."""
    tier = f"{asked_tier(call.params) or 'standard'} tier"
    return f"{own or tier}, no cache, {source_of(call.provider, own)}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Estimate:
    """What a call would need if no row has to be asked twice.

    Attributes:
        rows: The caller's rows.
        distinct_rows: Distinct rows; equal rows are paid once.
        requests: Requests that would be sent.
        input_tokens: Estimated from the bytes of the text that would be sent, four bytes to a token. Tokens that a
            provider adds for the reply schema, and discounts for cached tokens, are not counted.
        output_tokens: Estimated from the output model in the same way, plus the reasoning tokens of a reasoning model.
        cost_usd: Dollars at the published prices; None if the price is not known.
        assumes: What the dollars assume: the service tier, no cache, and where the price comes from. Empty without a
            price.
        model: The model that would answer, as `provider:name`.
        columns: The columns that would be sent.
        media_tokens: The tokens of images, documents and audio among the input tokens, by the provider's published
            formulas.
        batch_cost_usd: With `mode="batch"`: dollars in jobs of the Batch API, beside `cost_usd` for the same rows asked
            live. None without that mode, or if the price is not known.
        flex_cost_usd: With `mode="flex"`: dollars if the flex tier serves all requests, beside `cost_usd` for the same
            rows at the standard tier. None without that mode, or if the price is not known.
        compact_cost_usd: With `wire="auto"`, if the run begins with a pilot: dollars if that takes the compact form;
            `cost_usd`, the requests and the tokens are those of a run that stays in the keyed form, pilot included.
            None without a pilot.
        thinking_tokens: The reasoning tokens among the output tokens: as measured by earlier runs of this process,
            else a guess from the model's name, which may be far off.
        ways: The ways in which the model and its host could be asked, each with `name`, `is_asked`, `requests`,
            `input_tokens`, `output_tokens` and `cost_usd`. Empty if a price is not known, if there is only one way, or
            if each costs less than a cent.
        votes: The votes for a row that all other numbers count: with `votes=`, the mean if a vote gives the usual
            answer to a field in 9 of 10 cases.
        all_votes_cost_usd: With `votes=`: dollars if every row needs all of them. None without, or if the price is not
            known.
        cascade: With `model=[cheap, strong]`: what that may cost at most, and what the strong model alone would; all
            other numbers are likely ones, if the cheap model agrees with it in 9 of 10 rows. None with one model.

    Examples:
        >>> print(df.smelt.estimate("Classify {name}.", Company, model=scripted))
        2 rows (2 distinct) in about 1 request to scripted:script
        about ... tokens in, ... out, price unknown
        sends 1 column: name
    """

    rows: int
    distinct_rows: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    model: str
    columns: tuple[str, ...] = ()
    thinking_tokens: int = 0
    media_tokens: int = 0
    assumes: str = ""
    batch_cost_usd: float | None = None
    flex_cost_usd: float | None = None
    compact_cost_usd: float | None = None
    ways: tuple[Way, ...] = ()
    votes: float = 1.0
    all_votes_cost_usd: float | None = None
    cascade: Prospect | None = None

    def __repr__(self) -> str:
        """Some lines of text, and a table of the ways."""
        asked = (
            f"{counted(self.rows, 'row')} ({self.distinct_rows:,} distinct) in about "
            f"{counted(self.requests, 'request')} to {self.model}"
        )
        cost = (
            f"about {self.input_tokens:,} tokens in{self._media}, {self.output_tokens:,} out{self._thoughts}, "
            f"{self._cost}{self._votes}"
        )
        sent = [f"sends {sent_columns(self.columns)}"] if self.columns else []
        table = ["", *text(self.ways)] if self.ways else []
        prospect = [] if self.cascade is None else [f"cascade: {self.cascade}"]
        return "\n".join(map(printable, [asked, cost, *prospect, *sent, *table]))

    def _repr_html_(self) -> str:
        from smelt.report.summary import table

        lines = [
            ("rows", f"{self.rows:,} ({self.distinct_rows:,} distinct)"),
            ("requests", f"about {self.requests:,}"),
            ("tokens", f"about {self.input_tokens:,} in{self._media}, {self.output_tokens:,} out{self._thoughts}"),
            ("cost", f"{self._cost}{self._votes}"),
            *([("cascade", str(self.cascade))] if self.cascade is not None else []),
            *([("sends", sent_columns(self.columns))] if self.columns else []),
        ]
        grid = (HEAD, cells(self.ways)) if self.ways else None
        return table("Estimate", f"for {self.model}", lines, grid=grid)

    @property
    def _media(self) -> str:
        return f" ({self.media_tokens:,} of them for media)" if self.media_tokens else ""

    @property
    def _thoughts(self) -> str:
        return f" (perhaps {self.thinking_tokens:,} of them thoughts)" if self.thinking_tokens else ""

    @property
    def _votes(self) -> str:
        if self.votes == 1.0:
            return ""
        whole = "" if not self.all_votes_cost_usd else f"; {price(self.all_votes_cost_usd)} if each takes all of them"
        return f"; with about {self.votes:.1f} votes for a row{whole}"

    @property
    def _cost(self) -> str:
        if not self.cost_usd:
            return "price unknown" if self.cost_usd is None else price(self.cost_usd)
        shown = price(self.cost_usd)
        live = f"{'' if shown.startswith('<') else 'about '}{shown} ({self.assumes})"
        if self.flex_cost_usd is not None:
            return f"{price(self.flex_cost_usd)} in flex mode, at most {live}"
        if self.compact_cost_usd is not None:
            return f"{price(self.compact_cost_usd)} if a pilot takes the compact wire, at most {live}"
        return live if self.batch_cost_usd is None else f"{price(self.batch_cost_usd)} in batch mode, live {live}"
