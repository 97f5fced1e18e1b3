"""Anthropic's message batches, as anthropic 2.14 asks for them."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from urllib.parse import parse_qs

from tests.fakeserver import errors
from tests.fakeserver.faults import JSON, Fault, Response, refused
from tests.fakeserver.joblines import joined, written
from tests.fakeserver.jobs import Call, Depot, Done, Job, Line, Route, Run, owner_of
from tests.fakeserver.messages import Json
from tests.fakeserver.model import tokens_of

_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DAY = 86_400


class AnthropicJobs:
    """The routes."""

    def __init__(self, depot: Depot, run: Run) -> None:
        self._depot = depot
        self._run = run

    def route(self, method: str, path: str) -> Route | None:
        """What a request is about; None if the path is no path of this protocol."""
        match method, path.strip("/").split("/"):
            case "POST", ["v1", "messages", "batches"]:
                return Route("create", self._create)
            case "GET", ["v1", "messages", "batches"]:
                return Route("list", self._list)
            case "GET", ["v1", "messages", "batches", name]:
                return Route("look", partial(self._look, name))
            case "GET", ["v1", "messages", "batches", name, "results"]:
                return Route("results", partial(self._results, name))
            case "POST", ["v1", "messages", "batches", name, "cancel"]:
                return Route("cancel", partial(self._cancel, name))
            case "DELETE", ["v1", "messages", "batches", name]:
                return Route("delete", partial(self._delete, name))
        return None

    def _create(self, call: Call) -> Response:
        depot, headers = self._depot, call.headers
        if len(call.body) > depot.terms.most_bytes:
            return _refusal(413, "Request exceeds the maximum size")
        asked = json.loads(call.body)
        ids = [one["custom_id"] for one in asked["requests"]]
        if asked.keys() != {"requests"} or any(one.keys() != {"custom_id", "params"} for one in asked["requests"]):
            return _refusal(400, "requests: Extra inputs are not permitted")
        if not ids or len(ids) > depot.terms.most_lines or len(set(ids)) < len(ids):
            return _refusal(400, "requests: too few, too many, or a custom_id that is used twice")
        if not all(_ID.fullmatch(one) for one in ids):
            return _refusal(400, "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'")
        if len(depot.running(headers)) >= depot.terms.most_jobs:
            return _refusal(429, "Too many batches are being processed.")
        lines = [
            Line(id=one["custom_id"], body=one["params"], tokens=tokens_of(json.dumps(one["params"])))
            for one in asked["requests"]
        ]
        most = depot.terms.most_waiting
        if most is not None and depot.waiting(headers) + sum(line.tokens for line in lines) > most:
            return _refusal(429, "Too many requests are being processed in batches.")
        job = Job(
            id=depot.name("msgbatch_"),
            owner=owner_of(headers),
            plot=depot.plot(),
            lines=lines,
            made=depot.now,
            run=self._run,
            charges=lambda job, done: done.status == 200,
            tag=ids[0].rpartition("-")[0],
            model=lines[0].body.get("model", ""),
        )
        return _said(self._batch(depot.enter(job), call))

    def _list(self, call: Call) -> Response:
        asked = parse_qs(call.query)
        found = self._depot.listed(call.headers)
        names = [one.id for one in found]
        after = asked.get("after_id", [""])[0]
        start = names.index(after) + 1 if after in names else 0
        size = int(asked.get("limit", ["20"])[0])
        page = found[start : start + size]
        return _said({
            "data": [self._batch(one, call) for one in page],
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
            "has_more": start + size < len(found),
        })  # fmt: skip

    def _look(self, name: str, call: Call) -> Response:
        job = self._depot.job(name, call.headers)
        return _missing(name) if job is None else _said(self._batch(job, call))

    def _results(self, name: str, call: Call) -> Response:
        depot = self._depot
        job = depot.jobs.get(name)
        if job is None or job.owner != owner_of(call.headers) or job.plot.gone:
            return _missing(name)
        end = job.end_at(depot.now)
        if end is None or depot.now < job.ends + job.plot.file_after or job.plot.file_gone:
            return _refusal(404, f"The results of Message Batch {name} are not available.")
        if "results" not in job.files:
            lines = [line for line, _ in written(job, partial(_line, depot, end), "custom_id")]
            depot.rng.shuffle(lines)
            file = depot.keep(joined(lines, job.plot.ends_cut), owner=job.owner, name=f"{name}_results.jsonl")
            job.files["results"] = file.id
        content = depot.files[job.files["results"]].content
        return Response(200, {"content-type": "application/x-jsonl"}, content)

    def _cancel(self, name: str, call: Call) -> Response:
        job = self._depot.job(name, call.headers)
        if job is None:
            return _missing(name)
        if job.end_at(self._depot.now) is not None:
            return _refusal(400, f"Message Batch {name} has ended and cannot be canceled.")
        job.cancelled = self._depot.now
        return _said(self._batch(job, call))

    def _delete(self, name: str, call: Call) -> Response:
        job = self._depot.job(name, call.headers)
        if job is None or job.files.get("deleted"):
            return _missing(name)
        if job.end_at(self._depot.now) is None:
            return _refusal(400, f"Message Batch {name} is still being processed.")
        self._depot.files.pop(job.files.get("results", ""), None)
        job.files["deleted"] = "yes"
        return _said({"id": name, "type": "message_batch_deleted"})

    def _batch(self, job: Job, call: Call) -> Json:
        now, end = self._depot.now, job.end_at(self._depot.now)
        status = "ended" if end else "canceling" if job.cancelled is not None else job.plot.state or "in_progress"
        there = end and now >= job.ends + job.plot.file_after and not job.plot.no_output
        place = job.plot.results_host or call.base
        return {
            "id": job.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": self._counts(job, end),
            "created_at": _moment(job.made),
            "ended_at": _moment(job.ends) if end else None,
            "expires_at": _moment(job.made + _DAY),
            "archived_at": None,
            "cancel_initiated_at": None if job.cancelled is None else _moment(job.cancelled),
            "results_url": f"{place}/v1/messages/batches/{job.id}/results" if there else None,
        }

    def _counts(self, job: Job, end: str | None) -> Json | None:
        total = len(job.lines)
        kinds = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        if job.plot.counts == "none":
            return None
        if end is None:
            return kinds | {"processing": total}
        if job.plot.counts == "lie":
            return kinds | {"succeeded": total}
        done = Counter("succeeded" if one.status == 200 else "errored" for one in (job.done or {}).values())
        rest = "canceled" if end == "cancelled" else "expired"
        return kinds | done | {rest: total - done.total()}


def _line(depot: Depot, end: str, name: str, done: Done | None, fault: Fault | None) -> Json:
    if fault is not None:
        result: Json | None = {"type": "errored", "error": None} if fault.name == "zero" else None
    elif done is None:
        result = {"type": "canceled" if end == "cancelled" else "expired"}
    elif done.status == 200:
        result = {"type": "succeeded", "message": done.body}
    else:
        error = done.body if isinstance(done.body, dict) else {"type": "error", "error": {"message": done.body}}
        result = {"type": "errored", "error": {**error, "request_id": done.request_id}}
    return {"custom_id": name, "result": result}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _said(body: Json) -> Response:
    return Response(200, JSON, json.dumps(body).encode())


def _missing(name: str) -> Response:
    body = {"type": "error", "error": {"type": "not_found_error", "message": f"Message Batch {name} not found"}}
    return refused(404, body)


def _refusal(code: int, message: str) -> Response:
    _, body = errors.by_status("anthropic", code)
    kinds = {400: "invalid_request_error", 404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error"}
    return refused(code, {**body, "error": {"type": kinds[code], "message": message}})
