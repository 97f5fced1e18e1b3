"""`smelt.classify`: `transform` with one answer, a label or a list of labels."""

from __future__ import annotations

from typing import Any, Unpack

from smelt.api.functions import L, transform
from smelt.api.labels import field_of, with_column
from smelt.api.signatures import spelled_out
from smelt.call.options import Options


@spelled_out
def classify(
    frame: L, prompt: str, labels: Any, *, multi: bool = False, model: Any = None, **options: Unpack[Options]
) -> L:
    """Ask a model which label fits each row, and return the frame with the labels as a column. Spends money.

    The column is a pandas category or a Polars Enum of all labels in their order, whatever is answered; with *multi* it
    is a list column. It is the same question, with the same ledger entries, as `transform` with `Literal[...]`.

    Args:
        frame: As in `transform`.
        prompt: What to judge about each row, such as `"Tone of {text}"`.
        labels: Two or more labels: a list of strings, a dict from labels to what they mean (the model is told), or an
            Enum of strings.
        multi: Whether a row may have several labels, or none.
        model: As in `transform`.
        **options: See `smelt.call.options.Settings`. `output` names the column; without it, it is `label`.

    Returns:
        A new frame, as from `transform`.

    Raises:
        SmeltError: As in `transform`.

    Examples:
        >>> said = ScriptedProvider({"tone": "warm"})
        >>> out = df.smelt.classify("Tone of {name}.", ["warm", "cold"], output="tone", model=said)
        >>> out["tone"].tolist(), out["tone"].cat.categories.tolist()
        (['warm', 'warm'], ['warm', 'cold'])
    """
    answer: Any = field_of(labels, multi=multi)
    return transform(frame, prompt, answer, model=model, **with_column(options))
