"""A logging filter that keeps our requests and their answers out of the log, at every level of the SDKs' loggers.

At DEBUG the SDKs and the HTTP library log prompts, and headers in which a server may echo a key. A filter on their
loggers drops such records of our own calls; other records of the same loggers are not changed.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

ours: ContextVar[Any] = ContextVar("smelt_call", default=None)
"""The state of smelt's call in the current task; None outside of one."""

_LOGGERS = (
    *(f"botocore.{part}" for part in ("auth", "credentials", "endpoint", "httpsession", "parsers", "retryhandler")),
    *(f"google.auth.{part}" for part in ("_default", "transport", "transport.requests")),
    *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")),
    "httpx2",
    *(f"openai.{part}" for part in ("_base_client", "_legacy_response", "_response")),
    *(f"anthropic.{part}" for part in ("_base_client", "_legacy_response", "_response", "_tracing")),
    *(f"google_genai.{part}" for part in ("_api_client", "_common", "_transformers", "models", "types")),
)


class _Discreet(logging.Filter):
    """Of our own calls, passes only warnings, errors and the one INFO line per request; passes all other records."""

    def filter(self, record: logging.LogRecord) -> bool:
        if ours.get() is None or record.levelno >= logging.WARNING:
            return True
        return record.name == "httpx2" and record.levelno == logging.INFO


def keep_discreet() -> None:
    """Add the filter to the loggers; again if something has removed it since."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if _FILTER not in logger.filters:
            logger.addFilter(_FILTER)


_FILTER = _Discreet()
