"""The artefacts of live requests of a run in batch mode: its proof, and the rows that it asks live at the end.

`live/<tag>/` is like the folder of a job: a request is written as a line of a job would be, and read by the same code.
Of a reply only what smelt read is there (`replies.jsonl`), because the SDKs do not give its bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from smelt.batch.files import Folder
from smelt.batch.plan import line_id
from smelt.errors import SmeltError
from smelt.providers.base import Billing, CallFailed, Connection, Reply, Request, Usage
from smelt.providers.batching import Item

REPLIES = "replies.jsonl"
STATE = "live"
_USAGE = tuple(one.name for one in fields(Usage))


@dataclass(kw_only=True, eq=False)
class LiveRecord:
    """A connection that keeps what it sends and gets. A disk that takes no more of it does not stop the run.

    Attributes:
        connection: The connection.
        root: The directory of the artefacts.
        tag: The name of the folder.
        question: What `smelt.batch.read` must know of the question.
        line: Writes a request as a line of a job.
        note: Receives notices for the caller.
    """

    connection: Connection
    root: Path
    tag: str
    question: Mapping[str, Any]
    line: Callable[[str, Request], bytes]
    note: Callable[[str], None]
    _count: int = 0
    _is_over: bool = False
    _folder: Folder = field(init=False)

    def __post_init__(self) -> None:
        self._folder = Folder(self.root, self.tag, kind=STATE)

    async def send(self, request: Request) -> Reply:
        """Send one request, and keep it with what came of it."""
        try:
            reply = await self.connection.send(request)
        except CallFailed as failure:
            self._keep(request, failure)
            raise
        self._keep(request, reply.with_end(request.max_output_tokens))
        return reply

    def _keep(self, request: Request, outcome: Reply | CallFailed) -> None:
        if self._is_over:
            return
        self._count += 1
        name = line_id(self.tag, self._count)
        try:
            with self._folder.written():
                if self._count == 1:
                    self._folder.write_manifest({**self.question, "tag": self.tag, "state": STATE, "made": time.time()})
                for file, line in (("requests.jsonl", self.line(name, request)), (REPLIES, _written(name, outcome))):
                    with closing(self._open(file)) as opened:
                        opened.write(line)
        except SmeltError:
            self._is_over = True
            self.note("Live requests could not be written to the artefacts; their answers are in the ledger only.")

    def _open(self, name: str) -> BinaryIO:
        return self._folder.new(name) if self._count == 1 else self._folder.more(name)


def _written(name: str, outcome: Reply | CallFailed) -> bytes:
    told: dict[str, Any] = {"id": name, "usage": asdict(outcome.usage), "request_id": outcome.request_id}
    if isinstance(outcome, Reply):
        told |= {"text": outcome.text, "finish": outcome.finish, "model": outcome.model, "detail": outcome.detail}
    else:
        told |= {"kind": outcome.kind, "message": outcome.message, "status": outcome.status}
    return json.dumps(told).encode() + b"\n"


def read_reply_line(raw: bytes) -> Item:
    """What a line of `replies.jsonl` says."""
    try:
        told = json.loads(raw)
        usage = Usage(**{name: told["usage"][name] for name in _USAGE if name in told["usage"]})
        name, request_id = str(told["id"]), told.get("request_id")
        if "kind" in told:
            failure = CallFailed(
                told["kind"],
                Billing.UNKNOWN,
                str(told["message"]),
                status=told.get("status"),
                request_id=request_id,
                usage=usage,
            )
            return Item(id=name, outcome=failure, raw=raw)
        reply = Reply(
            text=str(told["text"]),
            usage=usage,
            finish=told["finish"],
            model=told.get("model"),
            request_id=request_id,
            detail=told.get("detail"),
        )
        return Item(id=name, outcome=reply, raw=raw)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        damage = CallFailed("protocol", Billing.UNKNOWN, "A line of the replies cannot be read.")
        return Item(id=None, outcome=damage, raw=raw)
