"""The child process of the embedded model: llama.cpp behind a private Unix socket.

Run as a script (`python -P child.py MODEL SOCKET`), so that it loads nothing of smelt. Its one line on standard output is
JSON: `{"listening": address}`, or `{"failed": "runtime" | "weights", "detail": text}`. It lives until its standard input
ends, which happens however the parent goes, kill -9 included.
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


def serve(model: Path, socket: Path) -> str:
    """Load *model*, listen on *socket* and return the address, as the server puts it."""
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path = str(model)
    options.model_alias = {model.parent.name}  # Else its answers are signed with the whole path.
    options.n_parallel = SLOTS
    options.n_ctx = SLOTS * SLOT_TOKENS
    options.kv_unified = True  # One long request may use the room of idle slots.
    options.cache_ram_mib = 0  # The default keeps 8 GiB of old prompts.
    # Threads wait for each other by spinning. Two of them on two cores read and write 2 times faster than one on an idle
    # machine, and 5 to 10 times slower as soon as another process wants a core.
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.ui = False
    options.offline = True
    options.verbosity = 0
    options.hostnames = [str(socket)]
    options.api_keys = [os.environ["LOCAL_LLM_KEY"]]
    global _server  # The server stops when it is collected.
    _server = xllamacpp.Server(options)
    return str(_server.listening_address)


def main(model: Path, socket: Path) -> int:
    """Serve until standard input ends; leave nothing behind."""
    try:
        say(listening=serve(model, socket))
    except ImportError as exc:
        say(failed="runtime", detail=str(exc))
        return 1
    except RuntimeError as exc:  # All that llama.cpp says of a file it cannot load.
        say(failed="weights", detail=str(exc))
        return 1
    sys.stdin.buffer.read()
    shutil.rmtree(socket.parent, ignore_errors=True)
    return 0


def say(**words: str) -> None:
    """Tell the parent, in one line."""
    print(json.dumps(words), flush=True)


_server: Any = None

if __name__ == "__main__":
    # No clean-up of native threads: a request may be running, and nobody is there to read its answer.
    os._exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
