#!/usr/bin/env python3
"""Everything a working day needs, on a machine with only Python 3.11+ and pip.

    python3 dev.py COMMAND

    setup       the tools, the environment in .venv, the weights of the embedded model
    demo        the main job, on the embedded model
    test        the tests, but for those that ask the embedded model; further arguments go to pytest
    model       the tests that ask the embedded model
    hosts       the tests of every host that shares an adapter with another one, and the rest of long tests
    scale       the tests that run Dask, Ray and DuckDB; with SPARK=1 all of them, and those of Spark, which needs Java
    vllm        the tests that ask a real vLLM, put into a folder of its own first (5.9 GB; TINY_VLLM names it)
    lint        ruff: rules and format; `lint --fix` repairs what it can
    types       mypy --strict, and pyright on the public API
    notebook    run notebooks/ anew, check what they show and save it
    docs        write what the snippets of README.md and docs/ print into those pages
    site        build the docs site into site/, strictly
    bench       what smelt costs per request and per row
    lock        write uv.lock anew
    subject     check the first line of the commit message in a file, for the hook

Every command sets up what it needs first. The interpreter that runs this file is the one that is used;
UV_PROJECT_ENVIRONMENT names another folder than .venv for it, so that two Pythons can stand side by side.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import venv
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TOOLS = ROOT / ".tools"
ENV = ROOT / os.environ.get("UV_PROJECT_ENVIRONMENT", ".venv")
BIN = "Scripts" if os.name == "nt" else "bin"
PYTHON = str(ENV / BIN / "python")
EXE = ".exe" if os.name == "nt" else ""
ENGINES = ("scale", "spark")  # Dependency groups that only the tests of engines need: 300 and 480 MB.
MEMORY, ROOM = Path("/dev/shm"), 2 * 2**30  # Where Linux has files in memory, and the bytes that tests may need of it.
DEMO = ("pandas", "local", "prices")  # The extras that the demo needs; all and the tools are five times as large.

# As in smelt/local/wheels.py, which cannot be imported before it is installed: uv trusts only the certificates that it
# was built with unless told so (the second name is that of versions before 0.11), pip those that it brings.
SYSTEM_CERTS = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)


def main(command: str = "help", *extra: str) -> None:
    """Carry out one command."""
    if command in ("help", "-h", "--help"):
        print(__doc__.strip())
        return
    if command not in COMMANDS:
        sys.exit(f"There is no command {command!r}. There are: {', '.join(COMMANDS)}.")
    if sys.version_info < (3, 11):
        sys.exit(
            f"smelt needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: python3.11 dev.py {command}"
        )
    # A shell starts background jobs with Ctrl-C ignored, which children inherit; the tests of Ctrl-C need it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Hundreds of processes of the tests import the same packages; compiling them every time would take minutes.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    stand_in_for_home()
    try:
        COMMANDS[command](*extra)
    except subprocess.CalledProcessError as failure:
        sys.exit(failure.returncode)  # What failed has said why.


def setup(*extras: str) -> None:
    """Put the locked packages and the embedded model's weights in their places."""
    sync(*extras)
    if not can_import("xllamacpp"):
        sys.exit(
            "The embedded model's runtime does not load. On Debian and Ubuntu it needs: apt-get install -y libgomp1\n"
            f"The whole message: {PYTHON} -c 'import xllamacpp'"
        )
    uv = found_uv()
    run(PYTHON, "-m", "smelt", "local", "pull", env={**os.environ, "UV": uv} if uv else None)


def demo() -> None:
    setup(*DEMO)
    run(PYTHON, "-m", "smelt.demo")


def test(*extra: str) -> None:
    setup()
    pytest(*extra)


def model() -> None:
    setup()
    run(PYTHON, "-m", "pytest", "-m", "model and not notebook")


def hosts(*extra: str) -> None:
    setup()
    pytest("-m", "hosts or whole", *extra)


def vllm(*extra: str) -> None:
    """Keep the server apart from .venv: it pins other versions of half of what is there."""
    sync()
    uv = tools()
    run(PYTHON, "-m", "tests.vllm.room", env={**os.environ, "UV": uv} if uv else None)
    run(PYTHON, "-m", "pytest", "-m", "vllm", "tests/vllm", *extra)


def scale(*extra: str) -> None:
    """Put the engines beside what is there; the next `setup` removes them."""
    setup()
    is_all = bool(os.environ.get("SPARK"))
    sync(groups=ENGINES if is_all else ENGINES[:1])
    run(PYTHON, "-m", "pytest", "-m", "scale" if is_all else "scale and not whole", "tests/scale", *extra)


