"""Logging of every process of ours: structlog, for a person's eyes or as JSON, to standard error.

No secret is logged: handlers log paths with link tokens masked, and never headers or bodies.
"""

from __future__ import annotations

import logging
import sys

import structlog


def configure(format_: str, level: str) -> None:
    """``format_`` is ``console`` or ``json``; the standard library's loggers go the same way."""
    number = getattr(logging, level.upper())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    is_json = format_ == "json"
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if is_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # Where rich is installed, structlog's own choice prints every local variable.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    tail = [structlog.processors.format_exc_info] if is_json else []
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *tail,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # Those of servers by their own names: without a level they would add a handler of their own.
    for noisy in ("socketio.server", "engineio.server", "aiohttp.access", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=True,
    )
