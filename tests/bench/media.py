"""What media cost: files of 2 MB in cells, sent to a server that answers half a second after it has read a request.

    python -m tests.bench.media [FILES] [MEGABYTES]

Prints the CPU per megabyte of smelt, the SDK and the connection together, the peak of memory above the frame (Linux),
and the threads. More than 10 ms a megabyte, 600 MB or one thread end it with an error. The server is a process of its
own, which does not decode the pictures. The files are sparse: they take little disk, and have the bytes of their size.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

import smelt
from tests.bench.million import _forget_peak, _rss_mb
from tests.media.pictures import png

_TOKEN = re.compile(rb'\{\\"id\\":\\"([a-z0-9]+)\\",\\"row')
_LENGTH = re.compile(rb"(?i)content-length: (\d+)")
_WAITS = 0.5  # Seconds that the server takes.
_MOST_CPU_MS, _MOST_MB = 10.0, 600.0


class Shown(BaseModel):
    """The answer to each file."""

    item: str


def main(files: int = 10_000, megabytes: float = 2.0) -> None:
    """Run and print."""
    threads: set[int] = set()
    with tempfile.TemporaryDirectory() as folder, _server() as address:
        frame = pd.DataFrame({"photo": _made(Path(folder), files, round(megabytes * 1e6))})
        model = smelt.Model("openai", "gpt-4.1-mini", api_key="sk-proj-bench", base_url=address)
        task: dict[str, Any] = {"media": {"photo": smelt.Image(root=folder)}, "model": model, "ledger": False}
        prompt = "What does {photo} show?"
        smelt.transform(frame[:8], prompt, Shown, **task, progress=False)
        _forget_peak()
        memory, cpu, start = _rss_mb("VmRSS"), time.process_time(), time.perf_counter()

        out = smelt.transform(
            frame, prompt, Shown, **task, progress=lambda event: threads.add(threading.active_count())
        )

        cpu, seconds = time.process_time() - cpu, time.perf_counter() - start
        memory = _rss_mb("VmHWM") - memory
    failed, per_mb = int(out["smelt_error"].notna().sum()), cpu / files / megabytes * 1e3
    print(
        f"{files:,} files of {megabytes:g} MB: {per_mb:.1f} ms CPU per MB, {memory:,.0f} MB above the frame, at most "
        f"{max(threads)} thread(s), {failed} failed, {seconds:.0f} s"
    )
    if failed or per_mb > _MOST_CPU_MS or memory > _MOST_MB or max(threads) > 1:
        sys.exit("over the limit")


def _made(folder: Path, files: int, size: int) -> list[str]:
    """The names of new files in *folder*, each of *size* bytes, all different."""
    names = [f"{at}.png" for at in range(files)]
    for at, name in enumerate(names):
        with (folder / name).open("wb") as file:
            file.write(png(at))
            file.truncate(size)
    return names


@contextmanager
def _server() -> Iterator[str]:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Any) -> None:
    async def run() -> None:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0, limit=2**22)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            found = _LENGTH.search(head)
            assert found is not None
            body = await reader.readexactly(int(found[1]))
            tokens = [one.decode() for one in _TOKEN.findall(body)]
            del body
            await asyncio.sleep(_WAITS)
            text = json.dumps({"rows": [{"id": token, "item": "a photo"} for token in tokens]})
            said = json.dumps(_reply(text)).encode()
            lines = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(said)}\r\n\r\n"
            writer.write(lines.encode() + said)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _reply(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content}
    details: dict[str, Any] = {"input_tokens_details": {"cached_tokens": 0}}
    details["output_tokens_details"] = {"reasoning_tokens": 0}
    usage = {"input_tokens": 5_000, "output_tokens": 60, "total_tokens": 5_060, **details}
    about = {"id": "r", "object": "response", "created_at": 0, "model": "gpt-4.1-mini", "status": "completed"}
    return {
        **about,
        "output": [message],
        "usage": usage,
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
    }


if __name__ == "__main__":
    main(*(kind(one) for kind, one in zip((int, float), sys.argv[1:], strict=False)))