def lint(*extra: str) -> None:
    sync()
    run(PYTHON, "-m", "ruff", "check", *extra)
    run(PYTHON, "-m", "ruff", "format", *([] if "--fix" in extra else ["--check"]))


def types() -> None:
    sync()
    run(PYTHON, "-m", "mypy")
    run(PYTHON, "-m", "pyright", "--pythonpath", PYTHON)


def notebook() -> None:
    setup()
    run(PYTHON, "-m", "tests.test_notebook")


def docs() -> None:
    sync()
    run(PYTHON, "-m", "tests.test_readme")
    run(PYTHON, "-m", "tests.cli.sessions")
    run(PYTHON, "-m", "tests.llms")


def site() -> None:
    sync()
    run(PYTHON, "-m", "zensical", "build", "--clean", "--strict")
    print("To read it: site/index.html, or with its search: python3 -m http.server -d site")


def bench() -> None:
    sync()
    for one in sorted((ROOT / "tests" / "bench").glob("[!_]*.py")):
        run(PYTHON, "-m", f"tests.bench.{one.stem}")


def lock() -> None:
    """Lock against PyPI alone, whatever index this machine is set up for."""
    if (uv := tools()) is None:
        sys.exit("Only uv can write uv.lock.")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("UV_")} | SYSTEM_CERTS
    run(uv, "lock", "--no-config", "--default-index", "https://pypi.org/simple", env=ours)


def subject(message: str) -> None:
    """Refuse a commit whose first line is longer than logs show; the reasons go into the body."""
    first = Path(message).read_text(encoding="utf-8").partition("\n")[0]
    if len(first) > LONGEST_SUBJECT and not first.startswith(("fixup! ", "squash! ", "Merge ", "Revert ")):
        sys.exit(f"The subject has {len(first)} characters; {LONGEST_SUBJECT} are the most. Say the rest in the body.")


def sync(*extras: str, groups: tuple[str, ...] = ()) -> None:
    """Bring the environment to what uv.lock says: all and *groups*, or what *extras* need, beside what is there."""
    if not ENV.exists():
        size = "240 MB" if extras else "1.4 GB"
        print(f"Installing {', '.join(extras) or 'everything'} into {ENV} ({size})", file=sys.stderr, flush=True)
    if (uv := tools()) and not (problem := by_uv(uv, extras, groups)):
        return
    if uv and "uv.lock" in problem:  # Out of date, which pip would not notice.
        sys.exit(problem)
    if uv:
        print(f"{problem}\nuv could not install the packages (see above); pip is tried.", file=sys.stderr, flush=True)
    if problem := by_pip(extras, groups):
        sys.exit(f"{problem}\nThe packages could not be installed (see above).{WAY_OUT}")


def by_uv(uv: str, extras: tuple[str, ...], groups: tuple[str, ...]) -> str:
    """Install with uv; what it complained of, or nothing."""
    wanted = [f"--extra={one}" for one in extras] + ["--no-default-groups", "--inexact"] if extras else ["--all-extras"]
    wanted += [f"--group={one}" for one in groups]
    command = [uv, "sync", "-q", "--locked", *wanted, "--python", sys.executable]
    return tried(command, first=SYSTEM_CERTS, otherwise=dict.fromkeys(SYSTEM_CERTS, "0"))


def by_pip(extras: tuple[str, ...], groups: tuple[str, ...]) -> str:
    """Install the same with pip, where uv does not run or meets no registry; what it complained of, or nothing."""
    import tomllib

    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    names = [one["name"] for one in locked]
    pins = [
        f"{one['name']}=={one['version']}" for one in locked if names.count(one["name"]) == 1 and one["name"] != NAME
    ]
    grouped = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    chosen = [name for name in grouped if name in groups or not (extras or name in ENGINES)]
    tools = [one for name in chosen for one in grouped[name] if isinstance(one, str)]
    done = ENV / "installed-by-pip"
    wanted = "\n".join([*pins, *extras, *tools])
    if done.exists() and done.read_text() == wanted:
        return ""
    done.unlink(missing_ok=True)
    venv.create(ENV, with_pip=False)
    constraints = TOOLS / "constraints.txt"
    constraints.parent.mkdir(exist_ok=True)
    constraints.write_text("\n".join(pins))
    problem = pip(PYTHON, "-c", str(constraints), "-e", f"{ROOT}[{','.join(extras) or 'all'}]", *tools)
    if not problem:
        done.write_text(wanted)
    return problem


