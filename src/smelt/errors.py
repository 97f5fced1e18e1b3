"""All exceptions and warnings of smelt.

    SmeltError
    ├── SmeltConfigError              an argument, key or setting is wrong; nothing was sent
    │   ├── ConfigTypeError           (TypeError) an argument has the wrong type
    │   ├── ConfigValueError          (ValueError) an argument is out of range
    │   ├── PromptError               (ValueError) the prompt or a placeholder is wrong
    │   ├── ColumnError               (KeyError) a column is missing, duplicate or unreadable
    │   │   └── ColumnTypeError       (TypeError) a column has no text form, or a column name is no string
    │   ├── CollisionError            (ValueError) an output column has the name of an existing column
    │   ├── SchemaError               (TypeError) the output model cannot be sent to the provider
    │   ├── AuthConfigError           (ValueError) a key is missing or malformed
    │   ├── InsecureURLError          (ValueError) a key would be sent unencrypted
    │   └── MissingDependencyError    (ImportError) an extra, a library or a file is missing
    ├── SmeltValidationError          (ValueError) an answer does not fit the output model
    ├── SmeltAPIError                 the provider refused the whole run, or did not answer
    │   ├── AuthenticationError       401, 403
    │   ├── QuotaError                402, exhausted quota, billing limits
    │   ├── ModelNotFoundError        404
    │   ├── BadRequestError           400, 422: the request itself is refused
    │   └── UnavailableError          unreachable or failing for longer than the run may wait
    ├── SmeltExhaustionError          rows failed, and the call has on_error="raise"
    ├── BudgetExceededError           the budget is spent, and the call has on_error="raise"
    ├── StoreError                    (OSError) the ledger file cannot be used
    │   ├── UnsafeStoreError          other users could read, change or have created it
    │   ├── StoreNotFoundError        the file does not exist, and must not be created
    │   ├── StoreReadOnlyError        it can only be read, but a write is needed
    │   ├── StoreBusyError            another process holds its lock; names the process
    │   ├── StoreFullError            the disk has no room for answers that would be paid for
    │   ├── StoreVersionError         written by a newer smelt
    │   └── StoreCorruptError         damaged, or not a ledger at all
    └── ClosedError                   (RuntimeError) used after it was closed

Row failures are not exceptions: they keep their row, and are listed in `SmeltResult.errors`. These exceptions hold only
plain strings and smelt's own objects, never SDK objects, so they cannot leak a key.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from smelt.messages import described_argument, nearest, shown_value

if TYPE_CHECKING:
    from smelt.result import SmeltResult

__all__ = [
    "AuthConfigError",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "ClosedError",
    "CollisionError",
    "ColumnError",
    "ColumnTypeError",
    "ConfigTypeError",
    "ConfigValueError",
    "InsecureURLError",
    "MissingDependencyError",
    "ModelNotFoundError",
    "PromptError",
    "QuotaError",
    "SchemaError",
    "SmeltAPIError",
    "SmeltConfigError",
    "SmeltError",
    "SmeltExhaustionError",
    "SmeltInterrupt",
    "SmeltValidationError",
    "SmeltWarning",
    "StoreBusyError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreNotFoundError",
    "StoreReadOnlyError",
    "StoreVersionError",
    "UnavailableError",
    "UnsafeStoreError",
]


class SmeltError(Exception):
    """Base class of smelt's errors.

    Examples:
        >>> try:
        ...     df.smelt.transform("Classify {nam}.", Company, model=scripted)
        ... except smelt.SmeltError as error:
        ...     print(error)
        The prompt uses {nam}, which is not a column of the data. Did you mean 'name'? ...
    """


class SmeltWarning(UserWarning):
    """A warning about something that smelt did or found.

    Attributes:
        partial_result: If warnings are errors: the result that the call would have returned with this warning.

    Examples:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     out = df.smelt.transform("Classify {name}.", Company, model=ScriptedProvider({}), max_attempts=1)
        >>> print(caught[0].message)
        Every row failed; ...
    """

    partial_result: SmeltResult[Any] | None = None


class SmeltConfigError(SmeltError):
    """An argument, key or setting is wrong. Raised before anything is sent.

    Examples:
        >>> smelt.Model("openai", "")
        Traceback (most recent call last):
        smelt.errors.SmeltConfigError: ...
    """

    @classmethod
    def for_type(cls, argument: str, value: object, wanted: str) -> SmeltConfigError:
        """The error for an argument of the wrong type; also a `TypeError`."""
        return ConfigTypeError(f"{argument} must be {wanted}, not {described_argument(value)}.")

    @classmethod
    def for_value(cls, argument: str, value: object, wanted: str) -> SmeltConfigError:
        """The error for an argument that is out of range; also a `ValueError`."""
        return ConfigValueError(f"{argument} must be {wanted}, not {shown_value(value)}.")


class ConfigTypeError(SmeltConfigError, TypeError):
    """A `SmeltConfigError` that `except TypeError` catches.

    Examples:
        >>> smelt.Job("Classify {name}.", Company, batch_size=1.5)
        Traceback (most recent call last):
        smelt.errors.ConfigTypeError: ...
    """


class ConfigValueError(SmeltConfigError, ValueError):
    """A `SmeltConfigError` that `except ValueError` catches.

    Examples:
        >>> smelt.Job("Classify {name}.", Company, batch_size=0)
        Traceback (most recent call last):
        smelt.errors.ConfigValueError: ...
    """


class PromptError(SmeltConfigError, ValueError):
    """The prompt is empty, has unbalanced braces, or names a column that the frame does not have.

    Examples:
        >>> df.smelt.transform("Classify {nam}.", Company, model=scripted)
        Traceback (most recent call last):
        smelt.errors.PromptError: ...
    """


class ColumnError(SmeltConfigError, KeyError):
    """A column is missing, duplicate, or of a type that has no text form.

    Examples:
        >>> df.smelt.transform("Classify it.", Company, model=scripted, columns=["nam"])
        Traceback (most recent call last):
        smelt.errors.ColumnError: ...
    """

    __str__ = Exception.__str__  # KeyError would show the message in quotes.

    @classmethod
    def for_name(cls, name: str, columns: Iterable[str]) -> Self:
        """The error for a column that does not exist; suggests the nearest existing name."""
        return cls(f"There is no column {shown_value(name)}.{nearest(name, columns)}")


class ColumnTypeError(ColumnError, TypeError):
    """A column has values without a text form, or an argument is not a list of column names.

    Examples:
        >>> df.smelt.transform("Classify it.", Company, model=scripted, columns="name")
        Traceback (most recent call last):
        smelt.errors.ColumnTypeError: ...
    """


class CollisionError(SmeltConfigError, ValueError):
    """An output column has the name of an existing column.

    Examples:
        >>> df.assign(sector="?").smelt.transform("Classify {name}.", Company, model=scripted)
        Traceback (most recent call last):
        smelt.errors.CollisionError: ...
    """


class SchemaError(SmeltConfigError, TypeError):
    """The output model cannot be sent to this provider, or cannot become columns.

    Examples:
        >>> class Loose(BaseModel):
        ...     anything: dict
        >>> df.smelt.transform("Classify {name}.", Loose, model=scripted)
        Traceback (most recent call last):
        smelt.errors.SchemaError: ...
    """


class AuthConfigError(SmeltConfigError, ValueError):
    """A key is missing or malformed. The error never contains the key.

    Examples:
        >>> smelt.Model("openai", "gpt-4.1-mini", api_key="")
        Traceback (most recent call last):
        smelt.errors.AuthConfigError: ...
    """


class InsecureURLError(SmeltConfigError, ValueError):
    """A key would be sent over unencrypted http to another machine.

    Examples:
        >>> model = smelt.Model("vllm", "qwen3", base_url="http://gpu.example.org/v1", api_key="sk-secret")
        >>> df.smelt.estimate("Classify {name}.", Company, model=model)
        Traceback (most recent call last):
        smelt.errors.InsecureURLError: ...
    """


class MissingDependencyError(SmeltConfigError, ImportError):
    """An extra, a library or a file that this call needs is missing; the message says how to get it.

    Examples:
        >>> print(smelt.errors.MissingDependencyError.for_extra("anthropic", "anthropic"))
        This needs anthropic, which is not installed: pip install 'dfsmelt[anthropic]'
    """

    @classmethod
    def for_extra(cls, extra: str, module: str) -> Self:
        """The error for an extra that is not installed."""
        return cls(f"This needs {module}, which is not installed: pip install 'dfsmelt[{extra}]'", name=module)

    @classmethod
    def for_field(cls, field: str) -> Self:
        """The error for a field that needs an Arrow column in pandas, if pyarrow is not installed."""
        return cls(
            f"Field {shown_value(field)} needs pyarrow, which is not installed: pip install 'dfsmelt[arrow]'. pandas "
            "itself has no type for dates, decimals, lists and nested models.",
            name="pyarrow",
        )


class SmeltValidationError(SmeltError, ValueError):
    """An answer does not fit the output model.

    Examples:
        >>> fish = ScriptedProvider({"sector": "fish"})
        >>> try:
        ...     df.smelt.transform("Classify {name}.", Company, model=fish, max_attempts=1, on_error="raise")
        ... except smelt.SmeltExhaustionError as error:
        ...     print(type(error.__cause__).__name__)
        SmeltValidationError
    """


class SmeltAPIError(SmeltError):
    """The provider refused, or did not answer, and this concerns every row.

    Attributes:
        status: The HTTP status, or None if there was no response.
        request_id: The provider's request ID, for its support desk.
        partial_result: The result so far, or None.

    Examples:
        >>> from smelt.providers.base import Billing, CallFailed
        >>> no = CallFailed("auth", Billing.REJECTED, "Unknown key", status=401)
        >>> try:
        ...     df.smelt.transform("Classify {name}.", Company, model=ScriptedProvider({}, script=[no]))
        ... except smelt.SmeltAPIError as error:
        ...     print(type(error).__name__, error.status)
        AuthenticationError 401
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        partial_result: SmeltResult[Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id
        self.partial_result = partial_result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),), {"status": self.status, "request_id": self.request_id}


