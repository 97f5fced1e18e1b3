"""What counts as an answer: pydantic, strict by default, and the limits of a typed column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError, from_json, to_json

from smelt.errors import SmeltValidationError
from smelt.plan.chunks import Pending
from smelt.plan.declared import all_declared, declared
from smelt.plan.kinds import FixedPoint
from smelt.plan.schema import Output
from smelt.plan.values import checker

_MOST_FAULTS = 5  # Named in one message; a model with fifty wrong fields needs no longer text.
_LONGEST_MESSAGE = 300  # Characters; a validator of the caller's may put a whole answer into its own.
_EXACT_DIGITS = 15  # A JSON number with more of them has been rounded by the time it is read.


class InvalidRow(SmeltValidationError):
    """A row of a reply that is no answer; the message names fields, not values.

    Attributes:
        is_final: Whether asking again is of no use, because the caller's own validator is broken.
    """

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        shown = "".join(one if one.isprintable() else "\ufffd" for one in message[: _LONGEST_MESSAGE + 1])
        super().__init__(shown if len(shown) <= _LONGEST_MESSAGE else f"{shown[:_LONGEST_MESSAGE]}…")
        self.is_final = is_final


class Accepted(NamedTuple):
    """A row that was answered.

    Attributes:
        row: The row.
        values: Its validated values, in the order of the model's fields.
        text: The JSON that they were validated from.
    """

    row: Pending
    values: tuple[Any, ...]
    text: str


class Validator:
    """Checks rows of replies against an output model.

    A model may opt out of strictness for itself with `ConfigDict(strict=False)` and of the ban on extra fields with
    `ConfigDict(extra="ignore")`; nested models follow the outermost.
    """

    def __init__(self, output: Output, *, completing: Mapping[int, str] | None = None) -> None:
        """Check against *output*; *completing* has, by position, the JSON of answers that replies add fields to."""
        self._completing = completing
        config = output.model.model_config
        names = tuple(output.model.model_fields)
        self._validate = output.model.__pydantic_validator__.validate_json
        self._strict = config.get("strict") is not False
        self._extra: Literal["forbid"] | None = None if "extra" in config else "forbid"
        self._get: Callable[[Any], Any] = attrgetter(*names)
        self._is_single = len(names) == 1
        self._declared = [(at, field.name, declared(field)) for at, field in enumerate(output.fields)]
        self._all_declared = [all_declared(field) for field in output.fields]
        checks = [(at, field.name, checker(field.kind)) for at, field in enumerate(output.fields)]
        self._checks = [(at, name, check) for at, name, check in checks if check is not None]
        exact = [field.key for field in output.fields if isinstance(field.kind, FixedPoint)]
        self._exact, self._is_plain = exact, not exact and completing is None

    def accept(self, rows: Sequence[Pending], answers: Sequence[dict[str, Any]]) -> list[Accepted | InvalidRow]:
        """Validate the answer to each of *rows*; why it is none, where it does not validate or a value fits no column."""
        outcomes = [self._read(row, answer) for row, answer in zip(rows, answers, strict=True)]
        if self._all_fit([one.values for one in outcomes if type(one) is Accepted]):
            return outcomes
        return [self._fitting(one) if type(one) is Accepted else one for one in outcomes]

    def values(self, text: str) -> tuple[Any, ...]:
        """The validated values of an answer's JSON.

        Raises:
            InvalidRow: It does not validate, or a value fits no column.
        """
        values = self._values(text)
        self._require_fit(values)
        return values

    def _read(self, row: Pending, answer: dict[str, Any]) -> Accepted | InvalidRow:
        """What pydantic makes of the *answer*; whether its values fit their columns is yet to be seen."""
        try:
            text = json_text(answer) if self._is_plain else self._text(row, answer)
            return Accepted(row, self._values(text), text)
        except InvalidRow as problem:
            return problem

    def _text(self, row: Pending, answer: dict[str, Any]) -> str:
        for key in self._exact:
            if (
                type(number := answer.get(key)) is float
                and len(repr(number).strip("-0").replace(".", "")) > _EXACT_DIGITS
            ):
                raise InvalidRow(f"{key}: a decimal of this length has to be a string")
        if self._completing is not None:
            answer = completed(self._completing[row.position], answer)
        return json_text(answer)

    def _values(self, text: str) -> tuple[Any, ...]:
        try:
            answer = self._validate(text, strict=self._strict, extra=self._extra)
        except ValidationError as problem:
            faults = problem.errors(include_url=False, include_input=False)
            raise InvalidRow("; ".join(_fault(one) for one in faults[:_MOST_FAULTS])) from None
        except RecursionError:
            raise InvalidRow("values nested too deep") from None
        except Exception as problem:  # noqa: BLE001  # The caller's validator raised something else than pydantic's own errors.
            raise InvalidRow(f"the output model's validator raised {type(problem).__name__}", is_final=True) from None
        return (self._get(answer),) if self._is_single else self._get(answer)

    def _all_fit(self, values: Sequence[tuple[Any, ...]]) -> bool:
        """Whether the values of many rows are all what they should be, seen column by column; False where it is in doubt."""
        if not values:
            return True
        columns = list(zip(*values, strict=True))
        try:
            are_declared = all(hold(column) for hold, column in zip(self._all_declared, columns, strict=True))
            return are_declared and not any(any(map(check, columns[at])) for at, _, check in self._checks)
        except Exception:  # noqa: BLE001  # As in `_require_fit`, which then finds the value.
            return False

    def _fitting(self, accepted: Accepted) -> Accepted | InvalidRow:
        try:
            self._require_fit(accepted.values)
        except InvalidRow as problem:
            return problem
        return accepted

    def _require_fit(self, values: tuple[Any, ...]) -> None:
        for at, name, is_declared in self._declared:
            try:
                holds = is_declared(values[at])
            except Exception:  # noqa: BLE001  # What a validator returned may refuse even to be compared, as an array does.
                holds = False
            if not holds:
                raise InvalidRow(f"{name}: {_strayed(values[at])}", is_final=True)
        for at, name, check in self._checks:
            if (fault := check(values[at])) is not None:
                raise InvalidRow(f"{name}: {fault}")


def json_text(answer: dict[str, Any]) -> str:
    """The JSON of an answer, on one line.

    Raises:
        InvalidRow: It has none.
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
        InvalidRow: A field was known, and was not asked for again.
    """
    fields: dict[str, Any] = from_json(known)
    if repeated := fields.keys() & answer.keys():
        raise InvalidRow(f"{min(repeated)}: it was not asked for")
    return {**fields, **answer}


def _strayed(value: object) -> str:
    if value is None:
        return "None after validation, which the model does not declare: does a validator lack its return?"
    return f"not what the model declares after validation, but of type {type(value).__name__}: look at its validators"


def _fault(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":  # Its place is the key that the model made up, which may say anything.
        return "a field that was not asked for"
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {error['msg']}" if where else error["msg"]
