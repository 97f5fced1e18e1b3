"""The `.smelt` accessor of a Series: one column in, a frame of the answers out."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import Any, Unpack

from smelt.api.classify import classify
from smelt.api.functions import transform
from smelt.api.job import OutputModel
from smelt.api.labels import field_of, with_column
from smelt.api.signatures import spelled_out
from smelt.call.defaults import resolved
from smelt.call.options import Options
from smelt.plan.prompt import filled

_COLUMN = "value"  # If the name of the Series cannot stand in a prompt.


class SeriesAccessor:
    """LLM transforms of this Series: `transform` and `classify`."""

    def __init__(self, series: Any) -> None:
        """Keep the Series and do nothing else, because an accessor is created at every access."""
        self._series = series

    @spelled_out
    def transform(
        self, prompt: str, output_model: OutputModel, *, model: Any = None, **options: Unpack[Options]
    ) -> Any:
        """Ask a model about every value, and return the answers as a frame. Spends money.

        Args:
            prompt: What to find out about each value; `{}` is the value. Without it the value is sent as well.
            output_model: As in `smelt.transform`.
            model: As in `smelt.transform`.
            **options: See `smelt.call.options.Settings`.

        Returns:
            A frame of the same library with the output columns and the error column, one row per value; the index is
            kept.

        Raises:
            SmeltError: As in `smelt.transform`.

        Examples:
            >>> said = ScriptedProvider({"loud": "HI"})
            >>> df["name"].smelt.transform("Shout {}.", {"loud": str}, model=said).columns.tolist()
            ['loud', 'smelt_error']
        """
        frame, name = self._frame(_columns(output_model, options))
        return _answers(transform(frame, filled(prompt, name), output_model, model=model, **options), name)

    @spelled_out
    def classify(
        self,
        labels: Any,
        prompt: str = "Classify {}.",
        *,
        multi: bool = False,
        model: Any = None,
        **options: Unpack[Options],
    ) -> Any:
        """Ask a model which label fits each value, and return the labels as a frame. Spends money.

        Args:
            labels: As in `smelt.classify`.
            prompt: What to judge about each value; `{}` is the value.
            multi: As in `smelt.classify`.
            model: As in `smelt.transform`.
            **options: See `smelt.call.options.Settings`. `output` names the column; without it, it is `label`.

        Returns:
            A frame of the same library with the label and the error column, one row per value; the index is kept.

        Raises:
            SmeltError: As in `smelt.transform`.

        Examples:
            >>> said = ScriptedProvider({"label": "cold"})
            >>> df["name"].smelt.classify(["warm", "cold"], "Tone of {}.", model=said)["label"].tolist()
            ['cold', 'cold']
        """
        frame, name = self._frame(_columns(field_of(labels, multi=multi), with_column(options)))
        return _answers(classify(frame, filled(prompt, name), labels, multi=multi, model=model, **options), name)

    def _frame(self, outputs: Collection[str]) -> tuple[Any, str]:
        """The Series as a frame, and the name of its column there, which is none of *outputs*."""
        name = self._series.name
        usable = isinstance(name, str) and name.strip() and not set(name) & set("{}!:") and name not in outputs
        name = name if usable else _COLUMN
        while name in outputs:
            name += "_"
        polars = sys.modules.get("polars")
        if polars is not None and isinstance(self._series, polars.Series):
            return self._series.to_frame(name), name
        return self._series.to_frame(name=name), name


def _columns(output_model: Any, options: Mapping[str, Any]) -> set[str]:
    """The names of the columns that a call adds."""
    from smelt.plan.probabilities import asked_output  # Imported late: it needs pydantic.

    settings = resolved(options, output_model)
    output = asked_output(output_model, text_column=settings.output, via=settings.via)
    return {settings.error_column, *(field.name for field in output.fields)}


def _answers(frame: Any, name: str) -> Any:
    return frame[[column for column in frame.columns if column != name]]
