"""A store that is removed, replaced, moved or cut short in a run, or has another's log: nothing is lost unsaid."""

from __future__ import annotations

import os
import shutil
import stat
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

import smelt
from smelt.call.defaults import setting
from smelt.errors import SmeltConfigError, SmeltWarning, StoreCorruptError, StoreError, StoreNotFoundError
from smelt.ledger.files import default_path, located
from smelt.ledger.opening import open_store
from smelt.providers.base import Reply, Request
from tests.ledger.acting import Actor, count
from tests.ledger.test_runs import NAMES, Model, run

VALUES = ("tech", 3)


def _remove_all(path: Path) -> None:
    for one in path.parent.glob("ledger.sqlite*"):
        one.unlink()


def _replace(path: Path) -> None:
    other = path.with_name("other.sqlite")
    actor = Actor(other)
    actor.end()
    other.rename(path)


def _move_to_another_disk(path: Path) -> None:
    shutil.copytree(path.parent, path.parent.with_name("moved"))
    shutil.rmtree(path.parent)


def _remove_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


HARM: dict[str, Callable[[Path], object]] = {
    "removed": _remove_all,
    "removed alone": Path.unlink,
    "replaced": _replace,
    "moved alone": lambda path: path.rename(path.with_name("mine.sqlite")),
    "moved with its folder": lambda path: path.parent.rename(path.parent.with_name("moved")),
    "removed with its folder": lambda path: shutil.rmtree(path.parent),
    "moved to another disk": _move_to_another_disk,
    "parted from its log": _remove_log,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """In a folder that may be moved."""
    (tmp_path / "folder").mkdir(mode=0o700)
    return tmp_path / "folder" / "ledger.sqlite"


@pytest.mark.parametrize("harm", HARM)
async def test_what_a_run_paid_for_is_kept_and_named_whatever_happens_to_its_file(path: Path, harm: str) -> None:
    actor = Actor(path)
    await actor.ask("a", "b")
    await actor.send("c")
    HARM[harm](path)

    with pytest.raises(StoreError, match="while it was in use"):
        await actor.land()
    actor.commit()
    with pytest.raises(StoreError, match="while it was in use"):
        await actor.send("d")
    with pytest.raises(StoreError, match=r"(?s)ledger\.sqlite (was|lost) .* nothing more was sent.* is in ") as caught:
        actor.recorder.finish("done")
    actor.store.close()

    kept = Path(str(caught.value).partition(" is in ")[2].partition(": pass")[0])
    kept.parent.chmod(0o700)
    after = Actor(kept)
    assert after.knows("a", "b", "c", "d") == [VALUES, VALUES, VALUES, None]
    after.end()
    with smelt.ledger.open(kept) as ledger:
        assert ledger.check() == []
        assert sum(one["cost_usd"] or 0 for one in ledger.spend()) == 0.5


async def test_replies_that_come_one_by_one_after_a_store_was_lost_are_closed_in_the_copy(path: Path) -> None:
    actor = Actor(path)
    await actor.send("a")
    first = actor.number, actor.pending
    await actor.send("b")
    second = actor.number, actor.pending
    _replace(path)
    for actor.number, actor.pending in (first, second):
        with pytest.raises(StoreError, match="while it was in use"):
            await actor.land()
        actor.commit()
    with pytest.raises(StoreError, match="nothing more was sent") as caught:
        actor.recorder.finish("done")
    actor.store.close()

    kept = Path(str(caught.value).partition(" is in ")[2].partition(": pass")[0])
    assert count(kept, "attempts", "state = 'done' AND keys IS NULL") == 2
    assert count(kept, "replies") == 0  # The texts of replies that were read are deleted.


class Harming(Model):
    """Harms the ledger while its 20th row is asked."""

    def __init__(self, path: Path, harm: str) -> None:
        super().__init__()
        self.path: Path | None = path
        self.harm = harm

    async def send(self, request: Request) -> Reply:
        """Answer, and harm once."""
        if self.path is not None and len(self.sent) >= 20:
            HARM[self.harm](self.path)
            self.path = None
        return await super().send(request)


@pytest.mark.parametrize("harm", HARM)
def test_a_call_whose_ledger_is_harmed_under_way_raises_and_what_it_paid_for_is_not_asked_again(
    path: Path, harm: str
) -> None:
    run(path, NAMES[:10], model=Model())
    first, again = Harming(path, harm), Model()

    with pytest.raises(StoreError, match="nothing more was sent") as caught:
        run(path, model=first, batch_size=2, concurrency=2)

    partial = caught.value.partial_result
    assert partial is not None
    assert partial.metrics.successful_rows == 10 + len(first.sent) < len(NAMES)
    kept = Path(str(caught.value).partition(" is in ")[2].partition(": pass")[0])
    kept.parent.chmod(0o700)
    assert run(kept, model=again).success
    assert sorted(first.sent + again.sent) == sorted(NAMES[10:])


def test_a_store_that_was_replaced_between_two_runs_is_told_once(path: Path) -> None:
    other = path.with_name("other.sqlite")
    run(path, model=Model())
    run(other, NAMES[:1], model=Model())
    other.rename(path)

    with pytest.warns(SmeltWarning, match="is not the one that was used here last: another file took its place"):
        open_store(path).close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_store(path).close()


@pytest.mark.parametrize("harm", ["removed", "removed alone", "replaced", "moved alone"])
async def test_the_end_of_a_run_leaves_the_log_of_the_store_that_took_its_name(path: Path, harm: str) -> None:
    first = Actor(path)
    await first.ask("a")
    HARM[harm](path)
    with pytest.warns(SmeltWarning, match="of another ledger") if harm != "removed" else nullcontext():
        second = Actor(path)
    await second.ask("b")

    with pytest.raises(StoreError, match="nothing more was sent"):
        first.recorder.finish("done")
    first.store.close()

    assert path.with_name(path.name + "-wal").stat().st_size
    await second.ask("c")
    second.end()
    after = Actor(path)
    assert after.knows("a", "b", "c") == [None, VALUES, VALUES]
    after.end()
    with smelt.ledger.open(path) as ledger:
        assert ledger.check() == []


@pytest.mark.parametrize(("pages", "words"), [(0, "was emptied"), (1, "was cut short"), (6, "was cut short")])
async def test_a_store_that_was_emptied_or_cut_short_is_noticed(path: Path, pages: int, words: str) -> None:
    before = Actor(path)
    await before.ask(*(f"row {at}" for at in range(300)))
    before.end()
    actor = Actor(path)
    await actor.ask("a")
    assert os.stat(path).st_size > 6 * 8192  # noqa: PTH116
    os.truncate(path, pages * 8192)

    with pytest.raises(StoreError, match=words):
        await actor.send("b")
    with pytest.raises(StoreError, match=f"{words} while this run was using it") as caught:
        actor.recorder.finish("done")
    actor.store.close()
    assert "All that it held" not in str(caught.value)


async def test_a_store_that_another_process_compacts_is_not_taken_for_one_that_was_cut_short(path: Path) -> None:
    before = Actor(path)
    await before.ask(*(f"row {at}" for at in range(300)))
    before.end()
    actor = Actor(path)
    size = os.stat(path).st_size  # noqa: PTH116
    with smelt.ledger.open(path) as ledger:
        ledger.forget(run=before.run)
    assert os.stat(path).st_size < size  # noqa: PTH116

    await actor.ask("a")
    actor.end()

    after = Actor(path)
    assert after.knows("a", "row 1") == [VALUES, None]
    after.end()


async def test_two_who_write_agree_on_a_lock_after_it_was_removed(path: Path) -> None:
    lock = path.with_name(path.name + "-lock")
    first = Actor(path)
    lock.unlink()
    second = Actor(path)

    assert second.store.try_begin()
    assert not first.store.try_begin()
    second.store.roll_back()
    assert first.store.try_begin()
    assert not second.store.try_begin()
    first.store.roll_back()
    for actor in (first, second):
        await actor.ask(str(actor.run))
        actor.end()
    assert os.stat(lock).st_size  # noqa: PTH116  # It names the store, as the one before it did.


async def test_a_new_store_does_not_take_over_the_log_of_a_dead_one(path: Path) -> None:
    dead = Actor(path)
    await dead.ask("a")
    log = path.with_name(path.name + "-wal").read_bytes()
    dead.die()
    HARM["removed alone"](path)
    path.with_name(path.name + "-wal").write_bytes(log)

    with pytest.warns(SmeltWarning, match=r"was of another ledger.*ledger\.sqlite\.stray-wal"):
        actor = Actor(path)

    assert actor.knows("a") == [None]
    actor.end()
    assert path.with_name("ledger.sqlite.stray-wal").read_bytes() == log
    with smelt.ledger.open(path) as ledger:
        assert ledger.check() == []


async def test_a_copy_of_a_store_and_its_log_is_as_good_as_the_store(path: Path) -> None:
    dead = Actor(path)
    await dead.ask("a")
    copy = path.parent.with_name("copy")
    shutil.copytree(path.parent, copy)
    copy.chmod(0o700)
    dead.end()

    actor = Actor(copy / path.name)

    assert actor.knows("a") == [VALUES]
    actor.end()


@pytest.mark.parametrize("content", [b"name,sector\nSanofi,health\n" * 50, b"SQLite format 3\0" + bytes(4_000), b""])
def test_a_file_that_is_no_store_is_not_touched(tmp_path: Path, content: bytes) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_bytes(content)
    mine.chmod(0o644)

    with pytest.raises(StoreCorruptError, match="ledger of smelt"):
        open_store(mine)

    assert mine.read_bytes() == content
    assert stat.S_IMODE(mine.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [mine]


def test_a_folder_that_was_named_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match="There is no directory"):
        open_store(tmp_path / "no" / "such" / "ledger.sqlite")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["offf", "ledger", "disabled"])
