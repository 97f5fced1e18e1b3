"""Turns the output and exit code of a failed child process into an error that says what to do."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from smelt.errors import MissingDependencyError, SmeltConfigError
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


def _of_runtime(detail: str) -> MissingDependencyError:
    if "No module named" in detail:
        return MissingDependencyError.for_extra("local", "xllamacpp")
    for library, package in _PACKAGES.items():
        if library in detail:
            return MissingDependencyError(
                f"The embedded model needs the system library {library}: apt-get install -y {package}"
            )
    return MissingDependencyError(f"xllamacpp is installed, but does not load: {detail}", name="xllamacpp")
