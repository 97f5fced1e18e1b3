"""What `import smelt` costs: seconds of CPU in a fresh process whose modules are compiled.

    python -m tests.bench.importing

The least of ten processes. More than 0.1 s ends it with an error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

_MOST, _PROCESSES = 0.1, 10
_CODE = "import time; before = time.process_time(); import smelt; print(time.process_time() - before)"


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as compiled:
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPYCACHEPREFIX": compiled}
        _seconds(environment)  # Compiles.
        least = min(_seconds(environment) for _ in range(_PROCESSES))
    print(f"import smelt: {least:.3f} s of CPU")
    if least > _MOST:
        sys.exit("over the limit")


def _seconds(environment: dict[str, str]) -> float:
    done = subprocess.run([sys.executable, "-c", _CODE], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
