"""What an engine inside the process costs: threads, and how long each decoding step holds the event loop.

`VENV/bin/python tests/vllm/inprocess.py MODEL` with the Python of the room of vLLM (see `tests/vllm/room.py`). It
prints a line per figure. smelt has no in-process engine; `docs/howto/own-servers.md` says why, with these figures.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path

REQUESTS = 8
SCHEMA = {
    "type": "object",
    "properties": {"sector": {"enum": ["tech", "other"]}, "is_public": {"type": "boolean"}},
    "required": ["sector", "is_public"],
    "additionalProperties": False,
}


def threads() -> str:
    """Threads of Python, and all threads of this process."""
    return f"{threading.active_count()} of Python, {len(list(Path('/proc/self/task').iterdir()))} in all"


def main(model: str) -> None:
    """Load the model inside this process, and take it through some requests step by step."""
    os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", HF_HUB_OFFLINE="1")
    print("threads before the import:", threads())
    began = time.monotonic()
    from vllm import SamplingParams  # type: ignore[import-not-found]
    from vllm.engine.arg_utils import EngineArgs  # type: ignore[import-not-found]
    from vllm.sampling_params import StructuredOutputsParams  # type: ignore[import-not-found]
    from vllm.v1.engine.llm_engine import LLMEngine  # type: ignore[import-not-found]

    print(f"seconds of the import: {time.monotonic() - began:.1f}")
    print("threads after the import:", threads())
    began = time.monotonic()
    engine = LLMEngine.from_engine_args(EngineArgs(model=model, max_model_len=4096, max_num_seqs=8, enforce_eager=True))
    print(f"seconds that the load holds the loop: {time.monotonic() - began:.1f}")
    print("threads after the load:", threads())
    params = SamplingParams(
        max_tokens=200, temperature=0.7, structured_outputs=StructuredOutputsParams(json=json.dumps(SCHEMA))
    )
    for number in range(REQUESTS):
        engine.add_request(str(number), f"Is company {number} public?", params)
    steps: list[float] = []
    while engine.has_unfinished_requests():
        began = time.monotonic()
        engine.step()
        steps.append(time.monotonic() - began)
    print("threads after the requests:", threads())
    print(f"{len(steps)} steps for {REQUESTS} requests, each of which holds the loop:")
    middle, last = statistics.median(steps), max(steps)
    print(f"median {middle * 1e3:.1f} ms, longest {last * 1e3:.1f} ms, sum {sum(steps):.1f} s")


if __name__ == "__main__":
    main(sys.argv[1])
