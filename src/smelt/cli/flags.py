"""The options that several commands share, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_MODES = ("now", "flex", "batch")
KINDS = ("csv", "tsv", "parquet", "jsonl", "arrow")


@dataclass(frozen=True)
class Flag:
    """One option.

    Attributes:
        names: Its spellings.
        about: Its help.
        metavar: What its value is called; empty if it takes none.
        kind: Reads the value.
        choices: The only values, if there are only these.
        more: Further arguments of `add_argument`.
    """

    names: str
    about: str
    metavar: str = ""
    kind: Callable[[str], Any] = str
    choices: Sequence[str] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def add(self, group: Any) -> None:
        """Add it to a parser, or to a group of one."""
        takes: dict[str, Any] = {"action": "store_true"}
        if self.metavar:
            takes = {"metavar": self.metavar, "type": self.kind, "choices": self.choices}
        group.add_argument(*self.names.split(), help=self.about, **takes, **self.more)


JSON = Flag("--json", "show the result as one line of JSON on the standard output")
LEDGER = Flag("--ledger", "where answers are kept (default: SMELT_LEDGER, else in your cache)", "FILE")
ENV_FILE = Flag("--env-file", "a file with keys and SMELT_… variables, such as .env; those of the process win", "FILE")
MODELS = Flag("--models", "a file of models, for names in --model (default: SMELT_ENGINES)", "FILE")
QUIET = Flag("--quiet", "show no progress and no summary")

QUESTION = (
    Flag("-m --model", "such as openai:gpt-4.1-mini; mock: rehearses (default: SMELT_MODEL)", "MODEL"),
    Flag("-f --prompt-file", "a file with the prompt, instead of PROMPT", "FILE"),
    Flag(
        "--field",
        "fields of an answer: 'sector:tech|finance' 'score:int?' 'tags:list[str]'",
        "NAME:TYPE",
        more={"nargs": "+", "action": "extend"},
    ),
    Flag("--schema", "a JSON Schema of an answer, as .json or .yaml", "FILE"),
    Flag("--output", "a class of yours that an answer is, such as models.py:Company", "MODULE:CLASS"),
    Flag("--columns", "the columns to send (default: those that the prompt names)", "A,B"),
    Flag("--steps", "of a pipeline only these: a, a+ (from a on) or +a (up to a)", "STEPS"),
    MODELS,
    ENV_FILE,
)
ROWS = (
    Flag("--limit", "only the first N rows", "N", int),
    Flag(
        "--from", f"what IN is: {', '.join(KINDS)} (default: by its name)", "KIND", choices=KINDS, more={"dest": "kind"}
    ),
    Flag(
        "--text",
        "columns of a CSV file to read as text; without names: all",
        "A,B",
        more={"nargs": "?", "const": "*"},
    ),
)
LIMITS = (
    Flag("--max-cost", "stop before more is spent", "DOLLARS", float),
    Flag("--max-tokens", "stop before more tokens are used, in and out", "N", int, more={"dest": "max_tokens_total"}),
    Flag("--deadline", "stop after this time", "SECONDS", float),
    Flag("--batch-size", "most rows in a request", "ROWS", int),
    Flag("--concurrency", "most requests in flight", "N", int),
    Flag("--rpm", "most requests per minute", "N", float),
    Flag("--tpm", "most tokens per minute", "N", float),
    Flag("--max-attempts", "most paid answers for a row", "N", int),
    Flag("--isolation", "row sends every row alone, for untrusted text", "HOW", choices=("batch", "row")),
    Flag("--mode", "batch: half the price, within 24 hours; flex: half, slower", "HOW", choices=_MODES),
    LEDGER,
    Flag("--no-ledger", "keep no answers"),
    Flag("--refresh", "ask rows again that the ledger knows"),
    Flag("--any-key", "use answers that were bought with another API key"),
    Flag(
        "--set",
        "any other option of smelt.transform; VALUE may be JSON",
        "NAME=VALUE",
        more={"action": "append", "default": []},
    ),
)
RESULT = (
    Flag("-o --out", "the file to write, by its ending, or - for the standard output", "OUT"),
    Flag("--to", "what OUT is (default: by its name; csv for -)", "KIND", choices=KINDS),
    Flag("--restart", "throw away the rows that an earlier try has finished"),
    Flag("--artefacts", "a folder for the files of a pipeline, or of the jobs of --mode batch", "DIR"),
    Flag("--allow-failed", "exit with 0 also if rows failed"),
    Flag("--yes", "do not ask when it costs more than $1"),
    JSON,
    Flag("--log-json", "show events as lines of JSON on the standard error"),
    QUIET,
)
