"""What a model bears, by its name: whether it thinks, how much it can be told to, and whether it takes a temperature.

From the vendors' pages on models and thinking, and from the profiles of pydantic-ai-slim 2.68 (pydantic_ai/profiles),
whose authors asked the APIs. Read on 29 November 2026; `tests/providers/test_traits.py` compares the two. A model that
is not in the table is asked without assumptions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""How much a model can be told to think, in ascending order."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What is known of a model.

    Attributes:
        thinks: Whether it thinks unless it is told not to.
        levels: The levels that it takes, in ascending order; `none` is off. None: not known.
        sampling: When it takes temperature, top_p and penalties: always, only while it does not think, or never.
        budgeted: Whether a number of tokens says how much it thinks, in place of a level.
        off: What type of thinking switches thoughts off, where the API has such types.
    """

    thinks: bool = False
    levels: tuple[str, ...] | None = None
    sampling: str = "always"
    budgeted: bool = False
    off: str = "disabled"

    @property
    def can_stop(self) -> bool:
        """Whether it can be told not to think."""
        return not self.thinks or "none" in (self.levels or ())

    @property
    def grades(self) -> tuple[str, ...]:
        """The levels at which it thinks; empty if it can only be switched on and off, or not even that."""
        return tuple(level for level in self.levels or () if level != "none")


def traits_of(model: str) -> Traits:
    """What is known of *model*, by the longest beginning of its name that the table has.

    Args:
        model: The name, as the vendor calls it; what stands before its last slash is ignored.
    """
    name = _REGION.sub("", model.lower().rpartition("/")[2])
    known = max((start for start in _TABLE if name.startswith(start)), key=len, default=None)
    traits = _TABLE[known] if known else Traits()
    if _SAYS_NO.search(name):
        return replace(traits, thinks=False, levels=())
    if _SAYS_SO.search(name):
        return replace(traits, thinks=True, levels=traits.grades)
    return traits


# Part of a name that says whether the model thinks, such as "Qwen3-4B-Instruct-2507"; and how Bedrock begins its names,
# as in "eu.anthropic.claude-haiku-4-5-20251001-v1:0".
_SAYS_SO = re.compile(r"think|reason")
_SAYS_NO = re.compile(r"non-?(think|reason)|no-?think|instruct")
_REGION = re.compile(r"^([a-z]+\.)?[a-z]+\.(?=[a-z])")

_NEVER = Traits(levels=())
_ALWAYS = Traits(thinks=True, levels=())  # And nothing says how much.
_SWITCH = Traits(thinks=True, levels=("none",))
_ON_REQUEST = Traits(levels=("none",))


def _some(first: str, last: str) -> tuple[str, ...]:
    return LEVELS[LEVELS.index(first) : LEVELS.index(last) + 1]


def _openai(first: str, last: str, *, thinks: bool = True) -> Traits:
    levels = tuple(level for level in _some(first, last) if level != "minimal" or first == "minimal")
    sampling = "without thoughts" if "none" in levels else "never"
    return Traits(thinks=thinks, levels=levels, sampling=sampling)


def _adaptive(*levels: str, thinks: bool = False, sampling: str = "never", off: str = "disabled") -> Traits:
    return Traits(thinks=thinks, levels=levels, sampling=sampling, off=off)


_CLAUDE_BUDGETS = Traits(levels=LEVELS, budgeted=True)
_CLAUDE_4_6 = _adaptive("none", "low", "medium", "high", "max", sampling="always")
_CLAUDE_4_7 = _adaptive("none", "low", "medium", "high", "xhigh", "max")
_CLAUDE_5 = replace(_CLAUDE_4_7, thinks=True)
_CLAUDE_ALWAYS = replace(_CLAUDE_5, levels=_CLAUDE_5.grades)
_GEMINI = Traits(thinks=True, levels=_some("minimal", "high"))  # The least is not quite off.
_GEMINI_FROM_LOW = Traits(thinks=True, levels=_some("low", "high"))

