"""The kinds of oddities of the hostile model, where each was seen, and with which probability they strike.

A kind is what one fault of a reader would let through; its variants are the shapes in which it was seen. Without a
source here, it is a case of the issue "Real servers" of this project. The threads are GitHub's, read in November 2026.

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
"""

from __future__ import annotations

from collections.abc import Collection

KINDS: dict[str, tuple[str, ...]] = {
    "thoughts": ("thoughts_300", "thoughts_800", "thoughts_3000", "thoughts_untold"),
    "around": (
        "tagged",
        "boxed",
        "odd_fence",
        "odd_prose",
        "stray_end",
        "stray_turn",
        "stray_eos",
        "trailing_blanks",
    ),
    "draft_in_thought": (
        "think_draft",
        "bare_think_end",
        "bracket_think",
        "diamond_think",
        "reasoning_tag",
        "thinking_tag",
        "thought_tag",
        "begin_of_thought",
        "gemma_channel",
        "seed_think",
        "two_thoughts",
        "thought_behind",
    ),
    "made_up_turn": ("made_up_turn",),
    "corrected": ("corrected_fence", "repeated"),
    "two_documents": ("two_documents",),
    "echo": ("format_echo", "schema_echo"),
    "harmony": ("harmony", "stripped_harmony"),
    "phases": ("commentary", "commentary_words", "thought_before", "draft_beside"),
    "strings": ("raw_newline", "raw_tab", "raw_control", "lone_dollar", "lone_backslash", "escaped_quote"),
    "numbers": ("whole_floats", "bare_decimals"),
    "place": ("in_reasoning", "in_reasoning_content", "in_reasoning_empty", "in_tool", "text_in_parts"),
    "shape": (
        "rows_as_string",
        "bare_array",
        "bare_object",
        "by_token",
        "rows_by_token",
        "lines",
        "documents",
        "enclosed",
        "another_name",
        "beside_others",
        "pretty",
        "encoded_twice",
    ),
    "compression": ("gzipped", "deflated", "deflated_raw", "packed_twice"),
    "transport": ("created", "stream", "blank_lines", "comment_lines", "latin_type"),
    "error_beside": ("error_beside",),
    "no_candidates": ("no_candidates", "no_parts"),
    "spoilt_row": (
        "unescaped_quote",
        "hex_escape",
        "missing_comma",
        "trailing_comma",
        "single_quotes",
        "python_words",
        "unquoted_keys",
        "comment",
        "missing_brace",
        "extra_brace",
        "plus_sign",
        "curly_quotes",
        "undefined",
    ),
    "brackets": ("trailing_comma_of_rows", "missing_comma_of_rows", "unfinished", "more_brackets"),
    "rows": ("foreign_first", "equal_twice", "odd_fields", "fields_in_row"),
    "ends": ("end_as_object", "end_as_list", "end_empty", "end_unknown"),
    "usage": ("usage_null", "usage_as_list", "usage_as_text"),
    "second_answer": ("more_candidates",),
    "firewall": ("firewall",),
    "quoting": ("quoting",),
    "one_401": ("one_401",),
    "one_404": ("one_404",),
    "rows_twice": ("rows_twice",),
    "endless_thought": ("endless_think", "endless_bracket", "endless_harmony"),
    "empty": ("empty", "no_choices", "blanks_and_dot"),
    "pages": ("page", "bad_gateway"),
    "validate_failed": ("validate_failed",),
}
NAMES = tuple(name for names in KINDS.values() for name in names)

BY_WORDS = frozenset({"firewall", "quoting"})  # They strike the rows that hold certain words, whenever they come.
ONCE = frozenset({"one_401", "one_404"})  # At most once in a scenario, and not among its first requests.
UNMARKED = frozenset({"corrected_fence", "two_documents", "rows_twice"})  # Drafts that look like answers.
# Kinds that leave nothing to read: every row of the reply has to be asked again, whatever the reader does.
LOST = ("rows_twice", "endless_thought", "empty", "pages", "validate_failed")


def rates(rate: float, *, kinds: Collection[str] = tuple(KINDS), lost: float | None = None) -> dict[str, float]:
    """`oddities=` where each of the *kinds* strikes with the probability *rate*, its variants sharing it.

    Args:
        rate: The probability per request.
        kinds: Which.
        lost: The probability of each of the kinds in `LOST`; *rate* unless given.
    """
    drawn: dict[str, float] = {}
    for kind in kinds:
        share = (rate if lost is None or kind not in LOST else lost) / len(KINDS[kind])
        drawn |= {name: 1.0 if name in BY_WORDS else rate if name in ONCE else share for name in KINDS[kind]}
    return drawn


def each(rate: float, *, but: Collection[str] = ()) -> dict[str, float]:
    """`oddities=` where every variant has the probability *rate*: several strike almost every reply."""
    return {name: 1.0 if name in BY_WORDS else rate for name in NAMES if name not in but}
