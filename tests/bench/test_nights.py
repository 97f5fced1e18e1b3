"""The server and the counting of `tests/bench/nights.py`; the libraries run in environments of their own, not here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bench.contenders.batchers import SCRIPTS
from tests.bench.contenders.jobserver import JobServer
from tests.bench.contenders.server import Config, Server
from tests.bench.nights import PACKAGES, package, steps
from tests.fakeserver.connection import Request

KEY = {"authorization": "Bearer sk-test"}


def server(plot: dict[str, Any]) -> JobServer:
    return JobServer({"script": {"0": plot}}, Server(Config(), lambda: 0.0))


def asked(one: JobServer, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
    answer = one.route(Request(method, path, KEY | headers, body), None).answer().response  # type: ignore[arg-type]
    assert answer.status == 200, answer.body
    return answer.body


def job(one: JobServer, names: list[str]) -> None:
    """Submit a job with a line for each name, as curator does."""
    bodies = [{"model": "m", "messages": [{"role": "user", "content": name}]} for name in names]
    lines = [
        {"custom_id": str(at), "method": "POST", "url": "/v1/chat/completions", "body": body}
        for at, body in enumerate(bodies)
    ]
    form = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="upload"\r\n\r\n'
        + "\n".join(map(json.dumps, lines)).encode()
        + b"\r\n--b--\r\n"
    )
    file = json.loads(asked(one, "POST", "/v1/files", form, **{"content-type": "multipart/form-data; boundary=b"}))
    assert json.loads(asked(one, "GET", f"/v1/files/{file['id']}"))["status"] == "processed"
    wanted = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    asked(one, "POST", "/v1/batches", json.dumps(wanted).encode())


def live(one: JobServer, name: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": name}]}
    asked(one, "POST", "/v1/chat/completions", json.dumps(body).encode())


@pytest.mark.parametrize(
    ("plot", "paid", "in_vain"),
    [
        pytest.param({}, 2, 1, id="good"),
        pytest.param({"lines": {"0": {"fault": "status", "code": 500}}}, 1, 0, id="refused"),
        pytest.param({"lines": {"0": "lost"}}, 2, 0, id="not in the results"),
        pytest.param({"lines": {"0": "cut"}}, 2, 0, id="cut off"),
        pytest.param({"lines": {"0": "wrong"}}, 2, 0, id="breaks the model"),
        pytest.param({"end": "expired", "share": 0.0}, 1, 0, id="never run"),
    ],
)
def test_a_row_is_paid_in_vain_only_after_a_good_answer(plot: dict[str, Any], paid: int, in_vain: int) -> None:
    one = server(plot)

    job(one, ["Acme", "Globex"])
    one.depot.advance(1_000)
    live(one, "Acme")

    bill = one.bill()
    assert (bill["paid"]["Acme"], bill["in_vain"]) == (paid, in_vain)
    assert (bill["jobs"], bill["live"]) == ([2], 1)


def test_a_job_that_nobody_collects_is_on_the_bill() -> None:
    one = server({})

    job(one, ["Acme"])
    job(one, ["Acme"])

    assert (one.bill()["paid"], one.bill()["in_vain"]) == ({"Acme": 2}, 1)


def test_the_lines_about_batches_are_counted_by_what_they_do() -> None:
    assert steps("smelt") == {"mode": 1}
    assert {*map(package, SCRIPTS)} == {*PACKAGES}
