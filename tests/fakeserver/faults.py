"""Everything that can go wrong, one small function per fault, in tables by where it strikes.

    ROWS          one row's answer        -> the entries that stand in its place    (in `rowfaults.py`)
    LISTS         all entries of a reply  -> other entries                          (in `rowfaults.py`)
    COMPLETIONS   what the model says     -> something else
    REFUSALS      instead of an answer: no model runs, nothing is billed
    RESPONSES     the finished HTTP reply -> another one
    TRANSPORTS    how its bytes travel                                              (in `connection.py`)

A name is in one table only, so `{"fault": "drop"}` says everything. Options stand beside the name.
"""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import lru_cache
from time import time
from typing import Any

from tests.fakeserver import errors
from tests.fakeserver.events import events_of
from tests.fakeserver.messages import Completion, WireProtocol
from tests.fakeserver.rowfaults import LISTS, ROWS, Options, Scene


@dataclass(frozen=True)
class Fault:
    """A fault by name, with its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """An HTTP reply before it is sent."""

    status: int
    headers: dict[str, str]
    body: bytes


# --- COMPLETIONS: (completion, options, scene) -> completion ----------------------------------------------------------


def truncate(completion: Completion, options: Options, scene: Scene) -> Completion:
    """The text stops at `fraction` of its length; the provider says that the tokens ran out."""
    fraction = options.get("fraction", scene.rng.uniform(0.2, 0.9))
    return replace(completion, text=completion.text[: int(len(completion.text) * fraction)], finish="length")


def empty(completion: Completion, options: Options, scene: Scene) -> Completion:
    """No text, and a normal end."""
    return replace(completion, text="")


def no_content(completion: Completion, options: Options, scene: Scene) -> Completion:
    """No choices, content or candidates."""
    return replace(completion, text="", finish="nothing")


def fenced(completion: Completion, options: Options, scene: Scene) -> Completion:
    """The JSON in a Markdown fence."""
    return replace(completion, text=f"```json\n{completion.text}\n```")


def prose(completion: Completion, options: Options, scene: Scene) -> Completion:
    """The JSON with sentences around it."""
    return replace(completion, text=f"Here are the answers:\n\n{completion.text}\n\nTell me if you need more.")


def trailing(completion: Completion, options: Options, scene: Scene) -> Completion:
    """Text after the JSON."""
    return replace(completion, text=f"{completion.text}\nDone.")


def malformed(completion: Completion, options: Options, scene: Scene) -> Completion:
    """The first colon of the JSON is missing."""
    return replace(completion, text=completion.text.replace(":", " ", 1))


def says(completion: Completion, options: Options, scene: Scene) -> Completion:
    """The model says `text`."""
    return replace(completion, text=options["text"])


def refuse(completion: Completion, options: Options, scene: Scene) -> Completion:
    """The model will not answer. `detail` are its words."""
    return replace(completion, text="", finish="refused", detail=options.get("detail", completion.detail))


def filter_reply(completion: Completion, options: Options, scene: Scene) -> Completion:
    """The provider's filter stopped the answer. `reason`: Gemini's word, such as RECITATION."""
    return replace(completion, text="", finish="filtered", reason=options.get("reason"))


def block_prompt(completion: Completion, options: Options, scene: Scene) -> Completion:
    """The filter stopped the prompt. `reason`: Gemini's word, such as PROHIBITED_CONTENT."""
    return replace(completion, text="", finish="blocked", reason=options.get("reason"))


def nesting_bomb(completion: Completion, options: Options, scene: Scene) -> Completion:
    """`depth` opening brackets."""
    return replace(completion, text="[" * int(options.get("depth", 100_000)))


def reasoning_ate_it(completion: Completion, options: Options, scene: Scene) -> Completion:
    """All tokens went into reasoning; no text is left."""
    spent = scene.max_tokens or 1_000
    usage = {**(completion.usage or {}), "output": spent, "reasoning": spent}
    return replace(completion, text="", finish="length", usage=usage)


