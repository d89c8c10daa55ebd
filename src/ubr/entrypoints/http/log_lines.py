"""The format of log lines: one JSON object a line, or readable text if a person is watching."""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from ubr.application.kernel.origin import current_origin


def configure(level: str) -> None:
    """Send every log line of this process, of ubr's own and of its libraries, to standard error."""
    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
    ]
    last = _renderers(person=sys.stderr.isatty())
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    # Below this level, libraries log too much: statements and their values.
    logging.basicConfig(handlers=[handler], level=max(least, logging.WARNING), force=True)


def _renderers(*, person: bool) -> list[Processor]:
    if person:
        # Not the tracebacks of rich: they show local variables, which include passwords.
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]


def _add_request_id(_logger: Any, _method: str, event: EventDict) -> EventDict:
    origin = current_origin()
    if origin.request_id is not None:
        event.setdefault("request_id", origin.request_id)
        if origin.request_id_given:
            event["request_id_given"] = True
    return event


def _json(value: Any, **_: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()
