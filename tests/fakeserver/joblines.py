"""Faults of the lines of results: what a provider writes into its file, whatever the model said.

A fault of a live reply (`faults.py`, `rowfaults.py`) may strike a line, too: it changes the answer in it. `status`
makes it an error line.

    lost        the line was run, is charged, and stands in no file
    doubled     it stands there twice; `with` is a fault of the second answer, which else is the same
    swapped     its id is that of the line number `with`, and the other way round
    garbled     no JSON
    latin       bytes that are not UTF-8
    unknown_id  an id that nobody sent
    no_id       no id at all
    a_list      JSON, and no object
    long        `megabytes` (65), or `kilobytes`, of blanks inside the line
    zero        OpenAI's line of an error without a word: status 0, no body, no error
    null        neither a response nor an error
    never_run   the line is not run; OpenAI's `batch_expired`, Anthropic's `expired`, Gemini says nothing
    blank       an empty line before it
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.fakeserver.faults import Fault
from tests.fakeserver.jobs import Done, Job, line_faults
from tests.fakeserver.messages import Json

Write = Callable[[str, "Done | None", Fault | None], Json | None]
"""A line of results: from its id, the answer (None: never run) and a fault that is the protocol's own."""


def written(job: Job, write: Write, id_key: str) -> list[tuple[bytes, bool]]:
    """The lines of all results as bytes, each with whether it is an answer, in the order of the requests."""
    assert job.done is not None
    swaps: dict[int, int] = {}
    for number in range(len(job.lines)):
        for fault in line_faults(job.plot, number):
            if fault.name == "swapped":
                swaps[number], swaps[int(fault.options["with"])] = int(fault.options["with"]), number
    lines: list[tuple[bytes, bool]] = []
    for number in range(len(job.lines)):
        name = job.lines[swaps.get(number, number)].id
        lines += _one(job, number, name, write, id_key)
    return lines


def _one(job: Job, number: int, name: str, write: Write, id_key: str) -> list[tuple[bytes, bool]]:
    assert job.done is not None
    faults = {fault.name: fault for fault in line_faults(job.plot, number)}
    done = None if "never_run" in faults else job.done.get(number)
    own = faults.get("zero") or faults.get("null")
    body = write(name, done, own)
    if body is None or "lost" in faults:
        return []
    good = done is not None and done.status == 200 and own is None
    if "unknown_id" in faults:
        body[id_key] = "someone-else-1"
    if "no_id" in faults:
        del body[id_key]
    data = _bytes([body] if "a_list" in faults else body, faults)
    lines = [(data, good)]
    if "doubled" in faults:
        second = faults["doubled"].options.get("with")
        if second is not None:
            fault = {"fault": second} if isinstance(second, str) else dict(second)
            again = job.run(job.lines[number].body, [Fault(fault.pop("fault"), fault)])
            other = write(name, again, None)
            assert other is not None
            data = _bytes(other, {})
        lines.append((data, good))
    return lines


def _bytes(body: Any, faults: dict[str, Fault]) -> bytes:
    # U+2028 and the like stand as they are, as in the files of real servers.
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
    if "garbled" in faults:
        data = data.replace(b":", b" ", 2)
    if "latin" in faults:
        data = data.replace(b'"}', b' \xe9\xff"}', 1)
    if "long" in faults:
        size = faults["long"].options
        data = data[:-2] + b" " * (size.get("kilobytes", size.get("megabytes", 65) << 10) << 10) + data[-2:]
    return b"\n" + data if "blank" in faults else data


def joined(lines: Sequence[bytes], cut: int) -> bytes:
    """The content of a file, without its last *cut* bytes."""
    content = b"".join(lines)
    return content[: len(content) - cut] if cut else content
