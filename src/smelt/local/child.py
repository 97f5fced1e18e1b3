"""The child process of the embedded model: a llama.cpp server on a private Unix socket.

Run as a script (`python -P child.py MODEL SOCKET [NAME SIZES]`), so that it does not load smelt. It writes one line of
JSON to standard output: `{"listening": address}`, or `{"failed": "runtime" | "weights", "detail": text}`. It runs until
its standard input ends, which happens however the parent ends, even by kill -9.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

SLOTS = 4
SLOT_TOKENS = 2048


def serve(model: Path, socket: Path, name: str, sizes: dict[str, int]) -> str:
    """Load *model*, listen on *socket* and return the address that the server reports.

    Args:
        model: The file of weights.
        socket: The Unix socket.
        name: The model's name in answers, which would name the whole path otherwise.
        sizes: `parallel` and `ctx-size`, as of `llama-server`, if they are not the usual ones.
    """
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path = str(model)
    options.model_alias = {name}
    options.n_parallel = int(sizes.get("parallel", SLOTS))
    options.n_ctx = int(sizes.get("ctx-size", options.n_parallel * SLOT_TOKENS))
    options.kv_unified = True  # One long request may use the memory of idle slots.
    options.cache_ram_mib = 0  # The default keeps 8 GiB of old prompts.
    # Threads wait for each other by spinning. Two on two cores are 2 times faster than one on an idle machine, but 5 to
    # 10 times slower as soon as another process needs a core.
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.ui = False
    options.offline = True
    options.verbosity = 0
    options.hostnames = [str(socket)]
    options.api_keys = [os.environ["LLAMA_API_KEY"]]
    global _server  # The server stops when it is garbage-collected.
    _server = xllamacpp.Server(options)
    return str(_server.listening_address)


def main(model: Path, socket: Path, name: str = "", sizes: str = "{}") -> int:
    """Serve until standard input ends, then delete the socket's directory."""
    try:
        say(listening=serve(model, socket, name or model.parent.name, json.loads(sizes)))
    except ImportError as exc:
        say(failed="runtime", detail=str(exc))
        return 1
    except RuntimeError as exc:  # llama.cpp's only error for a file that it cannot load.
        say(failed="weights", detail=str(exc))
        return 1
    sys.stdin.buffer.read()
    shutil.rmtree(socket.parent, ignore_errors=True)
    return 0


def say(**words: str) -> None:
    """Report to the parent, in one line."""
    print(json.dumps(words), flush=True)


_server: Any = None

if __name__ == "__main__":
    # Skip the clean-up of native threads: a request may be running, and nobody will read its answer.
    os._exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
