"""The fake's Batch API of OpenAI for other libraries: its jobs and its bill, with answers in each library's shape.

    python -m tests.bench.contenders.jobserver '{"script": {"0": {"end": "expired"}}}'

The port is the first line printed; the server ends when stdin is closed, and prints the bill. The argument holds the
`Terms` of the jobs. `GET /_looks` has the number of looks at jobs so far.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.bench.contenders.server import Config, Server, last_message, rows_and_shape
from tests.fakeserver.connection import Connection, Exchange, Request
from tests.fakeserver.faults import JSON, Fault, Response, status
from tests.fakeserver.jobs import Call, Depot, Done, line_faults
from tests.fakeserver.messages import Completion, Json
from tests.fakeserver.openai_jobs import OpenAIJobs
from tests.fakeserver.protocols import PROTOCOLS
from tests.fakeserver.scenario import Outgoing
from tests.fakeserver.server import listen

LONG = 15 * 86_400.0  # Seconds after which every job has ended, and no file is gone.


class Said:
    """A reply that was made when the request came."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def answer(self) -> Outgoing:
        return Outgoing(self._response)

    def done(self, *, abandoned: bool) -> None:
        pass


class JobServer:
    """Live requests and jobs of one run, and who paid what.

    Faults of a line, beside those of `joblines.py`: `status`, with its `code`; `cut`, an answer that ends in its
    middle, because the tokens have run out; `wrong`, an answer that breaks the model's `ge=0`.
    """

    def __init__(self, terms: dict[str, Any], live: Server) -> None:
        self.depot = Depot(terms, random.Random(0))
        self._jobs = OpenAIJobs(self.depot, self._run)
        self._live = live
        self._made = 0
        self.asked_live: list[str] = []

    def route(self, request: Request, connection: Connection) -> Exchange:
        path, _, query = request.path.partition("?")
        if path == "/_looks":
            return Said(Response(200, JSON, str(self.depot.calls["look"]).encode()))
        route = self._jobs.route(request.method, path)
        if route is None:
            if request.method == "POST":
                self.asked_live += rows_and_shape(last_message(json.loads(request.body)), {})[0]
            return self._live.route(request, connection)
        self.depot.calls[route.operation] += 1
        return Said(route.answer(Call(query=query, headers=request.headers, body=request.body, base="")))

    def _run(self, body: Json, faults: Sequence[Fault]) -> Done:
        self._made += 1
        number = f"{self._made:08x}"
        protocol = PROTOCOLS["compatible" if "messages" in body else "openai"]
        prompt = protocol.read(body, "")
        names, write = rows_and_shape(last_message(body), prompt.schema or {})
        kinds = {fault.name: fault.options for fault in faults}
        if "status" in kinds:
            refusal = status(kinds["status"], protocol)
            return Done(status=refusal.status, body=json.loads(refusal.body), request_id=number, rows=names)
        answers = [self._live.answered(name) for name in names]
        if "wrong" in kinds:
            answers = [{**answer, "length": -1} for answer in answers]
        said = Completion(text=write(answers), model=body["model"], request_id=number, usage={"input": 9, "output": 9})
        if "cut" in kinds:
            said = replace(said, text=said.text[:-20], finish="length")
        return Done(status=200, body=protocol.write(said), request_id=number, rows=names)

    def bill(self) -> dict[str, Any]:
        """What was paid, once all jobs have ended.

        `paid` is how often each row was paid for; `in_vain` how often after an answer that was good and in the file.
        """
        self.depot.advance(LONG)
        paid: defaultdict[str, int] = defaultdict(int)
        good: set[str] = set()
        in_vain = 0
        for name, is_good in [*self._charged(), *((name, True) for name in self.asked_live)]:
            paid[name] += 1
            in_vain += name in good
            if is_good:
                good.add(name)
        jobs = [len(job.lines) for job in self.depot.jobs.values()]
        return {"paid": paid, "in_vain": in_vain, "jobs": jobs, "live": len(self.asked_live)}

    def _charged(self) -> list[tuple[str, bool]]:
        """The rows of all lines that are charged, each with whether its answer was good."""
        return [
            (name, not line_faults(job.plot, number))
            for job in self.depot.jobs.values()
            for number, done in (job.done or {}).items()
            if job.charges(job, done)
            for name in done.rows
        ]


async def serve(terms: dict[str, Any]) -> None:
    """Serve until stdin is closed, then print the bill."""
    server = JobServer(terms, Server(Config(), asyncio.get_running_loop().time))
    await listen(server.route)
    print(json.dumps(server.bill()))


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