class AuthenticationError(SmeltAPIError):
    """The provider does not accept the key (401, 403).

    Examples:
        >>> from smelt.providers.base import Billing, CallFailed
        >>> no = CallFailed("auth", Billing.REJECTED, "Unknown key", status=401)
        >>> df.smelt.transform("Classify {name}.", Company, model=ScriptedProvider({}, script=[no]))
        Traceback (most recent call last):
        smelt.errors.AuthenticationError: ...
    """


class QuotaError(SmeltAPIError):
    """The account may not spend any more (402, exhausted quota, billing limits).

    Examples:
        >>> from smelt.providers.base import Billing, CallFailed
        >>> no = CallFailed("quota", Billing.REJECTED, "No credit is left", status=402)
        >>> df.smelt.transform("Classify {name}.", Company, model=ScriptedProvider({}, script=[no]))
        Traceback (most recent call last):
        smelt.errors.QuotaError: ...
    """


class ModelNotFoundError(SmeltAPIError):
    """The provider has no such model, or no such address (404).

    Examples:
        >>> from smelt.providers.base import Billing, CallFailed
        >>> no = CallFailed("not_found", Billing.REJECTED, "No such model", status=404, is_named=True)
        >>> df.smelt.transform("Classify {name}.", Company, model=ScriptedProvider({}, script=[no]))
        Traceback (most recent call last):
        smelt.errors.ModelNotFoundError: ...
    """


