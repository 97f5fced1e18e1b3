"""A cell that can be nothing else than a medium is sent as one, from every kind of frame."""

from __future__ import annotations

import contextlib
import io
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import polars as pl
import pyarrow as pa
import pytest

import smelt
from smelt.frames import mediafiles
from smelt.providers.base import Capabilities
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.media.pictures import Seen, crc, png
from tests.models import served

PNGS = [png(number) for number in range(7)]
SAYS = {"crc": {"crc": "photo"}}


def arrow_backed(kind: pa.DataType) -> Callable[[list[bytes]], Any]:
    """Makes a pandas frame whose pictures are an Arrow array of *kind*."""
    return lambda cells: pd.DataFrame({"photo": pd.array(pa.array(cells, kind), dtype=pd.ArrowDtype(kind))})


def chunked(cells: list[bytes]) -> Any:
    """A table whose column has many chunks, the first without values, as readers of Parquet files make it."""
    parts = [[None, None], cells[:2], [], cells[2:]]
    return pa.table({"photo": pa.chunked_array([pa.array(one, pa.large_binary()) for one in parts])})


class Storage(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types here.
    """A type like that of Hugging Face's datasets: a struct with a name."""

    def __init__(self) -> None:
        super().__init__(pa.struct([("bytes", pa.binary()), ("path", pa.string())]), "tests.media.image")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: Any, data: bytes) -> Storage:
        return cls()


def extended(cells: list[bytes]) -> Any:
    """A table with a column of an extension type."""
    kind = Storage()
    inner = pa.array([{"bytes": one, "path": None} for one in cells], kind.storage_type)
    return pa.table({"photo": pa.ExtensionArray.from_storage(kind, inner)})


