"""Does a row change the answers to the rows in the same request? Says which rows to ask again, and what that shows.

One row of each request is asked again, in the company of rows of other requests. Where the answer differs it is asked
once more: either the model disagrees with itself, or the first answer owed something to its company. Then the other
rows of that request are asked again too, a quarter at a time, so that whatever changed them reaches a quarter at most.
More differences than the model's own noise explains are an alarm. To find the row that does it, rows that it changed
are asked together with halves of its request, until one row is left.

All functions are generators that yield groups of rows, each to be asked in one request, and are sent the new answers.

The noise is what asking a third time shows: if the third answer is the first again, the second was the odd one, and
first and second answers are odd equally often. So it does not grow with the requests that were changed.
"""

from __future__ import annotations

import random
from collections.abc import Container, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from smelt.trust.exact import at_least

Answers = Mapping[int, Hashable]
"""New answers by row; a row without one is not in it."""

Asking = Generator[list[list[int]], Answers, None]

_QUARTERS = 4
_FEW = 4  # Rows of a request with rows that differed: one that changes others changes few.
_PROBES = 8  # Rows that are asked with the halves of a request.
_FEWEST_PROBES = 3
_RISK = 0.005  # The probability of a false alarm, beside what the estimate of the noise is off.
_DULL = 0.05  # Differences that are more likely than this are no reason to ask on.
_ODD = 0.001  # The probability at which a request of the first step is taken for a changed one.
_TURNED = 0.02  # The probability of a false turn in the search; its end is confirmed once more.


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A request whose rows were changed by their company.

    Attributes:
        request: Its number.
        rows: Its rows.
        asked: Those that were asked again.
        differ: Those of them whose answer differs without that company.
        changed: These rows.
        by: The row that changes the others, if it was sought and found.
    """

    request: int
    rows: tuple[int, ...]
    asked: int
    differ: int
    changed: tuple[int, ...]
    by: int | None = None


@dataclass(kw_only=True, eq=False)
class Findings:
    """What an audit found so far.

    Attributes:
        requests: Requests with more than one row.
        sampled: Rows that were asked again, one of each request, and answered.
        differing: Those whose answer differs.
        noise: How often the model disagrees with itself: the probability that two answers to one row differ.
        asked: Rows that were asked, each time counted.
        alarms: The requests whose rows were changed by their company.
        suspects: Requests that were looked at more closely.
        unit: What was compared: a row that was asked again, or a vote.
    """

    requests: int = 0
    sampled: int = 0
    differing: int = 0
    noise: float = 0.0
    asked: int = 0
    alarms: list[Alarm] = field(default_factory=list)
    suspects: int = 0
    unit: str = "row"


def audit(
    first: Answers,
    requests: Mapping[int, Sequence[int]],
    found: Findings,
    *,
    size: int,
    seed: int,
    finds_rows: bool,
) -> Asking:
    """Look for requests whose rows were changed by their company.

    Args:
        first: The answers of the run.
        requests: The rows of each request.
        found: Filled in.
        size: The rows of a request of the audit.
        seed: Draws the rows.
        finds_rows: Whether the row that changes the others is sought.
    """
    rng = random.Random(f"{seed} audit")
    looked = {number: list(rows) for number, rows in requests.items() if len(rows) > 1}
    found.requests = len(looked)
    sample = {rng.choice(rows): number for number, rows in looked.items()}
    order = list(sample)
    rng.shuffle(order)
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    second = yield from _asked(groups, found)
    differing = [row for row in order if row in second and second[row] != first[row]]
    found.sampled, found.differing = len(second), len(differing)
    third = yield from _asked(_scattered(differing, groups), found)
    cleared = {row for row in differing if third.get(row) == first[row]}
    changed, found.noise = noise_of(groups, second, cleared)
    suspects = {sample[row]: row for row in differing if row not in cleared}
    # A row that changes others and was drawn has changed the audit's own request, and its own answer need not differ.
    drawn = [row for at in changed for row in groups[at] if row not in cleared and sample[row] not in suspects]
    others = {rng.choice([one for one in looked[sample[row]] if one != row]): sample[row] for row in drawn}
    again = yield from _asked(_cut(list(others), _FEW), found)
    suspects |= {number: row for row, number in others.items() if row in again and again[row] != first[row]}
    found.suspects = len(suspects)
    yield from _examined(first, looked, suspects, found, rng, finds_rows=finds_rows)


def _examined(
    first: Answers,
    requests: Mapping[int, Sequence[int]],
    suspects: Mapping[int, int],
    found: Findings,
    rng: random.Random,
    *,
    finds_rows: bool,
) -> Asking:
    """Ask the other rows of the *suspects*, by the row that made each a suspect."""
    quarters = {}
    for number, sampled in suspects.items():
        rest = [row for row in requests[number] if row != sampled]
        rng.shuffle(rest)
        quarters[number] = _cut(rest, -(-len(rest) // _QUARTERS))
    answers = dict((yield from _asked([one for groups in quarters.values() for one in groups[:2]], found)))

    def differ(number: int, groups: Sequence[Sequence[int]]) -> tuple[list[int], int]:
        asked = [row for group in groups for row in group if row in answers]
        return [row for row in asked if answers[row] != first[row]], len(asked)

    def chance(number: int, groups: Sequence[Sequence[int]]) -> float:
        rows, asked = differ(number, groups)
        return at_least(len(rows), asked, found.noise)

    open_ones = {number: groups for number, groups in quarters.items() if chance(number, groups[:2]) <= _DULL}
    answers |= yield from _asked([one for groups in open_ones.values() for one in groups[2:]], found)
    guilty = {number: groups for number, groups in open_ones.items() if chance(number, groups) <= _RISK / len(suspects)}
    searches, culprits = {}, dict[int, int]()
    for number, groups in guilty.items():
        shares = [len(differ(number, [one])[0]) / max(1, differ(number, [one])[1]) for one in groups]
        ranked = [groups[at] for at in sorted(range(len(groups)), key=lambda at: shares[at])]
        known = [row for group in ranked[1:] for row in differ(number, [group])[0]][:_PROBES]
        later = [row for group in ranked[1:] for row in group]
        candidates = [row for row in [*ranked[0], suspects[number], *later] if row not in known]
        clean = {row: answers[row] for row in known}
        searches[number] = _search(candidates, clean, max(found.noise, _TURNED), number, culprits)
    if finds_rows:
        yield from _together(list(searches.values()), found)
    for number, groups in guilty.items():
        rows, asked = differ(number, groups)
        found.alarms.append(
            Alarm(
                request=number,
                rows=tuple(requests[number]),
                asked=asked,
                differ=len(rows),
                changed=tuple(sorted([*rows, suspects[number]])),
                by=culprits.get(number),
            )
        )


def _search(
    candidates: list[int], clean: Answers, noise: float, number: int, culprits: dict[int, int]
) -> Generator[list[int], Answers, None]:
    """Find the row among *candidates* that changes the rows of *clean*, and put it into *culprits*.

    *clean* are rows that it has changed, with their answers without it. A search yields one group at a time.
    """
    probes = list(clean)
    if len(probes) < _FEWEST_PROBES:
        return

    def turned(answers: Answers) -> bool:
        asked = [row for row in probes if row in answers]
        changed = sum(answers[row] != clean[row] for row in asked)
        return bool(asked) and at_least(changed, len(asked), noise) <= _TURNED

    if turned((yield probes)):
        return  # The row itself is among them, or the answers change for another reason.
    while len(candidates) > 1:
        half = candidates[: (len(candidates) + 1) // 2]
        candidates = half if turned((yield [*half, *probes])) else candidates[len(half) :]
    if turned((yield [*candidates, *probes])):
        culprits[number] = candidates[0]


def _together(searches: list[Generator[list[int], Answers, None]], found: Findings) -> Asking:
    """Carry out *searches* side by side; they have no row in common."""
    groups = {}
    for search in searches:
        if (group := next(search, None)) is not None:
            groups[search] = group
    while groups:
        answers = yield from _asked(list(groups.values()), found)
        left = {}
        for search in groups:
            try:
                left[search] = search.send(answers)
            except StopIteration:
                continue
        groups = left


def _asked(groups: list[list[int]], found: Findings) -> Generator[list[list[int]], Answers, Answers]:
    groups = [group for group in groups if group]
    if not groups:
        return {}
    found.asked += sum(map(len, groups))
    return (yield groups)


def noise_of(
    groups: Sequence[Sequence[Hashable]], answered: Container[Hashable], cleared: Container[Hashable]
) -> tuple[list[int], float]:
    """Which of the *groups* were changed by a row in them, and the noise by the others.

    Args:
        groups: Requests, by what was answered in them.
        answered: What has an answer.
        cleared: What has an odd one there.
    """
    sizes = [sum(row in answered for row in group) for group in groups]
    odd = [sum(row in cleared for row in group) for group in groups]
    left = list(range(len(groups)))
    while True:
        rows, count = sum(sizes[at] for at in left), sum(odd[at] for at in left)
        rate = (count + 1) / (rows + 2)
        kept = [at for at in left if at_least(odd[at], sizes[at], rate) > _ODD / len(groups)]
        if len(kept) == len(left) or not kept:
            return [at for at in range(len(groups)) if at not in kept], min(0.5, 2 * rate)
        left = kept


def _scattered(rows: Sequence[int], groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """*rows* in small groups, rows of one of the *groups* as far apart as can be."""
    place = {row: at for at, group in enumerate(groups) for row in group}
    ordered = sorted(rows, key=lambda row: place[row])
    count = -(-len(ordered) // _FEW)
    return [ordered[at::count] for at in range(count)]


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), max(1, size))]
