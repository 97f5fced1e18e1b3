"""A hostile model: replies as real servers give them on a bad day, each oddity by its name and with its probability.

    scenario = fake.scenario(answers=RULES, oddities=oddities.rates(0.05))

Their names are in `oddities.py`. They are drawn for every request, each by itself, so that they meet in one reply as
they do in the wild. They strike in the order in which a reply is made: values and JSON of rows (`oddrows.py`), the
document and what stands around it (`oddtext.py`), envelope and transport, or a refusal in place of all that
(`oddwire.py`).

The right answers still follow from the rows (`answers.py`); drafts have false values under the right ids. So whatever a
reader makes of a reply, a wrong value, or one on the wrong row, is a fault of the reader's.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

from tests.fakeserver.answers import Codec
from tests.fakeserver.faults import Response
from tests.fakeserver.messages import Json, WireProtocol
from tests.fakeserver.model import BYTES_PER_TOKEN, Row
from tests.fakeserver.oddities import NAMES, ONCE, UNMARKED
from tests.fakeserver.oddrows import DAMAGES, TERSE_DAMAGES, VALUES, drafts, written
from tests.fakeserver.oddtext import AROUND, SHAPES, Sheet, plain
from tests.fakeserver.oddwire import ENVELOPES, INSTEAD, RESPONSES, THOUGHTS, Letter, events
from tests.fakeserver.rowfaults import Entry, Scene

FIRST_ONCE = 6  # Requests before one of those that come once.


def check_names(oddities: Mapping[str, float]) -> None:
    """Refuse a name that is not known."""
    if unknown := sorted(oddities.keys() - set(NAMES)):
        raise ValueError(f"unknown oddities {unknown}; there are {NAMES}")


class Mood:
    """Which oddities strike one reply, and what they make of it."""

    def __init__(self, struck: Collection[str], rng: random.Random) -> None:
        self.struck = struck
        self._rng = rng
        self._draft = ""
        self._text = ""

    def instead(self, rows: Sequence[Row], protocol: WireProtocol, scene: Scene) -> tuple[str, Response] | None:
        """What comes in place of an answer, with its name."""
        for name in INSTEAD:
            if name in self.struck and (response := INSTEAD[name](rows, protocol, scene)) is not None:
                return name, self._sent(response)
        return None

    @property
    def thought(self) -> int:
        """Tokens of thought before the text."""
        return max((spent for name, spent in THOUGHTS.items() if name in self.struck), default=0)

    @property
    def is_silent(self) -> bool:
        """Whether the provider does not say that it thought."""
        return "thoughts_untold" in self.struck

    def write(self, entries: list[Entry], scene: Scene, codec: Codec) -> str:
        """The text of a reply to *entries*.

        Half of a draft that no mark sets apart is half of an answer to any reader, so there is none where it would be
        cut.
        """
        text = self._written(entries, scene, codec)
        if scene.max_tokens is not None and not UNMARKED.isdisjoint(self.struck):
            room = (scene.max_tokens - self.thought) * BYTES_PER_TOKEN
            if len(text.encode()) > room:
                self.struck = [name for name in self.struck if name not in UNMARKED]
                text = self._written(entries, scene, codec)
        return text

    def _written(self, entries: list[Entry], scene: Scene, codec: Codec) -> str:
        false = drafts(entries, scene)
        if "fields_in_row" in self.struck:
            false = VALUES["fields_in_row"](false, scene)
        for name in VALUES:
            if name in self.struck:
                entries = VALUES[name](entries, scene)
        rows = [written(one, codec=codec) for one in entries]
        bare = [written(one, codec=codec, with_id=False) for one in entries]
        whole = self._rng.sample(range(len(rows)), len(rows))
        damages = DAMAGES if codec in ("array", "keyed") else TERSE_DAMAGES
        for name in damages:
            if name in self.struck and whole:  # One damage a row: two of them may make another text of it.
                at = whole.pop()
                rows[at], bare[at] = damages[name](rows[at]), damages[name](bare[at])
        ids, false_rows = [one.id for one in entries], [written(one, codec=codec) for one in false]
        shape = next((SHAPES[name] for name in SHAPES if name in self.struck), plain)
        false_bare = [written(one, codec=codec, with_id=False) for one in false]
        self._draft = shape(Sheet([one.id for one in false], false_rows, false_bare, false_rows), codec)
        text = shape(Sheet(ids, rows, bare, false_rows), codec)
        for name in AROUND:
            if name in self.struck:
                text = AROUND[name](text, self._draft, scene)
        return "" if "empty" in self.struck else text

    def enclose(self, body: Json, text: str, protocol: WireProtocol) -> Json:
        """The reply's JSON, changed in place."""
        letter = Letter(body, text, self._draft)
        for name, changes in ENVELOPES.items():
            if name in self.struck and protocol.name in changes and text:
                changes[protocol.name](letter)
        return body

    def send(self, response: Response, protocol: WireProtocol, *, may_stream: bool) -> Response:
        """The finished reply on its way."""
        if (
            "stream" in self.struck
            and may_stream
            and response.status == 200
            and protocol.name not in ("google", "bedrock")
        ):
            return events(response)
        return self._sent(response)

    def _sent(self, response: Response) -> Response:
        for name, change in RESPONSES.items():
            if name in self.struck and "content-encoding" not in response.headers:
                response = change(response)
        return response


class Temper:
    """Draws what strikes each request of a scenario."""

    def __init__(self, oddities: Mapping[str, float], rng: random.Random) -> None:
        check_names(oddities)
        self._oddities = list(oddities.items())
        self._rng = rng
        self._done: set[str] = set()

    def mood(self, number: int) -> Mood:
        """What strikes the request *number*, from 0."""
        draw = self._rng.random
        struck = [name for name, rate in self._oddities if draw() < rate]
        if not ONCE.isdisjoint(struck):
            struck = [one for one in struck if one not in ONCE or (number >= FIRST_ONCE and one not in self._done)]
            self._done.update(ONCE.intersection(struck))
        return Mood(struck, self._rng)
