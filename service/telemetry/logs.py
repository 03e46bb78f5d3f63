"""One JSON line per fact, for our own records, Gunicorn's, Uvicorn's and every library's.

Everything goes to standard output. `console` is the same for people. Whatever is printed to standard error by Python code
that knows no logger becomes a record too; ONNX Runtime, which prints past Python, is told to be silent in
`engine/session.py` and raises the same text.
"""

import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service.errors import OnnicornError
from service.settings import Log

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(settings: Log, stream: TextIO = sys.stdout) -> None:
    """Route every record of this process to `stream`; call it once, before the first record."""
    console = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    level = _LEVELS[settings.level]
    structlog.configure(
        processors=[*_common(), *_renderers(console)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *_common()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(console)],
        )
    )
    _adopt_everything(handler, level)
    if not console:
        sys.stderr = _Lines(structlog.get_logger("stderr").error)


def _adopt_everything(handler: logging.Handler, level: int) -> None:
    """The root logger, and the libraries' loggers that insist on handlers of their own."""
    for name in ("", "gunicorn.error", "gunicorn.access", "uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level)
    # asyncio says at debug level which selector it uses, at every start.
    logging.getLogger("asyncio").setLevel(max(level, logging.INFO))
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    log = structlog.get_logger()
    sys.excepthook = lambda kind, error, trace: log.critical("uncaught", exc_info=(kind, error, trace))
    threading.excepthook = lambda args: log.critical(
        "uncaught", thread=args.thread and args.thread.name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
    )


def _common() -> list[Processor]:
    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.add_log_level,
        _add_pid,
        _short_start_errors,
    ]


def _renderers(console: bool) -> Sequence[Processor]:
    if console:
        return [structlog.dev.ConsoleRenderer(colors=True, pad_event_to=24)]
    return [structlog.processors.format_exc_info, _render_json]


def _add_pid(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["pid"] = os.getpid()
    return event


def _short_start_errors(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Our own errors explain themselves; a traceback beside them would only bury the sentence."""
    info = event.get("exc_info")
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, OnnicornError) and error.__cause__ is None:
        event["exc_info"] = None
        event["reason"] = str(error)
    return event


def _render_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return orjson.dumps(first | event, default=str).decode()


class _Lines(io.TextIOBase):
    """A stream whose lines become records."""

    def __init__(self, record: Callable[[str], Any]) -> None:
        self._record = record
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._record(line)
        return len(text)

    def flush(self) -> None:
        pass
