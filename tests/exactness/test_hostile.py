"""Odd replies, as real servers give them: no answer on a wrong row, no draft for an answer, and little asked twice.

Each oddity alone, in every reply: what can be read is read, and asked once. All of them at once, as in the bench
(`python -m tests.bench.hostile`): every row has its right answer but those that the server refuses.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from pydantic import ValidationError

import smelt
from smelt.plan.dialect import Dialect, array_schema
from smelt.plan.packed import Layout
from smelt.plan.replies import read_reply
from smelt.plan.schema import read_output
from smelt.plan.validate import InvalidRow, Validator
from smelt.plan.wire import draw_tokens
from tests.conftest import MakeScenario, whole
from tests.exactness.readings import FORMS, RULES, Marks, Reading, marked, read, readings, records, typed
from tests.fakeserver import hostile, oddities
from tests.fakeserver.answers import Codec, expected, row_schema
from tests.fakeserver.oddwire import ENVELOPES
from tests.fakeserver.rowfaults import Entry, Scene
from tests.models import CLOUDS, HOSTS, PROTOCOLS, PROVIDERS, served
from tests.providers.asking import SHARING

# What a run warns of, failed rows and texts around the JSON, is what these tests look at themselves.
pytestmark = pytest.mark.filterwarnings("ignore::smelt.SmeltWarning")

ROWS = 20
BATCH = 10
TERSE = ("packed", "positional")

# JSON that does not say for certain what was meant, and a row that is there twice: that row is asked again.
READ_AS_IT_IS = frozenset(["raw_newline", "raw_tab", "raw_control"])
SPOILT = frozenset([*oddities.KINDS["strings"], *oddities.KINDS["spoilt_row"], "equal_twice"]) - READ_AS_IT_IS
# What leaves nothing to read in any reply, and the kind of error that its rows end with.
HOPELESS = {
    "endless_think": "malformed",
    "endless_bracket": "malformed",
    "endless_harmony": "malformed",
    "empty": "malformed",
    "odd_fields": "invalid",
    "fields_in_row": "invalid",
}
# What ends a run that never had an answer.
NO_PROVIDER = ("page", "blanks_and_dot")
CERTAIN = (*oddities.BY_WORDS, *oddities.ONCE)  # They strike whatever their rate is.
ELSEWHERE = {"no_candidates", "no_parts", "no_choices", "validate_failed", "bad_gateway", *CERTAIN}
READ = [
    name
    for name in oddities.NAMES
    if name not in {*SPOILT, *HOPELESS, *NO_PROVIDER, *ELSEWHERE, *oddities.KINDS["thoughts"]}
]


def pairs(names: list[str]) -> list[Any]:
    """Each oddity with the protocols that it is different in; the texts are the same in all, so they take turns."""
    return [
        pytest.param(name, provider, id=f"{name}-{provider}")
        for number, name in enumerate(names)
        for provider in (PROVIDERS if name in ENVELOPES else [PROVIDERS[number % 4]])
        if PROTOCOLS[provider] in ENVELOPES.get(name, PROTOCOLS.values())
    ]


def asked(
    scenario: MakeScenario, provider: str, odd: dict[str, float], rows: int = ROWS, form: str = "keyed", **options: Any
) -> Marks:
    fake = scenario(answers=FORMS[form][1], oddities=odd, seed=7)
    frame = readings(rows)
    result = read(frame, served(provider, fake), form, **({"batch_size": BATCH} | options))
    return marked(frame, result, fake.stats().rows_sent, form)


@pytest.mark.parametrize(("name", "provider"), pairs(READ))
def test_an_odd_reply_that_holds_the_answers_is_read_at_once(name: str, provider: str, scenario: MakeScenario) -> None:
    marks = asked(scenario, provider, {name: 1.0})

    assert marks == Marks(rows=ROWS, wrong=0, misplaced=0, failed=Counter(), sent=ROWS)


@pytest.mark.parametrize(("name", "provider"), pairs(list(oddities.KINDS["thoughts"])))
def test_thoughts_that_eat_the_limit_cost_one_reply(name: str, provider: str, scenario: MakeScenario) -> None:
    marks = asked(scenario, provider, {name: 1.0}, rows=50)

    assert (marks.wrong, marks.misplaced, marks.failed) == (0, 0, Counter())
    assert marks.sent <= 50 + BATCH


@pytest.mark.parametrize(("name", "provider"), pairs(sorted(SPOILT)))
def test_a_row_of_broken_json_costs_no_other_row(name: str, provider: str, scenario: MakeScenario) -> None:
    marks = asked(scenario, provider, {name: 0.5}, rows=40)

    assert (marks.wrong, marks.misplaced, marks.failed) == (0, 0, Counter())
    assert marks.sent <= 48  # One row of half of the replies is asked again.


@pytest.mark.parametrize(("name", "provider"), pairs(list(HOPELESS)))
def test_what_cannot_be_read_is_given_up_and_never_guessed(name: str, provider: str, scenario: MakeScenario) -> None:
    marks = asked(scenario, provider, {name: 1.0}, max_attempts=2)

    assert marks == Marks(rows=ROWS, wrong=0, misplaced=0, failed=Counter({HOPELESS[name]: ROWS}), sent=2 * ROWS)


@pytest.mark.parametrize(
    ("name", "provider"),
    [("no_candidates", "google"), ("no_parts", "google"), ("no_choices", "vllm"), ("empty", "anthropic")],
)
def test_an_empty_reply_is_asked_again(name: str, provider: str, scenario: MakeScenario) -> None:
    marks = asked(scenario, provider, {name: 0.25}, rows=40)

    assert (marks.wrong, marks.misplaced, marks.failed) == (0, 0, Counter())


@pytest.mark.parametrize(("name", "provider"), pairs(list(NO_PROVIDER)))
def test_what_no_model_wrote_ends_a_run_without_answers(name: str, provider: str, scenario: MakeScenario) -> None:
    with pytest.raises(smelt.errors.UnavailableError, match="HTTP 200, but the answer is"):
        asked(scenario, provider, {name: 1.0})


# Each adapter once; the clouds that share one with another provider are asked the same behind the marker.
ADAPTERS: list[Any] = [
    *PROVIDERS,
    *(pytest.param(cloud, marks=pytest.mark.hosts if cloud in SHARING else ()) for cloud in CLOUDS),
]
KINDS = [kind for kind in oddities.KINDS if kind not in ("firewall", "quoting", "one_401", "one_404")]


@pytest.mark.slow
@pytest.mark.parametrize("rows", whole(400, 2_000))
@pytest.mark.parametrize("provider", ADAPTERS)
def test_all_kinds_of_odd_replies_at_once(provider: str, rows: int, scenario: MakeScenario) -> None:
    marks = asked(scenario, provider, oddities.rates(0.05, kinds=KINDS, lost=0.01), rows=rows)

    assert (marks.wrong, marks.misplaced, marks.failed) == (0, 0, Counter())
    assert marks.share <= 1.25


@pytest.mark.slow
@pytest.mark.parametrize("rows", whole(150, 600))
@pytest.mark.parametrize("form", TERSE)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_all_kinds_of_odd_replies_at_once_without_field_names(
    provider: str, form: str, rows: int, scenario: MakeScenario
) -> None:
    marks = asked(scenario, provider, oddities.rates(0.05, kinds=KINDS, lost=0.01), rows=rows, form=form)

    assert (marks.wrong, marks.misplaced, marks.failed) == (0, 0, Counter())
    assert marks.share <= 1.4


@pytest.mark.slow
@pytest.mark.hosts
@pytest.mark.parametrize("provider", HOSTS)
def test_all_kinds_of_odd_replies_at_every_host(provider: str, scenario: MakeScenario) -> None:
    marks = asked(scenario, provider, oddities.rates(0.05, kinds=KINDS, lost=0.01), rows=300)

    assert (marks.wrong, marks.misplaced, marks.failed) == (0, 0, Counter())


@pytest.mark.slow
@pytest.mark.parametrize("rows", whole(80, 400))
@pytest.mark.parametrize("provider", ADAPTERS)
def test_several_oddities_in_every_reply_give_no_wrong_value(provider: str, rows: int, scenario: MakeScenario) -> None:
    marks = asked(scenario, provider, oddities.each(0.05, but=CERTAIN), rows=rows)

    assert (marks.wrong, marks.misplaced) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("texts", whole(60, 300))
@pytest.mark.parametrize("odd", [oddities.rates(0.05), oddities.each(0.05)], ids=["kinds", "each"])
@pytest.mark.parametrize("form", TERSE)
def test_no_mixture_of_oddities_gives_a_wrong_value_without_field_names(
    form: str, odd: dict[str, float], texts: int
) -> None:
    output = read_output(FORMS[form][0])
    layout, validator = Layout.of(output.fields), Validator(output)
    assert layout is not None
    assert layout.shape == form
    codec: Codec = "barred" if layout.ends_in_text else "positional"
    schema, names = layout.schema(Dialect()), [field.key for field in output.fields]
    read_rows = 0
    for seed in range(texts):
        rng = random.Random(seed)
        rows: list[Any] = records(readings(rng.choice((1, 2, 5, 10)), first=10 * seed))
        tokens = draw_tokens(len(rows), json.dumps(rows), rng)
        wants = {token: expected(FORMS[form][1], row) for token, row in zip(tokens, rows, strict=True)}
        scene = Scene(rng, row_schema(schema, names), schema, None, tuple(draw_tokens(3, "", rng)))
        mood = hostile.Temper(odd, rng).mood(hostile.FIRST_ONCE)
        text = mood.write([Entry(*pair) for pair in wants.items()], scene, codec)
        is_cut = rng.random() < 0.2 and oddities.UNMARKED.isdisjoint(mood.struck)
        text = text[: rng.randrange(len(text) + 1)] if is_cut else text

        found = read_reply(text, tokens, "array", layout=layout, is_cut=is_cut)

        for token in found.found.keys() - found.problems.keys():
            with suppress(InvalidRow):
                values, _ = validator.read(dict(found.found[token]))
                assert values == tuple(typed(wants[token]).values()), mood.struck
                read_rows += 1
    assert read_rows > texts


@pytest.mark.slow
@pytest.mark.parametrize("texts", whole(80, 400))
@pytest.mark.parametrize("odd", [oddities.rates(0.05), oddities.each(0.05)], ids=["kinds", "each"])
def test_no_mixture_of_oddities_in_a_text_gives_a_wrong_value(odd: dict[str, float], texts: int) -> None:
    output = read_output(Reading)
    schema = array_schema(output.fields, Dialect())
    read_rows = 0
    for seed in range(texts):
        rng = random.Random(seed)
        rows: list[Any] = records(readings(rng.choice((1, 2, 5, 10)), first=10 * seed))
        tokens = draw_tokens(len(rows), json.dumps(rows), rng)
        wants = {token: expected(RULES, row) for token, row in zip(tokens, rows, strict=True)}
        scene = Scene(rng, row_schema(schema), schema, None, tuple(draw_tokens(3, "", rng)))
        mood = hostile.Temper(odd, rng).mood(hostile.FIRST_ONCE)
        text = mood.write([Entry(*pair) for pair in wants.items()], scene, "array")

        found = read_reply(text, tokens, "array")

        for token in found.found.keys() - found.problems.keys():
            with suppress(ValidationError):
                assert Reading.model_validate(found.found[token]).model_dump() == typed(wants[token]), mood.struck
                read_rows += 1
    assert read_rows > 1.25 * texts
