"""Every verb takes media: classify and Series, streams, lazy steps, evaluate, jobs, and the ledger."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest

import smelt
from smelt.call import mediachecks
from smelt.plan.media import Media
from smelt.providers.base import Capabilities
from smelt.testing import ScriptedProvider
from tests.media.pictures import Seen, png

PNGS = [png(number) for number in range(6)]
TASK = ("What does {photo} show?", Seen)


def model() -> ScriptedProvider:
    return ScriptedProvider({"crc": 1})


def sent(provider: ScriptedProvider) -> list[bytes]:
    """The bytes of all media that were sent, sorted."""
    return sorted(one.data for request in provider.requests for one in request.parts if isinstance(one, Media))


FRAMES: dict[str, Any] = {"pandas": pd.DataFrame({"photo": PNGS}), "polars": pl.DataFrame({"photo": PNGS})}


@pytest.mark.parametrize("library", FRAMES)
def test_classify_and_series_take_media(library: str) -> None:
    frame, labels = FRAMES[library], ScriptedProvider({"label": "red"})
    out = frame.smelt.classify("Colour of {photo}", ["red", "blue"], output="label", model=labels, progress=False)
    assert list(out["label"]) == ["red"] * 6
    other = ScriptedProvider({"label": "blue"})
    out = frame["photo"].smelt.classify(["red", "blue"], model=other, progress=False)
    assert list(out["label"]) == ["blue"] * 6
    assert sent(labels) == sent(other) == sorted(PNGS)


def test_a_series_of_paths_is_declared_by_its_name(tmp_path: Path) -> None:
    for at, data in enumerate(PNGS):
        (tmp_path / f"{at}.png").write_bytes(data)
    names: Any = pd.Series([f"{at}.png" for at in range(6)], name="photo", index=list("abcdef"))
    provider = model()
    out = names.smelt.transform(
        "What is {}?", Seen, model=provider, media={"photo": smelt.Image(root=tmp_path)}, progress=False
    )
    assert out.index.tolist() == list("abcdef")
    assert sent(provider) == sorted(PNGS)


def test_a_stream_sends_the_media_of_every_frame() -> None:
    provider = model()
    parts = [pl.DataFrame({"photo": PNGS[:2]}), pl.DataFrame({"photo": PNGS[2:]})]
    out = list(smelt.stream(parts, *TASK, model=provider, progress=False))
    assert [len(one) for one in out] == [2, 4]
    assert sent(provider) == sorted(PNGS)


def test_a_stream_whose_first_frame_has_no_media_must_declare_them() -> None:
    parts = [[{"photo": None}], [{"photo": PNGS[0]}]]
    provider = model()
    assert len(list(smelt.stream(parts, *TASK, model=provider, media=["photo"], progress=False))) == 2
    assert sent(provider) == [PNGS[0]]
    assert all("Each row comes as" in one.system for one in provider.requests)
    with pytest.raises(smelt.errors.ColumnError, match=r"A later frame holds images.*media=\['photo'\]"):
        list(smelt.stream(parts, *TASK, model=model(), progress=False))


def test_a_lazy_step_and_a_sink_take_media(tmp_path: Path) -> None:
    provider = model()
    plan: Any = pl.LazyFrame({"photo": PNGS})
    plan = plan.smelt.transform(*TASK, model=provider, progress=False)
    assert plan.collect()["crc"].to_list() == [1] * 6
    assert sent(provider) == sorted(PNGS)
    pl.DataFrame({"photo": [f"{at}.png" for at in range(6)]}).write_parquet(tmp_path / "in.parquet")
    for at, data in enumerate(PNGS):
        (tmp_path / f"{at}.png").write_bytes(data)
    provider = model()
    declared = {"photo": smelt.Image(root=tmp_path)}
    read: Any = pl.scan_parquet(tmp_path / "in.parquet")
    plan = read.smelt.transform(*TASK, model=provider, media=declared, progress=False)
    plan.select("crc").sink_parquet(tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet")["crc"].to_list() == [1] * 6
    assert sent(provider) == sorted(PNGS)


def test_answers_about_media_are_evaluated_and_compared(tmp_path: Path) -> None:
    frame = pd.DataFrame({"photo": PNGS, "crc": [1, 1, 1, 1, 2, 2]})
    found = smelt.evaluate(frame, *TASK, {"crc": "crc"}, model=model(), progress=False)
    assert len(found.disagreements) == 2
    assert "IHDR" not in repr(found) + found._repr_html_()
    tasks = {"low": {"media": {"photo": smelt.Image(detail="low")}}, "high": {}}
    compared = smelt.compare(frame, *TASK, tasks, truth={"crc": "crc"}, model=model(), progress=False)
    assert "IHDR" not in repr(compared) + compared._repr_html_()


def test_examples_are_text_only() -> None:
    frame = pd.DataFrame({"photo": PNGS, "sku": list("abcdef")})
    prompt = "What does {photo} of {sku} show?"
    for examples, media in (
        ([{"photo": PNGS[0], "sku": "z", "crc": 1}], {}),
        ([{"photo": "a.png", "sku": "z", "crc": 1}], ["photo"]),
    ):
        with pytest.raises(smelt.errors.ColumnError, match="row 1: column 'photo' holds media, and examples are text"):
            smelt.transform(frame, prompt, Seen, model=model(), examples=examples, media=media, progress=False)
    provider = model()
    examples = [{"photo": None, "sku": "z", "crc": 1}]
    smelt.transform(frame, prompt, Seen, model=provider, examples=examples, progress=False)
    assert provider.rows_sent == 6


def test_a_job_keeps_its_declarations(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNGS[0])
    provider = model()
    job = smelt.Job(*TASK, media={"photo": smelt.Image(root=tmp_path)}, progress=False)
    assert job.run(provider, data=pd.DataFrame({"photo": ["a.png"]})).frame["crc"].tolist() == [1]
    assert sent(provider) == [PNGS[0]]


def test_detail_and_size_are_part_of_the_key_and_root_is_not(tmp_path: Path) -> None:
    ledger = str(tmp_path / "l.sqlite")
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(PNGS[0])
    frame = pd.DataFrame({"photo": ["a.png"]})

    def rows(declared: Any, **options: Any) -> int:
        provider = model()
        smelt.transform(
            frame, *TASK, model=provider, media={"photo": declared}, ledger=ledger, progress=False, **options
        )
        return provider.rows_sent

    root = tmp_path / "x"
    assert rows(smelt.Image(root=root)) == 1
    assert rows(smelt.Image(root=tmp_path / "y")) == 0
    mediachecks._told.add("https://")
    assert rows(smelt.Image(root=root, urls=True)) == 0
    for changed in ({"detail": "low"}, {"max_side": 64}):
        with pytest.warns(smelt.SmeltWarning, match="'media=' (added|changed)"):
            assert rows(smelt.Image(root=root, **changed)) == 1
    assert rows(smelt.Image(root=root, detail="low")) == 0
    assert rows(smelt.Image(root=root), refresh=True) == 1
    assert rows(smelt.Image(root=root), any_key=True) == 0


def test_inputs_are_stored_without_pixels(tmp_path: Path) -> None:
    ledger = tmp_path / "l.sqlite"
    smelt.transform(FRAMES["pandas"], *TASK, model=model(), ledger=str(ledger), store_inputs=True, progress=False)
    with closing(sqlite3.connect(ledger)) as connection:
        kept = "\n".join(connection.iterdump())
    assert kept.count('{"photo":{"media":"image/png","blake2b":"') == 6
    assert ledger.stat().st_size < 300_000


def test_addresses_are_warned_of_once_if_answers_are_kept(tmp_path: Path) -> None:
    mediachecks._told.discard("https://")
    frame, ledger = pd.DataFrame({"photo": ["https://example.com/a.png"]}), str(tmp_path / "l.sqlite")
    task: dict[str, Any] = {"media": {"photo": smelt.Image(urls=True)}, "progress": False}
    smelt.transform(frame, *TASK, model=model(), ledger=False, **task)
    with pytest.warns(smelt.SmeltWarning, match="the ledger knows an address by its text"):
        smelt.transform(frame, *TASK, model=model(), ledger=ledger, **task)
    smelt.transform(frame, *TASK, model=model(), ledger=ledger, **task)


@pytest.mark.parametrize("verb", ["transform", "estimate", "explain"])
def test_a_model_of_text_refuses_before_anything_is_sent(verb: str) -> None:
    provider = ScriptedProvider({"crc": 1}, capabilities=Capabilities())
    with pytest.raises(
        smelt.errors.SmeltConfigError, match="The rows hold images, and scripted:script reads text only"
    ):
        getattr(FRAMES["pandas"].smelt, verb)(*TASK, model=provider)
    assert not provider.requests


def test_explain_names_each_medium_and_shows_no_bytes() -> None:
    explained = FRAMES["polars"].smelt.explain(*TASK, model=model(), batch_size=2)
    assert explained.rows == len(explained.media) == 2
    name, medium = explained.media[0]
    assert f'"as":"{name}"' in explained.user
    assert f"{name}: image/png, 8 x 8 pixels, " in repr(explained)
    assert medium.data == b""
    assert medium.thumbnail.startswith(b"\xff\xd8\xff")
    assert "data:image/jpeg;base64," in explained._repr_html_()
    assert len(explained._repr_html_()) < 20_000


def test_a_preview_and_the_report_show_thumbnails_and_no_bytes(tmp_path: Path) -> None:
    big = png(3, side=900) + bytes(3_000_000)
    result = smelt.run(pd.DataFrame({"photo": [big, PNGS[1]]}), *TASK, model=model(), progress=False)
    page = result.report(tmp_path / "r.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 2
    assert page.count("image/png, 900 x 900 pixels, 3,00") == 2  # In the answers, and in the first request.
    assert "blake2b" not in page
    assert len(page) < 200_000
    assert len(result._repr_html_()) + len(repr(result)) < 20_000
    writer: Any = result._report()
    assert all(one.data == b"" for one in writer.record.first_request.parts if isinstance(one, Media))


def test_extend_asks_with_the_media_again(tmp_path: Path) -> None:
    ledger = str(tmp_path / "l.sqlite")
    first = model()
    smelt.transform(FRAMES["pandas"], TASK[0], {"crc": int}, model=first, ledger=ledger, progress=False)
    second = ScriptedProvider({"crc": 1, "same": "no"})
    options: dict[str, Any] = {"ledger": ledger, "progress": False}
    out = smelt.transform(
        FRAMES["pandas"], TASK[0], {"crc": int, "same": Literal["yes", "no"]}, model=second, extend=True, **options
    )
    assert out["same"].tolist() == ["no"] * 6
    assert sent(second) == sorted(PNGS)
    assert "same" in second.requests[0].system and "crc" not in second.requests[0].system