class BadRequestError(SmeltAPIError, ValueError):
    """The provider refuses the request whatever row is in it (400, 422).

    Examples:
        >>> from smelt.providers.base import Billing, CallFailed
        >>> no = CallFailed("schema", Billing.REJECTED, "This schema is not supported", status=400)
        >>> df.smelt.transform("Classify {name}.", Company, model=ScriptedProvider({}, script=[no]))
        Traceback (most recent call last):
        smelt.errors.BadRequestError: ...
    """


class UnavailableError(SmeltAPIError):
    """The provider could not be reached, or kept failing for longer than the run may wait.

    Examples:
        >>> from smelt.providers.base import Billing, CallFailed
        >>> no = CallFailed("certificate", Billing.REJECTED, "The certificate has expired", status=None)
        >>> df.smelt.transform("Classify {name}.", Company, model=ScriptedProvider({}, script=[no]))
        Traceback (most recent call last):
        smelt.errors.UnavailableError: ...
    """


class SmeltExhaustionError(SmeltError):
    """Rows failed finally, and the call has `on_error="raise"`.

    Attributes:
        partial_result: The whole result, with everything that was answered.

    Examples:
        >>> silent = ScriptedProvider(lambda row: {"sector": "tech"} if row["name"] == "Arm" else None)
        >>> try:
        ...     df.smelt.transform("Classify {name}.", Company, model=silent, max_attempts=1, on_error="raise")
        ... except smelt.SmeltExhaustionError as error:
        ...     print(error.partial_result.data)
        [Company(sector='tech'), None]
    """

    def __init__(self, message: str, partial_result: SmeltResult[Any] | None = None) -> None:
        super().__init__(message)
        self.partial_result = partial_result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),)


