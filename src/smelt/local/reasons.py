"""Turns the output and exit code of a failed child process into an error that says what to do."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.local.kinds import Spec
from smelt.local.weights import Weights, place

_PACKAGES = {"libgomp.so.1": "libgomp1", "libstdc++.so.6": "libstdc++6"}  # Debian's names.


def explain(weights: Weights, words: Mapping[str, str], code: int, log: str) -> SmeltConfigError:
    """The error for a child of *weights* that did not start.

    Args:
        weights: The model.
        words: What the child reported, if anything.
        code: Its exit code; negative for a signal.
        log: What it wrote to standard error.
    """
    if words.get("failed") == "runtime":
        return _of_runtime(words["detail"])
    if words.get("failed") == "weights":
        return SmeltConfigError(
            f"llama.cpp cannot load {place(weights)}. If the file is damaged, this fetches it again: {weights.command}"
        )
    if code == -signal.SIGILL:
        return MissingDependencyError(
            "This processor lacks instructions (AVX2, FMA) that xllamacpp's wheels are built with. Build it here with "
            "pip install --force-reinstall --no-binary xllamacpp xllamacpp, or name another model."
        )
    if code == -signal.SIGKILL:
        return SmeltConfigError(f"The system killed {weights.name} while it loaded, probably because memory ran out.")
    last = (log.strip().splitlines() or ["it said nothing"])[-1]
    return SmeltConfigError(f"{weights.name} ended with code {code} while it loaded: {last}")


# What servers write when they cannot start, and what helps. The first that fits counts; seen on vLLM 0.32 or in its
# source. `{}` is what the pattern found.
_SIGNS = [
    (
        r"CUDA out of memory|OutOfMemoryError|Free memory on device|No available memory for the cache blocks",
        "the device has too little free memory. End what uses it, or lower gpu_memory_utilization or max-model-len",
    ),
    (
        r"max seq len \((\d+)\) is larger than|To serve at least one request with the models's max seq len",
        "its context does not fit into the memory of the device. Lower max-model-len in args",
    ),
    (r"(?:vllm: error: |error: )?unrecognized arguments: (.+)", "it does not know the flag {}. Look at args"),
    (r"error: argument (.+)", "a flag in args is wrong: {}"),
    (r"Failed to infer device type", "it finds no device that it can use. Is the driver installed?"),
    (
        r"NVIDIA driver on your system is too old|Found no NVIDIA driver|CUDA driver version is insufficient",
        "the NVIDIA driver is missing or too old for it",
    ),
    (
        r"is not a local folder and is not a valid model identifier|Repository Not Found|RepositoryNotFoundError",
        "there is no such model on this machine or on the hub",
    ),
    (r"gated repo|GatedRepoError", "the model is gated: accept its terms on the hub, and set HF_TOKEN"),
    (r'"failed": "weights"', "llama.cpp cannot load the file of its model"),
    (r'"failed": "runtime", "detail": "(.+)"', "xllamacpp does not load: {}"),
    (r"No space left on device", "the disk is full"),
    (r"[Aa]ddress already in use", "another process has its address"),
    (r"(libgomp\.so\.1|libstdc\+\+\.so\.6): cannot open shared object file", "the system library {} is missing"),
]


def explain_server(spec: Spec, code: int, log: str) -> SmeltConfigError:
    """The error for a server that ended while it started.

    Args:
        spec: What it was started with.
        code: Its exit code; negative for a signal.
        log: The end of what it wrote.
    """
    if code == -signal.SIGKILL:
        return SmeltConfigError(f"The system killed {spec.title} while it loaded, probably because memory ran out.")
    for pattern, advice in _SIGNS:
        if found := re.search(pattern, log):
            told = found[found.lastindex] if found.lastindex else ""
            return SmeltConfigError(f"{spec.title} did not start: {advice.replace('{}', told.strip()[:_LONGEST])}.")
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"Error\b|error:", line)]
    last = (errors or lines or ["it said nothing"])[-1]
    return SmeltConfigError(f"{spec.title} ended with code {code} while it loaded: {last[:_LONGEST]}")


def slow(spec: Spec, seconds: float, log: str) -> SmeltConfigError:
    """The error for a server that was not healthy in time."""
    last = (log.strip().splitlines() or ["nothing"])[-1]
    return SmeltConfigError(
        f"{spec.title} was not ready within {seconds:.0f} seconds. The last line of its log: {last[:_LONGEST]}"
    )


_LONGEST = 300


def _of_runtime(detail: str) -> MissingDependencyError:
    if "No module named" in detail:
        return MissingDependencyError.for_extra("local", "xllamacpp")
    for library, package in _PACKAGES.items():
        if library in detail:
            return MissingDependencyError(
                f"The embedded model needs the system library {library}: apt-get install -y {package}"
            )
    return MissingDependencyError(f"xllamacpp is installed, but does not load: {detail}", name="xllamacpp")
