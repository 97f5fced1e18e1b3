"""The `.smelt` accessor: the functions of `smelt.api.functions` as methods of a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack

from smelt.api import functions
from smelt.api.classify import classify
from smelt.api.job import OutputModel
from smelt.api.signatures import spelled_out, without_frame
from smelt.call.options import Options

if TYPE_CHECKING:
    from smelt.call.estimate import Estimate
    from smelt.call.explanation import Explanation
    from smelt.result import SmeltResult
    from smelt.streaming.rows import RowAnswers


class FrameAccessor:
    """LLM transforms of this frame: `transform`, `classify`, `run`, `preview`, `estimate`, `evaluate` and others."""

    def __init__(self, frame: Any) -> None:
        """Keep the frame and do nothing else, because an accessor is created at every access."""
        self._frame = frame

    @spelled_out
    def transform(
        self, prompt: str, output_model: OutputModel, *, model: Any = None, **options: Unpack[Options]
    ) -> Any:
        return functions.transform(self._frame, prompt, output_model, model=model, **options)

    @spelled_out
    def classify(
        self, prompt: str, labels: Any, *, multi: bool = False, model: Any = None, **options: Unpack[Options]
    ) -> Any:
        return classify(self._frame, prompt, labels, multi=multi, model=model, **options)

    @spelled_out
    def aggregate(
        self,
        prompt: str,
        output_model: OutputModel,
        *,
        by: str | Sequence[str] | None = None,
        strategy: Literal["tree", "fold"] = "tree",
        rows: int = 50,
        fan_in: int = 8,
        model: Any = None,
        **options: Unpack[Options],
    ) -> Any:
        """Ask a model about many rows together: one answer, or one to each group. Spends money.

        Args:
            prompt: What to find out about all rows. `{column}` names a column to send; without placeholders all are
                sent but those of *by*.
            output_model: As in `transform`.
            by: The columns whose values make the groups. None: all rows are one group.
            strategy: How answers to parts become one: "tree" or "fold"; see `smelt.aggregate`.
            rows: The most rows of a part.
            fan_in: The most answers that are joined at once.
            model: As in `transform`.
            **options: See `smelt.call.options.Settings`.

        Returns:
            A frame with a row for each group, as from `smelt.aggregate`.

        Raises:
            SmeltError: As in `transform`.
        """
        from smelt.api.aggregates import aggregate  # Late: pipelines take a while to import.

        given: Any = {"by": by, "strategy": strategy, "rows": rows, "fan_in": fan_in, "model": model, **options}
        return aggregate(self._frame, prompt, output_model, **given)

    @spelled_out
    async def atransform(
        self, prompt: str, output_model: OutputModel, *, model: Any = None, **options: Unpack[Options]
    ) -> Any:
        return await functions.atransform(self._frame, prompt, output_model, model=model, **options)

    @spelled_out
    def run(
        self,
        prompt: str,
        output_model: OutputModel,
        *,
        model: Any = None,
        details: bool = False,
        **options: Unpack[Options],
    ) -> SmeltResult[Any]:
        return functions.run(self._frame, prompt, output_model, model=model, details=details, **options)

    @spelled_out
    async def arun(
        self,
        prompt: str,
        output_model: OutputModel,
        *,
        model: Any = None,
        details: bool = False,
        **options: Unpack[Options],
    ) -> SmeltResult[Any]:
        return await functions.arun(self._frame, prompt, output_model, model=model, details=details, **options)

    @spelled_out
    def as_completed(
        self, prompt: str, output_model: OutputModel, *, model: Any = None, **options: Unpack[Options]
    ) -> RowAnswers[Any]:
        return functions.as_completed(self._frame, prompt, output_model, model=model, **options)

    @spelled_out
    def preview(
        self, prompt: str, output_model: OutputModel, n: int = 5, *, model: Any = None, **options: Unpack[Options]
    ) -> Any:
        return functions.preview(self._frame, prompt, output_model, n, model=model, **options)

    @spelled_out
    def explain(
        self, prompt: str, output_model: OutputModel, *, model: Any = None, **options: Unpack[Options]
    ) -> Explanation:
        return functions.explain(self._frame, prompt, output_model, model=model, **options)

    @spelled_out
    def estimate(
        self, prompt: str, output_model: OutputModel, *, model: Any = None, **options: Unpack[Options]
    ) -> Estimate:
        return functions.estimate(self._frame, prompt, output_model, model=model, **options)

    @spelled_out
    def evaluate(
        self,
        prompt: str,
        output_model: OutputModel,
        truth: Mapping[str, str],
        *,
        n: int | None = None,
        dry_run: bool = False,
        model: Any = None,
        **options: Unpack[Options],
    ) -> Any:
        evaluate: Any = functions.evaluate  # `Any`: its overloads need a literal dry_run.
        return evaluate(self._frame, prompt, output_model, truth, n=n, dry_run=dry_run, model=model, **options)

    @spelled_out
    def compare(
        self,
        prompt: str,
        output_model: OutputModel,
        variants: functions.Variants,
        *,
        truth: Mapping[str, str] | None = None,
        n: int | None = None,
        dry_run: bool = False,
        model: Any = None,
        **options: Unpack[Options],
    ) -> Any:
        compare: Any = functions.compare  # `Any`: its overloads need a literal dry_run.
        return compare(
            self._frame, prompt, output_model, variants, truth=truth, n=n, dry_run=dry_run, model=model, **options
        )

    @spelled_out
    def audit(
        self,
        prompt: str,
        output_model: OutputModel,
        result: SmeltResult[Any],
        *,
        quarantine: bool = False,
        dry_run: bool = False,
        model: Any = None,
        **options: Unpack[Options],
    ) -> Any:
        return functions.audit(
            self._frame,
            prompt,
            output_model,
            result,
            quarantine=quarantine,
            dry_run=dry_run,
            model=model,
            **options,
        )

    @spelled_out
    def tune(  # type: ignore[misc]  # As in `functions.tune`.
        self,
        prompt: str,
        output_model: OutputModel,
        *,
        model: Any = None,
        batch_size: int | Sequence[int] = (1, 5, 20),
        n: int = 60,
        truth: Mapping[str, str] | None = None,
        agreement: float = 0.95,
        dry_run: bool = False,
        **options: Unpack[Options],
    ) -> Any:
        tune: Any = functions.tune  # `Any`: `batch_size` is among the options, too.
        return tune(
            self._frame,
            prompt,
            output_model,
            model=model,
            batch_size=batch_size,
            n=n,
            truth=truth,
            agreement=agreement,
            dry_run=dry_run,
            **options,
        )


for _name in (
    "transform",
    "atransform",
    "run",
    "arun",
    "as_completed",
    "preview",
    "explain",
    "estimate",
    "evaluate",
    "compare",
    "audit",
    "tune",
):
    getattr(FrameAccessor, _name).__doc__ = without_frame(getattr(functions, _name).__doc__)
FrameAccessor.classify.__doc__ = without_frame(classify.__doc__)
