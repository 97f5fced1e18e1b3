"""Accessors appear when their library does, and hold no frame alive. Each test needs a fresh interpreter."""

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
before = len(finders())
go()
assert len(finders()) == before + 1
assert importlib.util.find_spec("pandas") and importlib.util.find_spec("polars")  # Asking is not importing.
import polars
assert polars.DataFrame({"a": [1]}).tried.width() == 1 and "pandas" not in sys.modules
import pandas
assert pandas.DataFrame({"a": [1]}).tried.width() == 1
assert len([f for f in finders() if f.name == "tried"]) == 0
assert "exec_module" not in vars(pandas.__spec__.loader)
assert "tried" in dir(pandas.DataFrame({"a": [1]})) and "tried" in dir(polars.DataFrame({"a": [1]}))
""")


def test_a_library_that_is_there_is_registered_at_once() -> None:
    passes("""
import pandas, polars
go(lazy=lambda: Lazy)
assert pandas.DataFrame.tried is Accessor and polars.DataFrame.tried is Accessor
assert type(polars.LazyFrame().tried) is Lazy
assert not [f for f in finders() if f.name == "tried"]
""")


def test_registering_again_replaces_our_own_in_silence() -> None:
    passes("""
go(); go()
assert len([f for f in finders() if f.name == "tried"]) == 1
Accessor.__module__ = Lazy.__module__ = "smelt.api.accessor"
import pandas, polars
old = Accessor
class Accessor(old): pass
Accessor.__module__ = "smelt.api.accessor"
go(lazy=lambda: Lazy); go(lazy=lambda: Lazy)
assert type(pandas.DataFrame().tried) is Accessor and type(polars.DataFrame().tried) is Accessor
""")


def test_an_accessor_of_somebody_else_is_warned_about() -> None:
    passes("""
import pandas, polars
go()
for only in ("pandas", "polars"):
    try: go()
    except UserWarning: pass
    else: raise AssertionError("no warning")
""")


def test_two_registrations_wait_side_by_side() -> None:
    passes("""
go("one"); go("two")
import polars
assert polars.DataFrame().one.width() == polars.DataFrame().two.width() == 0
import pandas
assert pandas.DataFrame().one.width() == pandas.DataFrame().two.width() == 0
""")


def test_a_failed_import_can_be_tried_again() -> None:
    passes("""
import pathlib, tempfile
place = pathlib.Path(tempfile.mkdtemp())
(place / "polars.py").write_text("raise RuntimeError('broken')")
go()
sys.path.insert(0, str(place))
try: import polars
except RuntimeError: pass
sys.path.remove(str(place)); importlib.invalidate_caches()
import polars
assert polars.DataFrame().tried.width() == 0
""")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_is_freed_without_the_garbage_collector(library: str) -> None:
    passes(f"""
import {library} as library
go()
gc.disable()
class Frame(library.DataFrame): pass
frame = Frame({{"a": [1]}})
gone = weakref.ref(frame)
frame.tried.width()
assert frame.tried is not frame.tried
del frame
assert gone() is None
""")
