"""What `estimate` and `explain` give back: what a call would send and cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smelt.plan.prompt import sent_columns
from smelt.progress.words import counted, price
from smelt.result import printable


@dataclass(frozen=True, kw_only=True, repr=False)
class Estimate:
    """What a call would take, if nothing has to be asked twice.

    Attributes:
        rows: The caller's rows.
        distinct_rows: Rows that differ, each of which is paid once.
        requests: Requests.
        input_tokens: Estimated from the bytes of the text that would be sent, four to a token. What a provider adds for
            the reply schema, or takes off for what it has cached, is its own matter.
        output_tokens: Estimated from the output model, likewise, with the thoughts of a model that thinks.
        cost_usd: Dollars by the published prices; None where the price is not known.
        model: The model that would answer, as `provider:name`.
        columns: The columns that would be sent.
        thinking_tokens: The thoughts among the output tokens: what earlier runs of this process saw, else a guess by the
            model's name, which may be far off.

    Examples:
        >>> print(df.smelt.estimate("Classify {name}.", Company, model=scripted))
        2 rows (2 distinct) in about 1 request to scripted:script: about ... tokens in, ... out, price unknown
        sends 1 column: name
    """

    rows: int
    distinct_rows: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    model: str
    columns: tuple[str, ...] = ()
    thinking_tokens: int = 0

    def __repr__(self) -> str:
        """Two lines for a person."""
        first = (
            f"{counted(self.rows, 'row')} ({self.distinct_rows:,} distinct) in about {counted(self.requests, 'request')} to {self.model}: "
            f"about {self.input_tokens:,} tokens in, {self.output_tokens:,} out{self._thoughts}, {self._cost}"
        )
        sent = [f"sends {sent_columns(self.columns)}"] if self.columns else []
        return "\n".join(map(printable, [first, *sent]))

    def _repr_html_(self) -> str:
        from smelt.report.summary import table

        lines = [
            ("rows", f"{self.rows:,} ({self.distinct_rows:,} distinct)"),
            ("requests", f"about {self.requests:,}"),
            ("tokens", f"about {self.input_tokens:,} in, {self.output_tokens:,} out{self._thoughts}"),
            ("cost", self._cost),
            *([("sends", sent_columns(self.columns))] if self.columns else []),
        ]
        return table("Estimate", f"for {self.model}", lines)

    @property
    def _thoughts(self) -> str:
        return f" (perhaps {self.thinking_tokens:,} of them thoughts)" if self.thinking_tokens else ""

    @property
    def _cost(self) -> str:
        if not self.cost_usd:
            return "price unknown" if self.cost_usd is None else price(self.cost_usd)
        shown = price(self.cost_usd)
        return shown if shown.startswith("<") else f"about {shown}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation:
    """The first request of a call, exactly as it would be sent but for its random row tokens.

    Attributes:
        model: The model that would answer, as `provider:name`.
        system: The instructions.
        user: The rows.
        schema: JSON Schema of the reply.
        rows: How many rows it carries.

    Examples:
        >>> sorted(df.smelt.explain("Classify {name}.", Company, model=scripted).schema)
        ['additionalProperties', 'properties', 'required', 'type']
    """

    model: str
    system: str
    user: str
    schema: Mapping[str, Any]
    rows: int

    def __repr__(self) -> str:
        parts = [f"--- {name}\n{text}" for name, text in self._parts()]
        return "\n\n".join([f"to {_shown(self.model)}", *parts])

    def _repr_html_(self) -> str:
        from smelt.report.summary import texts

        return texts("Explanation", f"of the first request to {self.model}, {counted(self.rows, 'row')}", self._parts())

    def _parts(self) -> list[tuple[str, str]]:
        schema = json.dumps(self.schema, indent=2, ensure_ascii=False)
        return [("system", _shown(self.system)), ("user", _shown(self.user)), ("reply schema", _shown(schema))]


def _shown(text: str) -> str:
    """*text* as a terminal can show it: the rows are anyone's, and may not steer it. `user` and `system` are as they are."""
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text)
