"""Gemini's files and batches (Developer API), as google-genai 3.6 asks for them, and the resumable upload."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from tests.fakeserver import errors
from tests.fakeserver.faults import JSON, Fault, Response, refused
from tests.fakeserver.joblines import joined, written
from tests.fakeserver.jobs import Call, Depot, Done, Job, Line, Route, Run, owner_of
from tests.fakeserver.messages import Json
from tests.fakeserver.model import tokens_of

_VERSIONS = ("v1", "v1beta", "v1alpha")
_IN_REQUEST = {"contents", "systemInstruction", "generationConfig", "safetySettings", "tools", "toolConfig", "model"}
_STATES = {"completed": "SUCCEEDED", "failed": "FAILED", "cancelled": "CANCELLED", "expired": "EXPIRED"}
_KEPT = 48 * 3_600

FAILURES: Mapping[str, Json] = {
    "token_limit_exceeded": {"code": 8, "message": "You exceeded your current quota for batch enqueued tokens."},
    "no_file": {"code": 5, "message": "File not found: files/abc."},
    "model_not_found": {"code": 5, "message": "models/fake-1 is not found, or has no batchGenerateContent."},
}


class GoogleJobs:
    """The routes."""

    def __init__(self, depot: Depot, run: Run) -> None:
        self._depot = depot
        self._run = run
        self._sessions: dict[str, tuple[str, Json, bytearray]] = {}

    def route(self, method: str, path: str) -> Route | None:
        """What a request is about; None if the path is no path of this protocol."""
        steps = path.strip("/").split("/")
        if steps[0] == "upload" and steps[2:] == ["files"] and method == "POST":
            return Route("upload", self._upload)
        if steps[0] == "pieces" and method == "POST":
            return Route("piece", self._piece)
        if steps[0] not in _VERSIONS:
            return None
        match method, steps[1:]:
            case "POST", ["models", name] if name.endswith(":batchGenerateContent"):
                return Route("create", partial(self._create, name.partition(":")[0]))
            case "GET", ["batches"]:
                return Route("list", self._list)
            case "GET", ["batches", name]:
                return Route("look", partial(self._look, name))
            case "POST", ["batches", name] if name.endswith(":cancel"):
                return Route("cancel", partial(self._cancel, name.partition(":")[0]))
            case "DELETE", ["batches", name]:
                return Route("delete", partial(self._delete_job, name))
            case "GET", ["files", name] if name.endswith(":download"):
                return Route("results", partial(self._download, name.partition(":")[0]))
            case "DELETE", ["files", name]:
                return Route("delete", partial(self._delete, name))
        return None

    def _upload(self, call: Call) -> Response:
        said = call.headers
        if said.get("x-goog-upload-protocol") != "resumable" or said.get("x-goog-upload-command") != "start":
            return _refusal(400, "INVALID_ARGUMENT", "The upload must be resumable.")
        size = int(said["x-goog-upload-header-content-length"])
        if size > self._depot.terms.most_bytes:
            return _refusal(400, "INVALID_ARGUMENT", "The file is too large.")
        name = self._depot.name("up")
        self._sessions[name] = (owner_of(said), json.loads(call.body)["file"], bytearray())
        place = self._depot.terms.upload_host or call.base
        headers = {"x-goog-upload-url": f"{place}/pieces?upload_id={name}", "x-goog-upload-status": "active"}
        return Response(200, {**JSON, **headers}, b"{}")

    def _piece(self, call: Call) -> Response:
        owner, told, content = self._sessions[parse_qs(call.query)["upload_id"][0]]
        if int(call.headers["x-goog-upload-offset"]) != len(content):
            return _refusal(400, "INVALID_ARGUMENT", "The offset is wrong.")
        is_last = "finalize" in call.headers["x-goog-upload-command"]
        if not is_last and len(call.body) % 2**18:
            return _refusal(400, "INVALID_ARGUMENT", "The size of a piece must be a multiple of the granularity.")
        content += call.body
        if not is_last:
            return Response(200, {**JSON, "x-goog-upload-status": "active"}, b"")
        if len(content) != int(told["sizeBytes"] if "sizeBytes" in told else told["size_bytes"]):
            return _refusal(400, "INVALID_ARGUMENT", "The size is wrong.")
        shown = str(told.get("displayName") or told.get("display_name") or "")
        file = self._depot.keep(bytes(content), owner=owner, name=shown, start="")
        body = {
            "file": {
                "name": f"files/{file.id}",
                "displayName": shown,
                "mimeType": told.get("mimeType") or told.get("mime_type"),
                "sizeBytes": str(len(content)),
                "createTime": _moment(file.made),
                "expirationTime": _moment(file.made + _KEPT),
                "state": "ACTIVE",
                "uri": f"{call.base}/v1/files/{file.id}",
            }
        }
        return Response(200, {**JSON, "x-goog-upload-status": "final"}, json.dumps(body).encode())

    def _create(self, model: str, call: Call) -> Response:
        depot, headers = self._depot, call.headers
        asked = json.loads(call.body)["batch"]
        file = depot.file(asked["inputConfig"]["fileName"].removeprefix("files/"), headers)
        if file is None or depot.now > file.made + _KEPT:
            return _refusal(400, "INVALID_ARGUMENT", "The file does not exist, or you have no access to it.")
        lines, problem = _read(file.content)
        most = depot.terms.most_waiting
        is_full = most is not None and depot.waiting(headers) + sum(line.tokens for line in lines) > most
        if is_full or len(depot.running(headers)) >= depot.terms.most_jobs:
            return _refusal(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota for batch enqueued tokens.")
        plot = depot.plot()
        if plot.end == "failed":
            problem = FAILURES.get(plot.failure, plot.failure) if isinstance(plot.failure, str) else plot.failure
            problem = problem or {"code": 3, "message": "Failed to parse the input file."}
        job = Job(
            id=depot.name(""),
            owner=owner_of(headers),
            plot=plot,
            lines=lines,
            made=depot.now,
            run=partial(self._answered, model),
            # Nobody knows what is charged of a job that gives no results.
            charges=lambda job, done: done.status == 200 if job.end_at(job.ends) == "completed" else None,
            tag=asked.get("displayName", "").removeprefix("smelt-"),
            model=model,
            upload=f"files/{file.id}",
            errors=[problem] if problem else [],
        )
        job.files["name"] = asked.get("displayName", "")
        return _said(self._operation(depot.enter(job)))

    def _answered(self, model: str, body: Json, faults: Sequence[Fault]) -> Done:
        """A schema under `responseJsonSchema` is dropped without a word, as was seen in jobs (crmne/ruby_llm#894)."""
        config = {name: value for name, value in body.get("generationConfig", {}).items() if "JsonSchema" not in name}
        if unknown := body.keys() - _IN_REQUEST:
            _, said = errors.bad_request("google", f"Unknown name {sorted(unknown)} at 'request': Cannot find field.")
            return Done(status=400, body=said, request_id="")
        return self._run({**body, "generationConfig": config, "model": model}, faults)

    def _list(self, call: Call) -> Response:
        asked = parse_qs(call.query)
        found = self._depot.listed(call.headers)
        start, size = int(asked.get("pageToken", ["0"])[0]), int(asked.get("pageSize", ["50"])[0])
        more = {"nextPageToken": str(start + size)} if start + size < len(found) else {}
        return _said({"operations": [self._operation(one) for one in found[start : start + size]], **more})

    def _look(self, name: str, call: Call) -> Response:
        job = self._depot.job(name, call.headers)
        return _missing() if job is None else _said(self._operation(job))

    def _cancel(self, name: str, call: Call) -> Response:
        job = self._depot.job(name, call.headers)
        if job is None:
            return _missing()
        if job.end_at(self._depot.now) is not None:
            return _refusal(400, "FAILED_PRECONDITION", "The batch has ended and cannot be cancelled.")
        job.cancelled = self._depot.now
        return _said({})

    def _delete_job(self, name: str, call: Call) -> Response:
        job = self._depot.job(name, call.headers)
        if job is None or job.files.get("deleted"):
            return _missing()
        job.files["deleted"] = "yes"
        return _said({})

    def _download(self, name: str, call: Call) -> Response:
        file = self._depot.file(name, call.headers)
        if file is None or parse_qs(call.query).get("alt") != ["media"]:
            return _missing()
        return Response(200, {"content-type": "application/octet-stream"}, file.content)

    def _delete(self, name: str, call: Call) -> Response:
        if self._depot.file(name, call.headers) is None:
            return _missing()
        del self._depot.files[name]
        return _said({})

    def _operation(self, job: Job) -> Json:
        now, end = self._depot.now, job.end_at(self._depot.now)
        state = _STATES[end] if end else "PENDING" if now < job.starts else job.plot.state or "RUNNING"
        self._write(job, end)
        output = {"responsesFile": f"files/{job.files['results']}"} if "results" in job.files else None
        metadata = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "model": f"models/{job.model}",
            "displayName": job.files["name"],
            "inputConfig": {"fileName": job.upload},
            "createTime": _moment(job.made),
            "updateTime": _moment(min(now, job.ends)),
            **({"endTime": _moment(job.ends)} if end else {}),
            **({"output": output} if output else {}),
            **({"batchStats": self._stats(job)} if job.plot.counts != "none" else {}),
            "state": f"BATCH_STATE_{state}",
            "name": f"batches/{job.id}",
        }
        operation: Json = {"name": f"batches/{job.id}", "metadata": metadata}
        if end == "failed":
            operation |= {"done": True, "error": job.errors[0]}
        elif end == "completed":
            operation |= {"done": True, "response": {"@type": "…GenerateContentBatchOutput", **(output or {})}}
        elif end:
            operation |= {"done": True, "error": {"code": 1, "message": f"The batch was {end}."}}
        return operation

    def _stats(self, job: Job) -> Json:
        done, total = job.count_at(self._depot.now), len(job.lines)
        failed = 0 if job.plot.counts == "lie" else sum(one.status != 200 for one in (job.done or {}).values())
        stats = {"requestCount": total, "successfulRequestCount": done - failed, "failedRequestCount": failed}
        # Counts are text, and those that are 0 are left out.
        return {name: str(count) for name, count in {**stats, "pendingRequestCount": total - done}.items() if count}

    def _write(self, job: Job, end: str | None) -> None:
        """Make the file of a job that was completed: only such a job has one."""
        if end != "completed" or "results" in job.files or job.plot.no_output:
            return
        if self._depot.now < job.ends + job.plot.file_after:
            return
        lines = [line for line, _ in written(job, _line, "key")]
        self._depot.rng.shuffle(lines)
        content = joined(lines, job.plot.ends_cut)
        file = self._depot.keep(content, owner=job.owner, name="results", start="batch-" + "x" * 40)
        job.files["results"] = file.id
        if job.plot.file_gone:
            del self._depot.files[file.id]


def _line(name: str, done: Done | None, fault: Fault | None) -> Json | None:
    if fault is not None:
        return {"key": name, "response": None} if fault.name == "null" else {"key": name, "error": {}}
    if done is None:
        return None
    if done.status == 200:
        return {"key": name, "response": done.body}
    return {"key": name, "error": done.body["error"] if isinstance(done.body, dict) else {"message": done.body}}


def _read(content: bytes) -> tuple[list[Line], Any]:
    lines = []
    for number, raw in enumerate(content.rstrip(b"\n").split(b"\n"), 1):
        try:
            line = json.loads(raw)
            lines.append(Line(id=line["key"], body=line["request"], tokens=tokens_of(raw.decode())))
        except (ValueError, KeyError, TypeError):
            return [], {"code": 3, "message": f"Failed to parse line {number} of the input file."}
    return lines, None


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "123Z")  # Nanoseconds.


def _said(body: Json) -> Response:
    return Response(200, JSON, json.dumps(body).encode())


def _missing() -> Response:
    return _refusal(404, "NOT_FOUND", "Requested entity was not found.")


def _refusal(code: int, status: str, message: str) -> Response:
    return refused(code, {"error": {"code": code, "message": message, "status": status}})
