"""Validates reply rows: with pydantic, strict by default, and against the limits of the typed columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from pydantic import AliasChoices
from pydantic_core import PydanticSerializationError, from_json, to_json

from smelt.plan.chunks import Pending
from smelt.plan.declared import Unfit, all_declared, coercer
from smelt.plan.kinds import Array, Struct
from smelt.plan.numbers import coerced_numbers
from smelt.plan.owncode import has_async_code, has_own_code
from smelt.plan.refusals import InvalidRow, close_all, is_of_validator, no_instance, refusal, unawaited
from smelt.plan.schema import Output
from smelt.plan.values import checker
from smelt.plan.verbatim import has_verbatim, strayed

__all__ = ["Accepted", "InvalidRow", "Validator", "completed", "json_text"]


class Accepted(NamedTuple):
    """A row that was answered.

    Attributes:
        row: The row.
        values: Its validated values, in the order of the model's fields.
        text: The JSON from which they were validated.
    """

    row: Pending
    values: tuple[Any, ...]
    text: str


class Validator:
    """Validates rows of replies against an output model.

    A model may turn off strict mode with `ConfigDict(strict=False)`, and the ban on extra fields with
    `ConfigDict(extra="ignore")`; nested models follow the outermost. An integer field accepts an integral float, as in
    JSON Schema.

    Attributes:
        runs_code: Whether validation runs code of the model's author.
        reads_rows: Whether answers are compared with their rows, because texts must stand in them.
    """

    def __init__(self, output: Output, *, completing: Mapping[int, str] | None = None) -> None:
        """Validate against *output*; *completing* has, by position, the JSON of earlier answers that replies extend."""
        self._completing = completing
        self._fields, self._model = output.fields, output.model
        config = output.model.model_config
        names = tuple(output.model.model_fields)
        is_async = has_async_code(output.model.__pydantic_core_schema__)
        self._values = self._values_unawaited if is_async else self._values_of
        self._validate = output.model.__pydantic_validator__.validate_json
        self._strict = config.get("strict") is not False
        self._extra: Literal["forbid"] | None = None if "extra" in config else "forbid"
        # A model that ignores unknown fields and requires none would accept any object, and return its defaults.
        self._keys = _keys(output) if config.get("extra") == "ignore" and not _needs_any(output) else None
        self._get: Callable[[Any], Any] = attrgetter(*names)
        self._is_single = len(names) == 1
        self._coercers = [coercer(field) for field in output.fields]
        self._all_declared = [all_declared(field) for field in output.fields]
        checks = [(at, checker(field.kind)) for at, field in enumerate(output.fields)]
        self._checks = [(at, check) for at, check in checks if check is not None]
        is_nested = any(isinstance(field.kind, Array | Struct) for field in output.fields)
        self.runs_code = is_async or has_own_code(output.model)
        self.reads_rows = has_verbatim(output.fields)
        self._may_be_shared = is_nested and self.runs_code
        self._is_plain = not (is_nested or self.runs_code)

    def accept(self, rows: Sequence[Pending], answers: Sequence[dict[str, Any]]) -> list[Accepted | InvalidRow]:
        """Validate the answer to each of *rows*; an `InvalidRow` if it does not validate or a value fits no column."""
        outcomes = self._clean(rows, answers) or [self._read(*pair) for pair in zip(rows, answers, strict=True)]
        if not self._all_fit([one.values for one in outcomes if type(one) is Accepted]):
            outcomes = [self._fitting(one) if type(one) is Accepted else one for one in outcomes]
        if self.reads_rows:
            outcomes = [self._standing(one) if type(one) is Accepted else one for one in outcomes]
        return outcomes

    def strayed(self, values: Sequence[Any], text: str) -> str | None:
        """Which of the *values* does not stand in its row, whose JSON is *text*, but must; None if all do."""
        return strayed(self._fields, values, text) if self.reads_rows else None

    def read(self, answer: dict[str, Any]) -> tuple[tuple[Any, ...], str]:
        """The validated values of an *answer*, and the JSON from which they were validated.

        Raises:
            InvalidRow: It does not validate, or a value fits no column.
        """
        values, text = self._answered(answer)
        return self._coerced(values, text), text

    def values(self, text: str) -> tuple[Any, ...]:
        """The validated values of an answer's JSON.

        Raises:
            InvalidRow: It does not validate, or a value fits no column.
        """
        return self._coerced(self._values(text), text)

    def all_values(self, texts: Sequence[object]) -> list[tuple[Any, ...] | None]:
        """The validated values of many answers' JSON, faster than one by one; None for each that is not valid."""
        if self._is_plain:
            distinct = list(dict.fromkeys(texts))
            if 2 * len(distinct) <= len(texts):  # Labels repeat; values that cannot change may stand in several rows.
                known = dict(zip(distinct, self._all_read(distinct), strict=True))
                return [known[text] for text in texts]
        return self._all_read(texts)

    def _all_read(self, texts: Sequence[object]) -> list[tuple[Any, ...] | None]:
        found: list[tuple[Any, ...] | None] = [*self._clean_values(texts)] or list(map(self._values_or_none, texts))
        if self._all_fit([values for values in found if values is not None]):
            return found
        return [
            None if values is None else self._coerced_or_none(values, str(text))
            for values, text in zip(found, texts, strict=True)
        ]

    def _values_or_none(self, text: object) -> tuple[Any, ...] | None:
        try:
            return self._values(text) if isinstance(text, str) else None
        except InvalidRow:
            return None

    def _coerced_or_none(self, values: tuple[Any, ...], text: str) -> tuple[Any, ...] | None:
        try:
            return self._coerced(values, text)
        except InvalidRow:
            return None

    def _clean(self, rows: Sequence[Pending], answers: Sequence[dict[str, Any]]) -> list[Accepted | InvalidRow]:
        """The fast path: all answers, if each is valid; otherwise an empty list, and each is read on its own."""
        if self._completing is not None or self._keys is not None:
            return []
        try:
            texts = [to_json(answer).decode() for answer in answers]
        except Exception:  # noqa: BLE001  # The row-by-row path finds the faulty one.
            return []
        return list(map(Accepted, rows, self._clean_values(texts), texts))

    def _clean_values(self, texts: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The values of all *texts*, if each is valid and the model runs no code of its author; else an empty list."""
        if self.runs_code:
            return []
        validate, strict, extra = self._validate, self._strict, self._extra
        try:
            found = [self._get(validate(text, strict=strict, extra=extra)) for text in texts]
        except Exception:  # noqa: BLE001  # The row-by-row path finds the fault and its row.
            return []
        return [(value,) for value in found] if self._is_single else found

    def _read(self, row: Pending, answer: dict[str, Any]) -> Accepted | InvalidRow:
        """Validate one *answer* with pydantic; whether its values fit their columns is checked later."""
        try:
            if self._keys is not None and answer and self._keys.isdisjoint(answer):
                raise InvalidRow("none of the fields that were asked for")
            if self._completing is not None:
                answer = completed(self._completing[row.position], answer)
            return Accepted(row, *self._answered(answer))
        except InvalidRow as problem:
            return problem

    def _answered(self, answer: dict[str, Any]) -> tuple[tuple[Any, ...], str]:
        """The values of *answer* and its JSON. Numbers are converted only if validation fails without that."""
        try:
            text = to_json(answer).decode()
        except (PydanticSerializationError, RecursionError):  # A `LongNumber`, or no JSON at all.
            text = self._exact_text(answer)
            return self._values(text), text
        try:
            return self._values(text), text
        except InvalidRow as problem:
            exact = self._exact_text(answer)
            if exact == text:
                raise
            try:
                return self._values(exact), exact
            except InvalidRow as second:
                raise (second if second.is_final or not problem.is_final else problem) from None

    def _exact_text(self, answer: dict[str, Any]) -> str:
        try:
            return json_text(coerced_numbers(self._fields, answer))
        except RecursionError:
            raise InvalidRow("values nested too deep") from None

    def _values_unawaited(self, text: str) -> tuple[Any, ...]:
        with unawaited():
            return self._values_of(text)

    def _values_of(self, text: str) -> tuple[Any, ...]:
        try:
            answer = self._validate(text, strict=self._strict, extra=self._extra)
            if isinstance(answer, self._model):
                return (self._get(answer),) if self._is_single else self._get(answer)
        except BaseException as problem:  # noqa: BLE001  # A validator of the caller's may raise anything; see `refusal`.
            raise refusal(problem) from None
        raise no_instance(answer)

    def _all_fit(self, values: Sequence[tuple[Any, ...]]) -> bool:
        """Whether all values of many rows have the declared types and fit their columns; False if it is uncertain."""
        if not values:
            return True
        if self._may_be_shared:
            return False
        columns = list(zip(*values, strict=True))
        try:
            are_declared = all(hold(column) for hold, column in zip(self._all_declared, columns, strict=True))
            return are_declared and not any(any(map(check, columns[at])) for at, check in self._checks)
        except Exception:  # noqa: BLE001  # An object from a validator may raise on any access; `_coerced` finds it.
            return False

    def _fitting(self, accepted: Accepted) -> Accepted | InvalidRow:
        try:
            return accepted._replace(values=self._coerced(accepted.values, accepted.text))
        except InvalidRow as problem:
            return problem

    def _standing(self, accepted: Accepted) -> Accepted | InvalidRow:
        problem = self.strayed(accepted.values, accepted.row.text)
        return accepted if problem is None else InvalidRow(problem)

    def _coerced(self, values: tuple[Any, ...], text: str) -> tuple[Any, ...]:
        """*values*, converted to what their columns take."""
        coerced = []
        for field, coerce, value in zip(self._fields, self._coercers, values, strict=True):
            try:
                coerced.append(coerce(value))
            except Unfit as problem:
                is_final = problem.is_stray or is_of_validator(field, text)
                close_all(values)
                raise InvalidRow(f"{field.name}: {problem.message}", is_final=is_final) from None
            except Exception as problem:  # noqa: BLE001  # Raised by an object that a validator returned.
                close_all(values)
                shown = f"{field.name}: not what the model declares after validation: {type(problem).__name__}"
                raise InvalidRow(shown, is_final=True) from None
        return tuple(coerced)


def _needs_any(output: Output) -> bool:
    """Whether the model of *output* has a field without a default."""
    return any(info.is_required() for info in output.model.model_fields.values())


def _keys(output: Output) -> frozenset[str]:
    """All keys that a field may have in an answer: names, aliases and alternative aliases."""
    keys = {*output.model.model_fields, *(field.key for field in output.fields)}
    for info in output.model.model_fields.values():
        if isinstance(info.validation_alias, AliasChoices):
            keys.update(one for one in info.validation_alias.choices if isinstance(one, str))
    return frozenset(keys)


def json_text(answer: dict[str, Any]) -> str:
    """The JSON of an answer, on one line.

    Raises:
        InvalidRow: It cannot be written as JSON.
    """
    try:
        return to_json(answer).decode()
    except PydanticSerializationError:
        raise InvalidRow("text that is not valid Unicode") from None
    except RecursionError:
        raise InvalidRow("values nested too deep") from None


def completed(known: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer whose JSON is *known*, with the fields of *answer* added.

    Raises:
        InvalidRow: *answer* repeats a field of *known*, which was not asked for again.
    """
    fields: dict[str, Any] = from_json(known)
    if repeated := fields.keys() & answer.keys():
        raise InvalidRow(f"{min(repeated)}: it was not asked for")
    return {**fields, **answer}
