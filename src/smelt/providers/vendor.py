"""What is known of a vendor before it is asked: the columns of the table in `vendors`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from smelt.errors import MissingDependencyError
from smelt.providers.base import BatchLimits, Capabilities, DecisionTerms
from smelt.providers.medialimits import MediaLimits
from smelt.providers.shapes import Cap, Manner, Shape

Auth = Literal["bearer", "x-api-key", "x-goog-api-key", "entra", "adc", "sigv4"]
"""Where a vendor wants its key, and whose credentials are used without one: Azure, Google or AWS."""

AMBIENT: tuple[Auth, ...] = ("adc", "sigv4")
"""Those that find credentials on this machine if there is no key."""


@dataclass(frozen=True, kw_only=True, eq=False)  # A row is one object.
class Vendor:
    """What is known of a vendor before it is asked.

    Attributes:
        name: The provider's name, as in `"provider:model"`.
        base_url: Its own address, or the default address of a server of this kind; with places in braces, such as
            `{account}`. None: the caller must give one.
        places: The environment variables that fill each place of *base_url*; the first that is set wins.
        own_hosts: More hosts of the vendor, such as `*.openai.azure.com`: a key from the environment may go there, too.
            Needed if the host in *base_url* has a place.
        usual_places: Values of places that no variable fills.
        rewritten: Parts of the filled address that the vendor spells otherwise.
        path: What an address without a path gets; users often give only the host.
        auth: How a key is sent, or which cloud's credentials are used if there is no key.
        service: The name of the service in a signature for AWS.
        key_variables: Environment variables that hold a key; the first that is set wins.
        url_variables: Environment variables that hold another base URL.
        key_starts: What its keys begin with. A key with the beginning of another vendor is refused or warned about.
        hosted: Whether *base_url* is a company's service: then a key is required, and a key from the environment is
            meant for that service only.
        adapter: Module and class of the adapter; imported when a model of the vendor is asked.
        also: Rows for models whose names begin so, which the vendor serves by another API.
        extra: The extra of smelt that installs the SDK.
        sdk: The modules that the adapter needs, each with the distribution that has it.
        capabilities: What the adapter's own capabilities are replaced with, or None.
        media: What its capabilities for media are replaced with, field by field.
        params: Parameters of every request, unless the caller sets them.
        thinking: How it is told how much a model should think: a key of `effort.WAYS`, or None if it cannot be told.
        takes: Parameters that it takes besides those that are common to its API.
        shape: How it is sent the schema of the reply, if its API has more than one way.
        shapes: The same for models whose names begin so; the longest beginning counts.
        cap: What it calls the output limit, if its API has more than one name.
        priced_as: The vendor's id in genai-prices, or None if its prices are not known.
        level_tiers: Service tiers that cost what the standard one does, or nothing by the token.
        flex: A pattern of the models that it also serves at its flex tier; empty if there are none.
        tier_prices: By service tier, the factor of the standard price if the price list has none for the tier.
        tells_charge: Whether its replies say what it charged for them, in dollars.
        is_free: Whether its requests cost nothing.
        batching: What a job of its Batch API may hold, or None if smelt knows none.
        decisions: What its endpoint for decisions takes, or None if smelt knows none.
        cheap_model: A small, cheap model for the doctor, or None.
    """

    name: str
    base_url: str | None
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    own_hosts: tuple[str, ...] = ()
    usual_places: Mapping[str, str] = field(default_factory=dict)
    rewritten: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    auth: Auth = "bearer"
    service: str = ""
    key_variables: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()
    key_starts: tuple[str, ...] = ()
    hosted: bool = False
    adapter: str = "smelt.providers.compatible:Compatible"
    also: Mapping[str, Vendor] = field(default_factory=dict)
    extra: str = "openai"
    sdk: Mapping[str, str] = field(default_factory=lambda: {"openai": "openai"})
    capabilities: Capabilities | None = None
    media: MediaLimits = field(default_factory=MediaLimits)
    params: Mapping[str, Any] = field(default_factory=dict)
    thinking: str | None = None
    takes: tuple[str, ...] = ()
    shape: Shape = "strict"
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    cap: Cap = "max_tokens"
    priced_as: str | None = None
    level_tiers: tuple[str, ...] = ()
    flex: str = ""
    tier_prices: Mapping[str, float] = field(default_factory=dict)
    tells_charge: bool = False
    is_free: bool = False
    batching: BatchLimits | None = None
    decisions: DecisionTerms | None = None
    cheap_model: str | None = None

    def manner_for(self, model: str) -> Manner:
        """How *model* is asked at first."""
        start = max((one for one in self.shapes if model.lower().startswith(one)), key=len, default=None)
        return Manner(shape=self.shape if start is None else self.shapes[start], cap=self.cap)

    def load(self) -> Any:
        """The class of the adapter. This imports the SDK.

        Raises:
            MissingDependencyError: The SDK is not installed; names the extra.
        """
        module, _, name = self.adapter.partition(":")
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError as problem:
            missing = next((one for one in self.sdk if f"{one}.".startswith(f"{problem.name}.")), None)
            if missing is None:  # The SDK is installed but broken: its own message says more.
                raise
        raise MissingDependencyError.for_extra(self.extra, missing)
