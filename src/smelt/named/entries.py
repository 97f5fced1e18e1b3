"""One entry of an engine file: its fields, checked, as what they mean for smelt. Reads no file and no environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from smelt.environment import is_variable
from smelt.errors import AuthConfigError, SmeltConfigError, warn
from smelt.messages import nearest
from smelt.providers.addresses import check_base_url
from smelt.providers.secrets import names_a_key
from smelt.providers.vendors import BACKENDS, ELSEWHERE, STARTED, VENDORS


@dataclass(frozen=True, kw_only=True)
class ServerEntry:
    """A server that smelt starts; the arguments of `smelt.Server`."""

    devices: tuple[int, ...] | None = None
    dtype: str | None = None
    idle: float | None = None
    lazy: bool = True
    args: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model that an engine file names.

    Attributes:
        vendor: A name of the table of vendors.
        model: The model's name, as the vendor calls it.
        base_url: The address, or None for the vendor's own.
        key_variable: The environment variable with the key; None for the vendor's own variables.
        params: Parameters of every request.
        server: How to start the server; None if it is not ours.
        source: The file and the entry, for messages.
    """

    vendor: str
    model: str
    base_url: str | None = None
    key_variable: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    server: ServerEntry | None = None
    source: str = field(default="", compare=False)


# Fields that are flags of `vllm serve`.
_FLAGS = {
    "gpu_memory_utilization": (float, int),
    "max_model_len": (int,),
    "tensor_parallel_size": (int,),
    "reasoning_parser": (str,),
}
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "backend": (str,),
    "model": (str,),
    "endpoint": (str,),
    "api_key_env": (str,),
    "params": (Mapping,),
    "devices": (list,),
    "dtype": (str,),
    "lazy": (bool,),
    "idle": (int, float),
    "enable_reasoning": (bool,),
    "args": (Mapping,),
    "extra": (Mapping,),
    "extra_serve_flags": (list,),
    "extra_env": (Mapping,),
    "port": (int,),  # Chainette's; our servers listen on a Unix socket.
    **_FLAGS,
}
# Fields that only say how a server is started. Chainette writes the others beside an address, too.
_OF_A_START = ("devices", "dtype", "idle", "args", "extra", "extra_serve_flags", "extra_env", *_FLAGS)
_WORDS = {str: "a string", bool: "true or false", int: "a whole number", float: "a number", list: "a list"}
_KEYS = ("api_key", "apikey", "key", "token", "secret", "password")


def entry_of(fields: Mapping[str, Any], *, source: str) -> Entry:
    """What the *fields* of an entry mean.

    Args:
        fields: As the file has them, without the name.
        source: The file and the entry, for messages.

    Raises:
        SmeltConfigError: A field is unknown, missing or malformed; names it.
        AuthConfigError: There is a key in the file.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    for name, value in given.items():
        _check(name, value, source)
    vendor, model, is_ours = _who(given, source)
    endpoint = given.get("endpoint")
    if endpoint is not None:
        check_base_url(endpoint, source=f"{source}, field 'endpoint'")
    is_started = is_ours and endpoint is None
    server = _server(given, vendor, source) if is_started else None
    if not is_started and (idle := [name for name in _OF_A_START if name in given]):
        why = "beside 'endpoint'" if endpoint is not None else f"for {vendor}, which smelt does not start"
        warn(f"{source}: {', '.join(map(repr, idle))} {'has' if len(idle) == 1 else 'have'} no effect {why}.")
    base_url = _address(endpoint, vendor)
    if base_url is not None and urlsplit(base_url).hostname != urlsplit(VENDORS[vendor].base_url or "").hostname:
        vendor = ELSEWHERE.get(vendor, vendor)
    return Entry(
        vendor=vendor,
        model=model,
        base_url=base_url,
        key_variable=given.get("api_key_env"),
        params=dict(given.get("params", {})),
        server=server,
        source=source,
    )


def _check(name: str, value: Any, source: str) -> None:
    if name in _KEYS:
        raise AuthConfigError(
            f"{source}: {name!r} is a key in a file. Put the key into an environment variable, and the name of the "
            "variable into 'api_key_env'."
        )
    if name not in _FIELDS:
        raise SmeltConfigError(
            f"{source}: there is no field {name!r}.{nearest(name, _FIELDS)} Flags of the server go into 'args'."
        )
    if name == "api_key_env" and isinstance(value, str) and not is_variable(value):
        raise AuthConfigError(
            f"{source}: 'api_key_env' must be the name of an environment variable, like OPENAI_API_KEY. What is there "
            "is not shown, since it may be the key itself."
        )
    kinds = _FIELDS[name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = "a table" if Mapping in kinds else _WORDS[kinds[-1] if kinds[0] is int else kinds[0]]
        raise SmeltConfigError(f"{source}: the field {name!r} must be {wanted}, not {type(value).__name__}.")


def _who(given: Mapping[str, Any], source: str) -> tuple[str, str, bool]:
    """Vendor, model, and whether smelt starts the server if no address is given."""
    model = given.get("model", "")
    if not model:
        raise SmeltConfigError(f"{source}: the field 'model' is missing.")
    prefix, colon, rest = model.partition(":")
    backend = given.get("backend")
    if backend is None and colon and prefix in VENDORS:
        return prefix, rest, False
    vendor = BACKENDS.get(backend or "", backend or "")
    if vendor not in VENDORS:
        known = sorted({*VENDORS, *BACKENDS} - {""})
        raise SmeltConfigError(f"{source}: there is no backend {backend!r}.{nearest(vendor, known)}")
    return vendor, model, vendor in STARTED


def _address(endpoint: str | None, vendor: str) -> str | None:
    """*endpoint* as a base URL. Chainette's files leave out the path of the API, which these servers share."""
    if endpoint is None or vendor not in STARTED or urlsplit(endpoint).path.strip("/"):
        return endpoint
    return endpoint.rstrip("/") + "/v1"


def _server(given: Mapping[str, Any], vendor: str, source: str) -> ServerEntry:
    args = {name: given[name] for name in _FLAGS if name in given}
    args |= dict(given.get("extra", {})) | _flags(given.get("extra_serve_flags", []), source)
    args |= dict(given.get("args", {}))
    if not given.get("enable_reasoning", True):
        args.pop("reasoning_parser", None)
    devices = given.get("devices")
    if devices is not None and not all(type(one) is int and one >= 0 for one in devices):
        raise SmeltConfigError(f"{source}: the field 'devices' must be a list of device numbers, such as [0, 1].")
    env = {}
    for name, value in given.get("extra_env", {}).items():
        if names_a_key(name):
            raise AuthConfigError(
                f"{source}: {name!r} in 'extra_env' looks like a key in a file. Set it in the environment; the server "
                "inherits it."
            )
        env[name] = str(value)
    return ServerEntry(
        devices=None if devices is None else tuple(devices),
        dtype=given.get("dtype"),
        idle=given.get("idle"),
        lazy=given.get("lazy", True),
        args=args,
        env=env,
    )


def _flags(words: Sequence[Any], source: str) -> dict[str, Any]:
    """A list of command-line words as a table: `["--max-num-seqs", "8"]` is `{"max-num-seqs": "8"}`."""
    found: dict[str, Any] = {}
    name = ""
    for word in map(str, words):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            found[name] = value if equals else True
        elif name and found[name] is True:
            found[name] = word
        else:
            raise SmeltConfigError(f"{source}: 'extra_serve_flags' has {word!r} without a flag before it.")
    return found
