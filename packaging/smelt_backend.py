"""uv_build, with a word first to Pythons that are too old.

pip before 23.1, which comes with Python 3.10 and older, reads `requires-python` of a source tree only after all
dependencies, and then tries every version of each of them, for minutes. So this module has to compile on any Python 3.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("smelt needs Python 3.11 or newer; this is Python {}.{}.{}.".format(*sys.version_info))

from uv_build import *  # noqa: F403