def whitespace_runaway(completion: Completion, options: Options, scene: Scene) -> Completion:
    """Half of the JSON, then blanks until the tokens ran out."""
    half = completion.text[: len(completion.text) // 2]
    return replace(completion, text=half + " \n" * 2 * (scene.max_tokens or 1_000), finish="length")


def no_usage(completion: Completion, options: Options, scene: Scene) -> Completion:
    """The provider does not say what was used."""
    return replace(completion, usage=None)


def absurd_usage(completion: Completion, options: Options, scene: Scene) -> Completion:
    """Token counts that cannot be: `tokens`, negative unless said."""
    tokens = int(options.get("tokens", -1))
    return replace(completion, usage={"input": tokens, "output": tokens})


def no_model(completion: Completion, options: Options, scene: Scene) -> Completion:
    """The provider does not say which model answered."""
    return replace(completion, model=None)


# --- REFUSALS: (options, protocol) -> response ------------------------------------------------------------------------


def status(options: Options, protocol: WireProtocol) -> Response:
    """An error by `kind` (see `errors.py`) or bare `code`.

    Headers: `retry_after`, `retry_after_ms` and `should_retry` as given; `retry_date` as an HTTP date so many seconds
    from now; `clock_skew` seconds by which that and the Date header are off; any others in `headers`. Gemini's delay in
    the body: `retry_info`.
    """
    if "kind" in options:
        code, body = errors.refusal(protocol.refusals, options["kind"])
    else:
        code, body = errors.by_status(protocol.refusals, options["code"])
    if "retry_info" in options:
        body = errors.with_retry_info(body, options["retry_info"])
    return refused(options.get("code", code), body, _retry_headers(options))


def refused(code: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """A refusal as it is sent: Bedrock's kind of error goes into a header."""
    kind = {}
    if "__type" in body:
        kind["x-amzn-errortype"] = f"{body['__type']}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    said = {name: value for name, value in body.items() if name != "__type"}
    return Response(code, JSON | kind | dict(headers or {}), json.dumps(said).encode())


def redirect(options: Options, protocol: WireProtocol) -> Response:
    """`code` (307) to the address `to`."""
    return Response(options.get("code", 307), {"location": options["to"]}, b"")


def html(options: Options, protocol: WireProtocol) -> Response:
    """A captive portal's or proxy's page with status `code` (200)."""
    page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in to the network.</body></html>"
    return Response(options.get("code", 200), {"content-type": "text/html; charset=utf-8"}, page)


def error_object_200(options: Options, protocol: WireProtocol) -> Response:
    """A 200 whose body is the error of `kind` (overloaded)."""
    _, body = errors.refusal(protocol.refusals, options.get("kind", "overloaded"))
    return Response(200, JSON, json.dumps(body).encode())


def echo(options: Options, protocol: WireProtocol) -> Response:
    """An error with status `code` (401) that repeats `text`, as providers do with keys: whole, in words, in a URL."""
    text = options["text"]
    code, body = errors.by_status(protocol.refusals, int(options.get("code", 401)))
    words = f"Incorrect API key provided: {text}. It is {text!r}; see https://errors.example/?key={text}&x=1"
    said = {"error": {**body["error"], "message": words}} if "error" in body else {"message": words}
    return refused(code, {**body, **said, "seen": {"authorization": f"Bearer {text}"}})


def raw(options: Options, protocol: WireProtocol) -> Response:
    """The `body`, text or JSON, with status `code` (200) and `headers`; with `latin`, a character is a byte."""
    body = options["body"]
    text = body if isinstance(body, str) else json.dumps(body)
    data = text.encode("latin-1" if options.get("latin") else "utf-8")
    return Response(options.get("code", 200), JSON | dict(options.get("headers", {})), data)


JSON = {"content-type": "application/json"}


def _retry_headers(options: Options) -> dict[str, str]:
    headers = {name: str(value) for name, value in options.get("headers", {}).items()}
    names = {"retry_after": "retry-after", "retry_after_ms": "retry-after-ms", "should_retry": "x-should-retry"}
    headers |= {header: str(options[name]) for name, header in names.items() if name in options}
    now = time() + options.get("clock_skew", 0.0)
    if "retry_date" in options:
        headers["retry-after"] = formatdate(now + options["retry_date"], usegmt=True)
    if "retry_date" in options or "clock_skew" in options:
        headers["date"] = formatdate(now, usegmt=True)
    return headers


# --- RESPONSES: (response, options) -> response -----------------------------------------------------------------------


def wrong_content_type(response: Response, options: Options) -> Response:
    """The right body under `type` (text/plain)."""
    return replace(response, headers=response.headers | {"content-type": options.get("type", "text/plain")})


def bom(response: Response, options: Options) -> Response:
    """A byte order mark before the JSON."""
    return replace(response, body=b"\xef\xbb\xbf" + response.body)


def wrong_charset(response: Response, options: Options) -> Response:
    """UTF-16 in place of UTF-8."""
    return replace(response, body=response.body.decode().encode("utf-16"))


def unrequested_gzip(response: Response, options: Options) -> Response:
    """The body in gzip, though the client asked for identity."""
    return replace(
        response, headers=response.headers | {"content-encoding": "gzip"}, body=gzip.compress(response.body, 1)
    )


def packed(response: Response, options: Options) -> Response:
    """The body in `encoding` (gzip): gzip, deflate, raw (deflate without a header), or several, "gzip, deflate"."""
    encoding = str(options.get("encoding", "gzip"))
    body = response.body
    for layer in encoding.split(", "):
        if layer == "raw":
            packer = zlib.compressobj(wbits=-15)
            body = packer.compress(body) + packer.flush()
        else:
            body = gzip.compress(body) if layer == "gzip" else zlib.compress(body)
    header = {"content-encoding": encoding.replace("raw", "deflate")}
    return replace(response, headers=response.headers | header, body=body)


def edit(response: Response, options: Options) -> Response:
    """The body with other values: `set` is `{"choices.0.finish_reason": …}`; one that is `"(gone)"` is taken out."""
    body = json.loads(response.body)
    for path, value in options["set"].items():
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        place = body
        for step in steps:
            place = place[step]
        if value == "(gone)":
            del place[last]
        else:
            place[last] = value
    return replace(response, body=json.dumps(body).encode())


def another_status(response: Response, options: Options) -> Response:
    """The good body under `code` (201)."""
    return replace(response, status=int(options.get("code", 201)))


def failed_generation(response: Response, options: Options) -> Response:
    """Groq's 400 for an answer that does not fit the schema: `fraction` (0.5) of it, with the error's `message`."""
    text = json.loads(response.body)["choices"][0]["message"]["content"]
    error = {
        "message": options.get("message", "Failed to generate JSON. Please adjust your prompt."),
        "type": "invalid_request_error",
        "code": "json_validate_failed",
        "failed_generation": text[: round(len(text) * options.get("fraction", 0.5))],
    }
    return replace(response, status=400, body=json.dumps({"error": error}).encode())


def streamed(response: Response, options: Options) -> Response:
    """The reply as server-sent events in pieces of `characters` (7), as each protocol streams it."""
    events = events_of(json.loads(response.body), int(options.get("characters", 7)))
    lines = [f"data: {one if isinstance(one, str) else json.dumps(one)}\n\n" for one in events]
    body = ": a comment\n\n" + "".join(lines)
    return replace(response, headers=response.headers | {"content-type": "text/event-stream"}, body=body.encode())


def gzip_bomb(response: Response, options: Options) -> Response:
    """A small body that unpacks to `megabytes` (80)."""
    body = _packed_blanks(int(options.get("megabytes", 80)))
    return replace(response, headers=response.headers | {"content-encoding": "gzip"}, body=body)


def huge_body(response: Response, options: Options) -> Response:
    """`megabytes` (80) of blanks before the JSON."""
    return replace(response, body=b" " * (int(options.get("megabytes", 80)) << 20) + response.body)


def empty_body(response: Response, options: Options) -> Response:
    """A 200 with nothing in it."""
    return replace(response, body=b"")


def cut_json(response: Response, options: Options) -> Response:
    """Half of the body, under a length that is right."""
    return replace(response, body=response.body[: len(response.body) // 2])


@lru_cache(maxsize=4)
def _packed_blanks(megabytes: int) -> bytes:
    """One gzip member. After a full flush each megabyte packs to the same bytes, so ten gigabytes take seconds."""
    blanks = b" " * (1 << 20)
    packer = zlib.compressobj(level=9, wbits=-15)
    megabyte = packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(megabytes):
        checksum = zlib.crc32(blanks, checksum)
    trailer = struct.pack("<LL", checksum, (megabytes << 20) % 2**32)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + megabyte * megabytes + b"\x03\x00" + trailer


def decide(response: Response, options: Options) -> Response:
    """A bad day of an endpoint for decisions: `what`, see `decisions.BAD_DAYS`."""
    from tests.fakeserver.decisions import decided  # It needs the protocols, which need this module.

    return replace(response, body=decided(response.body, options["what"]))


# --- the tables -------------------------------------------------------------------------------------------------------

COMPLETIONS: dict[str, Callable[[Completion, Options, Scene], Completion]] = {
    "truncate": truncate,
    "empty": empty,
    "no_content": no_content,
    "fenced": fenced,
    "prose": prose,
    "trailing": trailing,
    "malformed": malformed,
    "says": says,
    "refuse": refuse,
    "filter": filter_reply,
    "block_prompt": block_prompt,
    "nesting_bomb": nesting_bomb,
    "reasoning_ate_it": reasoning_ate_it,
    "whitespace_runaway": whitespace_runaway,
    "no_usage": no_usage,
    "absurd_usage": absurd_usage,
    "no_model": no_model,
}
REFUSALS: dict[str, Callable[[Options, WireProtocol], Response]] = {
    "status": status,
    "redirect": redirect,
    "html": html,
    "error_object_200": error_object_200,
    "echo": echo,
    "raw": raw,
}
RESPONSES: dict[str, Callable[[Response, Options], Response]] = {
    "wrong_content_type": wrong_content_type,
    "bom": bom,
    "wrong_charset": wrong_charset,
    "unrequested_gzip": unrequested_gzip,
    "gzip_bomb": gzip_bomb,
    "packed": packed,
    "edit": edit,
    "another_status": another_status,
    "failed_generation": failed_generation,
    "streamed": streamed,
    "huge_body": huge_body,
    "empty_body": empty_body,
    "cut_json": cut_json,
    "decide": decide,
}
TRANSPORTS = frozenset({
    "reset_before",
    "reset_mid_body",
    "short_body",
    "long_body",
    "hang",
    "trickle",
    "slow_headers",
    "early_hints",
    "bad_status_line",
    "close_after",
    "close_soon",
    "flood",
})  # fmt: skip
NAMES = frozenset({*ROWS, *LISTS, *COMPLETIONS, *REFUSALS, *RESPONSES, *TRANSPORTS})