def test_a_variable_that_is_a_bare_word_is_refused(word: str) -> None:
    with pytest.raises(StoreError, match=f"SMELT_LEDGER is '{word}'"):
        default_path({"SMELT_LEDGER": word})


@pytest.mark.parametrize("word", ["on", "TRUE", "yes", "1", ""])
def test_a_variable_may_say_that_there_is_one(word: str, tmp_path: Path) -> None:
    environ = {"SMELT_LEDGER": word, "XDG_CACHE_HOME": str(tmp_path)}

    assert default_path(environ) == tmp_path / "smelt" / "ledger.sqlite"


@pytest.mark.parametrize("word", ["off", "No", "0", "FALSE"])
def test_a_variable_may_say_that_there_is_none(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_LEDGER", word)

    assert setting("ledger") is False


@pytest.mark.parametrize("place", ["valkey://host/0", " mysql+pymysql://ada:s3cret@db/x"])
def test_a_url_of_another_kind_is_no_path(place: str) -> None:
    words = r"No answer store has a URL that begins with \S+://\. There are postgresql://"
    with pytest.raises(StoreError, match=words) as told:
        located(place)
    with pytest.raises(StoreError, match=words):
        default_path({"SMELT_LEDGER": place})

    assert "s3cret" not in str(told.value)


def test_a_path_may_look_like_a_url(tmp_path: Path) -> None:
    assert located(f"{tmp_path}/a://b.sqlite").name == "b.sqlite"


@pytest.mark.parametrize("word", ["off", "offf", "False", "none", "0"])
def test_an_argument_that_looks_like_a_switch_makes_no_file(word: str) -> None:
    with pytest.raises(StoreError, match=f"'{word}' looks like a switch"):
        located(word)


@pytest.mark.parametrize("bad", ["folder/", "folder/.", "~nobody-of-that-name/x.sqlite"])
def test_a_path_that_is_a_folder_or_leads_nowhere_is_refused(bad: str) -> None:
    with pytest.raises((StoreError, SmeltConfigError), match="must be the path of a file|no home directory"):
        located(bad)


@pytest.mark.parametrize("bad", ["a\0b.jsonl", "~nobody-of-that-name/x.jsonl"])
def test_a_path_of_an_export_that_no_file_can_have_is_refused(path: Path, bad: str) -> None:
    open_store(path).close()

    with smelt.ledger.open(path) as ledger, pytest.raises(SmeltConfigError, match="path must be"):
        ledger.export(bad)


def test_an_export_makes_no_folder(path: Path) -> None:
    open_store(path).close()

    with smelt.ledger.open(path) as ledger, pytest.raises(StoreError, match="There is no directory"):
        ledger.export(path.parent / "none" / "x.jsonl")
