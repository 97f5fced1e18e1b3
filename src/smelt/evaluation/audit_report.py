"""What `audit` returns: whether rows changed the answers to their neighbours."""

from __future__ import annotations

from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from smelt.evaluation.scores import Share
from smelt.evaluation.summary import html_table
from smelt.frames.overview import integers, table
from smelt.messages import counted, paid

if TYPE_CHECKING:
    from smelt.frames.base import Frame
    from smelt.trust.audit import Findings


class AuditReport:
    """Whether rows of a run changed the answers to the rows in the same request. It holds labels, and no text.

    Attributes:
        requests: Requests with more than one row, of which one row each was asked again. With votes nothing is asked
            again: all their requests.
        rate: The rows whose answer differs in other company, out of those asked again first. With votes: the votes that
            are not what most votes for their row say.
        noise: How often the model disagrees with itself: the probability that two answers to one row differ. It is
            estimated on the high side: few requests cannot show that it is low.
        rows: Rows that the audit asked, each time counted.
        quarantined: The labels of the rows that change the others, with `quarantine=True` or by votes.
        changed: The labels of rows whose answer was found to be another without its company.
        mended: With `quarantine=True`: the rows of the alarms with their new answers, as a frame of the caller's
            library with the caller's index; else None. The ledger has these answers, too, so the same run gets them.
        cost_usd: Dollars; None if a price is not known.
        is_whole: Whether the audit came to its end, and not to that of the budget or the deadline.

    Examples:
        >>> result = df.smelt.run("Classify {name}.", Company, model=scripted)
        >>> report = df.smelt.audit("Classify {name}.", Company, result=result, model=scripted)
        >>> report.requests, report.rate.count, len(report.alarms)
        (1, 0, 0)
    """

    def __init__(self, found: Findings, frame: Frame, mended: Any, *, cost_usd: float | None, is_whole: bool) -> None:
        """Keep what was found; frames are built at the first access."""
        self.requests = found.requests
        self.rate = Share(count=found.differing, of=found.sampled)
        self.noise = found.noise
        self.rows = found.asked
        self.mended = mended
        self.cost_usd = cost_usd
        self.is_whole = is_whole
        self.quarantined = frame.labels(list(dict.fromkeys(one.by for one in found.alarms if one.by is not None)))
        self.changed = frame.labels(sorted({row for one in found.alarms for row in one.changed}))
        self._found = found
        self._frame = frame

    @cached_property
    def alarms(self) -> Any:
        """One row per request whose answers were changed by their company, as a frame of the caller's library.

        Columns: `request`, its number in `result.company`, or a greater one for answers of the ledger; `rows` in it;
        `asked`, those that were asked again without that company; `differ`, those of them with another answer; `by`,
        the position of the row that changes the others, if it was sought and found.
        """
        found = self._found.alarms
        columns = [
            integers("request", [one.request for one in found]),
            integers("rows", [len(one.rows) for one in found]),
            integers("asked", [one.asked for one in found]),
            integers("differ", [one.differ for one in found]),
            integers("by", [one.by for one in found]),
        ]
        return table(self._frame.native, columns)

    def __repr__(self) -> str:
        return "\n".join([f"AuditReport({self._headline()})", *(f"  {name}: {text}" for name, text in self._lines())])

    def _repr_html_(self) -> str:
        lines = html_table(None, [[name, text] for name, text in self._lines()])
        return f"<div><strong>AuditReport</strong> {escape(self._headline())}{lines}</div>"

    def _headline(self) -> str:
        alarms, requests = len(self._found.alarms), counted(self.requests, "request")
        end = "" if self.is_whole else ", ended early"
        if not alarms:
            return f"no alarm in {requests}{end}"
        return f"{alarms:,} of {requests} with answers that were changed by another row{end}"

    def _lines(self) -> list[tuple[str, str]]:
        value, interval = self.rate.value, self.rate.interval
        share = (
            "" if value is None or interval is None else f" ({value:.1%}; 95% {interval[0]:.1%} to {interval[1]:.1%})"
        )
        noise = ("noise", f"taken as {self.noise:.1%}: so often do two answers to one row differ")
        asked = [("asked", counted(self.rows, "row")), ("cost", paid(self.cost_usd, self.rows))]
        if self._found.unit == "vote":
            differ = (
                f"{self.rate.count:,} of {counted(self.rate.of, 'vote')} differ from most votes for their row{share}"
            )
            lines = [("in other company", differ), noise, *asked[:1]]
        else:
            differ = f"{self.rate.count:,} of {counted(self.rate.of, 'row')} answered otherwise{share}"
            closely = ("looked at closely", counted(self._found.suspects, "request"))
            lines = [("in other company", differ), noise, closely, *asked]
        if self._found.alarms:
            lines.append(("changed", f"{counted(len(self.changed), 'row')}, in .changed"))
        if self.quarantined:
            lines.append(("changed by", ", ".join(map(repr, self.quarantined[:5]))))
        return lines
