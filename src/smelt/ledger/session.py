"""Opens the ledger for one run, enters the run, reads what can be reused, and ends the run at exit."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from pydantic_core import from_json

from smelt.environment import environ
from smelt.errors import StoreNotFoundError, StoreReadOnlyError, warn
from smelt.ledger import lease
from smelt.ledger.answers import merge_all
from smelt.ledger.answerstore import AnswerStore, is_redis, is_url
from smelt.ledger.base import Claim, NoLedger, RunLedger
from smelt.ledger.book import JobBook
from smelt.ledger.exchange import INTERRUPTED, LAST, Exchange
from smelt.ledger.files import default_path, named_path, named_url
from smelt.ledger.keys import Spec, row_key, row_keys
from smelt.ledger.opening import open_store
from smelt.ledger.postgres import PostgresStore
from smelt.ledger.prefixes import PrefixShelf
from smelt.ledger.reading import Reading
from smelt.ledger.recall import ALWAYS, Recall, stored_texts
from smelt.ledger.recorder import Extension, Recorder
from smelt.ledger.redis import RedisStore
from smelt.ledger.refreshes import take_up
from smelt.ledger.reserve import Reserve
from smelt.ledger.shared import SharedLedger
from smelt.ledger.start import (
    Sibling,
    find_sibling,
    narrower_specs,
    read_leftovers,
    specs_of_other_keys,
    specs_of_other_prices,
    start,
    wider_specs,
)
from smelt.ledger.store import Store
from smelt.ledger.writer import Gap
from smelt.plan.chunks import Pending
from smelt.plan.rows import RowSource
from smelt.plan.schema import Output, bare_part, part_of
from smelt.plan.wire import Codec
from smelt.providers.base import NoShelf, Shelf
from smelt.providers.secrets import Secret

_SAMPLE = 64  # Rows looked up to recognise an earlier run over the same data.
_BLOCK = 4_096
_NO_SPEC = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class RunSubject:
    """What a ledger needs to know of a run.

    Attributes:
        provider: The provider's name.
        model: The model's name.
        prompt: The prompt.
        params: All parameters of its requests.
        output: The requested output.
        whole: The larger output that *output* is a part of, whose answers can be reused; None if there is none.
        codec: The shape of replies.
        source: The rows.
        distinct: Positions of the distinct rows.
        requests: The most requests in flight.
        version: The version of smelt.
        key: The API key, if there is one.
        any_key: Whether answers that were bought with another key are reused.
        is_refresh: Whether answered rows are asked again.
        is_batch: Whether the rows are asked in jobs of a Batch API.
        extends: Whether answered rows may be asked for added fields only.
        keeps_inputs: Whether prompt and rows are stored as plain text.
        is_stream: Whether the rows are only the first ones of a stream.
        tells_changes: Whether to warn why answers of an earlier run that differs a little are not reused.
        is_cascade: Whether it is a part of a call to several models, for which another model is no change.
    """

    provider: str
    model: str
    prompt: str
    params: dict[str, Any]
    output: Output
    codec: Codec
    source: RowSource
    distinct: Sequence[int]
    requests: int
    version: str
    key: Secret | None = None
    any_key: bool = False
    is_refresh: bool = False
    is_batch: bool = False
    extends: bool = False
    keeps_inputs: bool = False
    is_stream: bool = False
    tells_changes: bool = True
    is_cascade: bool = False
    whole: Output | None = None


@dataclass(kw_only=True, eq=False)
class Session:
    """The ledger of one run.

    Attributes:
        ledger: The ledger that the engine calls.
        extension: Answers that the run adds fields to, or None.
        shelf: The names of instructions that the provider keeps.
        book: The jobs of Batch APIs; None without a ledger that can be written to.
        exchange: The traffic with the store that machines share, or None.
        state: How the run ends; "stopped" until the caller sets another state.
        size: Rows and distinct rows at the end, which a stream does not know at the start; None if the run never began.
    """

    ledger: RunLedger
    extension: Extension | None = None
    book: JobBook | None = None
    shelf: Shelf = field(default_factory=NoShelf)
    exchange: Exchange | None = None
    state: str = field(default="stopped")
    size: tuple[int, int] | None = None

    async def hand_over(self) -> None:
        """At the end of the run: hand the last answers on to the store that machines share."""
        if self.exchange is not None:
            await self.exchange.finish(INTERRUPTED if self.state == "interrupted" else LAST)


class Archive(NoLedger):
    """A read-only ledger: enough for a run whose rows are all answered."""

    is_blank = False

    def __init__(self, store: Store, recall: Recall | None) -> None:
        """Read from *store*; without *recall* no row has an answer."""
        self._store = store
        self._recall = recall

    def recall(self, texts: Sequence[str]) -> Sequence[tuple[Any, ...] | None]:
        """The stored values of rows with these canonical texts; None for a row without an answer."""
        if self._recall is None:
            return [None] * len(texts)
        return self._recall.values(row_keys(texts, self._store.secret))

    def reused_cost_usd(self) -> float | None:
        """What the reused answers cost when they were bought; None if that is not known."""
        return 0.0 if self._recall is None else self._recall.cost_usd()

    async def intend(self, number: int, rows: Sequence[Pending], tokens: Sequence[str], estimate: int) -> Claim:
        """Refuse: the answer could not be stored."""
        raise StoreReadOnlyError(
            f"The ledger {self._store.path} can only be read, and does not know all of these rows, so nothing was "
            "sent. Pass another ledger=, or ledger=False."
        )


@contextmanager
def remembering(
    path: bool | str | None, matter: RunSubject, *, is_default: bool, gap: Gap = lambda name: None
) -> Iterator[Session]:
    """Open the ledger at *path* for the time of a run, inside the run's loop; at exit everything is on disk.

    Args:
        path: The file, True for the default one, False or None for none; or the URL of an answer store, which is then
            used beside the default file.
        matter: What the run is about.
        is_default: Whether the caller did not ask for a ledger. Then a missing or read-only place only causes a
            warning; a missing directory in `SMELT_LEDGER` still raises.
        gap: Called at every gap between two steps.

    Raises:
        StoreError: The ledger cannot be opened.
    """
    url = path if isinstance(path, str) and is_url(path) else named_url(environ()) if path is True else None
    try:
        store = _opened(path if url is None else True)
    except (StoreReadOnlyError, StoreNotFoundError) as problem:
        is_named = isinstance(problem, StoreNotFoundError) and named_path(environ()) is not None
        if not is_default or url is not None or is_named:
            raise
        warn(
            f"There is no ledger, so answers are not kept for later runs: {problem} Pass ledger=False if you want that."
        )
        store = None
    if store is None:
        yield Session(ledger=NoLedger())
        return
    with store:
        if store.is_read_only:
            yield _archive(store, matter)
            return
        session, recorder = _begin(store, matter, gap)
        try:
            if url is not None:
                _share(session, recorder, url, matter)
            yield session
        finally:
            if session.exchange is not None:
                session.exchange.close()
            recorder.finish(session.state, session.size)


def origins(
    path: bool | str | None, matter: RunSubject, texts: Sequence[str]
) -> list[tuple[tuple[Any, ...], int] | None]:
    """The stored answers to rows with these canonical texts, each with a number of the request that brought it.

    None for a row without an answer, or whose request is not known. Enters no run.

    Args:
        path: As in `remembering`.
        matter: What the rows are asked.
        texts: Their texts.

    Raises:
        StoreError: The ledger cannot be read.
    """
    store = _opened(True if isinstance(path, str) and is_url(path) else path)
    if store is None:
        return [None] * len(texts)
    with store:
        recall = _past(store, matter)
        return [None] * len(texts) if recall is None else recall.origins(row_keys(texts, store.secret))


def _share(session: Session, recorder: Recorder, url: str, matter: RunSubject) -> None:
    """Share the answers of *session* through the store at *url*. Connects when the first rows are looked up."""

    def fingerprint(secret: bytes) -> bytes:
        found = _spec(matter, secret)
        return (found.of_account("") if matter.any_key else found).fingerprint(secret)

    session.exchange = Exchange(store_at(url), url, fingerprint)
    session.ledger = SharedLedger(recorder, session.exchange, is_refresh=matter.is_refresh)


def store_at(url: str) -> AnswerStore:
    """The answer store that *url* names; it connects when it is opened.

    Raises:
        MissingDependencyError: Its driver is not installed.
    """
    return RedisStore(url) if is_redis(url) else PostgresStore(url)


def _opened(path: bool | str | None) -> Store | None:
    if path is None or path is False:
        return None
    if path is not True:
        return open_store(path)
    return open_store(default_path(environ()), makes_directory=named_path(environ()) is None)


def _begin(store: Store, matter: RunSubject, gap: Gap) -> tuple[Session, Recorder]:
    spec = _spec(matter, store.secret)
    reserve = Reserve(store.path, matter.requests, None if matter.is_stream else len(matter.distinct))
    gap("reserved")
    try:
        started = start(
            store,
            spec,
            rows=len(matter.source),
            distinct_rows=len(matter.distinct),
            version=matter.version,
            prompt=matter.prompt if matter.keeps_inputs else None,
        )
        gap("started")
        reading = Reading(matter.output, matter.codec)
        of_other_keys = specs_of_other_keys(store, spec)
        of_other_prices = specs_of_other_prices(store, spec, started.spec)
        specs = [*(of_other_keys if matter.any_key else ()), *of_other_prices, started.spec]
        for one in specs:
            read_leftovers(store, one, reading)
        since = _since(store, matter, specs, started.run)
        wider = _wider(store, spec, matter)
        for one, part in wider.items():
            read_leftovers(store, one, Reading(part, matter.codec))
        recall = Recall(
            store,
            specs,
            reading,
            wider=list(wider),
            of_other_keys=() if matter.any_key else of_other_keys,
            before=started.before,
            version=started.data_version,
            is_contended=started.is_contended,
            is_refresh=since >= started.run,
            since=since,
        )
        extension = _related(store, spec, matter, recall, is_news=not started.before)
        gap("recalled")
    except BaseException:
        reserve.spend()
        raise
    recorder = Recorder(
        store,
        run=started.run,
        epoch=started.epoch,
        recall=recall,
        reading=reading,
        reserve=reserve,
        extension=extension,
        keeps_inputs=matter.keeps_inputs,
        is_stream=matter.is_stream,
        gap=gap,
    )
    book, shelf = JobBook(store, recorder, recall), PrefixShelf(store, recorder)
    return Session(ledger=recorder, extension=extension, book=book, shelf=shelf), recorder


def _since(store: Store, matter: RunSubject, specs: Sequence[int], run: int) -> int:
    """The first run whose answers count."""
    if not matter.is_refresh:
        return 0
    if not matter.is_batch:
        return ALWAYS
    with store.writing() as connection:
        return take_up(connection, specs, run, lease.present().wall)


def _archive(store: Store, matter: RunSubject) -> Session:
    return Session(ledger=Archive(store, _past(store, matter)))


def _past(store: Store, matter: RunSubject) -> Recall | None:
    """The answers that the store has, without a run of its own; None if it has none."""
    spec = _spec(matter, store.secret)
    specs = specs_of_other_keys(store, spec) if matter.any_key else []
    specs += specs_of_other_prices(store, spec)  # And the spec itself.
    wider = list(_wider(store, spec, matter))
    if not (specs or wider):
        return None
    return Recall(store, specs or [_NO_SPEC], Reading(matter.output, matter.codec), wider=wider)


def _spec(matter: RunSubject, secret: bytes) -> Spec:
    return Spec.of(
        provider=matter.provider,
        model=matter.model,
        prompt=matter.prompt,
        params=matter.params,
        fields=matter.output.fields,
        about=matter.output.description,
        secret=secret,
        key=matter.key,
    )


def _wider(store: Store, spec: Spec, matter: RunSubject) -> dict[int, Output]:
    """The specs that ask for more fields of the same output model, each with its output."""
    if (whole := matter.whole) is None:
        return {}
    found = wider_specs(store, spec, _spec(replace(matter, output=whole), store.secret), any_key=matter.any_key)
    parts = {one: [field.name for field in whole.fields if field.key in other.fields] for one, other in found.items()}
    return {one: part_of(whole, names) or whole for one, names in parts.items()}


def _related(store: Store, spec: Spec, matter: RunSubject, recall: Recall, *, is_news: bool) -> Extension | None:
    """Find a run that differs a little: return its answers to extend, or else warn why they are not reused."""
    if matter.is_refresh or not (matter.extends or recall.is_blank):
        return None
    if matter.extends:
        _read_narrower(store, spec, matter)
    merge_all(store)  # Also those of other specs, whose runs may have died.
    texts = matter.source.texts(list(islice(matter.distinct, _SAMPLE)))
    known = [text for text in texts if isinstance(text, str)]
    asked = "the prompt or the docstring of the output model" if matter.output.description else "the prompt"
    sibling = find_sibling(store, spec, known, any_key=matter.any_key, asked=asked)
    if sibling is None:
        return None
    if matter.extends and sibling.added:
        return _extension(store, sibling, matter)
    is_told = matter.tells_changes and not (matter.is_cascade and sibling.is_other_model)
    if recall.is_blank and is_news and is_told:  # An earlier run of the spec has warned already.
        warn(sibling.sentence)
    return None


def _read_narrower(store: Store, spec: Spec, matter: RunSubject) -> None:
    """Read the unparsed replies of specs with fewer fields, so that their rows are extended, too."""
    for one, other in narrower_specs(store, spec, any_key=matter.any_key).items():
        # The author's validators run later, on the complete answer.
        part = bare_part(matter.output, [field.name for field in matter.output.fields if field.key in other.fields])
        read_leftovers(store, one, Reading(part, matter.codec))


def _extension(store: Store, sibling: Sibling, matter: RunSubject) -> Extension:
    completing: dict[int, str] = {}
    distinct = array("q", matter.distinct)
    for begin in range(0, len(distinct), _BLOCK):
        positions = distinct[begin : begin + _BLOCK]
        texts = matter.source.texts(positions)
        keys = {
            row_key(text, store.secret): at for at, text in zip(positions, texts, strict=True) if isinstance(text, str)
        }
        with store.reading() as connection:
            found = stored_texts(connection, sibling.spec, list(keys))
        completing.update((keys[key], text) for key, text in found.items() if _is_object(text))
    return Extension(spec=sibling.spec, added=sibling.added, completing=completing)


def _is_object(text: str) -> bool:
    try:
        return isinstance(from_json(text), dict)
    except ValueError:
        return False
