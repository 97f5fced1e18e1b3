"""Keys: the hashes that identify a row and a run (its spec) in the store.

A row is identified by a keyed hash of its canonical text: never by its position, label or chunk, the frame library or
the seed. A run is identified by its spec: prompt, output model, provider, model, parameters and account (the API key).
Parameters that change only the price of an answer, such as `service_tier`, are no part of it (`priced_only`).
Each store has its own secret for the hashes, so that hashes of two stores cannot be compared.

The server's address is not part of a spec: a model that moves to another port is still the same model. If two servers
give different models the same name, use two ledgers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Self

from smelt.plan.kinds import Array, Field, Kind, Struct
from smelt.providers.secrets import Secret
from smelt.providers.tiers import priced_only
from smelt.providers.vendors import VENDORS

CODEC = 1  # Incremented when smelt itself changes how it asks, because the answers may differ.

_KEY_BYTES = 16  # Among ten million rows, the probability that two share a key is 1e-25.


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What is asked, and of which model: everything but the rows.

    Attributes:
        provider: The provider's name.
        model: The model's name.
        prompt: Hash of the prompt, and of the output model's docstring if it has one.
        params: Hash of each parameter's value, by name; without those that change only the price.
        fields: Hash of each field's definition, by its name on the wire; in order.
        account: Hash of the API key; empty if there is none.
        codec: Version of the wording that smelt adds.
    """

    provider: str
    model: str
    prompt: str
    params: Mapping[str, str]
    fields: Mapping[str, str]
    account: str = ""
    codec: int = CODEC

    @classmethod
    def of(
        cls,
        *,
        provider: str,
        model: str,
        prompt: str,
        params: Mapping[str, Any],
        fields: Sequence[Field],
        about: str = "",
        secret: bytes,
        key: Secret | None = None,
    ) -> Self:
        """The spec of a run in the store with this *secret*."""
        return cls(
            provider=provider,
            model=model,
            prompt=_hash(f"{prompt}\0{about}" if about else prompt, secret),
            params={name: _hash(_json(params[name]), secret) for name in sorted(params) if not priced_only(name)},
            fields={field.key: _hash(_json(definition(field)), secret) for field in fields},
            account="" if key is None else _hash(key.reveal(), secret),
        )

    def fingerprint(self, secret: bytes) -> bytes:
        """A hash that is the same for all runs of this spec, and for no other spec."""
        parts = asdict(self)
        if not self.account:
            del parts["account"]  # The same fingerprint as before accounts were added.
        return _digest(json.dumps([parts, list(self.fields)], sort_keys=True), secret)

    def of_account(self, account: str) -> Self:
        """The same spec with another account."""
        return replace(self, account=account)


def row_key(text: str, secret: bytes) -> bytes:
    """The key of the row with this canonical text."""
    return row_keys([text], secret)[0]


def row_keys(texts: Sequence[str], secret: bytes) -> list[bytes]:
    """The keys of the rows with these canonical texts."""
    keyed, keys = blake2b(key=secret, digest_size=_KEY_BYTES).copy, []
    for text in texts:  # Copying the keyed hash is twice as fast as creating it anew.
        made = keyed()
        made.update(text.encode("utf-8", "surrogatepass"))
        keys.append(made.digest())
    return keys


def as_chosen(one: Spec, other: Spec, secret: bytes) -> Spec:
    """*one* without parameters that its provider sets by default, so that only the caller's choices are compared.

    A value that *other* has, too, is kept: it makes no difference.
    """
    vendor = VENDORS.get(one.provider)
    usual = {name: _hash(_json(value), secret) for name, value in (vendor.params if vendor else {}).items()}
    chosen = {
        name: value for name, value in one.params.items() if value != usual.get(name) or value == other.params.get(name)
    }
    return replace(one, params=chosen)


def describe_change(old: Spec, new: Spec, *, asked: str = "the prompt") -> str:
    """What changed from *old* to *new*, as the subject and verb of a sentence: "the prompt and the model … changed".

    Args:
        old: The earlier spec.
        new: The later one.
        asked: What a changed prompt is called. The hash of the prompt covers the output model's docstring, too.
    """
    changes = []
    if old.prompt != new.prompt:
        changes.append(asked)
    if (old.provider, old.model) != (new.provider, new.model):
        changes.append(f"the model ({old.provider}:{old.model} to {new.provider}:{new.model})")
    if old.params != new.params:
        changes.append(_changed("params", old.params, new.params))
    if old.fields != new.fields or list(old.fields) != list(new.fields):
        changes.append(_changed("the output model", old.fields, new.fields))
    if old.account != new.account and old.provider == new.provider:  # Another provider always has another key.
        changes.append("the API key")
    if old.codec != new.codec:
        changes.append("the way in which smelt asks")
    return " and ".join(", ".join(changes).rsplit(", ", 1) if len(changes) > 1 else changes) + " changed"


def count_differences(old: Spec, new: Spec) -> tuple[int, int]:
    """How many of model, prompt, parameters and fields differ, and how many single parameters and fields."""
    is_reordered = list(old.fields) != list(new.fields)
    params, fields = _differences(old.params, new.params), _differences(old.fields, new.fields)
    parts = [(old.provider, old.model) != (new.provider, new.model), old.prompt != new.prompt]
    return sum(parts) + bool(params) + bool(fields or is_reordered), len(params) + len(fields)


def added_fields(old: Spec, new: Spec) -> tuple[str, ...]:
    """The fields that *new* has beyond those of *old*; empty if *old* differs in anything else."""
    is_part = all(new.fields.get(key) == value for key, value in old.fields.items())
    is_same = replace(old, fields={}) == replace(new, fields={})
    return tuple(key for key in new.fields if key not in old.fields) if is_part and is_same else ()


def definition(field: Field) -> list[Any]:
    """Everything about a field that affects the request or the validation of an answer."""
    # Parts that smelt added later are left out if empty, so that answers bought before keep their keys.
    examples = [list(field.examples)] if field.examples else []
    return [field.key, field.description, field.required, _shape(field.kind), *examples]


def _shape(kind: Kind) -> list[Any]:
    own: list[Any] = [type(kind).__name__, kind.nullable, sorted(kind.constraints.items())]
    match kind:
        case Array(item=item):
            return [*own, _shape(item)]
        case Struct(fields=fields, description=description):
            return [*own, [definition(one) for one in fields], *([description] if description else [])]
        case _:
            rest = {name: value for name, value in vars(kind).items() if name not in ("nullable", "constraints")}
            return [*own, sorted(rest.items())]


def _changed(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    parts = [f"{name!r} {word}" for name, word in _differences(old, new)]
    shown = ", ".join(parts[:3]) + (f" and {len(parts) - 3} more" if len(parts) > 3 else "")
    return f"{what} ({shown or 'its order'})"


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[tuple[str, str]]:
    found = [(name, "added") for name in new if name not in old]
    found += [(name, "removed") for name in old if name not in new]
    return found + [(name, "changed") for name in new if name in old and new[name] != old[name]]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _hash(text: str, secret: bytes) -> str:
    return _digest(text, secret).hex()


def _digest(text: str, secret: bytes) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), key=secret, digest_size=32).digest()
