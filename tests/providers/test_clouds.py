"""Models in the clouds: the credentials of the machine, where a key may go, and what a wrong setting says.

Google's tokens and the keys of AWS come from endpoints of the fake server, which also checks each signature with
botocore. No live cloud was asked.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.call.resolve import resolve_model
from smelt.errors import AuthConfigError, InsecureURLError, SmeltAPIError, SmeltConfigError
from smelt.loop.one_thread import OneThreadLoop
from smelt.model import Model
from smelt.providers.adapter import Adapter
from smelt.providers.base import CallFailed, CompleteProvider, Reply
from smelt.providers.credentials import NotAuthorised
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.fakeserver.account import service_account
from tests.models import served
from tests.providers.asking import ask, failure_of, request

ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3"
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "one-thread": OneThreadLoop,
    "plain": asyncio.new_event_loop,
}
VARIABLES = [
    *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "ANTHROPIC_VERTEX_PROJECT_ID"),
    *("GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION", "CLOUD_ML_REGION", "GOOGLE_VERTEX_BASE_URL"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    *("AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
    *("AWS_BEDROCK_BASE_URL", "ANTHROPIC_BEDROCK_MANTLE_BASE_URL"),
    *("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "ANTHROPIC_FOUNDRY_RESOURCE", "ANTHROPIC_FOUNDRY_API_KEY"),
]
SetEnv = Callable[..., None]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SetEnv:
    """Sets variables, on a machine that has no others and no files of a cloud."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def give(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return give


@pytest.fixture
def on_google(given: SetEnv, tmp_path: Path) -> Callable[[Scenario], None]:
    """Makes a scenario the model's server and the token's, by a service account."""

    def make(fake: Scenario) -> None:
        given(
            GOOGLE_APPLICATION_CREDENTIALS=str(service_account(tmp_path, fake)),
            GOOGLE_VERTEX_BASE_URL=fake.base_url("vertex"),
        )

    return make


@pytest.fixture
def on_aws(given: SetEnv) -> Callable[[Scenario], None]:
    """Makes a scenario the model's server, and the one that hands out the keys of a role."""

    def make(fake: Scenario) -> None:
        given(
            AWS_ENDPOINT_URL_BEDROCK_RUNTIME=fake.base_url("bedrock"), AWS_REGION="eu-west-1",
            AWS_BEDROCK_BASE_URL=fake.base_url("mantle-openai"),
            ANTHROPIC_BEDROCK_MANTLE_BASE_URL=fake.base_url("mantle-claude"),
            AWS_CONTAINER_CREDENTIALS_FULL_URI=fake.url("/credentials"),
        )  # fmt: skip

    return make


def asked(
    provider: CompleteProvider, times: int, loop: Callable[[], asyncio.AbstractEventLoop] = OneThreadLoop
) -> list[Reply | CallFailed]:
    """The outcome of *times* requests at once."""

    async def work() -> list[Any]:
        async with provider.connect(connections=8) as connection:
            return await asyncio.gather(*(connection.send(request()) for _ in range(times)), return_exceptions=True)

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work())


MACHINES = [
    "vertex:fake-1",
    "vertex:claude-fake-1",
    "bedrock:fake-1",
    "mantle:openai.fake-1",
    "mantle:anthropic.fake-1",
]


@pytest.fixture(params=MACHINES)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def on_cloud(model: str, on_google: Callable[[Scenario], None], on_aws: Callable[[Scenario], None]) -> Any:
    return on_google if model.startswith("vertex") else on_aws


@pytest.mark.parametrize("loop", LOOPS)
def test_a_machine_with_credentials_needs_no_key_and_starts_no_thread(
    model: str, loop: str, on_cloud: Callable[[Scenario], None], scenario: MakeScenario
) -> None:
    fake = scenario(log=True)
    on_cloud(fake)
    before, seen = threading.enumerate(), []
    provider = resolve_model(model)

    async def work() -> list[Reply]:
        async with provider.connect(connections=4) as connection:
            replies = await asyncio.gather(*(connection.send(request()) for _ in range(6)))
            seen.extend(threading.enumerate())
            return replies

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        assert [reply.finish for reply in runner.run(work())] == ["stop"] * 6

    assert seen == before
    assert (fake.stats().statuses, fake.stats().tokens_issued) == ({200: 6}, 1)
    assert provider.key is not None
    assert "c4n4ry" not in provider.key.reveal()  # The ledger knows the place, not the token.


