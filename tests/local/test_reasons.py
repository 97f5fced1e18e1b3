"""What is said of a child that did not come up."""

from __future__ import annotations

import signal

import pytest

from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.local.kinds import Spec
from smelt.local.reasons import explain, explain_server
from smelt.local.weights import named


@pytest.mark.parametrize(
    ("words", "code", "kind", "match"),
    [
        pytest.param(
            {"failed": "runtime", "detail": "No module named 'xllamacpp'"},
            1,
            MissingDependencyError,
            r"pip install 'dfsmelt\[local\]'",
            id="no runtime",
        ),
        pytest.param(
            {"failed": "runtime", "detail": "libgomp.so.1: cannot open shared object file: No such file or directory"},
            1,
            MissingDependencyError,
            "apt-get install -y libgomp1",
            id="no libgomp",
        ),
        pytest.param(
            {"failed": "runtime", "detail": "undefined symbol: foo"},
            1,
            MissingDependencyError,
            "installed, but does not load: undefined symbol: foo",
            id="broken runtime",
        ),
        pytest.param(
            {"failed": "weights", "detail": "Failed to init server"},
            1,
            SmeltConfigError,
            "python -m smelt local pull smollm2-135m",
            id="damaged weights",
        ),
        pytest.param({}, -signal.SIGILL, MissingDependencyError, "AVX2, FMA", id="old processor"),
        pytest.param({}, -signal.SIGKILL, SmeltConfigError, "memory ran out", id="out of memory"),
        pytest.param({}, 3, SmeltConfigError, "ended with code 3 while it loaded: the last line", id="anything else"),
        pytest.param({}, -signal.SIGSEGV, SmeltConfigError, "ended with code -11", id="crash"),
    ],
)
def test_a_child_that_did_not_come_up_is_explained(
    words: dict[str, str], code: int, kind: type[SmeltConfigError], match: str
) -> None:
    problem = explain(named(""), words, code, "a line\nthe last line\n")

    assert type(problem) is kind
    with pytest.raises(kind, match=match):
        raise problem


@pytest.mark.parametrize(
    ("code", "log", "said"),
    [
        pytest.param(
            1,
            "ValueError: Free memory on device (5.9/7.8 GiB) on startup is less than desired GPU memory utilization",
            "vllm:m did not start: the device has too little free memory. End what uses it, or lower gpu_memory",
            id="memory of the device",
        ),
        pytest.param(1, "ValueError: No available memory for the cache blocks.", "too little free memory", id="cache"),
        pytest.param(
            1,
            "ValueError: To serve at least one request with the models's max seq len (131072), 16.00 GiB is needed",
            "its context does not fit into the memory of the device. Lower max-model-len in args",
            id="context",
        ),
        pytest.param(
            2,
            "usage: vllm [-h]\nvllm: error: unrecognized arguments: --max-modl-len 8\n",
            "it does not know the flag --max-modl-len 8. Look at args.",
            id="unknown flag",
        ),
        pytest.param(
            2,
            "vllm serve: error: argument --dtype: invalid choice: 'x'",
            "a flag in args is wrong: --dtype: invalid choice: 'x'",
            id="wrong value",
        ),
        pytest.param(1, "RuntimeError: Failed to infer device type", "it finds no device that it can use", id="no GPU"),
        pytest.param(
            1,
            "OSError: m is not a local folder and is not a valid model identifier listed on 'https://huggingface.co'",
            "there is no such model on this machine or on the hub",
            id="unknown model",
        ),
        pytest.param(
            1, "GatedRepoError: 401 Client Error.", "accept its terms on the hub, and set HF_TOKEN", id="gated"
        ),
        pytest.param(
            1, '{"failed": "weights", "detail": "x"}', "llama.cpp cannot load the file of its model", id="weights"
        ),
        pytest.param(-signal.SIGKILL, "", "The system killed vllm:m while it loaded", id="out of memory"),
        pytest.param(3, "a\nKeyError: 'x'\nbye\n", "vllm:m ended with code 3 while it loaded: KeyError", id="else"),
        pytest.param(3, "", "ended with code 3 while it loaded: it said nothing", id="silence"),
    ],
)
def test_a_server_that_did_not_start_is_explained_from_its_log(code: int, log: str, said: str) -> None:
    assert said in str(explain_server(Spec(kind="vllm", model="m"), code, log))
