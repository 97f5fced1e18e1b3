"""OpenAI's files and batches, as openai 3.57 asks for them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from tests.fakeserver import errors
from tests.fakeserver.faults import JSON, Fault, Response, refused
from tests.fakeserver.joblines import joined, written
from tests.fakeserver.jobs import Call, Depot, Done, File, Job, Line, Route, Run, owner_of
from tests.fakeserver.messages import Headers, Json
from tests.fakeserver.model import tokens_of

ENDPOINTS = ("/v1/responses", "/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/moderations")
FAILURES: Mapping[str, Json] = {
    "token_limit_exceeded": {
        "code": "token_limit_exceeded",
        "message": "Enqueued token limit reached for fake-1 in organization org-x. Limit: 2,000,000 enqueued tokens. "
        "Please try again once some in_progress batches have been completed.",
        "param": None,
        "line": None,
    },
    "no_file": {
        "code": "invalid_request",
        "message": "Cannot find file file-abc, or organization org-x does not have access to it.",
        "param": "file_id",
        "line": None,
    },
    "model_not_found": {
        "code": "model_not_found",
        "message": "The provided model 'fake-1' is not supported by the Batch API.",
        "param": "body.model",
        "line": 1,
    },
    "billing_hard_limit_reached": {
        "code": "billing_hard_limit_reached",
        "message": "Billing hard limit has been reached",
        "param": None,
        "line": None,
    },
    "nothing": {},
}


class OpenAIJobs:
    """The routes."""

    def __init__(self, depot: Depot, run: Run) -> None:
        self._depot = depot
        self._run = run

    def route(self, method: str, path: str) -> Route | None:
        """What a request is about; None if the path is no path of this protocol."""
        match method, path.strip("/").split("/")[1:]:
            case "POST", ["files"]:
                return Route("upload", self._upload)
            case "GET", ["files"]:
                return Route("list", self._files)
            case "GET", ["files", name]:
                return Route("list", partial(self._file, name))
            case "GET", ["files", name, "content"]:
                return Route("results", partial(self._content, name))
            case "DELETE", ["files", name]:
                return Route("delete", partial(self._delete, name))
            case "POST", ["batches"]:
                return Route("create", self._create)
            case "GET", ["batches"]:
                return Route("list", self._list)
            case "GET", ["batches", name]:
                return Route("look", partial(self._look, name))
            case "POST", ["batches", name, "cancel"]:
                return Route("cancel", partial(self._cancel, name))
        return None

    def _upload(self, call: Call) -> Response:
        parts = multipart(call.headers, call.body)
        if [*parts] != sorted(parts, key=lambda one: one == "file"):
            return _refusal(400, "The file must be the last part.")
        if parts["purpose"][1] != b"batch":
            return _refusal(400, "Invalid value for 'purpose'.")
        name, content = parts["file"]
        if len(content) > self._depot.terms.most_bytes:
            return _refusal(413, "The file is too large.")
        if "." in name and not name.endswith(".jsonl"):  # The SDK calls plain bytes "upload".
            return _refusal(400, "Invalid file format for Batch API. Must be .jsonl")
        return _said(self._shown(self._depot.keep(content, owner=owner_of(call.headers), name=name)))

    def _shown(self, file: File) -> Json:
        return {
            "id": file.id,
            "object": "file",
            "bytes": len(file.content),
            "created_at": int(file.made),
            "filename": file.name,
            "purpose": file.purpose,
            "status": "processed",
            "expires_at": int(file.made) + 2_592_000,
        }

    def _files(self, call: Call) -> Response:
        own = [one for one in self._depot.files.values() if one.owner == owner_of(call.headers)]
        return _said({"object": "list", "data": [self._shown(one) for one in reversed(own)], "has_more": False})

    def _file(self, name: str, call: Call) -> Response:
        file = self._depot.file(name, call.headers)
        return _refusal(404, f"No such File object: {name}") if file is None else _said(self._shown(file))

    def _content(self, name: str, call: Call) -> Response:
        file = self._depot.file(name, call.headers)
        if file is None:
            return _refusal(404, f"No such File object: {name}")
        return Response(200, {"content-type": "application/octet-stream"}, file.content)

    def _delete(self, name: str, call: Call) -> Response:
        if self._depot.file(name, call.headers) is None:
            return _refusal(404, f"No such File object: {name}")
        del self._depot.files[name]
        return _said({"id": name, "object": "file", "deleted": True})

    def _create(self, call: Call) -> Response:
        depot, headers = self._depot, call.headers
        asked = json.loads(call.body)
        if asked.get("completion_window") != "24h" or asked.get("endpoint") not in ENDPOINTS:
            return _refusal(400, "Invalid value for 'completion_window' or 'endpoint'.")
        if len(depot.running(headers)) >= depot.terms.most_jobs:
            return _refusal(429, "Too many batches are being processed.", "rate_limit_exceeded")
        plot = depot.plot()
        file = depot.file(asked["input_file_id"], headers)
        if file is None:
            return _refusal(400, f"No such File object: {asked['input_file_id']}")
        lines, problems = checked(file.content, asked["endpoint"], depot.terms.most_lines)
        if plot.end == "failed":
            failure = plot.failure or "token_limit_exceeded"
            problems = [failure if isinstance(failure, dict) else FAILURES[failure]]
        tokens = sum(line.tokens for line in lines)
        most = depot.terms.most_waiting
        if most is not None and not problems and depot.waiting(headers) + tokens > most:
            words = f"Enqueued token limit reached for fake-1 in organization org-x. Limit: {most:,} enqueued tokens. "
            problems = [{**FAILURES["token_limit_exceeded"], "message": words + "Please try again."}]
        job = Job(
            id=depot.name("batch_"),
            owner=owner_of(headers),
            plot=plot,
            lines=lines,
            made=depot.now,
            run=self._run,
            charges=lambda job, done: done.status == 200,
            tag=(asked.get("metadata") or {}).get("smelt"),
            model=lines[0].body.get("model", "") if lines else "",
            upload=file.id,
            endpoint=asked["endpoint"],
            errors=problems,
        )
        job.files["window"] = str(asked.get("output_expires_after", {}).get("seconds", ""))
        return _said(self._batch(depot.enter(job), asked.get("metadata") or {}))

    def _list(self, call: Call) -> Response:
        asked = parse_qs(call.query)
        found = self._depot.listed(call.headers)
        after = asked.get("after", [""])[0]
        names = [one.id for one in found]
        start = names.index(after) + 1 if after in names else 0
        size = int(asked.get("limit", ["20"])[0])
        page = found[start : start + size]
        return _said({
            "object": "list",
            "data": [self._batch(one) for one in page],
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
            "has_more": start + size < len(found),
        })  # fmt: skip

    def _look(self, name: str, call: Call) -> Response:
        job = self._depot.job(name, call.headers)
        return _refusal(404, f"No batch found with id '{name}'.") if job is None else _said(self._batch(job))

    def _cancel(self, name: str, call: Call) -> Response:
        job = self._depot.job(name, call.headers)
        if job is None:
            return _refusal(404, f"No batch found with id '{name}'.")
        end = job.end_at(self._depot.now)
        if end is not None:
            return _refusal(409, f"Cannot cancel a batch with status '{end}'.")
        job.cancelled = self._depot.now
        return _said(self._batch(job))

    def _batch(self, job: Job, metadata: Json | None = None) -> Json:
        now, plot = self._depot.now, job.plot
        if metadata is not None:
            job.files["metadata"] = json.dumps(metadata)
        end = job.end_at(now)
        status = end or ("validating" if now < job.starts else plot.state or "in_progress")
        if end is None and job.cancelled is not None:
            status = "cancelling"
        self._write(job, end)
        return {
            "id": job.id,
            "object": "batch",
            "endpoint": job.endpoint,
            "model": job.model,
            "errors": {"object": "list", "data": job.errors} if job.errors and end else None,
            "input_file_id": job.upload,
            "completion_window": "24h",
            "status": status,
            "output_file_id": job.files.get("results"),
            "error_file_id": job.files.get("errors", "" if plot.blank_error_file and end else None),
            "created_at": int(job.made),
            "in_progress_at": int(job.starts) if now >= job.starts else None,
            "expires_at": int(job.made) + 86_400,
            "finalizing_at": None,
            "completed_at": int(job.ends) if end == "completed" else None,
            "failed_at": int(job.ends) if end == "failed" else None,
            "expired_at": int(job.ends) if end == "expired" else None,
            "cancelling_at": None if job.cancelled is None else int(job.cancelled),
            "cancelled_at": int(job.ends) if end == "cancelled" else None,
            "request_counts": self._counts(job),
            "metadata": json.loads(job.files.get("metadata", "{}")) or None,
        }

    def _counts(self, job: Job) -> Json | None:
        if job.plot.counts == "none":
            return None
        total = 0 if self._depot.now < job.starts or job.errors else len(job.lines)
        done = job.count_at(self._depot.now)
        failed = sum(one.status != 200 for one in (job.done or {}).values())
        if job.plot.counts == "lie" and job.done is not None:
            done, failed = total, 0
        return {"total": total, "completed": done - failed, "failed": failed}

    def _write(self, job: Job, end: str | None) -> None:
        """Make the files of a job that has ended."""
        if end is None or end == "failed" or "written" in job.files:
            return
        if self._depot.now < job.ends + job.plot.file_after:
            return
        job.files["written"] = "yes"
        lines = written(job, lambda name, done, fault: _line(self._depot, job, end, name, done, fault), "custom_id")
        self._depot.rng.shuffle(lines)
        good = [line for line, is_good in lines if is_good]
        bad = [line for line, is_good in lines if not is_good]
        if job.plot.no_output:
            return
        for kind, content in (("results", joined(good, job.plot.ends_cut)), ("errors", joined(bad, 0))):
            if content:
                name = f"{job.id}_{kind}.jsonl"
                file = self._depot.keep(content, owner=job.owner, name=name, purpose="batch_output")
                job.files[kind] = file.id
                if job.plot.file_gone:
                    del self._depot.files[file.id]


def _line(depot: Depot, job: Job, end: str, name: str, done: Done | None, fault: Fault | None) -> Json:
    said: Json = {"id": depot.name("batch_req_"), "custom_id": name, "response": None, "error": None}
    if fault is not None and fault.name == "null":
        return said
    if fault is not None:
        return {**said, "response": {"status_code": 0, "request_id": "", "body": {}}}
    if done is None:
        code = "batch_cancelled" if end == "cancelled" else "batch_expired"
        words = "This request could not be executed before the completion window expired."
        return {**said, "error": {"code": code, "message": words}}
    response = {"status_code": done.status, "request_id": done.request_id, "body": done.body}
    return {**said, "response": response}


def checked(content: bytes, endpoint: str, most: int) -> tuple[list[Line], list[Json]]:
    """The lines of a file, and what the server has against it."""
    lines: list[Line] = []
    seen: set[str] = set()
    models: set[Any] = set()
    problems: list[Json] = []
    for number, raw in enumerate(content.rstrip(b"\n").split(b"\n") if content else (), 1):
        try:
            line = json.loads(raw)
            name, body, url = line["custom_id"], line["body"], line["url"]
        except (ValueError, KeyError, TypeError):
            problems.append(_problem("invalid_json_line", "This line is not parseable as valid JSON.", number))
            continue
        models.add(body.get("model"))
        if name in seen:
            problems.append(_problem("duplicate_custom_id", f"The custom_id '{name}' is used twice.", number))
        if url != endpoint or line.get("method") != "POST":
            problems.append(_problem("url_mismatch", "The URL does not match the batch's endpoint.", number))
        if len(models) > 1:
            problems.append(_problem("mismatched_model", "The models of the lines differ.", number))
        seen.add(name)
        lines.append(Line(id=name, body=body, tokens=tokens_of(raw.decode())))
    if not lines and not problems:
        problems.append(_problem("empty_file", "The batch input file is empty.", None))
    if len(lines) > most:
        problems.append(_problem("too_many_tasks", f"The batch may have {most} requests.", None))
    return lines, problems


def _problem(code: str, message: str, line: int | None) -> Json:
    return {"code": code, "message": message, "param": None, "line": line}


def multipart(headers: Headers, body: bytes) -> dict[str, tuple[str, bytes]]:
    """The parts of a form by their names: file name and content."""
    boundary = b"--" + headers["content-type"].partition("boundary=")[2].encode()
    parts = {}
    for part in body.split(boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        found = dict(re.findall(r'(name|filename)="([^"]*)"', head.decode()))
        parts[found["name"]] = (found.get("filename", ""), content.removesuffix(b"\r\n"))
    return parts


def _said(body: Json) -> Response:
    return Response(200, JSON, json.dumps(body).encode())


def _refusal(code: int, message: str, kind: str | None = None) -> Response:
    _, body = errors.by_status("openai", code)
    return refused(code, {"error": {**body["error"], "message": message, **({"code": kind} if kind else {})}})