_TABLE = {
    "gpt-3": _NEVER,
    "gpt-4": _NEVER,
    "chatgpt-4o": _NEVER,
    "gpt-5": _openai("minimal", "high"),
    "gpt-5-chat": _NEVER,
    "gpt-5-codex": _openai("low", "high"),
    "gpt-5-pro": _openai("high", "high"),
    "gpt-5.1": _openai("none", "high", thinks=False),
    "gpt-5.1-chat": _openai("medium", "medium"),
    "gpt-5.1-codex": _openai("low", "high"),
    "gpt-5.2": _openai("none", "xhigh", thinks=False),
    "gpt-5.2-chat": _openai("medium", "medium"),
    "gpt-5.2-pro": _openai("medium", "xhigh"),
    "gpt-5.3": _openai("none", "xhigh", thinks=False),
    "gpt-5.3-chat": _openai("medium", "medium"),
    "gpt-5.4": _openai("none", "xhigh", thinks=False),
    "gpt-5.4-pro": _openai("medium", "xhigh"),
    "gpt-5.5": _openai("none", "xhigh"),
    "gpt-5.5-pro": _openai("medium", "xhigh"),
    "gpt-5.6": _openai("none", "max"),
    "gpt-6": _openai("none", "max"),
    "gpt-6-astra": _openai("low", "max"),
    "gpt-6.1-sol": _openai("low", "max"),
    "gpt-oss": Traits(thinks=True, levels=_some("low", "high")),
    "o1": _openai("low", "high"),
    "o3": _openai("low", "high"),
    "o4": _openai("low", "high"),
    "claude-2": _NEVER,
    "claude-3": _NEVER,
    "claude-3-7": _CLAUDE_BUDGETS,
    "claude-haiku-4": _CLAUDE_BUDGETS,
    "claude-opus-4": _CLAUDE_BUDGETS,
    "claude-sonnet-4": _CLAUDE_BUDGETS,
    "claude-opus-4-6": _CLAUDE_4_6,
    "claude-sonnet-4-6": _CLAUDE_4_6,
    "claude-opus-4-7": _CLAUDE_4_7,
    "claude-opus-4-8": _CLAUDE_4_7,
    "claude-haiku-5": _CLAUDE_5,
    "claude-opus-5": _CLAUDE_5,
    "claude-sonnet-5": _CLAUDE_5,
    "claude-sonnet-5-5": replace(_CLAUDE_5, off="between_tools"),
    "claude-opus-5-5": _CLAUDE_ALWAYS,
    "claude-fable": _CLAUDE_ALWAYS,
    "claude-mythos": _CLAUDE_ALWAYS,
    "gemini-1": _NEVER,
    "gemini-2.0": _NEVER,
    "gemini-2.5": Traits(thinks=True, levels=LEVELS, budgeted=True),
    "gemini-2.5-flash-image": _NEVER,
    "gemini-2.5-flash-lite": Traits(levels=LEVELS, budgeted=True),
    "gemini-2.5-pro": Traits(thinks=True, levels=LEVELS[1:], budgeted=True),
    "gemini-3": _GEMINI,
    "gemini-3-pro": Traits(thinks=True, levels=("low", "high")),
    "gemini-3.1-pro": _GEMINI_FROM_LOW,
    "gemini-3.7-flash": _GEMINI_FROM_LOW,
    "gemini-3.8-flash": _GEMINI_FROM_LOW,
    "gemini-4": _GEMINI_FROM_LOW,
    "gemma-3": _NEVER,
    "gemma-4": _ON_REQUEST,
    "qwen3": _SWITCH,
    "qwen3-coder": _NEVER,
    "qwq": _ALWAYS,
    "deepseek-chat": _NEVER,
    "deepseek-flash": Traits(thinks=True, levels=("none", "low", "high", "max")),
    "deepseek-v4": Traits(thinks=True, levels=("none", "low", "high", "max")),
    "deepseek-v3.1": _ON_REQUEST,
    "deepseek-v3.2": _ON_REQUEST,
    "deepseek-r1": _ALWAYS,
    "deepseek-reasoner": _ALWAYS,
    "magistral": _ALWAYS,
    "grok-3-mini": Traits(thinks=True, levels=("none", "low", "high")),
    "grok-4": Traits(thinks=True),
    "grok-4.3": Traits(thinks=True, levels=("none", "low", "medium", "high")),
    "grok-4.5": Traits(thinks=True, levels=_some("low", "high")),
    "grok-4.6": Traits(thinks=True, levels=_some("low", "high")),
    "grok-4.7": Traits(thinks=True, levels=_some("low", "xhigh")),
    "glm-4.5": _SWITCH,
    "glm-4.6": _SWITCH,
    "glm-4.7": _SWITCH,
    "glm-5": _SWITCH,
    "glm-5.3": Traits(thinks=True, levels=("low", "high", "max")),
    "kimi-k2.5": _SWITCH,
    "minimax-m": _ALWAYS,
    "seed-oss": Traits(thinks=True),
}
