"""Keeps what our requests and their answers hold out of the log, whatever level the SDKs' loggers are at.

At DEBUG the SDKs and the HTTP library write prompts, and headers that a server may echo a key in. A filter on their loggers
drops such records of our own calls; what the rest of the program logs through the same loggers is left as it is.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

ours: ContextVar[Any] = ContextVar("smelt_call", default=None)
"""What is known of the call of ours that the current task makes; None outside of one."""

_LOGGERS = (
    *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")),
    "httpx2",
    *(f"openai.{part}" for part in ("_base_client", "_legacy_response", "_response")),
    *(f"anthropic.{part}" for part in ("_base_client", "_legacy_response", "_response", "_tracing")),
    *(f"google_genai.{part}" for part in ("_api_client", "_common", "_transformers", "models", "types")),
)


class _Discreet(logging.Filter):
    """Lets through, of the records of our calls, warnings and the one line per request at INFO."""

    def filter(self, record: logging.LogRecord) -> bool:
        if ours.get() is None or record.levelno >= logging.WARNING:
            return True
        return record.name == "httpx2" and record.levelno == logging.INFO


def keep_discreet() -> None:
    """Put the filter on the loggers; again if something has taken it away since."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if _FILTER not in logger.filters:
            logger.addFilter(_FILTER)


_FILTER = _Discreet()