ONE_LENGTH = len(PNGS[0])
FRAMES: dict[str, Callable[[list[bytes]], Any]] = {
    "pandas bytearrays": lambda cells: pd.DataFrame({"photo": [bytearray(one) for one in cells]}),
    "pandas views": lambda cells: pd.DataFrame({"photo": [memoryview(one) for one in cells]}),
    "pandas mixed": lambda cells: pd.DataFrame(
        {"photo": [None, *cells[:2], float("nan"), PIL.Image.open(io.BytesIO(cells[2])), pd.NA, *cells[3:]]}
    ),
    "pandas categories": lambda cells: pd.DataFrame({"photo": pd.Categorical([*cells, cells[0], None])}),
    "pandas large binary": arrow_backed(pa.large_binary()),
    "pandas binary views": arrow_backed(pa.binary_view()),
    "pandas dictionary": lambda cells: pd.DataFrame(
        {"photo": pd.array(pa.array(cells).dictionary_encode(), pd.ArrowDtype(pa.dictionary(pa.int32(), pa.binary())))}
    ),
    "pandas index": lambda cells: pd.DataFrame({"photo": cells}, index=[0] * len(cells)),
    "polars nulls first": lambda cells: pl.DataFrame({"photo": [None, None, *cells]}),
    "polars struct nulls": lambda cells: pl.DataFrame(
        {"photo": [None, {"bytes": None, "path": None}, *({"bytes": one, "path": None} for one in cells)]}
    ),
    "record views": lambda cells: [{"photo": memoryview(one)} for one in cells] + [{"sku": 3}],
    "arrow chunks": chunked,
    "arrow extension": extended,
    "pandas objects": lambda cells: pd.DataFrame({"sku": range(len(cells)), "photo": pd.Series(cells, dtype=object)}),
    "pandas arrow": lambda cells: pd.DataFrame(
        {"sku": range(len(cells)), "photo": pd.array(cells, dtype=pd.ArrowDtype(pa.binary()))}
    ),
    "pandas structs": lambda cells: pd.DataFrame({"photo": [{"bytes": one, "path": None} for one in cells]}),
    "pandas arrow structs": lambda cells: pd.DataFrame(
        {
            "photo": pd.array(
                [{"bytes": one, "path": "x.png"} for one in cells],
                dtype=pd.ArrowDtype(pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            )
        }
    ),
    "pandas images": lambda cells: pd.DataFrame({"photo": [PIL.Image.open(io.BytesIO(one)) for one in cells]}),
    "polars binary": lambda cells: pl.DataFrame({"sku": range(len(cells)), "photo": cells}),
    "polars objects": lambda cells: pl.DataFrame(
        {"photo": pl.Series([PIL.Image.open(io.BytesIO(one)) for one in cells], dtype=pl.Object)}
    ),
    "polars structs": lambda cells: pl.DataFrame({"photo": [{"bytes": one, "path": "x.png"} for one in cells]}),
    "records": lambda cells: [{"sku": at, "photo": one} for at, one in enumerate(cells)],
    "arrow": lambda cells: pa.table({"photo": pa.array(cells, pa.binary())}),
}


def said(out: Any) -> list[Any]:
    """The answers in a frame of any kind; rows without a picture have none."""
    if isinstance(out, list):
        return [row["crc"] for row in out if row["crc"] is not None]
    values = out["crc"].to_pylist() if isinstance(out, pa.Table) else out["crc"].to_list()
    return [one for one in values if not pd.isna(one)]


@pytest.mark.parametrize("kind", FRAMES)
def test_each_picture_is_answered_under_its_own_row(kind: str, scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS)
    out = smelt.transform(
        FRAMES[kind](PNGS),
        "What does {photo} show?",
        Seen,
        model=served("openai", server),
        batch_size=3,
        null_rows="skip",
        ledger=False,
        progress=False,
    )
    assert said(out)[: len(PNGS)] == [crc(one) for one in PNGS]
    assert server.stats().rows_sent == len(PNGS)


@pytest.mark.parametrize("seconds", [0, 3600], ids=["young", "settled"])
def test_a_file_that_changes_before_it_is_sent_costs_its_row_and_no_other(
    tmp_path: Path, scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    now = time.time_ns() + seconds * 10**9
    monkeypatch.setattr(mediafiles, "time_ns", lambda: now)  # A settled file is not hashed again if it did not change.
    server = scenario(answers=SAYS)
    paths = [tmp_path / f"{at}.png" for at in range(4)]
    for path, data in zip(paths, PNGS, strict=False):
        path.write_bytes(data)

    def change(event: Any) -> None:
        paths[2].write_bytes(PNGS[6])

    frame = pd.DataFrame({"photo": [*paths, None]})
    out = smelt.transform(
        frame,
        "What does {photo} show?",
        Seen,
        model=served("openai", server),
        media=["photo"],
        batch_size=10,
        ledger=False,
        progress=change,
        max_attempts=1,
    )
    assert out["crc"].tolist()[:2] == [crc(PNGS[0]), crc(PNGS[1])]
    assert "the file has changed since this run began" in out["smelt_error"][2]
    assert out["crc"][3] == crc(PNGS[3])
    assert out["smelt_error"][4] is not None  # The fake has nothing to say of a null, which is no number.
    assert server.stats().rows_sent == 4


def asked(frame: Any, **options: Any) -> Any:
    """The frame with the answers of a scripted model, which takes media."""
    model = ScriptedProvider({"crc": 1})
    out = smelt.transform(frame, "What does {photo} show?", Seen, model=model, progress=False, **options)
    return out, model


def test_arrays_paths_and_data_urls_are_declared(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNGS[0])
    data_url = "data:image/png;base64," + b64encode(PNGS[1]).decode()
    array = np.zeros((4, 6, 3), np.uint8)
    frame = pd.DataFrame({"photo": pd.Series([tmp_path / "a.png", "a.png", data_url, array, None], dtype=object)})
    out, model = asked(frame, media={"photo": smelt.Image(root=tmp_path)}, null_rows="skip")
    assert out["smelt_error"].isna().all()
    sent = [one for one in model.requests[0].parts if not isinstance(one, str)]
    assert {one.data for one in sent if one.type == "image/png"} == {PNGS[0], PNGS[1]}
    assert [one.type for one in sent].count("image/jpeg") == 1
    assert model.rows_sent == 3  # The path and the name are one file.


def test_three_forms_of_one_file_are_one_request_and_one_row_of_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNGS[0])
    with PIL.Image.open(path) as loaded:
        loaded.load()
    forms: list[Any] = [
        str(path),
        path,
        PNGS[0],
        bytearray(PNGS[0]),
        PIL.Image.open(path),
        loaded,
        {"bytes": PNGS[0], "path": "x"},
    ]
    frame = pd.DataFrame({"photo": pd.Series(forms, dtype=object)})
    ledger = str(tmp_path / "l.sqlite")
    out, model = asked(frame, media={"photo": smelt.Image(root=tmp_path)}, ledger=ledger)
    forms[4].close()
    assert (len(model.requests), model.rows_sent) == (1, 1)
    assert out["crc"].tolist() == [1] * len(forms)
    out, model = asked(pl.DataFrame({"photo": [PNGS[0]]}), ledger=ledger)
    assert (out["crc"][0], model.rows_sent) == (1, 0)


@pytest.mark.parametrize("kind", ["pandas", "polars", "records"])
def test_a_broken_cell_costs_its_row_only(kind: str) -> None:
    cells = [PNGS[0], b"neither image nor text", b"", PNGS[1]]
    frames: dict[str, Any] = {
        "pandas": pd.DataFrame({"photo": cells}),
        "polars": pl.DataFrame({"photo": cells}),
        "records": [{"photo": one} for one in cells],
    }
    out, model = asked(frames[kind])
    errors = [row["smelt_error"] for row in out] if kind == "records" else list(out["smelt_error"])
    assert [error is None or pd.isna(error) for error in errors] == [True, False, False, True]
    assert "do not begin like a PNG" in errors[1]
    assert "an empty file" in errors[2]
    assert model.rows_sent == 2


def test_a_damaged_picture_that_must_be_decoded_costs_its_row_only() -> None:
    damaged = png(3, side=400)[:60]
    with PIL.Image.open(io.BytesIO(PNGS[1])) as tiff:
        buffer = io.BytesIO()
        tiff.save(buffer, "TIFF")
    cut = PIL.Image.open(io.BytesIO(buffer.getvalue()[:-30]))
    numbers = PIL.Image.new("F", (4, 4))
    bomb = bytearray(PNGS[2])
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    cells = [png(1, side=400), damaged, cut, numbers, bytes(bomb), np.zeros(3)]
    out, model = asked(
        pd.DataFrame({"photo": pd.Series(cells, dtype=object)}), media={"photo": smelt.Image(max_side=64)}
    )
    assert out["crc"].notna().tolist() == [True, False, False, False, False, False]
    reasons = ["", "cannot be decoded", "cannot be decoded", "mode F", "60,000 x 60,000 pixels", "no image of 8-bit"]
    for reason, error in list(zip(reasons, out["smelt_error"], strict=True))[1:]:
        assert reason in error
    assert model.rows_sent == 1


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (pl.DataFrame({"photo": [b"abc", b"def"]}), "binary values"),
        (pd.DataFrame({"photo": [b"abc", b"def"]}), "a value of type bytes"),
        (pd.DataFrame({"photo": pd.array([b"a"], dtype=pd.ArrowDtype(pa.binary()))}), "binary values"),
        (pl.DataFrame({"photo": [[PNGS[0]]]}), "binary values"),
        (pl.DataFrame({"photo": [{"bytes": PNGS[0], "more": 1}]}), "binary values"),
        (pd.DataFrame({"photo": [Path("a.png")]}), "media="),
    ],
    ids=["polars", "pandas", "arrow", "lists", "other structs", "paths"],
)
def test_binary_columns_that_are_no_media_keep_their_message(frame: Any, error: str) -> None:
    with pytest.raises(smelt.errors.ColumnTypeError, match=error):
        asked(frame)


