"""The work order of a call: what the engine is to ask of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from smelt.call.preparation import Preparation
from smelt.call.requestsize import first_rows, most_rows
from smelt.engine.pilot import is_long
from smelt.engine.policy import Policy
from smelt.engine.work import Work
from smelt.plan.compact import Compact, table_of
from smelt.plan.kinds import Field, Text
from smelt.plan.scores import wanted_beside
from smelt.plan.tokens import compact_bytes, reply_bytes, reply_tokens
from smelt.plan.wire import PROMPT_REMINDER, REMINDER


def work_of(call: Preparation, *, is_whole: bool = True) -> Work:
    """The order to ask all fields; *is_whole*: whether no more rows come than those of this call."""
    fields = call.output.fields
    compact = _compact(call, fields, is_whole=is_whole)
    return Work(
        output=call.output,
        asked=fields,
        reply_bytes=_reply_bytes(fields, compact, call.settings.wire),
        system=call.system,
        array_system=_array_system(call, fields),
        params=call.settings.params,
        row_tokens=reply_tokens(fields),
        most_rows=most_rows(call),
        is_auto=call.settings.batch_size == "auto",
        aim=call.settings.aim,
        timeout=call.settings.timeout,
        deadline=call.settings.deadline,
        stop_on_failure=call.settings.on_error == "raise",
        policy=Policy(max_attempts=call.settings.max_attempts),
        first_rows=first_rows(call),
        prompt=call.prompt,
        output_model=str if call.output.is_text else (call.whole or call.output).model,
        compact=compact,
        wire=call.settings.wire,
        decisions=call.decisions,
        reminder=PROMPT_REMINDER if call.is_prompts else REMINDER,
        scores=wanted_beside(fields) if call.asks_scores else 0,
    )


def extension_of(
    call: Preparation, added: Sequence[str], completing: Mapping[int, str], *, is_whole: bool = True
) -> Work:
    """The order for the rows of which only the *added* fields are asked.

    Args:
        call: The call.
        added: The new fields, by their names in the reply.
        completing: By position: the JSON of the stored answer that gets the new fields.
        is_whole: As in `work_of`.
    """
    fields = tuple(field for field in call.output.fields if field.key in added)
    compact = _compact(call, fields, is_whole=is_whole)
    return replace(
        work_of(call, is_whole=is_whole),
        asked=fields,
        system=call.instructions.text(fields, call.provider.capabilities.codec),
        array_system=_array_system(call, fields),
        row_tokens=reply_tokens(fields),
        reply_bytes=_reply_bytes(fields, compact, call.settings.wire),
        completing=completing,
        compact=compact,
    )


def _compact(call: Preparation, fields: Sequence[Field], *, is_whole: bool) -> Compact | None:
    """How *fields* are asked for on the compact wire; None if they are asked for in the keyed form."""
    capabilities = call.provider.capabilities
    wire = call.settings.wire
    if wire == "keyed" or call.settings.via == "decisions" or call.has_media or not capabilities.takes_compact:
        return None
    if wire == "auto" and (capabilities.codec == "keyed" or not _is_comparable(call, fields, is_whole=is_whole)):
        return None
    table = table_of(call.source, call.folded.distinct, is_whole=is_whole)
    return call.instructions.compact(fields, capabilities.codec, table)


def _is_comparable(call: Preparation, fields: Sequence[Field], *, is_whole: bool) -> bool:
    """Whether a pilot can tell if the compact wire answers as well, or an earlier one may have told."""
    may_have_one = not is_whole or is_long(len(call.folded.distinct))
    return may_have_one and any(not isinstance(field.kind, Text) for field in fields)


def _array_system(call: Preparation, fields: Sequence[Field]) -> str:
    """The instructions if rows turn out not to be held to their tokens; empty if that makes no difference."""
    capabilities = call.provider.capabilities
    if capabilities.codec == "array" or capabilities.enforces_schema:
        return ""
    return call.instructions.text(fields, "array")


def _reply_bytes(fields: Sequence[Field], compact: Compact | None, wire: str) -> int:
    """The usual bytes of the answer to one row."""
    if compact is None or compact.layout is None or wire == "auto":
        return reply_bytes(fields)
    return compact_bytes(fields, is_packed=compact.layout.shape == "packed")
