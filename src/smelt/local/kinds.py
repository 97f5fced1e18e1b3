"""The kinds of servers that smelt starts: their commands, environments and times."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.local import child
from smelt.local.weights import CATALOG, fetched
from smelt.messages import shown_value

Args = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a server is started with. Equal ones are one server.

    Attributes:
        kind: The kind of server.
        model: The model: a name of the hub, a path, or what the kind calls a model.
        dtype: The type of weights and activations, for kinds that take one.
        devices: The devices that it may see, by number; None: as the environment says.
        args: Flags of the server, without the dashes.
        env: Additions to its environment.
    """

    kind: str
    model: str
    dtype: str | None = None
    devices: tuple[int, ...] | None = None
    args: Args = field(default_factory=dict, hash=False)
    env: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def digest(self) -> str:
        """A hash of it, by which another process finds the same server."""
        # As words, so that 8192 and "8192" are one, as are True and False with their dashes or underscores.
        words = sorted(one for name, value in self.args.items() if (one := flags({name: value})))
        told = [self.kind, self.model, self.dtype, self.devices, words, sorted(self.env.items())]
        return blake2b(json.dumps(told).encode(), digest_size=8).hexdigest()

    @property
    def served(self) -> str:
        """The model's name in requests."""
        return str(plain(self.args).get("served-model-name", self.model))

    @property
    def context_tokens(self) -> int | None:
        """Input and output of a request together, if a flag limits them."""
        named = plain(self.args)
        length = named.get("max-model-len", named.get("ctx-size"))
        slots = named.get("parallel", 1)  # llama.cpp divides its context among them.
        try:
            return int(length) // int(slots) or None if length is not None else None
        except (TypeError, ValueError, ZeroDivisionError):
            return None  # vLLM also takes `8k` and `auto`.

    @property
    def title(self) -> str:
        """The kind and the model, for messages."""
        return f"{self.kind}:{self.served}"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What differs between servers.

    Attributes:
        command: The words of the command, from the spec and the address.
        health: The path that answers 200 as soon as the model is loaded.
        key: The environment variable that tells the server its API key.
        ours: Flags that smelt sets itself.
        environ: Additions to the environment, from the address.
        takes_dtype: Whether `dtype` means something to it.
        over_tcp: Whether it cannot listen on a Unix socket.
        usual: The base URL, without a path, where a server may run already that needs no key; from the environment.
        patience: Seconds until it must be healthy.
        grace: Seconds between the request to end and the kill.
    """

    command: Callable[[Spec, str], list[str]]
    health: str
    key: str
    ours: frozenset[str]
    environ: Callable[[str], Mapping[str, str]] = lambda address: {}
    takes_dtype: bool = False
    over_tcp: bool = False
    usual: Callable[[Mapping[str, str]], str | None] = lambda environ: None
    patience: float = 1800.0
    grace: float = 5.0


def check(spec: Spec) -> None:
    """Refuse a spec that no server of its kind can be started with.

    Raises:
        SmeltConfigError: Says what is wrong.
    """
    kind = KINDS[spec.kind]
    if spec.dtype is not None and not kind.takes_dtype:
        raise SmeltConfigError(f"{spec.kind} takes no dtype=: its file of weights has one.")
    for name, value in spec.args.items():
        if not _FLAG.fullmatch(name):
            raise SmeltConfigError(
                f"args has {shown_value(name)}, which is no flag. Write its name and its value: "
                '{"max-model-len": 8192}.'
            )
        if _flag(name) in kind.ours:
            raise SmeltConfigError(f"The flag {name!r} of {spec.kind} is set by smelt. Leave it out of args.")
        if not _is_value(value):
            wanted = "a string, a number, True, or a list or dict of them"
            raise SmeltConfigError.for_type(f"args[{name!r}]", value, wanted)
    twice = [name for name, count in Counter(map(_flag, spec.args)).items() if count > 1]
    if twice:
        raise SmeltConfigError(f"args has the flag {twice[0]!r} twice: dashes and underscores mean the same.")
    for name, text in spec.env.items():
        if not _VARIABLE.fullmatch(name):
            raise SmeltConfigError(f"env has {shown_value(name)}, which is no name of an environment variable.")
        if not isinstance(text, str) or "\0" in text:
            raise SmeltConfigError.for_type(f"env[{name!r}]", text, "a string")


_FLAG = re.compile(r"(?:--?)?[A-Za-z][\w.-]*")
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def plain(args: Args) -> dict[str, Any]:
    """Flags by their usual names: `max_model_len`, `--max-model-len` and `max-model-len` are one."""
    return {_flag(name): value for name, value in args.items()}


def _flag(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


def _is_value(value: object) -> bool:
    """Whether *value* can be written on a command line: infinity and NaN cannot, and a table must be JSON."""
    if isinstance(value, Mapping | list | tuple):
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            return False
        return isinstance(value, Mapping) or all(map(_is_value, value))
    if isinstance(value, float):
        return isfinite(value)
    return value is None or isinstance(value, int) or (isinstance(value, str | Path) and "\0" not in str(value))


def flags(args: Args) -> list[str]:
    """Flags as words. True is a flag without a value, False and None leave it out, a table becomes JSON."""
    words: list[str] = []
    for name, value in args.items():
        flag = f"--{_flag(name)}"
        if value is True:
            words.append(flag)
        elif isinstance(value, list | tuple):
            words += [flag, *map(str, value)]
        elif value is not None and value is not False:
            words += [flag, json.dumps(value) if isinstance(value, Mapping) else str(value)]
    return words


def _vllm(spec: Spec, address: str) -> list[str]:
    program = _program("vllm", "vLLM is not installed here: pip install vllm")
    words = [program, "serve", spec.model, "--uds", address, "--disable-uvicorn-access-log"]
    if spec.dtype is not None:
        words += ["--dtype", spec.dtype]
    args = plain(spec.args)
    if spec.devices and len(spec.devices) > 1 and "tensor-parallel-size" not in args:
        args["tensor-parallel-size"] = len(spec.devices)
    return words + flags(args)


def _llamacpp(spec: Spec, address: str) -> list[str]:
    model = str(fetched(CATALOG[spec.model])) if spec.model in CATALOG else str(Path(spec.model).expanduser())
    program = shutil.which("llama-server")
    if program is not None:
        named = ["-m", model] if Path(model).exists() else ["-hf", spec.model]
        return [program, *named, "--host", address, "--alias", spec.served, *flags(spec.args)]
    if find_spec("xllamacpp") is None:
        raise MissingDependencyError(
            "llama-server is not on PATH, and xllamacpp, which has llama.cpp inside, is not installed: "
            "pip install 'dfsmelt[local]'",
            name="xllamacpp",
        )
    if not Path(model).is_file():
        raise SmeltConfigError(f"There is no file {model}. Without llama-server on PATH, name a .gguf file.")
    sizes = plain(spec.args)
    if unknown := sizes.keys() - {"parallel", "ctx-size"}:
        raise SmeltConfigError(
            f"The flag {min(unknown)!r} needs llama-server on PATH. Without it, args takes 'parallel' and 'ctx-size'."
        )
    return [sys.executable, "-P", child.__file__, model, address, spec.served, json.dumps(sizes)]


def _ollama(spec: Spec, address: str) -> list[str]:
    return [_program("ollama", "Ollama is not installed here: https://ollama.com/download"), "serve"]


def _program(name: str, otherwise: str) -> str:
    """The path of a program: on PATH, or beside our Python."""
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name) or (str(beside) if beside.is_file() else None)
    if found is None:
        raise MissingDependencyError(otherwise, name=name)
    return found


def _ollama_environ(address: str) -> Mapping[str, str]:
    return {"OLLAMA_HOST": address.removeprefix("http://")}


def _usual_ollama(environ: Mapping[str, str]) -> str:
    """`OLLAMA_HOST` as Ollama reads it: a host, with or without scheme and port."""
    named = environ.get("OLLAMA_HOST", "").strip().removeprefix("http://").rstrip("/")
    host, _, port = named.rpartition(":") if ":" in named else (named, "", "")
    host = "127.0.0.1" if host in ("", "0.0.0.0", "localhost") else host
    return f"http://{host}:{port or 11434}"


KINDS: dict[str, Kind] = {
    "vllm": Kind(
        command=_vllm,
        health="/health",
        key="VLLM_API_KEY",
        ours=frozenset({"uds", "host", "port", "api-key", "dtype"}),
        environ=lambda address: {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"},
        takes_dtype=True,
        grace=30.0,
    ),
    "llamacpp": Kind(
        command=_llamacpp,
        health="/health",
        key="LLAMA_API_KEY",
        ours=frozenset({"host", "port", "api-key", "model", "hf-repo", "alias"}),
    ),
    "ollama": Kind(
        command=_ollama,
        health="/api/version",
        key="OLLAMA_API_KEY",
        ours=frozenset({"host"}),
        environ=_ollama_environ,
        usual=_usual_ollama,
        over_tcp=True,
    ),
}
