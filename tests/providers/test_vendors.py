"""The table of vendors: the one place that knows a vendor by its name."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import smelt
from smelt.call.resolve import resolve_model
from smelt.model import Model
from smelt.providers.compatible import Compatible
from smelt.providers.vendor import Vendor
from smelt.providers.vendors import LOCAL, MOCK, STARTED, VENDORS
from tests.conftest import MakeScenario
from tests.providers.asking import ask

ROOT = Path(__file__).parents[2]
SOURCE = Path(smelt.__file__).parent
# `python -m smelt local` and the extra `local`: the room `local/` lies below the table. Servers that smelt starts have
# the names of programs, which vendors have, too. `redact` has the beginnings of keys.
OTHERS = {
    ("cli/parser.py", "local"),
    ("local/reasons.py", "local"),
    ("providers/redact.py", "xai"),
    *(("local/kinds.py", name) for name in STARTED),
}
NAME = re.compile(rf"(smelt\.providers\.)?({'|'.join(VENDORS)})[:/]?")


def names_in(path: Path) -> Iterator[str]:
    """Strings of a module that are nothing but the name of a vendor, or of its adapter's module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (found := NAME.fullmatch(node.value)):
            yield found[2]


def test_no_module_but_the_table_writes_the_name_of_a_vendor() -> None:
    modules = {path.relative_to(SOURCE).as_posix(): path for path in SOURCE.rglob("*.py")}
    modules.pop("providers/vendor.py")  # Its defaults name the SDK, which has the name of its vendor.
    tables = [modules.pop(f"providers/{name}.py") for name in ("vendors", "hosts")]

    assert {name for table in tables for name in names_in(table)} == set(VENDORS)
    assert {(module, name) for module, path in modules.items() for name in names_in(path)} == OTHERS


INSTALLED = [vendor for vendor in VENDORS.values() if vendor is not MOCK]


@pytest.mark.parametrize("vendor", INSTALLED, ids=lambda vendor: vendor.name)
def test_an_extra_installs_all_that_the_adapter_of_a_vendor_needs(vendor: Vendor) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = {re.split(r"[^\w-]", one)[0] for one in project["optional-dependencies"][vendor.extra]}

    module, _, name = vendor.adapter.partition(":")

    assert isinstance(getattr(import_module(module), name), type)
    assert set(vendor.sdk.values()) == installed


def test_a_row_of_the_table_is_all_that_a_compatible_host_needs(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = scenario(log=True)
    host = Vendor(name="host", base_url=fake.base_url("compatible"), key_variables=("HOST_API_KEY",), hosted=True)
    monkeypatch.setitem(VENDORS, "host", host)
    monkeypatch.setenv("HOST_API_KEY", "key-of-the-host")

    provider = resolve_model("host:fake-1")

    assert len(json.loads(ask(provider).text)["rows"]) == 2
    assert len(fake.stats().log[0]["secrets"]) == 1
    assert (provider.name, provider.capabilities) == ("host", Compatible.usual)


def test_a_row_says_what_its_servers_can_do() -> None:
    desktop = resolve_model(Model("ollama", "m")).capabilities

    assert (desktop.concurrency, desktop.queues, desktop.max_output_tokens) == (4, True, 4_096)


@pytest.mark.parametrize("vendor", INSTALLED, ids=lambda vendor: vendor.name)
def test_the_page_has_a_row_for_each_vendor(vendor: Vendor) -> None:
    page = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    rows = page.partition("## Set up")[2].partition("## ")[0].splitlines()

    row = next(line for line in rows if line.startswith("|") and f"`{vendor.name}`" in line.split("|")[1])

    assert f"| `{vendor.extra}` |" in row
    if vendor.hosted:
        assert all(f"`{one}`" in row for one in (*vendor.key_variables, *vendor.url_variables))
    assert (vendor is LOCAL) == ("private socket" in row)
