"""`smelt.Server`: a model on a server that smelt starts on this machine (see `smelt.local`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from smelt.errors import AuthConfigError, SmeltConfigError
from smelt.local.kinds import KINDS, Spec, check
from smelt.local.managed import Managed, managed
from smelt.messages import nearest
from smelt.providers.access import Access
from smelt.providers.base import Billing, CallFailed, Capabilities, Connection, Reply, Request, telling
from smelt.providers.redact import redact
from smelt.providers.secrets import Secret, names_a_key
from smelt.providers.vendor import Vendor
from smelt.providers.vendors import VENDORS

IDLE_SECONDS = 180.0
# The part of a request's time that it waits for a server that starts again; then it fails unsent, and is sent later.
_PART = 0.5


@dataclass(frozen=True)
class Server:
    """A model on a server that smelt starts when it is first asked, and ends when nobody asks it any more.

    A small process beside the server, its keeper, ends it also if this process is killed. Ctrl-C ends a run, but not
    the server: the next run finds it loaded.

    Attributes:
        kind: `"vllm"`, `"llamacpp"` or `"ollama"`. The program must be installed; `llamacpp` takes what the embedded
            model brings if `llama-server` is not on `PATH`. An Ollama that answers on this machine is used as it is.
        model: The model: a name of the Hugging Face hub or a directory for vLLM, a `.gguf` file for llama.cpp, a model
            that was pulled for Ollama.
        dtype: The type of weights and activations, for vLLM.
        devices: Numbers of the GPUs that it may use. vLLM spreads the model over several. A server that needs a device
            of another one ends that if it is idle and of this process or without an owner. None: no limit, and no
            check.
        idle: Seconds without a request after which the server ends.
        lazy: Whether the server starts when the first row is asked; False: as soon as a run is prepared.
        args: Flags of the server, such as `{"max-model-len": 8192}`; dashes and underscores mean the same.
        params: Parameters of every request, such as `temperature`.
        env: Additions to the server's environment, without keys.

    Raises:
        SmeltConfigError: An argument is malformed. Nothing is started.
        AuthConfigError: There is a key in *env*.

    Examples:
        >>> smelt.Server("vllm", "Qwen/Qwen3-8B", devices=[0], args={"max-model-len": 8192})
        Server('vllm', 'Qwen/Qwen3-8B')
    """

    kind: str
    model: str
    dtype: str | None = field(default=None, kw_only=True)
    devices: Sequence[int] | None = field(default=None, kw_only=True)
    idle: float = field(default=IDLE_SECONDS, kw_only=True)
    lazy: bool = field(default=True, kw_only=True)
    args: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)
    params: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)
    env: Mapping[str, str] = field(default_factory=dict, kw_only=True, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str):
            raise SmeltConfigError.for_type("kind", self.kind, "a string")
        if self.kind not in KINDS:
            raise SmeltConfigError(f"smelt starts no server {self.kind!r}.{nearest(self.kind, KINDS)}")
        _check_model(self.model)
        if self.dtype is not None and not isinstance(self.dtype, str):
            raise SmeltConfigError.for_type("dtype", self.dtype, "a string")
        object.__setattr__(self, "devices", _checked_devices(self.devices))
        if isinstance(self.idle, bool) or not isinstance(self.idle, int | float):
            raise SmeltConfigError.for_type("idle", self.idle, "a number of seconds")
        if not 0 < self.idle < _LONGEST:
            raise SmeltConfigError.for_value("idle", self.idle, f"above 0 and below {_LONGEST:,} seconds")
        if not isinstance(self.lazy, bool):
            raise SmeltConfigError.for_type("lazy", self.lazy, "True or False")
        for name in ("args", "params", "env"):
            table = getattr(self, name)
            if not isinstance(table, Mapping) or not all(isinstance(one, str) for one in table):
                raise SmeltConfigError.for_type(name, table, "a dict with string keys")
        check(self.spec)
        for name in self.env:
            if names_a_key(name):
                raise AuthConfigError(
                    f"env has {name!r}, which looks like a key. Set it in the environment of this process; the server "
                    "inherits it."
                )

    def __repr__(self) -> str:
        return f"Server({self.kind!r}, {self.model!r})"

    @property
    def spec(self) -> Spec:
        """What the server is started with."""
        devices = None if self.devices is None else tuple(self.devices)
        return Spec(
            kind=self.kind,
            model=self.model,
            dtype=self.dtype,
            devices=devices,
            args=dict(self.args),
            env=dict(self.env),
        )

    @property
    def name(self) -> str:
        """The provider's name: the kind. Its answers are those of a server of that kind elsewhere."""
        return self.kind

    @property
    def key(self) -> Secret | None:
        """None: the server's key is a new one each time, and buys nothing."""
        return None

    @property
    def thinking_tokens(self) -> int | None:
        return None

    @property
    def origin(self) -> str:
        return _ORIGIN

    @property
    def deployment(self) -> str:
        """The lane of this server alone."""
        return f"{_ORIGIN}/{self.spec.digest}"

    @property
    def capabilities(self) -> Capabilities:
        found: Capabilities = self._over(self._vendor, Access(base_url=_ORIGIN)).capabilities
        context = self.spec.context_tokens
        if context is None:
            return found
        # vLLM refuses a request whose output limit leaves no room for its input.
        return replace(found, context_tokens=context, max_output_tokens=min(found.max_output_tokens, context // 2))

    def check_params(self, params: Mapping[str, Any]) -> None:
        self._over(self._vendor, Access(base_url=_ORIGIN)).check_params(params)

    def begin(self) -> None:
        """Start the server without waiting, unless it is to start when it is first asked."""
        if not self.lazy:
            self._managed.begin()

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[Connection]:
        server = self._managed
        tell = telling.get()
        if not server.connections:
            server.look_again()
        server.connections += 1
        try:
            await _started(server, tell)
            is_url = server.address.startswith("http://")
            access = Access(
                base_url=f"{server.address if is_url else _ORIGIN}/v1",
                key=Secret(server.key),
                socket=None if is_url else server.address,
            )
            async with self._over(self._vendor, access).connect(connections=connections) as inner:
                yield _Connection(server, inner, tell)
        finally:
            server.connections -= 1

    @property
    def _vendor(self) -> Vendor:
        return VENDORS[self.kind]

    @property
    def _managed(self) -> Managed:
        return managed(self.spec, self.idle)

    def _over(self, vendor: Vendor, access: Access) -> Any:
        return vendor.load()(vendor=vendor, model=self.spec.served, access=access, params=self.params)


_ORIGIN = "http://localhost"
_LONGEST = 10**7  # Seconds


class _Connection:
    """Brings the server back if it ended, so that a run goes on after a crash or an idle end."""

    def __init__(self, server: Managed, inner: Connection, tell: Callable[[str], None]) -> None:
        self._server = server
        self._inner = inner
        self._tell = tell

    async def send(self, request: Request) -> Reply:
        with self._server.in_use():
            try:
                is_up = await self._server.ready(self._tell, within=request.timeout * _PART)
            except SmeltConfigError as problem:
                raise CallFailed("server", Billing.NOT_SENT, redact(str(problem))) from None
            if not is_up:
                raise CallFailed("server", Billing.NOT_SENT, f"{self._server.spec.title} is starting again.")
            return await self._inner.send(request)


async def _started(server: Managed, tell: Callable[[str], None]) -> None:
    try:
        await server.ready(tell)
    except SmeltConfigError as problem:
        raise type(problem)(redact(str(problem), limit=_LONGEST_MESSAGE)) from None


_LONGEST_MESSAGE = 600


def _check_model(model: object) -> None:
    if not isinstance(model, str):
        raise SmeltConfigError.for_type("model", model, "a string")
    if not model or not model.isprintable() or model.startswith("-"):
        raise SmeltConfigError.for_value("model", model, "the name or the path of a model")


def _checked_devices(devices: Any) -> tuple[int, ...] | None:
    if devices is None:
        return None
    if not isinstance(devices, list | tuple) or not all(type(one) is int and one >= 0 for one in devices):
        raise SmeltConfigError.for_type("devices", devices, "a list of device numbers, such as [0]")
    if len(set(devices)) < len(devices):
        raise SmeltConfigError.for_value("devices", devices, "device numbers, each only once")
    return tuple(devices)
