"""Accessors appear when their library does, and hold no frame alive. Each test is a process that imports both."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # Importing pandas and Polars is.

HEAD = """
import gc, importlib, importlib.util, sys, warnings, weakref
warnings.simplefilter("error")
from smelt.api.register import register
class Accessor:
    def __init__(self, frame): self.frame = frame
    def width(self): return len(self.frame.columns)
class Lazy(Accessor): pass
def finders(): return [f for f in sys.meta_path if type(f).__module__.startswith("smelt")]
def go(name="tried", **more): register(name, pandas=lambda: Accessor, polars=lambda: Accessor, **more)
for name in ("pandas", "polars"):
    assert name not in sys.modules
"""


def passes(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", HEAD + script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_library_that_comes_later_is_registered_when_it_comes() -> None:
    passes("""
import pathlib, tempfile
before = len(finders())
go(); go("another")  # Two wait side by side.
go("ours"); go("ours")  # Ours, again, is not waited for twice.
assert len(finders()) == before + 3
assert importlib.util.find_spec("pandas") and importlib.util.find_spec("polars")  # Asking is not importing.
# A failed import can be tried again.
place = pathlib.Path(tempfile.mkdtemp())
(place / "polars.py").write_text("raise RuntimeError('broken')")
sys.path.insert(0, str(place))
try: import polars
except RuntimeError: pass
else: raise AssertionError("no error")
sys.path.remove(str(place)); importlib.invalidate_caches()
import polars
assert "pandas" not in sys.modules
def widths(frame): return [getattr(frame, name).width() for name in ("tried", "another", "ours")]
assert widths(polars.DataFrame({"a": [1]})) == [1, 1, 1]
import pandas
assert widths(pandas.DataFrame({"a": [1]})) == [1, 1, 1]
assert not [f for f in finders() if f.name in ("tried", "another", "ours")]
assert "exec_module" not in vars(pandas.__spec__.loader)
assert "tried" in dir(pandas.DataFrame({"a": [1]})) and "tried" in dir(polars.DataFrame({"a": [1]}))
""")


@pytest.mark.whole
def test_a_library_that_is_there_is_registered_at_once() -> None:
    passes("""
import pandas, polars
go(lazy=lambda: Lazy)
assert pandas.DataFrame.tried is Accessor and polars.DataFrame.tried is Accessor
assert type(polars.LazyFrame().tried) is Lazy
assert not [f for f in finders() if f.name == "tried"]

# An accessor of somebody else is warned about.
for only in ("pandas", "polars"):
    try: go()
    except UserWarning: pass
    else: raise AssertionError("no warning")

# A frame is freed without the garbage collector.
gc.disable()
for library in (pandas, polars):
    class Frame(library.DataFrame): pass
    frame = Frame({"a": [1]})
    gone = weakref.ref(frame)
    frame.tried.width()
    assert frame.tried is not frame.tried
    del frame
    assert gone() is None

# Registering again replaces our own in silence.
Accessor.__module__ = Lazy.__module__ = "smelt.api.accessor"
go("ours", lazy=lambda: Lazy)
old = Accessor
class Accessor(old): pass
Accessor.__module__ = "smelt.api.accessor"
go("ours", lazy=lambda: Lazy); go("ours", lazy=lambda: Lazy)
assert type(pandas.DataFrame().ours) is Accessor and type(polars.DataFrame().ours) is Accessor
""")
