"""The server of `tests/bench/economy.py` answers every library's rows and bills them; libraries do not run here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bench import agreement
from tests.bench.contenders.shop import MODELS, Shop
from tests.bench.contenders.shoppers import SHOPPERS
from tests.bench.economy import PACKAGES, Purchase, compared, figures, library
from tests.economy_jobs import REVIEW, Job
from tests.fakeserver.connection import Request

ROWS = REVIEW.rows(3)
RIGHT = [REVIEW.answer(row) for row in ROWS]


def shop(job: Job = REVIEW, count: int = 3) -> Shop:
    return Shop(job, count, lambda: 0.0, latency=0.0, tokens=None)


def asked(one: Shop, path: str, body: dict[str, Any], **headers: str) -> Any:
    request = Request("POST", path, {"authorization": "Bearer sk-test"} | headers, json.dumps(body).encode())
    response = one.route(request, None).answer().response  # type: ignore[arg-type]
    assert response.status == 200, response.body
    return json.loads(response.body)


def text_of(reply: Any) -> Any:
    if "choices" in reply:
        return json.loads(reply["choices"][0]["message"]["content"])
    return json.loads(reply["output"][0]["content"][0]["text"])


def test_openaivec_is_answered_by_number() -> None:
    messages = [{"id": at, "body": json.dumps(row)} for at, row in enumerate(ROWS)]
    body = {"model": "gpt-6-luna", "instructions": "Read.", "input": json.dumps({"user_messages": messages})}

    reply = text_of(asked(shop(), "/v1/responses", body))

    assert [one["body"] for one in reply["assistant_messages"]] == RIGHT


def test_curator_is_answered_by_its_text() -> None:
    one = shop()
    bodies = [
        {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": REVIEW.prompt.format(**row)}]}
        for row in ROWS
    ]

    assert [text_of(asked(one, "/v1/chat/completions", body)) for body in bodies] == RIGHT


def test_a_request_is_billed_at_the_price_of_each_model_and_a_row_that_is_paid_twice_is_counted() -> None:
    one = shop()
    messages = [{"id": 0, "body": json.dumps(ROWS[0])}]
    body = {"model": "gpt-6-luna", "instructions": "Read.", "input": json.dumps({"user_messages": messages})}

    for _ in range(2):
        asked(one, "/v1/responses", body)

    books = one.told()
    given, made = (books["bills"]["gpt-6-luna"][kind] for kind in ("given", "made"))
    assert (books["requests"], books["paid"], books["twice"]) == (2, 1, 1)
    assert given / 2 == pytest.approx((len(body["input"]) + len("{}Read.")) / 4, abs=1)
    assert books["bills"]["gpt-6-luna"]["dollars"] == pytest.approx((given * 0.10 + made * 0.50) / 1e6)
    assert books["bills"]["gpt-6.1-sol"]["dollars"] == pytest.approx((given * 2.00 + made * 10.00) / 1e6)


def test_flex_is_half_the_price_where_a_model_has_it() -> None:
    one, half = shop(), shop()
    messages = [{"id": 0, "body": json.dumps(ROWS[0])}]
    body = {"model": "gpt-6-luna", "instructions": "Read.", "input": json.dumps({"user_messages": messages})}

    asked(one, "/v1/responses", body)
    asked(half, "/v1/responses", {**body, "service_tier": "flex"})

    ratios = {model: half.told()["bills"][model]["dollars"] / one.told()["bills"][model]["dollars"] for model in MODELS}
    assert {model for model, ratio in ratios.items() if ratio == pytest.approx(0.5)} == {
        "gpt-6-luna",
        "gpt-6.1-sol",
        "gemini-3.8-flash",
    }


def test_lost_and_wrong_rows_are_told_apart() -> None:
    wrong = {**RIGHT[1], "stars": RIGHT[1]["stars"] % 5 + 1}
    books = {**shop().told(), "requests": 1}
    bought = Purchase(answers=[RIGHT[0], wrong, None], wall=1.0, end="", books=books)

    cells = figures(REVIEW, bought, 3)

    assert cells[6:8] == ["1", "1"]


def test_every_way_belongs_to_a_library_and_is_compared_with_its_like() -> None:
    ways = tuple(SHOPPERS)

    assert {*map(library, ways)} == {*PACKAGES}
    assert {name for pair in compared(ways) for name in pair} <= {*ways}


def test_a_share_has_the_interval_of_wilson() -> None:
    assert agreement.shown(0.5, 24) == "50 % (31 % to 69 %)"
    assert agreement.shown(1.0, 24) == "100 % (86 % to 100 %)"
