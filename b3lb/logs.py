"""Logs: one JSON object per line on standard error, for our own events and for those of the libraries alike.

Keys: ``timestamp`` (ISO 8601, UTC), ``level``, ``event``, ``logger``, ``exception`` where there is one, and whatever
was bound. Every value passes `b3lb.redaction` on its way out.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from b3lb.redaction import redact_value

LogFormat = Literal["json", "console"]

_TALKATIVE = ("aiohttp", "asyncio", "httpcore", "httpx", "kubernetes", "psycopg", "sqlalchemy", "urllib3")
"""Libraries whose lesser messages hold whole requests and statements, Secrets included: warnings only."""

_FIRST_KEYS = ("timestamp", "level", "event", "logger")
_INTERNAL = ("_record", "_from_structlog")


def configure(log_format: LogFormat = "json", level: str = "info", *, stream: TextIO | None = None) -> None:
    """Route structlog and the standard library's logging into one stream; may be called again.

    Args:
        log_format: ``json`` for machines, ``console`` for people.
        level: Least level, in any case (``info``, ``WARNING``).
        stream: Where to; default: standard error.
    """
    target = stream or sys.stderr
    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_object,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(log_format, target)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(least)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(least, logging.WARNING))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger ``name``; key words of its calls become keys of the line."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def debugging() -> bool:
    """Whether somebody wants to see everything: the level is ``debug``."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def _renderer(log_format: LogFormat, target: TextIO) -> Processor:
    if log_format == "json":
        # ASCII only: no stream's encoding, no U+2028 and no lone surrogate can break a line.
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _add_object(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Add which object a record is about, if its library says so (kopf: ``extra={"k8s_ref": …}``)."""
    reference = getattr(event.get("_record"), "k8s_ref", None)
    if isinstance(reference, dict):
        event["object"] = "/".join(_present(reference.get(part) for part in ("kind", "namespace", "name")))
    return event


def _present(parts: Iterable[object]) -> Iterable[str]:
    return (str(part) for part in parts if part)


def _redact_event(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Remove secrets, and put the keys that every line has in front."""
    first = [key for key in _FIRST_KEYS if key in event]
    ordered = [*first, *(key for key in event if key not in _FIRST_KEYS)]
    return {key: event[key] if key in _INTERNAL else redact_value(key, event[key]) for key in ordered}
