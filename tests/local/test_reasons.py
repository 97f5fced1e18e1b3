"""What is said of a child that did not come up."""

from __future__ import annotations

import signal

import pytest

from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.local.reasons import explain
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
