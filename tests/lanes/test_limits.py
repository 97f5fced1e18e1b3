"""Rate-limit headers: what is read, and what is not believed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smelt.lanes.limits import Limits, Quota, read_limits, seconds_until

DATE = "Thu, 01 Jan 2026 12:00:00 GMT"
NAMES = [
    f"{start}{middle}"
    for start, middle in [
        ("x-ratelimit-", "limit-requests"),
        ("x-ratelimit-", "remaining-requests"),
        ("x-ratelimit-", "reset-requests"),
        ("anthropic-ratelimit-", "tokens-limit"),
        ("anthropic-ratelimit-", "tokens-remaining"),
        ("anthropic-ratelimit-", "tokens-reset"),
    ]
]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1s", 1.0),
        ("1m30.5s", 90.5),
        ("2h3m", 7_380.0),
        ("1d", 86_400.0),
        ("250µs", 0.00025),
        ("12", 12.0),
        ("0.5", 0.5),
        ("0", 0.0),
        ("2026-01-01T12:00:20Z", 20.0),
        ("2026-01-01T13:00:20+01:00", 20.0),
        ("2026-01-01T12:00:00.250Z", 0.25),
        ("2026-01-01T11:59:59Z", 0.0),
        ("1767268820", 20.0),
        ("1767268820000", 20.0),
    ],
)
def test_a_reset_is_read(text: str, seconds: float) -> None:
    assert seconds_until(text, DATE) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "soon",
        "-1",
        "nan",
        "inf",
        "1e999",
        "1e3",
        "1_0",
        "\u0661\u0660",
        "\u0661s",
        "\u0662\u0660\u0662\u0666-01-01T12:00:09Z",
        "ms",
        "5x",
        "2026-01-01T11:00:00Z",
        "2026-13-01T00:00:00Z",
        "99999d",
    ],
)
def test_a_reset_that_makes_no_sense_is_unknown(text: str) -> None:
    assert seconds_until(text, DATE) is None


def test_limits_that_name_their_time_are_read() -> None:
    mistral = {  # mistralai/client-ts#169
        "x-ratelimit-limit-tokens-minute": "5000000",
        "x-ratelimit-remaining-tokens-minute": "4999911",
        "x-ratelimit-tokens-query-cost": "52",
        "x-ratelimit-limit-req-minute": "720",
        "x-ratelimit-remaining-req-minute": "717",
    }
    cerebras = {  # inference-docs.cerebras.ai/support/rate-limits
        "x-ratelimit-limit-requests-day": "14400",
        "x-ratelimit-remaining-requests-day": "14399",
        "x-ratelimit-reset-requests-day": "33011.38",
        "x-ratelimit-limit-tokens-minute": "60000",
        "x-ratelimit-remaining-tokens-minute": "59000",
        "x-ratelimit-reset-tokens-minute": "11.38",
    }

    assert read_limits(mistral) == Limits(requests=Quota(720, 717), tokens=Quota(5_000_000, 4_999_911))
    assert read_limits(cerebras) == Limits(
        requests=Quota(14_400, 14_399, 33_011.38), tokens=Quota(60_000, 59_000, 11.38)
    )


def test_a_limit_of_a_minute_comes_before_one_of_a_day() -> None:
    both = {"x-ratelimit-limit-requests-day": "14400", "x-ratelimit-limit-requests-minute": "30"}

    assert read_limits(both) == Limits(requests=Quota(30))


@pytest.mark.parametrize("text", ["2026-01-01T12:00:20Z", "1767268820"])
@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_a_point_in_time_says_nothing_without_the_replys_own_date(text: str, date: str | None) -> None:
    assert seconds_until(text, date) is None


def test_openais_limits_are_read() -> None:
    headers = {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "598",
        "x-ratelimit-reset-requests": "200ms",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }

    assert read_limits(headers) == Limits(requests=Quota(600, 598, 0.2), tokens=Quota(150_000, 149_984, 360.0))


def test_anthropics_limits_are_read() -> None:
    headers = {"date": DATE}
    for name, limit in [("requests", 50), ("input-tokens", 40_000), ("output-tokens", 8_000), ("tokens", 48_000)]:
        headers[f"anthropic-ratelimit-{name}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{name}-remaining"] = str(limit - 1)
        headers[f"anthropic-ratelimit-{name}-reset"] = "2026-01-01T12:00:01Z"

    assert read_limits(headers) == Limits(
        requests=Quota(50, 49, 1.0),
        input_tokens=Quota(40_000, 39_999, 1.0),
        output_tokens=Quota(8_000, 7_999, 1.0),
        tokens=Quota(48_000, 47_999, 1.0),
    )


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "quota"),
    [
        ("0", "-1", "0", None),  # Azure, where it does not know.
        ("-1", "-1", "-1", None),
        ("many", "5", "1s", None),
        ("nan", "5", "1s", None),
        ("1e300", "5", "1s", None),
        ("6_00", "5", "1s", None),
        ("\u0666\u0660", "5", "1s", None),
        ("600", "-1", "1s", Quota(600, None, 1.0)),
        ("600", "601", "1s", Quota(600, None, 1.0)),
        ("600", "few", "1s", Quota(600, None, 1.0)),
        ("600", "5", "whenever", Quota(600, 5, None)),
        ("600", "0", "0s", Quota(600, 0, 0.0)),
    ],
)
def test_what_contradicts_itself_is_unknown(limit: str, remaining: str, reset: str, quota: Quota | None) -> None:
    headers = {
        "x-ratelimit-limit-requests": limit,
        "x-ratelimit-remaining-requests": remaining,
        "x-ratelimit-reset-requests": reset,
    }

    assert read_limits(headers).requests == quota


@pytest.mark.parametrize("headers", [{}, {"date": DATE}, {"retry-after": "3"}, {"x-ratelimit-remaining-requests": "3"}])
def test_no_limits_are_nothing(headers: dict[str, str]) -> None:
    assert not read_limits(headers)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=12)))
def test_no_header_breaks_the_reading(headers: dict[str, str]) -> None:
    limits = read_limits(headers | {"date": DATE})

    for quota in (limits.requests, limits.tokens):
        assert quota is None or quota.limit > 0
        assert quota is None or quota.remaining is None or 0 <= quota.remaining <= quota.limit
        assert quota is None or quota.reset is None or quota.reset >= 0
