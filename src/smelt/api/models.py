"""`smelt.register_model` and `smelt.load_models`: names for models, for this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

from smelt.checks import plain_path
from smelt.errors import SmeltConfigError
from smelt.model import Model, Named, read_model
from smelt.named import registry
from smelt.tracebacks import plainly


@plainly
def register_model(name: str, model: Any, *, params: Mapping[str, Any] | None = None) -> None:
    """Give *model* a name, so that `model="fast"` asks it. Sends nothing and starts nothing.

    The name is known in this process only. A job takes the name along where it is sent, and the other process must know
    the name too; the environment variable `SMELT_ENGINES`, the path of a file for `load_models`, does that for all
    processes.

    Args:
        name: A word without a colon. A name that is registered already must mean the same.
        model: `"provider:name"`, a `smelt.Model`, a `smelt.Server`, or any object with the members of
            `smelt.Provider`. None: forget the name.
        params: Parameters of every request under this name, such as `temperature`; they override those of *model*.

    Raises:
        SmeltConfigError: An argument is malformed, or the name means another model.

    Examples:
        >>> smelt.register_model("careful", "openai:gpt-4.1", params={"temperature": 0})
        >>> smelt.register_model("careful", None)
    """
    if model is None:
        registry.drop(name)
        return
    found = read_model(model)
    if params is not None:
        if not isinstance(params, Mapping):
            raise SmeltConfigError.for_type("params", params, "a dict with string keys")
        found = _with_params(found, params)
    registry.put({name: found})


def _with_params(model: Named, params: Mapping[str, Any]) -> Named:
    from smelt.providers.server import Server  # Imported late: most processes start no server.

    if isinstance(model, Model):
        return replace(model, params={**(model.params or {}), **params})
    if isinstance(model, Server):
        return replace(model, params={**model.params, **params})
    raise SmeltConfigError("params= goes with a model of smelt's own providers. This object has parameters of its own.")


@plainly
def load_models(path: str | PathLike[str]) -> list[str]:
    r"""Register the models of an engine file, so that `model="name"` asks them. Sends nothing and starts nothing.

    Args:
        path: A `.yml` (extra `yaml`), `.toml` or `.json` file with a table `engines`: a table of names, or a list of
            entries with a field `name`, as in chainette. An entry has `model` and `backend`, and may have `endpoint`,
            `api_key_env`, `params`; without `endpoint`, smelt starts the server of `vllm`, `ollama` and `llamacpp`.

    Returns:
        The names.

    Raises:
        SmeltConfigError: The file cannot be read or an entry is wrong; names file, entry and field. Then no name is
            registered.
        AuthConfigError: There is a key in the file.
        MissingDependencyError: It is YAML, and the extra `yaml` is not installed.

    Examples:
        >>> from pathlib import Path
        >>> _ = Path("engines.toml").write_text('[engines.tiny]\nbackend = "openai"\nmodel = "gpt-4.1-nano"')
        >>> smelt.load_models("engines.toml")
        ['tiny']
        >>> smelt.register_model("tiny", None)
    """
    from smelt.named.files import entries_in  # Imported late: most processes have no file of models.

    entries = entries_in(plain_path(path, "the path of a file of models"))
    registry.put(entries)
    return list(entries)
