"""Odd texts: how a hostile model puts its rows into a document, and what it writes around it.

    SHAPES    (rows, as JSON, by id)        -> the document; at most one strikes
    AROUND    (text, draft, scene)          -> the text with more before, behind or around it; the inner ones come first

A draft is a document of the same shape with false values under the right ids. Where it stands is the oddity; what it
holds may never become an answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fakeserver.answers import Codec
from tests.fakeserver.oddrows import bare_number, with_bare_numbers
from tests.fakeserver.rowfaults import Scene


@dataclass(frozen=True)
class Sheet:
    """What a document is made of: the JSON of each row, with its id in it and without it."""

    ids: Sequence[str]
    rows: Sequence[str]
    bare: Sequence[str]
    drafts: Sequence[str]


def plain(sheet: Sheet, codec: Codec) -> str:
    """The document that was asked for."""
    return _keyed(sheet) if codec == "keyed" else '{"rows":[' + ",".join(sheet.rows) + "]}"


def _keyed(sheet: Sheet) -> str:
    pairs = (f"{json.dumps(one)}:{row}" for one, row in zip(sheet.ids, sheet.bare, strict=True))
    return "{" + ",".join(pairs) + "}"


# --- SHAPES: (sheet, codec) -> text -----------------------------------------------------------------------------------


def rows_as_string(sheet: Sheet, codec: Codec) -> str:
    """`rows` is a string that holds the JSON of the array (OpenRouter, Bedrock: a tool's arguments are text)."""
    return '{"rows":' + json.dumps(f"[{','.join(sheet.rows)}]", ensure_ascii=False) + "}"


def bare_array(sheet: Sheet, codec: Codec) -> str:
    """The array without the object around it."""
    return f"[{','.join(sheet.rows)}]"


def bare_object(sheet: Sheet, codec: Codec) -> str:
    """One bare object where a single row was asked; several are an array."""
    return sheet.rows[0] if len(sheet.rows) == 1 else plain(sheet, codec)


def by_token(sheet: Sheet, codec: Codec) -> str:
    """An object with the ids as its keys."""
    return _keyed(sheet)


def rows_by_token(sheet: Sheet, codec: Codec) -> str:
    """`rows` is an object with the ids as its keys."""
    return f'{{"rows":{_keyed(sheet)}}}'


def rows_twice(sheet: Sheet, codec: Codec) -> str:
    """`rows` is there twice: a draft, then the answer."""
    return f'{{"rows":[{",".join(sheet.drafts)}],"rows":[{",".join(sheet.rows)}]}}'


def lines(sheet: Sheet, codec: Codec) -> str:
    """One object per line."""
    return "\n".join(sheet.rows)


def documents(sheet: Sheet, codec: Codec) -> str:
    """One document per row."""
    return "\n".join(f'{{"rows":[{row}]}}' for row in sheet.rows)


def enclosed(sheet: Sheet, codec: Codec) -> str:
    """The document stands in another object, as the schema's own name."""
    return f'{{"rows":{plain(sheet, codec)}}}'


def under_another_name(sheet: Sheet, codec: Codec) -> str:
    """The array is called otherwise."""
    return f'{{"answers":[{",".join(sheet.rows)}]}}'


def beside_others(sheet: Sheet, codec: Codec) -> str:
    """Other members stand beside the rows, an analysis before them."""
    return f'{{"analysis":"Each by itself.","rows":[{",".join(sheet.rows)}],"count":{len(sheet.rows)}}}'


def pretty(sheet: Sheet, codec: Codec) -> str:
    """Printed over many lines, with blanks around every mark."""
    try:
        read = json.loads(plain(sheet, codec), parse_float=bare_number)
        return with_bare_numbers(json.dumps(read, indent=4, ensure_ascii=False))
    except ValueError:  # A row was damaged.
        return plain(sheet, codec)


def encoded_twice(sheet: Sheet, codec: Codec) -> str:
    """The whole document is a JSON string."""
    return json.dumps(plain(sheet, codec), ensure_ascii=False)


def trailing_comma_of_rows(sheet: Sheet, codec: Codec) -> str:
    """A comma stands behind the last row."""
    return f'{{"rows":[{",".join(sheet.rows)},]}}'


def missing_comma_of_rows(sheet: Sheet, codec: Codec) -> str:
    """The comma between two rows is missing."""
    half = len(sheet.rows) // 2
    return f'{{"rows":[{",".join(sheet.rows[:half])}{" " if half else ""}{",".join(sheet.rows[half:])}]}}'


def unfinished(sheet: Sheet, codec: Codec) -> str:
    """The brackets of the document's end are missing, though the model says that it is done."""
    return plain(sheet, codec)[: -1 if codec == "keyed" else -2]


def more_brackets(sheet: Sheet, codec: Codec) -> str:
    """More brackets end it than began it."""
    return plain(sheet, codec) + "]}"


SHAPES: dict[str, Callable[[Sheet, Codec], str]] = {
    "rows_as_string": rows_as_string,
    "bare_array": bare_array,
    "bare_object": bare_object,
    "by_token": by_token,
    "rows_by_token": rows_by_token,
    "rows_twice": rows_twice,
    "lines": lines,
    "documents": documents,
    "enclosed": enclosed,
    "another_name": under_another_name,
    "beside_others": beside_others,
    "pretty": pretty,
    "encoded_twice": encoded_twice,
    "trailing_comma_of_rows": trailing_comma_of_rows,
    "missing_comma_of_rows": missing_comma_of_rows,
    "unfinished": unfinished,
    "more_brackets": more_brackets,
}


# --- AROUND: (text, draft, scene) -> text -----------------------------------------------------------------------------


def tagged(text: str, draft: str, scene: Scene) -> str:
    """In a tag of its own."""
    return f"<answer>\n{text}\n</answer>"


def boxed(text: str, draft: str, scene: Scene) -> str:
    """In a box, as for mathematics."""
    return f"\\boxed{{{text}}}"


def odd_fence(text: str, draft: str, scene: Scene) -> str:
    """In one of the fences that models write."""
    before, behind = scene.rng.choice(FENCES)
    return f"{before}{text}{behind}"


FENCES = (
    ("```json\n", "\n```"),
    ("```\n", "\n```"),
    ("```JSON\n", "\n``` "),
    ("~~~json\n", "\n~~~"),
    ("````json\n", "\n````"),
    ("```json5 ", "```"),
    ("```json\n", ""),  # It is never closed.
    ("json\n", ""),
    ("`", "`"),
)


def odd_prose(text: str, draft: str, scene: Scene) -> str:
    """Sentences around it, with brackets and quotes of their own."""
    return f'Sure! I read {{name}} ("as asked") [1] and answer:\n\n{text}\n\nLet me know {{if}} "rows" [2] are missing.'


def corrected_fence(text: str, draft: str, scene: Scene) -> str:
    """A second fence corrects the first."""
    return f"```json\n{draft}\n```\nWait, that is not right. Corrected:\n```json\n{text}\n```"


def two_documents(text: str, draft: str, scene: Scene) -> str:
    """Two documents, one behind the other."""
    return f"{draft}\n{text}"


def repeated(text: str, draft: str, scene: Scene) -> str:
    """The same document twice."""
    return f"{text}\n{text}"


def format_echo(text: str, draft: str, scene: Scene) -> str:
    """The format is repeated first, as the instructions show it."""
    return f'The format is {{"rows": [{{"id": "…", "label": "…"}}, …]}}, so:\n{text}'


def schema_echo(text: str, draft: str, scene: Scene) -> str:
    """The schema is repeated first."""
    return f"{json.dumps(scene.root)}\n{text}"


def harmony(text: str, draft: str, scene: Scene) -> str:
    """gpt-oss' channels, when the server does not take them apart: an analysis with a draft, then the final channel."""
    return (
        f"<|channel|>analysis<|message|>Maybe {draft}? No.<|end|><|start|>assistant"
        f"<|channel|>final <|constrain|>json<|message|>{text}<|return|>"
    )


def stripped_harmony(text: str, draft: str, scene: Scene) -> str:
    """The same where the tokenizer dropped the special tokens and left their words."""
    return f"analysisMaybe {draft}? No.assistantfinal{text}"


def _thought(before: str, behind: str) -> Callable[[str, str, Scene], str]:
    def think(text: str, draft: str, scene: Scene) -> str:
        return f"{before}First try:\n{draft}\nNo, that is wrong.{behind}{text}"

    return think


def two_thoughts(text: str, draft: str, scene: Scene) -> str:
    """Two thoughts, a draft in each, and the marks of one inside the other."""
    return f"<think>{draft}</think>\n<think>Once more: <think> {draft}</think>\n{text}"


def thought_behind(text: str, draft: str, scene: Scene) -> str:
    """The answer, and then a thought that doubts it."""
    return f"{text}\n<think>Was it {draft}? No, it is right as it is.</think>"


def made_up_turn(text: str, draft: str, scene: Scene) -> str:
    """The model goes on behind the end of its turn: another question, and an answer to that."""
    return f"{text}<|im_end|>\n<|im_start|>user\nOnce more, please.<|im_end|>\n<|im_start|>assistant\n{draft}"


def _endless(mark: str) -> Callable[[str, str, Scene], str]:
    def think(text: str, draft: str, scene: Scene) -> str:
        return f"{mark}\nFirst try:\n{draft}\nNo, that is wrong. I should look at each"

    return think


def _stray(mark: str) -> Callable[[str, str, Scene], str]:
    return lambda text, draft, scene: f"{text}{mark}"


AROUND: dict[str, Callable[[str, str, Scene], str]] = {
    "tagged": tagged,
    "odd_fence": odd_fence,
    "odd_prose": odd_prose,
    "stray_end": _stray("<|im_end|>"),
    "stray_turn": _stray("<end_of_turn>\n<start_of_turn>user\n"),
    "stray_eos": _stray("</s>"),
    "trailing_blanks": _stray(" \n\n\t" * 60),
    "boxed": boxed,
    "repeated": repeated,
    "format_echo": format_echo,
    "schema_echo": schema_echo,
    "corrected_fence": corrected_fence,
    "two_documents": two_documents,
    "harmony": harmony,
    "stripped_harmony": stripped_harmony,
    "think_draft": _thought("<think>\n", "\n</think>\n\n"),
    "bare_think_end": _thought("", "\n</think>\n"),
    "bracket_think": _thought("[THINK]", "[/THINK]"),
    "diamond_think": _thought("◁think▷", "◁/think▷"),
    "reasoning_tag": _thought("<reasoning>", "</reasoning>\n"),
    "thinking_tag": _thought("<thinking>\n", "</thinking>\n"),
    "thought_tag": _thought("<Thought>\n", "</Thought>\n"),
    "begin_of_thought": _thought("<|begin_of_thought|>", "<|end_of_thought|>\n"),
    "gemma_channel": _thought("<|channel>thought\n", "<channel|>"),
    "seed_think": _thought("<seed:think>", "</seed:think>"),
    "two_thoughts": two_thoughts,
    "thought_behind": thought_behind,
    "made_up_turn": made_up_turn,
    "endless_think": _endless("<think>"),
    "endless_bracket": _endless("[THINK]"),
    "endless_harmony": _endless("<|channel|>analysis<|message|>"),
}
