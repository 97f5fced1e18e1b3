"""Conflicts: options that do not go together, or that a model cannot serve. Refused before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping

from smelt.call.optionchecks import MOST_VOTES
from smelt.call.options import TARGETS, Settings
from smelt.errors import SmeltConfigError
from smelt.plan.schema import Output
from smelt.plan.scores import has_scores
from smelt.providers.base import CompleteProvider
from smelt.providers.batching import batching_of
from smelt.providers.tiers import flex_of
from smelt.providers.vendors import MOCK
from smelt.trust.certainty import fewest_votes
from smelt.trust.votes import Panel

WHOLE = "It needs all rows before the first answer, so use transform or run, on a whole frame."
_USUAL = Settings()
_SURE_VOTES = 7  # The fewest that `sure=` takes.


def check_options(
    settings: Settings,
    provider: CompleteProvider,
    output: Output,
    *,
    has_media: bool,
    is_cascade: bool,
    is_labelled: bool,
) -> None:
    """Refuse options that do not go together, or that *provider* cannot serve.

    Args:
        settings: The options.
        provider: The provider that is to answer.
        output: The fields to ask for.
        has_media: Whether rows may have media.
        is_cascade: As in `preparation.prepare`.
        is_labelled: As there.

    Raises:
        SmeltConfigError: Some do not; the message says which.
    """
    check_keepable(provider, settings)
    if settings.via == "decisions":
        _check_decisions(settings, has_media=has_media)
    check_mode(provider, settings)
    _check_votes(settings, provider, output, is_cascade=is_cascade, is_labelled=is_labelled)
    _check_sure(settings, output)


def refuse_whole(settings: Settings) -> None:
    """Refuse what needs all rows where rows are handed on as soon as they are answered: cascades and confidence.

    Raises:
        SmeltConfigError: The call has such an option.
    """
    refuse_cascade(settings)
    if settings.with_confidence is not False:
        raise SmeltConfigError(f"with_confidence= cannot be asked for here. {WHOLE}")


def refuse_cascade(settings: Settings) -> None:
    """Refuse the options of a cascade in a call to one model."""
    names = (*TARGETS, "confidence", "cascade_fields")
    if given := [name for name in names if getattr(settings, name) != getattr(_USUAL, name)]:
        raise SmeltConfigError(
            f"{given[0]}= is about a cascade: model=[cheap, strong] and target_accuracy=0.95, in transform, run, "
            "classify, evaluate, estimate and a step of a pipeline. Leave it out here, or name the models there."
        )


def refuse_beside(name: str, others: Mapping[str, bool], when: str = "yet") -> None:
    """Refuse the option *name* beside those of *others* that are given.

    Raises:
        SmeltConfigError: One is.
    """
    if (other := next((one for one, is_given in others.items() if is_given), None)) is not None:
        raise SmeltConfigError(f"{name} and {other} do not go together {when}. Leave out one of them.")


def check_keepable(provider: CompleteProvider, settings: Settings) -> None:
    """Refuse a ledger for answers of code that has no name. Those of the mock model are not kept, and not missed."""
    if settings.ledger and not provider.capabilities.is_keepable and provider.name != MOCK.name:
        raise SmeltConfigError(
            f"The ledger cannot keep the answers of {provider.model}, because it cannot see whether that code has "
            'changed. Give it a name, smelt.worker(..., name="v1"), and change the name if the code changes; or pass '
            "ledger=False."
        )


def check_mode(provider: CompleteProvider, settings: Settings) -> None:
    """Refuse what `mode="batch"` cannot do, and its options without it."""
    if settings.mode != "batch":
        given = [name for name in ("wait", "tail", "artefacts") if getattr(settings, name) != getattr(_USUAL, name)]
        if given:
            raise SmeltConfigError(f'{given[0]}= is about jobs of a Batch API. Add mode="batch", or leave it out.')
        if settings.mode == "flex":
            _check_flex(provider, settings)
        return
    batching_of(provider)
    if settings.ledger is False or not provider.capabilities.is_keepable:
        raise SmeltConfigError(
            'mode="batch" needs a ledger: a job runs for hours, and the ledger knows which rows are in it. Leave out '
            'ledger=False (or SMELT_LEDGER=off), or name a file: ledger="answers.sqlite".'
        )
    if settings.extend:
        raise SmeltConfigError('extend=True and mode="batch" do not go together yet. Leave out one of them.')


def _check_flex(provider: CompleteProvider, settings: Settings) -> None:
    """Refuse `mode="flex"` for a model that is not served at that tier, and another tier beside it."""
    asked = flex_of(provider)
    if named := [name for name in asked if name in {**provider.params, **settings.params}]:
        raise SmeltConfigError(f'mode="flex" sets the parameter {named[0]!r} itself. Leave out one of them.')


def _check_decisions(settings: Settings, *, has_media: bool) -> None:
    """Refuse what does not go together with `via="decisions"`."""
    if settings.mode != "now":
        raise SmeltConfigError(
            f'via="decisions" and mode="{settings.mode}" do not go together: decisions have no cheaper tier and no '
            "Batch API. Leave out one of them."
        )
    if settings.wire == "compact":
        raise SmeltConfigError(
            f'wire="{settings.wire}" is about answers that a model writes, and via="decisions" has none. Leave out one '
            "of them."
        )
    if settings.extend:
        raise SmeltConfigError(
            'extend=True and via="decisions" do not go together: earlier answers have no probabilities. Leave out one '
            "of them."
        )
    if has_media:
        raise SmeltConfigError('via="decisions" sends text only, and the rows hold media. Leave out via=.')


def _check_votes(
    settings: Settings, provider: CompleteProvider, output: Output, *, is_cascade: bool, is_labelled: bool
) -> None:
    """Refuse what does not go together with votes, or with scores."""
    if settings.votes == 1:
        if settings.sure is not None:
            raise SmeltConfigError(f"sure={settings.sure} is about votes: add votes={_SURE_VOTES} or more.")
        if settings.with_confidence and not is_cascade:
            _check_scores(settings, provider, output, is_labelled=is_labelled)
        return
    if settings.sure is not None and settings.mode == "batch":
        raise SmeltConfigError(
            'sure= and mode="batch" do not go together: a row would wait for a job after each of its votes. Leave out '
            "sure=, or ask live."
        )
    others = {'via="decisions"': settings.via == "decisions", "extend=True": settings.extend}
    refuse_beside(f"votes={settings.votes}", others)


def _check_scores(settings: Settings, provider: CompleteProvider, output: Output, *, is_labelled: bool) -> None:
    """Refuse confidence in single answers without scores, or without right answers that tell what they mean."""
    if settings.with_confidence is True and not is_labelled:
        raise SmeltConfigError(
            "with_confidence=True tells how much votes agree, so it needs votes=2 or more; votes=3 is a good start. "
            "With one vote, pass the .calibrator of evaluate(..., with_confidence=True), which makes probabilities of "
            "the scores that the provider gives."
        )
    if settings.via != "decisions" and provider.capabilities.scores == "none":
        raise SmeltConfigError(
            f"with_confidence= with one vote needs scores, and smelt knows no way to get them from {provider.name}: "
            "use votes=3, which any model can."
        )
    if not has_scores(output.fields):
        raise SmeltConfigError(
            "with_confidence= with one vote is about labels, flags, numbers and dates: there are many ways to write "
            "the same text. The output model has only text; use votes=3."
        )
    others = {'mode="batch"': settings.mode == "batch", "extend=True": settings.extend}
    refuse_beside("with_confidence=", others, "with one vote")


def _check_sure(settings: Settings, output: Output) -> None:
    """Refuse a `sure=` that its votes cannot reach, and more votes than make sense without it."""
    votes, sure = settings.votes, settings.sure
    if sure is None:
        if votes > MOST_VOTES:
            raise SmeltConfigError(
                f"votes={votes} is more than {MOST_VOTES}, which takes sure= beside it: then a row is asked no more "
                "when its labels are sure. sure=0.05 is a good start."
            )
        return
    leaves = [leaf for leaf in Panel(output).leaves if leaf.labels is not None]
    if not leaves:
        raise SmeltConfigError(
            "sure= is about fields that are bool, Literal or Enum, and the output model has none. Leave it out."
        )
    for leaf in leaves:
        least = max(_SURE_VOTES, fewest_votes(leaf.labels or 1, sure))
        if votes < least:
            raise SmeltConfigError(
                f"sure={sure} takes votes={least} or more: {leaf.name} is one of {leaf.labels} values, and fewer votes "
                f"prove nothing even if all agree. One vote for another value takes "
                f"{fewest_votes(leaf.labels or 1, sure, 1)}."
            )
