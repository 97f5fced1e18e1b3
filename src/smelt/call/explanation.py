"""The first request of a call, for `explain`; sends nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from smelt.call.preparation import Preparation
from smelt.call.workorder import work_of
from smelt.messages import counted
from smelt.plan.chunks import Line, Size
from smelt.plan.decisions import Decisions
from smelt.plan.media import Media, media_of
from smelt.plan.wire import draw_tokens, name_media, reply_schema, user_text


def explain(call: Preparation) -> Explanation:
    """The first request of *call*. Sends nothing."""
    work, provider = work_of(call), call.provider
    line = Line(order=call.arranged(call.folded.distinct), texts=call.source.texts, reject=lambda position, row: None)
    chunk = line.next(Size(rows=work.first_rows if work.is_auto else work.most_rows))
    texts = [row.text for row in chunk.rows] if chunk else []
    tokens = draw_tokens(len(texts), "".join(texts), random.Random(call.settings.seed))
    named = [name_media(token, text) for token, text in zip(tokens, texts, strict=True)]
    media = [
        (name, one) for text, (_, names) in zip(texts, named, strict=True) for name, one in _shown_media(text, names)
    ]
    capabilities, compact = provider.capabilities, work.compact if work.wire == "compact" else None
    layout = None if compact is None else compact.layout
    return Explanation(
        model=f"{provider.name}:{provider.model}",
        system=work.system if compact is None else compact.system,
        user=user_text([(token, text, None) for token, (text, _) in zip(tokens, named, strict=True)])
        if compact is None
        else compact.table.text(list(zip(tokens, texts, strict=True))),
        schema=reply_schema(work.output.fields, capabilities.dialect, capabilities.codec, tokens)
        if layout is None
        else layout.schema(capabilities.dialect),
        rows=len(texts),
        media=tuple(media),
        questions=tuple(
            Asked(name=name, words=words, options=tuple(one.word for one in decision.options))
            for name, words, decision in Decisions(tokens=tuple(tokens), fields=work.decisions).questions()
        ),
    )


def _shown_media(text: str, names: Sequence[str]) -> Iterator[tuple[str, Media]]:
    """The media of a row by their *names*, without their bytes. Those that cannot be read any more are left out."""
    for name, (_, medium) in zip(names, media_of(text), strict=True):
        with suppress(TypeError, ValueError):
            yield name, medium.loaded().without_data()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question to an endpoint for decisions.

    Attributes:
        name: Its name, which begins with the row token.
        words: Its words.
        options: What it offers.
    """

    name: str
    words: str
    options: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.words} [{' | '.join(self.options)}]"


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation:
    """The first request of a call, exactly as it would be sent, except for its random row tokens.

    Attributes:
        model: The model that would answer, as `provider:name`.
        system: The instructions (system message).
        user: The rows (user message).
        schema: JSON Schema of the reply.
        rows: How many rows it carries.
        media: The images, PDFs and audio clips that follow the rows, each with its name in *user*; without their bytes.
        questions: With `via="decisions"`, the questions, each with `name`, `words` and `options`. *schema* is then not
            sent.

    Examples:
        >>> sorted(df.smelt.explain("Classify {name}.", Company, model=scripted).schema)
        ['additionalProperties', 'properties', 'required', 'type']
    """

    model: str
    system: str
    user: str
    schema: Mapping[str, Any]
    rows: int
    media: tuple[tuple[str, Media], ...] = ()
    questions: tuple[Asked, ...] = ()

    def __repr__(self) -> str:
        parts = [f"--- {name}\n{text}" for name, text in self._parts()]
        return "\n\n".join([f"to {_shown(self.model)}", *parts])

    def _repr_html_(self) -> str:
        from smelt.report.summary import texts

        headline = f"of the first request to {self.model}, {counted(self.rows, 'row')}"
        return texts("Explanation", headline, self._parts(), pictures=self.media)

    def _parts(self) -> list[tuple[str, str]]:
        schema = json.dumps(self.schema, indent=2, ensure_ascii=False)
        media = "\n".join(f"{name}: {one}" for name, one in self.media)
        questions = "\n".join(map(str, self.questions))
        return [
            ("system", _shown(self.system)),
            ("user", _shown(self.user)),
            *([("media", _shown(media))] if media else []),
            ("questions", _shown(questions)) if questions else ("reply schema", _shown(schema)),
        ]


def _shown(text: str) -> str:
    """*text* without control characters, so that no row controls the terminal. `user` and `system` keep theirs."""
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text)