def tools() -> str | None:
    """The path of uv: put into .tools with pip if it is not there, else the machine's own; None if there is neither."""
    if (uv := found_uv()) and Path(uv).is_relative_to(TOOLS):
        return uv
    venv.create(TOOLS, with_pip=False)
    problem = pip(str(TOOLS / BIN / f"python{EXE}"), "uv")
    uv = found_uv()
    if problem and uv is None:
        if "connection broken" in problem or "certificate" in problem.lower():
            sys.exit(f"{problem}\nNo package index could be reached.{WAY_OUT}")
        print(f"{problem}\nuv could not be installed (see above); pip is tried.", file=sys.stderr, flush=True)
    return uv


def found_uv() -> str | None:
    ours = TOOLS / BIN / f"uv{EXE}"
    return str(ours) if ours.exists() else shutil.which("uv")


def pip(python: str, *wanted: str) -> str:
    """Install *wanted* for *python* with this interpreter's pip, or a venv's; what it complained of, or nothing."""
    ours = sys.executable
    if find_spec("pip") is None:
        ours = str(TOOLS / "pip" / BIN / f"python{EXE}")
        try:
            venv.create(TOOLS / "pip", with_pip=True)
        except (subprocess.CalledProcessError, ModuleNotFoundError):
            return "This Python has neither pip nor ensurepip. On Debian and Ubuntu: apt-get install -y python3-pip"
    command = [ours, "-m", "pip", "--python", python, "install", "-q", "--disable-pip-version-check", *wanted]
    bundle = next((one for one in BUNDLES if Path(one).is_file()), None)
    return tried(command, first={}, otherwise={"PIP_CERT": bundle} if bundle else {})


def tried(command: list[str], *, first: dict[str, str], otherwise: dict[str, str]) -> str:
    """Carry out *command*, a second time if certificates were not accepted; what it complained of, or nothing."""
    for environ in ({**first, **os.environ}, {**os.environ, **otherwise}):
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True, errors="replace", check=False
            )
        except OSError as problem:  # Not executable, or for another machine.
            return f"{command[0]}: {problem}"
        if done.returncode == 0:
            return ""
        if "certificate" not in done.stderr.lower():
            break
    return done.stderr.strip() or f"{command[0]} ended with code {done.returncode}."


def stand_in_for_home() -> None:
    """Keep in .tools what goes into the home directory, if there is none or it cannot be written."""
    if not os.environ.get("HOME", "unset"):
        del os.environ["HOME"]  # Empty, it would stand for the root of all.
    try:
        home = Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(home := TOOLS / "home")
    for variable, folder in {
        "XDG_CACHE_HOME": ".cache",
        "XDG_DATA_HOME": ".local/share",
        "IPYTHONDIR": ".ipython",
    }.items():
        if variable not in os.environ and not can_write(home / folder):
            os.environ[variable] = str(TOOLS / "home" / folder)


def can_write(folder: Path) -> bool:
    """Whether *folder* can be written, or can be made."""
    try:
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def can_import(module: str) -> bool:
    return subprocess.run([PYTHON, "-c", f"import {module}"], check=False, stderr=subprocess.DEVNULL).returncode == 0


def pytest(*arguments: str) -> None:
    """Run tests side by side, with their files in memory if it has room: thousands of ledgers would wait for a disk."""
    # Many tests wait, so that two cores bear three. A share has whole modules: a fixture may be a site or a browser.
    command = [PYTHON, "-m", "pytest", "-n", "3", "--dist", "worksteal", "-o", "tmp_path_retention_policy=failed"]
    in_memory = MEMORY.is_dir() and can_write(MEMORY) and shutil.disk_usage(MEMORY).free >= ROOM
    with tempfile.TemporaryDirectory(dir=MEMORY if in_memory else None, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # For PostgreSQL, which does not run as root.
        run(*command, *arguments, env={**os.environ, "TMPDIR": folder})


def run(*command: str, env: dict[str, str] | None = None) -> None:
    subprocess.run(command, cwd=ROOT, env=env, check=True)


NAME = "dfsmelt"
LONGEST_SUBJECT = 60
WAY_OUT = """
dev.py needs PyPI once, or a mirror of it. If there is one, name it in PIP_INDEX_URL and UV_DEFAULT_INDEX;
if its certificate is your company's own, name that in PIP_CERT and SSL_CERT_FILE."""
COMMANDS = {
    one.__name__: one
    for one in (setup, demo, test, model, hosts, scale, vllm, lint, types, notebook, docs, site, bench, lock, subject)
}

if __name__ == "__main__":
    main(*sys.argv[1:])
