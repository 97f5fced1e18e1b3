"""A hostile model: replies as real servers give them on a bad day, each oddity by its name and with its probability.

    scenario = fake.scenario(answers=RULES, oddities=hostile.rates(0.05))

Oddities are drawn for every request, each by itself, so that they meet in one reply as they do in the wild. They strike in
the order in which a reply is made: values and JSON of rows (`oddrows.py`), the document and what stands around it
(`oddtext.py`), envelope and transport, or a refusal in place of all that (`oddwire.py`).

Where an oddity was seen: issue 12 of this project's tracker, and these threads on GitHub, read in November 2026.

    in_reasoning…        vllm-project/vllm#48863 and #50948, ai-dynamo/dynamo#11203
    in_tool              browser-use/browser-use#5011
    thought_before       NousResearch/hermes-agent#4748 (Mistral), ShaftHQ/SHAFT_ENGINE#4099 (Gemini)
    text_in_parts        mistralai/client-python#252
    rows_as_string       browser-use/browser-use#4521, anthropics/anthropic-tools#29
    bare_think_end       logancyang/obsidian-copilot#2153, ml-explore/mlx-lm#877, lmstudio-ai/lmstudio-bug-tracker#1495
    begin_of_thought     Infinitix-LLC/gpt_markdown#42, thought_tag too
    gemma_channel        noonghunna/club-3090#289
    harmony              vllm-project/vllm#35906, NVIDIA/TensorRT-LLM#9256, sgl-project/sglang#9259
    stripped_harmony     Augustas11/macprovider#743
    tagged, boxed        ollama/ollama#8965
    odd_fence            keephq/keep#6670
    trailing_blanks      ollama/ollama#4446
    unescaped_quote      agno-agi/agno#2128, anthropics/claude-code#55886
    raw_control          567-labs/instructor#644
    empty                langgenius/dify#13068 (DeepSeek)
    blank_lines          router-for-me/CLIProxyAPI#2690 (OpenRouter), deepseek-ai/DeepSeek-R1#91
    comment_lines        router-for-me/CLIProxyAPI#417 (OpenRouter)
    blanks_and_dot       BerriAI/litellm#31413 (OpenRouter)
    no_choices           langchain-ai/langchain#35236 (vLLM), promptfoo/promptfoo#10203
    no_parts             0xPlaygrounds/rig#1030, pydantic/pydantic-ai#631 (Gemini)
    end_empty            BerriAI/litellm#20732; end_unknown: #21348

The right answers still follow from the rows (`answers.py`); drafts have false values under the right ids. So whatever a
reader makes of a reply, a wrong value, or one on the wrong row, is a fault of the reader's.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

from tests.fakeserver.answers import Codec
from tests.fakeserver.faults import Response
from tests.fakeserver.messages import Json, WireProtocol
from tests.fakeserver.model import Row
from tests.fakeserver.oddrows import DAMAGES, VALUES, drafts, written
from tests.fakeserver.oddtext import AROUND, SHAPES, Sheet, plain
from tests.fakeserver.oddwire import ENVELOPES, INSTEAD, RESPONSES, THOUGHTS, Letter, events
from tests.fakeserver.rowfaults import Entry, Scene

ONCE = frozenset({"one_401", "one_404"})  # At most once in a scenario, and not among its first requests.
FIRST_ONCE = 6
NAMES = (*INSTEAD, "empty", *THOUGHTS, *VALUES, *DAMAGES, *SHAPES, *AROUND, *ENVELOPES, *RESPONSES, "stream")

# What a reply loses at the most, if it is read as well as can be. All other oddities lose nothing.
COSTS_ALL = frozenset(
    ["empty", "page", "bad_gateway", "blanks_and_dot", "no_choices", "no_parts", "no_candidates", "validate_failed"]
    + ["endless_think", "endless_bracket", "endless_harmony", "two_documents", "rows_twice"]
)
COSTS_A_ROW = frozenset(DAMAGES) - {"raw_newline", "raw_tab", "raw_control"}
# Rows of certain texts only.
BY_WORDS = frozenset({"firewall", "quoting"})


def rates(rate: float, *, but: Collection[str] = (), only: Collection[str] = NAMES) -> dict[str, float]:
    """`oddities=` with the same probability for each; those that certain words bring about strike whenever they occur."""
    return {name: 1.0 if name in BY_WORDS else rate for name in NAMES if name in only and name not in but}


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
        """The text of a reply to *entries*."""
        false = drafts(entries, scene)
        for name in VALUES:
            if name in self.struck:
                entries = VALUES[name](entries, scene)
        rows = [written(one) for one in entries]
        bare = [written(one, with_id=False) for one in entries]
        for name in DAMAGES:
            if name in self.struck and rows:
                at = self._rng.randrange(len(rows))
                rows[at], bare[at] = DAMAGES[name](rows[at]), DAMAGES[name](bare[at])
        ids, false_rows = [one.id for one in entries], [written(one) for one in false]
        shape = next((SHAPES[name] for name in SHAPES if name in self.struck), plain)
        false_bare = [written(one, with_id=False) for one in false]
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
        if "stream" in self.struck and may_stream and response.status == 200 and protocol.name != "google":
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
