"""What is said of rows that wait in jobs of a Batch API: what is true in the state of their job. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from smelt.ledger.base import Holding

OTHER_KEY = (
    "Some rows wait in a job that was submitted with another API key, and were not asked again. If the key was "
    "renewed, any_key=True collects them."
)
_NOTES = {
    "orphaned": (
        "Some rows wait in a job that the provider does not know under this key, and were not asked again, because "
        'they may be billed. mode="batch" with the key and project that the job was submitted with collects them.'
    ),
    "lost": (
        "Some rows wait in a job whose results are gone at the provider, and were not asked again, because they may "
        "have been billed."
    ),
    "": (
        'Some rows wait in a job of a Batch API, which a call with mode="batch" submitted, and were not asked again. '
        'The same call with mode="batch" collects them.'
    ),
}
_FREED = " smelt.ledger.open().jobs() lists the jobs, and a job's abandon() frees its rows."
_ADDED = {
    "doubtful": '. Whether it was created is not known; the next call with mode="batch" finds out.',
    "orphaned": (
        ", which the provider does not know under this key. Use the key and project that it was submitted with; or "
        "free the row by the job's abandon(), and it is paid for again."
    ),
    "lost": (
        ", whose results are gone at the provider. It may have been billed. The job's abandon() frees the row, and it "
        "is paid for again."
    ),
}
_FOREIGN = (
    ", which was submitted with another API key. If the key was renewed, any_key=True collects it. The job's abandon() "
    "frees the row, and it is paid for again."
)
_UNSENT = ("planned", "uploaded", "creating")


def pending_words(line: Holding) -> str:
    """The message of a row that waits in *line*."""
    words = f"pending in job {line.tag}"
    if line.is_foreign:
        return words + _FOREIGN
    return words + (", which another call is submitting" if line.state in _UNSENT else _ADDED.get(line.state, ""))


def is_stranded(line: Holding) -> bool:
    """Whether no waiting brings the answers of *line*."""
    return line.is_foreign or line.state in ("orphaned", "lost")


def held_notes(lines: Iterable[Holding]) -> list[str]:
    """What a call that does not collect says of the rows that it left in *lines*: a sentence for each kind of job."""
    kinds = dict.fromkeys("foreign" if one.is_foreign else one.state if one.state in _NOTES else "" for one in lines)
    return [(OTHER_KEY if kind == "foreign" else _NOTES[kind]) + _FREED for kind in kinds]