class BudgetExceededError(SmeltError):
    """The budget of the run is spent, and the call has `on_error="raise"`.

    Attributes:
        partial_result: The whole result, with everything that was answered; the rest carries the error kind `budget`.

    Examples:
        >>> df.smelt.transform("Classify {name}.", Company, model=scripted, max_tokens_total=1, on_error="raise")
        Traceback (most recent call last):
        smelt.errors.BudgetExceededError: ...
    """

    def __init__(self, message: str, partial_result: SmeltResult[Any] | None = None) -> None:
        super().__init__(message)
        self.partial_result = partial_result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),)


class StoreError(SmeltError, OSError):
    """The ledger file cannot be used.

    Attributes:
        partial_result: The result so far if a run had started, or None.

    Examples:
        >>> try:
        ...     smelt.ledger.open("nowhere.sqlite")
        ... except smelt.StoreError as error:
        ...     print(type(error).__name__)
        StoreNotFoundError
    """

    partial_result: SmeltResult[Any] | None = None


class UnsafeStoreError(StoreError):
    """The file or its directory belongs to, or is open to, someone else.

    Examples:
        >>> from pathlib import Path
        >>> Path("link.sqlite").symlink_to("elsewhere.sqlite")
        >>> smelt.ledger.open("link.sqlite")
        Traceback (most recent call last):
        smelt.errors.UnsafeStoreError: ...
    """


class StoreNotFoundError(StoreError):
    """There is no ledger at that path.

    Examples:
        >>> smelt.ledger.open("nowhere.sqlite")
        Traceback (most recent call last):
        smelt.errors.StoreNotFoundError: ...
    """


class StoreReadOnlyError(StoreError):
    """A write was needed to a ledger that can only be read.

    Examples:
        >>> try:
        ...     out = df.smelt.transform("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
        ... except smelt.errors.StoreReadOnlyError:
        ...     out = df.smelt.transform("Classify {name}.", Company, model=scripted, ledger=False)
    """


class StoreBusyError(StoreError):
    """Another process holds the ledger's lock for longer than a write waits.

    Examples:
        >>> print(smelt.errors.StoreBusyError.for_holder("answers.sqlite", pid=4711, seconds=60))
        Process 4711 has held the ledger answers.sqlite for over 60 s. Try again, or use another ledger=.
    """

    @classmethod
    def for_holder(cls, path: object, pid: int | None, seconds: float) -> Self:
        """The error after a lock timeout; names the process that holds the lock, if the system tells."""
        who = "Another process" if pid is None else f"Process {pid}"
        return cls(f"{who} has held the ledger {path} for over {seconds:g} s. Try again, or use another ledger=.")


class StoreFullError(StoreError):
    """The disk has no room for answers that would be paid for; earlier answers are stored.

    Examples:
        >>> print(smelt.errors.StoreFullError.for_path("answers.sqlite"))
        The disk of the ledger answers.sqlite is full, so nothing more was sent: answers could not be kept. Free ...
    """

    @classmethod
    def for_path(cls, path: object) -> Self:
        """The error for a full disk."""
        return cls(
            f"The disk of the ledger {path} is full, so nothing more was sent: answers could not be kept. "
            "Free some space and run again; stored answers are not asked again."
        )

    @classmethod
    def for_files(cls, path: object) -> Self:
        """The error for a full disk on which the file of a job is written."""
        return cls(
            f"The disk of {path} is full, so the file of a job could not be written, and the job was not submitted. "
            "Free some space and run again; answered rows and rows in earlier jobs are not asked again."
        )

    @classmethod
    def for_room(cls, path: object, needed: int, free: int | None) -> Self:
        """The error for a disk without the space that a run reserves; *needed* and *free* in bytes."""
        there = "" if free is None else f", and {free / 1e6:,.1f} MB are free"
        return cls(
            f"The disk of the ledger {path} is nearly full: this run reserves {needed / 1e6:,.1f} MB for replies in "
            f"flight{there}. Nothing was sent. Free some space, pass a ledger= on another disk, or use a smaller "
            "concurrency=."
        )