def test_a_column_that_begins_with_many_broken_files_says_how_to_declare_it() -> None:
    frame = pl.DataFrame({"photo": [b"broken%d" % at for at in range(25)] + PNGS[:2]})
    with pytest.raises(smelt.errors.ColumnTypeError, match=r"media=\['photo'\]: a broken one then costs only its row"):
        asked(frame)
    out, model = asked(frame, media=["photo"])
    assert out["crc"].null_count() == 25
    assert model.rows_sent == 2


@pytest.mark.parametrize(
    "frame", [pl.DataFrame({"photo": []}, schema={"photo": pl.Binary}), pd.DataFrame({"photo": []}), []]
)
def test_an_empty_frame_sends_nothing(frame: Any) -> None:
    out, model = asked(frame, media=["photo"])
    assert len(out) == 0
    assert not model.requests


def test_a_column_of_nulls_is_no_media_and_no_error() -> None:
    for frame in (pl.DataFrame({"photo": [None, None]}, schema={"photo": pl.Binary}), pd.DataFrame({"photo": [None]})):
        with contextlib.suppress(smelt.errors.ColumnTypeError):  # As before media: a binary column has no text.
            asked(frame)
        model = asked(frame, media=["photo"])[1]
        assert model.rows_sent == 1
        assert model.requests[0].parts == ()


@pytest.mark.parametrize(
    ("media", "error"),
    [
        ({"foto": smelt.Image()}, "'foto', which is not a column of the data. Did you mean 'photo'"),
        ({"sku": smelt.Image()}, "'sku', which is not sent. Name it in the prompt"),
        ({"photo": "image"}, r"smelt.Image\(\), smelt.Document\(\) or smelt.Audio"),
        ("photo", "a list of columns"),
        ({"photo": smelt.Image(root="no such folder")}, "is not a folder"),
    ],
)
def test_a_wrong_declaration_is_refused_before_anything_is_sent(media: Any, error: str) -> None:
    frame = pd.DataFrame({"sku": ["a"], "photo": [PNGS[0]]})
    with pytest.raises(smelt.errors.SmeltConfigError, match=error):
        asked(frame, media=media)


def test_a_kind_that_does_not_fit_its_declaration_costs_its_row() -> None:
    out, model = asked(pd.DataFrame({"photo": [b"%PDF-1.7 x", PNGS[0]]}), media={"photo": smelt.Document()})
    assert (
        out["smelt_error"][1] is not None
        and "an image in a column that is declared as Document" in out["smelt_error"][1]
    )
    assert model.rows_sent == 1


def test_a_row_with_more_than_the_provider_takes_costs_its_row_only() -> None:
    model = ScriptedProvider({"crc": 1}, capabilities=Capabilities(media=frozenset({"image"}), media_bytes=5_000))
    big = PNGS[0] + bytes(3_000)
    frame = pd.DataFrame({"a": [PNGS[1], big], "b": [PNGS[2], big + b"1"]})
    out = smelt.transform(frame, "Compare {a} and {b}.", Seen, model=model, progress=False)
    assert out["smelt_error"].isna().tolist() == [True, False]
    assert "its media together: 0.00614 MB, and the provider takes 0.005 MB" in out["smelt_error"][1]
    assert model.rows_sent == 1