def test_a_token_that_expires_in_mid_run_is_fetched_once(
    model: str, on_cloud: Callable[[Scenario], None], scenario: MakeScenario
) -> None:
    fake = scenario(token_lasts=12, latency=0.02)
    on_cloud(fake)
    rows = [{"name": f"company {number}"} for number in range(40)]

    result = smelt.Job("Repeat {name}.", str, batch_size=2, concurrency=8, progress=False).run(model, data=rows)

    assert result.metrics.failed_rows == 0
    stats = fake.stats()
    assert stats.tokens_issued == 2
    assert 1 <= sum(count for status, count in stats.statuses.items() if status in (401, 403)) <= 8


def test_tokens_are_shown_nowhere(
    model: str, on_cloud: Callable[[Scenario], None], scenario: MakeScenario, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake = scenario(script={"1": {"fault": "status", "kind": "server"}})
    on_cloud(fake)
    provider = resolve_model(model)

    outcomes = asked(provider, 2)

    shown = caplog.text + repr([vars(one) for one in outcomes]) + repr(provider)
    assert "c4n4ry" not in shown
    assert "role-secret" not in shown
    assert b"c4n4ry" not in pickle.dumps(provider)


def test_the_credentials_of_a_machine_go_to_no_other_host(model: str, given: SetEnv) -> None:
    given(GOOGLE_CLOUD_PROJECT="acme", AWS_REGION="eu-west-1")
    name, _, rest = model.partition(":")

    with pytest.raises(AuthConfigError, match="credentials of this machine are not sent to https://gateway.example"):
        resolve_model(Model(name, rest, base_url="https://gateway.example/v1/projects/acme/locations/global"))


# --- Google -----------------------------------------------------------------------------------------------------------


def test_a_token_is_fetched_before_it_ends(on_google: Callable[[Scenario], None], scenario: MakeScenario) -> None:
    fake = scenario(token_seconds=200)  # Less than the five minutes at which a new one is fetched.
    on_google(fake)
    provider = resolve_model("vertex:fake-1")

    first, later = asked(provider, 3), asked(provider, 3)

    assert all(isinstance(one, Reply) for one in [*first, *later])
    assert fake.stats().tokens_issued == 1  # And not again for some seconds.


def test_a_login_that_ended_is_told_before_anything_is_sent(
    on_google: Callable[[Scenario], None], scenario: MakeScenario
) -> None:
    body = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
    fake = scenario(token_refusal={"code": 400, "body": body})
    on_google(fake)

    with pytest.raises(AuthConfigError, match=r"Google gave no token: .*invalid_grant.*application-default login"):
        ask(resolve_model("vertex:fake-1"))

    assert fake.stats().requests == 0


def test_a_token_server_that_is_overloaded_does_not_hold_the_loop(
    on_google: Callable[[Scenario], None], scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = scenario(token_refusal={"code": 503, "body": {"error": "internal_failure"}})
    on_google(fake)
    provider = resolve_model("vertex:fake-1")
    assert isinstance(provider, Adapter)
    credentials = provider.access.credentials
    assert credentials is not None
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    with pytest.raises(NotAuthorised, match="Google gave no token: .*HTTP 503") as caught:
        asyncio.run(credentials.headers("POST", "https://host", b""))

    assert caught.value.is_passing
    assert not slept


def test_the_project_of_a_credentials_file_is_used(
    on_google: Callable[[Scenario], None], given: SetEnv, scenario: MakeScenario
) -> None:
    fake = scenario()
    on_google(fake)
    given(GOOGLE_VERTEX_BASE_URL="", GOOGLE_CLOUD_LOCATION="eu")

    access: Any = resolve_model("vertex:fake-1")

    assert access.access.base_url == "https://aiplatform.eu.rep.googleapis.com/v1/projects/acme/locations/eu"


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("", "aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("us-east5", "us-east5-aiplatform.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
    ],
)
def test_a_location_has_its_host(location: str, host: str, given: SetEnv) -> None:
    given(GOOGLE_CLOUD_PROJECT="acme", GOOGLE_CLOUD_LOCATION=location)

    assert resolve_model("vertex:gemini-2.5-flash").origin == f"https://{host}"


# --- AWS --------------------------------------------------------------------------------------------------------------


def test_keys_in_variables_sign_each_request(given: SetEnv, scenario: MakeScenario) -> None:
    fake = scenario()
    given(
        AWS_ENDPOINT_URL_BEDROCK_RUNTIME=fake.base_url("bedrock"), AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="AKIAFAKESTATIC", AWS_SECRET_ACCESS_KEY="static-secret-of-nobody",
    )  # fmt: skip

    assert ask(resolve_model(f"bedrock:{ARN}")).finish == "stop"
    assert list(fake.stats().paths) == [
        "model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aapplication-inference-profile%2Fa1b2c3/converse"
    ]


def test_a_wrong_secret_is_told_after_one_request(given: SetEnv, scenario: MakeScenario) -> None:
    fake = scenario()
    given(
        AWS_ENDPOINT_URL_BEDROCK_RUNTIME=fake.base_url("bedrock"), AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="AKIAFAKESTATIC", AWS_SECRET_ACCESS_KEY="another",
    )  # fmt: skip

    failure = failure_of(resolve_model("bedrock:fake-1"))

    assert (failure.kind, failure.status, fake.stats().requests) == ("auth", 403, 1)
    assert "does not match the signature" in failure.message


def test_the_region_of_a_profile_is_used(given: SetEnv, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[profile work]\nregion = ap-southeast-2\n")
    given(AWS_PROFILE="work")

    provider = resolve_model("bedrock:m")

    assert provider.origin == "https://bedrock-runtime.ap-southeast-2.amazonaws.com"
    assert provider.key is not None
    assert provider.key.reveal().endswith(" work")


def test_a_key_of_bedrock_needs_no_signature(given: SetEnv, scenario: MakeScenario) -> None:
    fake = scenario(log=True)
    given(AWS_ENDPOINT_URL_BEDROCK_RUNTIME=fake.base_url("bedrock"), AWS_BEARER_TOKEN_BEDROCK="ABSKnobodys")

    ask(resolve_model("bedrock:fake-1"))

    assert "x-amz-date" not in fake.stats().log[0]["headers"]


def test_the_first_request_of_bedrock_may_take_five_minutes(given: SetEnv) -> None:
    given(AWS_REGION="eu-west-1")

    assert resolve_model("bedrock:m").capabilities.first_seconds >= 300


@pytest.mark.parametrize(
    ("model", "address"),
    [
        ("anthropic.claude-haiku-4-5", "/anthropic"),
        ("openai.gpt-5.6-luna", "/openai/v1"),
        ("openai.gpt-oss-120b", "/v1"),
        ("openai.gpt-oss-safeguard-20b", "/v1"),
        ("mistral.mistral-large-3", "/v1"),
    ],
)
def test_a_name_of_mantle_says_which_api_is_asked(model: str, address: str, given: SetEnv) -> None:
    given(AWS_REGION="eu-west-1")

    provider: Any = resolve_model(f"mantle:{model}")

    assert provider.access.base_url == f"https://bedrock-mantle.eu-west-1.api.aws{address}"


def test_what_a_vendor_reads_for_itself_is_not_sent_to_mantle(
    on_aws: Callable[[Scenario], None], given: SetEnv, scenario: MakeScenario
) -> None:
    fake = scenario(log=True)
    on_aws(fake)
    given(ANTHROPIC_CUSTOM_HEADERS="X-Mine: 1", OPENAI_CUSTOM_HEADERS="X-Mine: 1", OPENAI_ORG_ID="org-1")

    for model in ("mantle:anthropic.fake-1", "mantle:openai.fake-1"):
        ask(resolve_model(model))

    sent = {name.lower() for one in fake.stats().log for name in one["headers"]}
    assert not sent & {"x-mine", "openai-organization", "x-api-key"}
    assert {"x-amz-date", "anthropic-version"} <= sent


# --- what a wrong setting says ----------------------------------------------------------------------------------------

BEFORE: list[tuple[str, dict[str, str], dict[str, Any], type[Exception], str]] = [
    ("azure:gpt", {}, {}, SmeltConfigError, "azure needs the address of a server: set AZURE_OPENAI_ENDPOINT"),
    (
        "azure:gpt",
        {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com"},
        {},
        AuthConfigError,
        "AZURE_OPENAI_API_KEY",
    ),
    (
        "azure:gpt",
        {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com", "AZURE_OPENAI_API_KEY": "sk-proj-abcdefghijkl"},
        {},
        AuthConfigError,
        "AZURE_OPENAI_API_KEY looks like a key of openai, and was given for azure",
    ),
    (
        "azure:gpt",
        {"AZURE_OPENAI_API_KEY": "k" * 40},
        {"base_url": "https://elsewhere.example/openai/v1"},
        AuthConfigError,
        "is not sent to https://elsewhere.example",
    ),
    (
        "azure:gpt",
        {},
        {"base_url": "http://r.openai.azure.com", "api_key": "k" * 40},
        InsecureURLError,
        "in clear text",
    ),
    (
        "azure:gpt",
        {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=1"},
        {"api_key": "k" * 40},
        SmeltConfigError,
        "AZURE_OPENAI_ENDPOINT must end with the path, without a query",
    ),
    ("foundry:claude", {"ANTHROPIC_FOUNDRY_API_KEY": "k" * 40}, {}, SmeltConfigError, "ANTHROPIC_FOUNDRY_RESOURCE"),
    ("vertex:gemini", {}, {}, SmeltConfigError, "vertex needs its project: set GOOGLE_CLOUD_PROJECT"),
    (
        "vertex:gemini",
        {},
        {"base_url": "https://aiplatform.googleapis.com/v1", "api_key": "ya29.abcdefghijkl"},
        SmeltConfigError,
        "must end with /v1/projects/PROJECT/locations/LOCATION",
    ),
    (
        "vertex:gemini",
        {"GOOGLE_CLOUD_PROJECT": "acme"},
        {"api_key": "AIzaSyabcdefghijkl"},
        AuthConfigError,
        "looks like a key of google, and was given for vertex",
    ),
    ("bedrock:m", {}, {}, SmeltConfigError, "bedrock needs its region: set AWS_REGION or AWS_DEFAULT_REGION"),
    ("bedrock:m", {"AWS_REGION": "eu west"}, {}, SmeltConfigError, "AWS_REGION must be a plain name"),
    ("mantle:openai.gpt", {}, {}, SmeltConfigError, "mantle needs its region: set AWS_REGION or AWS_DEFAULT_REGION"),
    (
        "mantle:eu.anthropic.claude-haiku-4-5",
        {"AWS_REGION": "eu-west-1", "AWS_BEARER_TOKEN_BEDROCK": "ABSKnobodys"},
        {},
        SmeltConfigError,
        "no name of mantle: they begin with the company, without a region.*Inference profiles are asked as bedrock:",
    ),
    (
        "mantle:gpt-5.6-luna",
        {"AWS_REGION": "eu-west-1", "AWS_BEARER_TOKEN_BEDROCK": "ABSKnobodys"},
        {},
        SmeltConfigError,
        "no name of mantle: they begin with the company",
    ),
    (
        "mantle:openai.gpt-5.6-luna",
        {"AWS_REGION": "eu-west-1", "AWS_BEARER_TOKEN_BEDROCK": "sk-proj-abcdefghijkl"},
        {},
        AuthConfigError,
        "AWS_BEARER_TOKEN_BEDROCK looks like a key of openai, and was given for mantle",
    ),
]


@pytest.mark.parametrize(("name", "variables", "options", "kind", "says"), BEFORE)
def test_a_wrong_setting_is_told_before_anything_is_sent(
    name: str, variables: dict[str, str], options: dict[str, Any], kind: type[Exception], says: str, given: SetEnv
) -> None:
    given(**variables)
    provider, _, model = name.partition(":")

    with pytest.raises(kind, match=says):
        resolve_model(Model(provider, model, **options))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vertex:gemini", "There are no credentials for Google: .*gcloud auth application-default login"),
        ("vertex:claude-sonnet-4-5", "There are no credentials for Google: .*gcloud auth application-default login"),
        ("bedrock:m", "There are no credentials for AWS.*AWS_PROFILE.*aws sso login"),
        ("mantle:openai.m", "There are no credentials for AWS.*AWS_PROFILE.*aws sso login"),
    ],
)
def test_a_machine_without_credentials_is_told_what_to_do(name: str, says: str, given: SetEnv) -> None:
    given(GOOGLE_CLOUD_PROJECT="acme", AWS_REGION="eu-west-1")

    with pytest.raises(AuthConfigError, match=says):
        smelt.transform([{"name": "a"}], "Repeat {name}.", str, model=name, progress=False)


def test_a_profile_that_does_not_exist_is_named(given: SetEnv) -> None:
    given(AWS_REGION="eu-west-1", AWS_PROFILE="gone")

    with pytest.raises(
        AuthConfigError, match=r"AWS gave no credentials: The config profile \(gone\) could not be found"
    ):
        ask(resolve_model("bedrock:m"))


AT_FIRST: list[tuple[str, str, str]] = [
    ("azure", "not_found", "deployment for this resource does not exist"),
    ("azure", "wrong_path", "Resource not found"),
    ("azure", "auth", "invalid subscription key or wrong API endpoint"),
    ("azure", "permission", "Principal does not have access"),
    ("foundry", "not_found", "deployment for this resource does not exist"),
    ("vertex", "not_found", "Publisher Model .* was not found"),
    ("vertex", "no_region", "not servable in region"),
    ("vertex", "permission", "aiplatform.endpoints.predict"),
    ("vertex", "disabled", "Enable it by visiting"),
    ("vertex-claude", "no_region", "not servable in region"),
    ("bedrock", "not_found", "model identifier is invalid"),
    ("bedrock", "gone", "end of its life"),
    ("bedrock", "on_demand", "inference profile"),
    ("mantle", "not_found", "does not exist"),
    ("mantle-openai", "not_found", "does not exist"),
    ("bedrock", "no_access", "You don't have access to the model"),
    ("bedrock", "permission", "not authorized to perform: bedrock:InvokeModel"),
    ("bedrock", "auth", "security token included in the request is invalid"),
    ("bedrock", "clock", "Signature expired"),
]


@pytest.mark.parametrize(("name", "kind", "says"), AT_FIRST)
def test_what_no_row_can_cure_ends_a_run_at_its_first_request(
    name: str, kind: str, says: str, given: SetEnv, scenario: MakeScenario
) -> None:
    fake = scenario(always={"fault": "status", "kind": kind})
    rows = [{"name": f"company {number}"} for number in range(200)]

    with pytest.raises(SmeltAPIError, match=says):
        smelt.transform(rows, "Repeat {name}.", str, model=served(name, fake), progress=False)

    assert fake.stats().requests == 1


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("azure", "not_found", "Check the deployment's name, 'fake-1', and the address"),
        ("vertex", "permission", r"Check the credentials of this machine or the key \(api_key=\)"),
        ("bedrock", "permission", r"credentials of this machine or the key \(AWS_BEARER_TOKEN_BEDROCK or api_key=\)"),
    ],
)
def test_the_advice_names_what_the_cloud_calls_it(name: str, kind: str, says: str, scenario: MakeScenario) -> None:
    fake = scenario(always={"fault": "status", "kind": kind})

    with pytest.raises(SmeltAPIError, match=says):
        smelt.transform([{"name": "a"}], "Repeat {name}.", str, model=served(name, fake), progress=False)


@pytest.mark.parametrize("module", ["botocore", "google.auth"])
def test_a_missing_extra_names_the_command(module: str, given: SetEnv) -> None:
    given(AWS_REGION="eu-west-1", GOOGLE_CLOUD_PROJECT="acme")
    name, extra = ("bedrock:m", "bedrock") if module == "botocore" else ("vertex:gemini", "vertex")
    code = f"""
import sys
sys.modules[{module!r}] = None
import smelt
try:
    smelt.transform([{{"name": "a"}}], "Repeat {{name}}.", str, model={name!r}, progress=False, ledger=False)
except smelt.errors.MissingDependencyError as problem:
    print(problem)
"""

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert f"pip install 'dfsmelt[{extra}]'" in shown
