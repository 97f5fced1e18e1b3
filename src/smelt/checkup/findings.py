"""The findings of `smelt.doctor()`, and their display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["fine", "absent", "broken"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        part: The section: `versions`, `extras`, `providers`, `settings`, `ledger`, `embedded model`, `live`.
        name: The thing that was checked.
        state: `fine`; `absent`, which is no problem by itself, and *text* says how to get it; or `broken`.
        text: The result, without keys.
    """

    part: str
    name: str
    state: State
    text: str


@dataclass(frozen=True, repr=False)
class Checkup:
    """All findings, in display order.

    Attributes:
        findings: One entry for each check, with `part`, `name`, `state` and `text`.

    Examples:
        >>> smelt.doctor().findings[0].part
        'versions'
    """

    findings: tuple[Finding, ...]

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The findings that are broken."""
        return tuple(one for one in self.findings if one.state == "broken")

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is broken. Absent things do not count, because they may not be needed."""
        return not self.broken

    def __repr__(self) -> str:
        width = max((len(one.name) for one in self.findings), default=0)
        lines = [self._headline()]
        for part, findings in self._parts():
            lines += ["", part, *(f"  {one.name:{width}}  {_shown(one)}" for one in findings)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from html import escape  # Late: `import smelt` should not load all HTML entities.

        rows = ""
        for part, findings in self._parts():
            rows += f'<tr><th colspan="2" style="text-align:left">{escape(part)}</th></tr>'
            for one in findings:
                cells = (f'<td style="text-align:left">{escape(text)}</td>' for text in (one.name, _shown(one)))
                rows += f"<tr>{''.join(cells)}</tr>"
        return f"<div><strong>{escape(self._headline())}</strong><table>{rows}</table></div>"

    def _headline(self) -> str:
        if self.is_healthy:
            return "smelt doctor: nothing is broken"
        return f"smelt doctor: broken: {', '.join(one.name for one in self.broken)}"

    def _parts(self) -> list[tuple[str, list[Finding]]]:
        names = dict.fromkeys(one.part for one in self.findings)
        return [(name, [one for one in self.findings if one.part == name]) for name in names]


def _shown(finding: Finding) -> str:
    return f"BROKEN: {finding.text}" if finding.state == "broken" else finding.text
