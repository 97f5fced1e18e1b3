"""Does a row change the answers to the rows in the same request? Says so by the votes for each row, and asks nothing.

Each vote for a row was given in other company. So a request in which many votes are not what most votes for their row
say was changed by its company: more than the model's own noise explains, by an exact binomial test that is shared out
over all requests. A row that was in such a request each time it was asked is the one that does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

from smelt.trust.audit import Alarm, Findings, noise_of

Ballot = tuple[int, Hashable]
"""The number of a request, and the answer that it gave."""


def audit_votes(votes: Mapping[int, Sequence[Ballot]]) -> Findings:
    """Look for requests whose rows were changed by their company.

    Args:
        votes: By row. Rows without an answer that most of their votes give are left out.
    """
    usual = {row: known for row, ones in votes.items() if (known := _usual(ones)) is not None}
    requests: dict[int, list[int]] = {}
    odd: set[tuple[int, int]] = set()
    for row in usual:
        for request, answer in votes[row]:
            requests.setdefault(request, []).append(row)
            if answer != usual[row][0]:
                odd.add((request, row))
    groups = [[(request, row) for row in rows] for request, rows in requests.items() if len(rows) > 1]
    every = {pair for group in groups for pair in group}
    changed, noise = noise_of(groups, every, odd) if groups else ([], 0.0)
    alarmed = {groups[at][0][0] for at in changed}
    found = Findings(requests=len(groups), sampled=len(every), differing=len(odd & every), noise=noise, unit="vote")
    for request in sorted(alarmed):
        rows = requests[request]
        differ = [row for row in rows if (request, row) in odd]
        always = [row for row in rows if len(votes[row]) > 1 and all(number in alarmed for number, _ in votes[row])]
        by = always[0] if len(always) == 1 else None
        one = Alarm(
            request=request, rows=tuple(rows), asked=len(rows), differ=len(differ), changed=tuple(differ), by=by
        )
        found.alarms.append(one)
    return found


def _usual(ballots: Sequence[Ballot]) -> tuple[Hashable] | None:
    """The answer that most *ballots* give; None if they do not say."""
    ranked = Counter(answer for _, answer in ballots).most_common(2)
    if len(ballots) < 2 or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return (ranked[0][0],)