class StoreVersionError(StoreError):
    """The ledger was written by a newer smelt than this one.

    Examples:
        >>> import sqlite3
        >>> out = df.smelt.transform("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
        >>> with sqlite3.connect("answers.sqlite") as later:
        ...     done = later.execute("PRAGMA user_version = 999")
        >>> later.close()
        >>> smelt.ledger.open("answers.sqlite")
        Traceback (most recent call last):
        smelt.errors.StoreVersionError: ...
    """


class StoreCorruptError(StoreError):
    """The file is damaged, or is not a ledger. It is not changed.

    Attributes:
        is_ledger: Whether the file is, or was, a ledger, so that `recover=True` can help.

    Examples:
        >>> import os
        >>> from pathlib import Path
        >>> size = Path("broken.sqlite").write_bytes(b"This is no ledger. " * 100)
        >>> os.chmod("broken.sqlite", 0o600)
        >>> smelt.ledger.open("broken.sqlite")
        Traceback (most recent call last):
        smelt.errors.StoreCorruptError: ...
    """

    is_ledger: bool = True

    @classmethod
    def for_path(cls, path: object, problem: str, *, is_ledger: bool = True) -> Self:
        """The error for a corrupt file; says how to recover what is still readable."""
        way = (
            f"smelt.ledger.open({str(path)!r}, recover=True) moves it aside and keeps the rows that can be read."
            if is_ledger
            else "It is not a ledger of smelt. Pass another file as ledger=, or ledger=False to keep none."
        )
        error = cls(f"The ledger {path} cannot be used: {problem}. It was not changed. {way}")
        error.is_ledger = is_ledger
        return error


class SmeltInterrupt(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; carries the result so far.

    Attributes:
        partial_result: The result so far; unanswered rows have the error kind `interrupted`.
        signum: The signal number; a program that ends because of it exits with 128 + *signum*.

    Examples:
        >>> try:
        ...     result = df.smelt.run("Classify {name}.", Company, model=scripted)
        ... except smelt.SmeltInterrupt as stop:
        ...     result = stop.partial_result
        >>> result.success
        True
    """

    def __init__(self, message: str, partial_result: SmeltResult[Any] | None = None) -> None:
        super().__init__(message)
        self.partial_result = partial_result
        self.signum: int = 2

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),)


class ClosedError(SmeltError, RuntimeError):
    """A client, run or store was used after it was closed.

    Examples:
        >>> out = df.smelt.transform("Classify {name}.", Company, model=scripted, ledger="answers.sqlite")
        >>> ledger = smelt.ledger.open("answers.sqlite")
        >>> ledger.close()
        >>> ledger.runs()
        Traceback (most recent call last):
        smelt.errors.ClosedError: ...
    """


_said: ContextVar[set[str] | None] = ContextVar(
    "said", default=None
)  # Warnings given so far inside `warning_once`; None outside.


@contextmanager
def warning_once() -> Iterator[None]:
    """Inside this context, give repeated warnings with the same text only once."""
    before = _said.set(set())
    try:
        yield
    finally:
        _said.reset(before)


def warn(text: str) -> None:
    """Issue a `SmeltWarning` that points at the user's line.

    If stderr is closed or broken, the text is lost and no exception is raised; the standard library would pass most
    such errors on to the caller. If warnings are errors, the warning is raised.
    """
    said = _said.get()
    if said is not None and text in said:
        return
    if said is not None:
        said.add(text)
    try:
        warnings.warn(text, SmeltWarning, stacklevel=caller_stacklevel())
    except SmeltWarning:
        raise
    except Exception:  # noqa: BLE001  # A replacement for stderr may raise anything; it cannot be reported.
        pass


def caller_stacklevel() -> int:
    """The `stacklevel` with which a warning from the caller of this function points at the user's line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_THE_USERS:
        frame, level = frame.f_back, level + 1
    return level


# Packages skipped on the stack: frame libraries are in it for `df.pipe(smelt.transform)`, asyncio for engine warnings.
_NOT_THE_USERS = frozenset({"smelt", "pandas", "polars", "asyncio", "contextlib"})
