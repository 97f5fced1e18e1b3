"""Types of fields with right answers."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Place(BaseModel):
    city: str
    floor: int | None
